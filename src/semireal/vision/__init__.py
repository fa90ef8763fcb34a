"""What a picture shows, as numbers: networks, perceptual hashes, and the weights that they load."""
