"""The section `dedupe` of params.yaml."""

from dataclasses import dataclass

from semireal.schema import param


@dataclass(frozen=True)
class Dedupe:
    """What counts as the same picture."""

    max_distance: int = param(low=0, high=128)
    """perceptual hashes up to so many of 256 bits apart are one picture"""
