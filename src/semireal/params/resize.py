"""The section `resize` of params.yaml."""

from dataclasses import dataclass

from semireal.schema import param


@dataclass(frozen=True)
class Resize:
    """The format of the dataset."""

    size: int = param(low=8, high=2048)
    """side of the images, px"""
    quality: int = param(low=50, high=100)
    """JPEG quality"""
