"""The section `filter` of params.yaml."""

from dataclasses import dataclass

from semireal.schema import param


@dataclass(frozen=True)
class Filter:
    """Which images are good enough."""

    min_bytes: int = param(low=0)
    """smaller JPEG files are left out (the report: 40 kB at 512 px)"""
    min_side: int = param(low=1)
    """smaller crops, before scaling, are left out, px"""
    min_sharpness: float = param(low=0)
    """least energy of the Laplacian over that of the gradient, at 256 px: 0.25 is blurred, 0.7 sharp"""
    min_detail: float | None = param(low=0)
    """least detail: side in px that would hold what the crop shows; null = any"""
    max_blocks: float | None = param(low=0, high=1)
    """highest share of blocks (strong JPEG, mosaics, enlarged without interpolation); null = any"""
    max_line_art: float | None = param(low=0, high=1)
    """highest probability of line art; null = any"""
    max_anime: float | None = param(low=0, high=1)
    """highest probability of flat anime; null = any"""
    max_turn: float | None = param(low=0)
    """how far the nose may be from midway between the eyes: 1 = over an eye; null = any"""
    max_tilt: float | None = param(low=0, high=180)
    """how far the head may lie on its side, degrees; null = any"""
    min_agreement: float | None = param(low=0, high=1)
    """least probability that it is the photo or portrait that its source declares; null = any"""
    min_character: float | None = param(low=0, high=1)
    """least probability that it is the character, as learned from decisions in experiments/decisions; null = any"""
    max_others: int | None = param(low=0)
    """most further faces in the square that are at least 0.4 as large; null = any"""
    max_marks: float | None = param(low=0, high=1)
    """highest probability of a watermark, signature, caption or frame over the head; null = any"""
