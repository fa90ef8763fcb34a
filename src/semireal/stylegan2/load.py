"""Networks from any file that we can read: our own .safetensors, or a .pkl of the public implementations."""

import pickle
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from semireal import formats
from semireal.errors import UserError
from semireal.stylegan2 import checkpoint
from semireal.stylegan2.checkpoint import Networks, load_weights
from semireal.stylegan2.foreign import read_pickle
from semireal.stylegan2.networks import Discriminator, Generator

PICKLE, SAFETENSORS = "pickle", "safetensors"
Network = TypeVar("Network", bound=nn.Module)


def load_networks(path: str | Path) -> Networks:
    """Read weights and configuration; nothing that a pickle carries is run. UserError where the file is unfit."""
    path = Path(path)
    return read_pickle(path) if kind_of(path) == PICKLE else checkpoint.load_networks(path)


def extra_of(path: str | Path) -> dict[str, Any]:
    """What a file of ours says beside its networks; nothing of others. UserError where it is unfit."""
    path = Path(path)
    return {} if kind_of(path) == PICKLE else checkpoint.extra_of(path)


def kind_of(path: Path) -> str:
    """What holds the networks of a file, by its first bytes, whatever its name is; UserError where it holds none."""
    try:
        if not path.is_file() and path.exists():  # a pipe would never end
            raise UserError(f"{path}: is no file. Name a .safetensors of ours, or a .pkl")
        with path.open("rb") as file:
            head = file.read(formats.HEAD)
    except OSError as error:
        raise UserError(f"{path}: missing or damaged ({error.strerror}). Make or fetch the file") from None
    if head[:1] == b"\x80" and len(head) > 1 and head[1] <= pickle.HIGHEST_PROTOCOL:
        return PICKLE
    if head[8:9] == b"{":  # after the length of its description
        return SAFETENSORS
    found = formats.unsupported(head)
    what = "a PyTorch checkpoint or another archive" if head.startswith(b"PK") else f"a {found}" if found else "damaged"
    raise UserError(f"{path}: is {what}. Need a .safetensors of ours, or a .pkl of stylegan2-ada-pytorch or stylegan3")


def load_generator(path: str | Path) -> Generator:
    """Read a generator for inference, on the CPU, with the averaged weights.

    path: generator.safetensors, checkpoint.safetensors, what `convert` wrote, or a .pkl of
    stylegan2-ada-pytorch or stylegan3 (--cfg=stylegan2). UserError where it is damaged or does not fit.

    >>> G = load_generator("models/generator.safetensors")  # doctest: +SKIP
    >>> ws = G.mapping(torch.randn(4, G.config.z_dim), psi=0.5)  # [4, num_ws, w_dim]
    >>> img = G.synthesis(ws, noise="const")  # [4, 3, H, W], about -1 to 1
    """
    found = load_networks(path)
    with torch.device("meta"):  # no random initialisation
        G = Generator(found.config)
    return _filled(G, found.generator, path)


def load_discriminator(path: str | Path) -> Discriminator:
    """Read a discriminator for inference, on the CPU; UserError where the file has none.

    D(img) gives logits [N,1] of images [N,3,H,W] in [-1,1].
    """
    found = load_networks(path)
    if found.discriminator is None:
        raise UserError(f"{path}: has no discriminator. Take a checkpoint.safetensors or a converted pickle")
    with torch.device("meta"):
        D = Discriminator(found.config)
    return _filled(D, found.discriminator, path)


def _filled(network: Network, tensors: dict[str, torch.Tensor], path: str | Path) -> Network:
    network.to_empty(device="cpu")
    load_weights(network, tensors, str(path))
    return network.eval().requires_grad_(False)
