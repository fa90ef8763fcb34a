"""A generator between a network A and its fine-tuned child B: the layout of A, the rendering on the way to B.

Blocks of a resolution below `first` are those of A. From `first` on each number is A + amount * (B - A): with amount 1
those blocks are B's (layer swapping: Pinkney and Adler 2020, arXiv:2010.05334), and with first 4 all blocks are
interpolated alike (deep network interpolation: Wang et al. 2019, arXiv:1811.10515). Low resolutions decide pose,
proportions and what stands where; high ones light, colour, skin and strokes. With photos as A and paintings as B,
photographed faces are painted more and more; in the other order, the shapes of paintings get the surface of photos.

The mapping and its w_avg are A's, as in the code of Pinkney and Adler. So below `first` every amount computes the very
same features of a seed, and truncation has the same centre: a face keeps its layout while its surface changes. (The
mapping learns at a hundredth of the rate of the rest, so that of a child is near.) With first 4 and amount 1 it is the
synthesis of B for the styles of A, and not all of B. With first 0 the mapping moves, too, so that amount 1 is B.

Between two networks there are faces because one was fine-tuned from the other, or both from a third.
"""

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from semireal.errors import UserError
from semireal.stylegan2.networks import Config

OF_DISCRIMINATOR = "mbstd_group_size"  # the one number of a Config that no generator has
ROUNDED = 0.01  # noise maps, which are standard normal, differ by less where one went through float16


def check(base: Config, child: Config, first: int, amount: float, origin: str, prefix: str = "--") -> None:
    """Raise a UserError, which names the number after prefix, or begins with origin where there are two shapes."""
    a, b = dataclasses.asdict(base), dataclasses.asdict(child)
    other = [f"{name} {a[name]} and {b[name]}" for name in a if name != OF_DISCRIMINATOR and a[name] != b[name]]
    if other:
        raise UserError(f"{origin}: found {', '.join(other)}. Name a network and its child of the same shape")
    resolutions = [0, *base.block_resolutions()]
    if first not in resolutions:
        raise UserError(f"{prefix}from: found {first}, need one of {', '.join(map(str, resolutions))}")
    if not 0 <= amount <= 1:
        raise UserError(f"{prefix}amount: found {amount}, need a number from 0 to 1")


def blended(base: Mapping[str, Tensor], child: Mapping[str, Tensor], first: int, amount: float) -> dict[str, Tensor]:
    """State dict of the generator between two of one shape, on the CPU in float32; see the module and `check`.

    first: the lowest resolution that moves, 4 to that of the image, or 0 for the mapping as well; amount: how far, from
    0 (base) to 1 (child), both ends exact.
    """
    return {
        name: _between(tensor, child[name], amount) if _resolution(name) >= first else tensor
        for name, tensor in base.items()
    }


def _between(a: Tensor, b: Tensor, amount: float) -> Tensor:
    return a.double().lerp(b.double(), amount).float()  # in float64 no difference overflows


def _resolution(name: str) -> int:
    """The resolution of the block that a tensor belongs to; 0 of the mapping, which is before all of them."""
    network, block, *_ = name.split(".")
    return int(block.removeprefix("b")) if network == "synthesis" else 0


def are_kin(base: Mapping[str, Tensor], child: Mapping[str, Tensor]) -> bool:
    """Whether two generators of one shape have the same noise maps.

    They are drawn once and not trained, so all that is fine-tuned from a network has its maps. Networks that were begun
    from the same seed have them, too, so this tells strangers, and proves no kinship.
    """
    maps = [name for name in base if name.endswith(".noise_const")]
    return all(torch.allclose(base[name], child[name], rtol=0, atol=ROUNDED) for name in maps)
