"""Turns a rendered picture into a photograph or into a painting."""

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from semireal.collect.gallery.ink import Array, Image, f32, grey, resize, soften

Rng = np.random.Generator
_TILE = 1400  # px; no picture is larger


@functools.cache
def _grain() -> NDArray[np.int8]:
    """Film grain of deviation 24, the same in every process; pictures take a random window of it."""
    rng = np.random.default_rng(20)
    fine = rng.normal(0, 1, (_TILE, _TILE)).astype(np.float32)
    coarse = soften(fine[::-1], 1.0) * 3.2
    return np.asarray(np.clip(24 * (0.65 * fine + 0.75 * coarse), -127, 127), np.int8)


@functools.cache
def _canvas() -> NDArray[np.int8]:
    """Weave of a canvas: threads over and under with uneven thickness."""
    rng = np.random.default_rng(21)
    y, x = np.mgrid[0:_TILE, 0:_TILE].astype(np.float32)
    wobble = soften(rng.normal(0, 1, (_TILE, _TILE)).astype(np.float32), 3) * 6
    weave = np.sin(x * 1.7 + wobble) * np.cos(y * 0.85) + np.sin(y * 1.7 - wobble) * np.cos(x * 0.85)
    return np.asarray(np.clip(26 * weave + rng.normal(0, 10, weave.shape), -127, 127), np.int8)


def _window(tile: NDArray[np.int8], height: int, width: int, rng: Rng) -> Array:
    y, x = rng.integers(0, _TILE - height + 1), rng.integers(0, _TILE - width + 1)
    return f32(tile[y : y + height, x : x + width])


def _vignette(height: int, width: int, strength: float) -> Array:
    side = np.linspace(-1, 1, 33, dtype=np.float32)
    radius = np.hypot(side[:, None], side[None, :])
    return resize(f32(1 - strength * radius**3 / 2.8), (width, height))[..., None]


def _grade(image: Image, gains: Array, contrast: float) -> Image:
    """Colour temperature and an S-curve, one look-up table per channel."""
    t = np.arange(256, dtype=np.float32)[:, None] / 255 * gains
    curve = t + contrast * (t - t**2) * (2 * t - 1)
    table = np.clip(255 * curve, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[None]), np.uint8)


def photograph(image: Image, rng: Rng) -> Image:
    """Lens softness, colour temperature, vignette and film grain."""
    height, width = image.shape[:2]
    warmth = rng.uniform(-0.07, 0.07)
    image = _grade(image, f32((1 + warmth, 1, 1 - warmth)), rng.uniform(0.3, 0.9))
    soft = soften(image, 0.65)
    grain = _window(_grain(), height, width, rng)[..., None] * rng.uniform(0.24, 0.36)
    out = soft * _vignette(height, width, rng.uniform(0.05, 0.35)) + grain
    return np.clip(out, 0, 255).astype(np.uint8)


def _strokes(image: Image, paint: Image, count: int, length: float, area: tuple[float, ...], rng: Rng) -> None:
    """Lay `count` strokes along the edges of `image` on `paint` (H, W, 4: colour and height), in place."""
    height, width = image.shape[:2]
    quarter = resize(grey(image), (width // 4, height // 4), cv2.INTER_AREA)
    small = f32(soften(quarter, max(1.0, length / 8)))
    gx, gy = cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)
    x = rng.uniform(area[0], area[2], count).clip(0, width - 1)
    y = rng.uniform(area[1], area[3], count).clip(0, height - 1)
    ix, iy = (x / 4).astype(int).clip(0, small.shape[1] - 1), (y / 4).astype(int).clip(0, small.shape[0] - 1)
    flat = np.hypot(gx[iy, ix], gy[iy, ix]) < 3
    angle = np.where(
        flat, rng.normal(0.9, 0.5, count), np.arctan2(gx[iy, ix], -gy[iy, ix]) + rng.normal(0, 0.15, count)
    )
    reach = length * rng.uniform(0.35, 0.65, count)
    dx, dy = np.cos(angle) * reach, np.sin(angle) * reach
    starts = np.stack([x - dx, y - dy], 1).round().astype(int).tolist()
    ends = np.stack([x + dx, y + dy], 1).round().astype(int).tolist()
    colours = image[y.astype(int), x.astype(int)] * rng.uniform(0.92, 1.08, (count, 1)) + rng.normal(0, 4, (count, 3))
    heights = rng.uniform(60, 200, (count, 1))
    values = np.clip(np.concatenate([colours, heights], 1), 0, 255).tolist()
    widths = np.maximum(1, (length * rng.uniform(0.2, 0.32, count)).round().astype(int)).tolist()
    for start, end, value, size in zip(starts, ends, values, widths, strict=True):
        cv2.line(paint, start, end, value, size)


def painting(image: Image, focus: tuple[float, float, float], details: Image, rng: Rng) -> Image:
    """Brush strokes, their relief, and canvas.

    `focus` is the centre of the face and its half width in px; `details` (H, W, 0..255) tells how far the
    picture shows through the strokes: most at eyes and mouth.
    """
    height, width = image.shape[:2]
    x, y, r = focus
    palette = f32(((1.05, 1.0, 0.9), (1.0, 1.0, 0.98), (1.06, 0.98, 0.88))[rng.integers(3)])
    image = _grade(image, palette, rng.uniform(0.5, 1.0))
    half = resize(image, (width // 2, height // 2), cv2.INTER_AREA)
    smooth = resize(np.asarray(cv2.bilateralFilter(half, 7, 40, 4), np.uint8), (width, height))
    paint = np.dstack([smooth, np.full((height, width), 128, np.uint8)])
    size = width / 22
    _strokes(image, paint, int(2.0 * height * width / (size * size * 0.26)), size, (0, 0, width, height), rng)
    _strokes(image, paint, 1900, 0.2 * r, (x - 1.8 * r, y - 2.0 * r, x + 1.8 * r, y + 2.3 * r), rng)
    _strokes(image, paint, 1700, 0.13 * r, (x - 1.2 * r, y - 1.5 * r, x + 1.2 * r, y + 1.5 * r), rng)
    paint = soften(paint, 0.6)
    relief = cv2.filter2D(f32(paint[..., 3]), cv2.CV_32F, f32([[0.5, 0.5, 0], [0.5, 0, -0.5], [0, -0.5, -0.5]]))
    canvas, bristles = (_window(tile, height, width, rng) for tile in (_canvas(), _grain()))
    texture = 0.1 * np.clip(relief, -90, 90) + 0.16 * canvas + 0.1 * bristles
    keep = f32(cv2.merge([details] * 3)) / 255
    out = paint[..., :3] * (1 - keep) + image * keep
    out = out * _vignette(height, width, 0.35) + texture[..., None] * (0.75 + out / 400)
    return np.asarray(np.clip(out, 0, 255), np.uint8)
