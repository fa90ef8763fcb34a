"""The section `crop` of params.yaml."""

from dataclasses import dataclass

from semireal.errors import UserError
from semireal.schema import param

DETECTORS = ("verified", "yunet", "animeface", "haar")


@dataclass(frozen=True)
class Crop:
    """Face detection and the square around a face."""

    detector_photo: str = param()
    """for photos: one of verified, yunet, animeface, haar, or several joined by +"""
    detector_portrait: str = param()
    """for portraits, likewise"""
    score: float = param(low=0.1, high=1)
    """least confidence of YuNet; 0.5 with verification, 0.8 without"""
    detect_size: int = param(low=64, high=4096)
    """longer side of the image given to the detector, px"""
    faces: str = param(choices=("largest", "all"))
    """which faces of an image to take"""
    geometry: str = param(choices=("box", "aligned"))
    """aligned: turned and scaled so that eyes and mouth are where FFHQ has them; a detector without landmarks, and box:
    a square around the face"""
    margin: float = param(low=0, high=3)
    """box: border on each side of the face, in sides of its box"""
    lift: float = param(low=-1, high=1)
    """box: how far the square is moved up, in sides of the box"""
    scale: float = param(low=0.5, high=3)
    """aligned: side of the square, in sides of FFHQ's"""
    min_face: int = param(low=1)
    """smaller faces are left out, px"""
    min_edge: float | None = param(low=-1)
    """least distance of eyes, nose and mouth from the border of the picture, in sides of the face: nearer ones belong
    to a face that is cut off; null = any"""
    max_outside: float | None = param(low=0, high=1)
    """highest share of the square around a head that may lie outside of the picture; null = any"""

    def __post_init__(self) -> None:
        for key in ("detector_photo", "detector_portrait"):
            found = getattr(self, key)
            if not set(found.split("+")) <= set(DETECTORS):
                need = f"one of {', '.join(DETECTORS)}, or several joined by +"
                raise UserError(f"crop.{key}: found {found!r}, need {need}")
