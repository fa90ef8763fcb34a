"""StyleGAN2 in plain PyTorch: networks, losses, augmentation, checkpoints and the training loop."""

from semireal.stylegan2.checkpoint import Networks, save_networks
from semireal.stylegan2.load import extra_of, load_discriminator, load_generator, load_networks
from semireal.stylegan2.networks import Config, Discriminator, Generator

__all__ = [
    "Config",
    "Discriminator",
    "Generator",
    "Networks",
    "extra_of",
    "load_discriminator",
    "load_generator",
    "load_networks",
    "save_networks",
]
