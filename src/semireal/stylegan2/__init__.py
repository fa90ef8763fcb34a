"""StyleGAN2 in plain PyTorch: networks, losses, checkpoints and the training loop."""

from semireal.stylegan2.checkpoint import load_generator, save_generator
from semireal.stylegan2.networks import Config, Discriminator, Generator

__all__ = ["Config", "Discriminator", "Generator", "load_generator", "save_generator"]
