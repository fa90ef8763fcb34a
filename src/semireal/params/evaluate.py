"""The section `evaluate` of params.yaml."""

from dataclasses import dataclass

from semireal.errors import UserError
from semireal.schema import param


@dataclass(frozen=True)
class Evaluate:
    """Metrics."""

    images: int = param(low=2)
    """generated images to compare with the dataset, at psi = 1 and at sample.psi"""
    neighbours: int = param(low=1, high=100)
    """k of precision, recall, density and coverage"""
    psis: tuple[float, ...] = param(low=-2, high=2)
    """truncations of the psi sweep"""
    psi_images: int = param(low=2)
    """generated images at each psi of the sweep, evaluate.images at most"""
    resamples: int = param(low=20, high=100000)
    """rounds of the bootstrap that gives the intervals"""
    inception: str | None = param()
    """2015 Inception weights for fid, kid and inception_score: a path, `download` (or what $SEMIREAL_INCEPTION names),
    or null = leave them out"""
    dinov2: str | None = param()
    """DINOv2 weights for fd_dinov2 and kd_dinov2: a path, `download` (or what $SEMIREAL_DINOV2 names), or null"""

    def __post_init__(self) -> None:
        if self.neighbours >= self.images:
            raise UserError(
                f"evaluate.neighbours: found {self.neighbours}, need less than evaluate.images = {self.images}"
            )
