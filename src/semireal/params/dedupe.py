"""The section `dedupe` of params.yaml."""

from dataclasses import dataclass

from semireal.schema import param


@dataclass(frozen=True)
class Dedupe:
    """What counts as the same picture."""

    max_distance: int = param(low=0, high=128)
    """perceptual hashes up to so many of 256 bits apart are one picture"""
    max_head_distance: int | None = param(low=0, high=64)
    """hashes of heads up to so many of 144 bits apart may be one picture, what the pixels decide; null = do not look"""
