"""Semi-realistic portraits of fantasy characters: from collecting images to a trained, measured StyleGAN2."""
