"""The section `blend` of params.yaml."""

from dataclasses import dataclass

from semireal.errors import UserError
from semireal.schema import param

LOWEST = 4  # resolution of a network, px


@dataclass(frozen=True)
class Blend:
    """The realism dial: the network that is sampled and measured, between the base and the trained one."""

    base: str = param()
    """network at the other end of the dial: a .safetensors of ours or a .pkl; experiments/noise.init = there is none"""
    from_: int = param(low=0, high=1024)
    """lowest resolution that goes from base to trained; 4 = all of the synthesis, 0 = also the mapping"""
    amount: float = param(low=0, high=1)
    """how far it goes: 0 = as the base, 1 = as trained"""

    def __post_init__(self) -> None:
        if not self.base or "://" in self.base:
            need = "the path of a file; `semireal fetch URL FILE` makes one of a URL"
            raise UserError(f"blend.base: found {self.base!r}, need {need}")
        if self.from_ and (self.from_ < LOWEST or self.from_ & (self.from_ - 1)):
            raise UserError(f"blend.from: found {self.from_}, need 0 or a power of two from {LOWEST} up")

    @property
    def is_trained(self) -> bool:
        """Whether the trained network is all of it, and the base has no part in it."""
        return self.from_ == 0 and self.amount == 1
