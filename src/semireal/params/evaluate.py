"""The section `evaluate` of params.yaml."""

from dataclasses import dataclass

from semireal.errors import UserError
from semireal.schema import param

SPLITS = 10  # of the images, of whose scores inception_score is the mean


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
        for key in ("images", "psi_images"):
            if self.neighbours >= getattr(self, key):
                need = f"less than evaluate.{key} = {getattr(self, key)}"
                raise UserError(f"evaluate.neighbours: found {self.neighbours}, need {need}")
        if self.inception is not None and self.images < SPLITS:
            raise UserError(f"evaluate.images: found {self.images}, need {SPLITS} for the splits of inception_score")
