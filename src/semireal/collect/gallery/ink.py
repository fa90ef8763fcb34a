"""Drawing primitives: colours, curves, antialiased polygons and lines, and typed blur and resize."""

from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Image = NDArray[np.uint8]
Points = NDArray[np.float64]
Colour = tuple[float, float, float]
Pixel = TypeVar("Pixel", np.uint8, np.float32)
UV = Points | list[tuple[float, float]]

SHIFT = 4  # sub-pixel bits of OpenCV's drawing calls
TO_LINEAR = ((np.arange(256) / 255.0) ** 2.2).astype(np.float32)
_TO_SRGB = np.round(255 * np.linspace(0, 1, 4096) ** (1 / 2.2)).astype(np.uint8)


def f32(values: ArrayLike) -> Array:
    """Vector, colour or table of these numbers."""
    return np.asarray(values, np.float32)


def as_colour(values: NDArray[np.number]) -> Colour:
    """Colour of three numbers, brought into 0..255."""
    r, g, b = np.clip(np.asarray(values, np.float64), 0, 255).tolist()
    return r, g, b


def grey(image: Image) -> Image:
    """Luma of an RGB image."""
    return cast(Image, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def soften(image: NDArray[Pixel], sigma: float) -> NDArray[Pixel]:
    """Gaussian blur of `sigma` px."""
    return cast(NDArray[Pixel], cv2.GaussianBlur(image, (0, 0), sigma))


def resize(image: NDArray[Pixel], size: tuple[int, int], how: int = cv2.INTER_LINEAR) -> NDArray[Pixel]:
    """Bring an image to `size`: width and height in px."""
    return cast(NDArray[Pixel], cv2.resize(image, size, interpolation=how))


def shrink(image: Image, factor: float) -> Image:
    """Make an image smaller, both sides by `factor`."""
    return cast(Image, cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))


def linear(colour: Colour | Array) -> Array:
    """Turn sRGB 0..255 into linear 0..1."""
    return np.asarray((np.asarray(colour, np.float32) / 255) ** 2.2, np.float32)


def srgb(light: Array) -> Image:
    """Turn linear light (clipped to 0..1) into sRGB uint8."""
    return _TO_SRGB[(np.clip(light, 0, 1) * 4095).astype(np.int16)]


def smooth_curve(points: NDArray[np.floating], count: int, axis: int = 0) -> Points:
    """Sample `count` points of the Catmull-Rom spline through `points` along `axis`."""
    p = np.moveaxis(np.asarray(points, np.float64), axis, 0)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    where = np.linspace(0, len(p) - 3 - 1e-9, count)
    k = where.astype(int)
    t = (where - k).reshape(-1, *[1] * (p.ndim - 1))
    a, b, c, d = p[k], p[k + 1], p[k + 2], p[k + 3]
    out = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return np.moveaxis(out, 0, axis)


def fixed(points: NDArray[np.floating]) -> NDArray[np.int32]:
    """Turn pixels into the fixed-point numbers of OpenCV's drawing calls."""
    return np.ascontiguousarray(np.round(np.asarray(points) * (1 << SHIFT)), np.int32)


def fill(image: Image, points: NDArray[np.floating], colour: Colour | float) -> None:
    """Fill a polygon given in pixels, antialiased."""
    cv2.fillPoly(image, [fixed(points)], colour, cv2.LINE_AA, SHIFT)


def stroke(image: Image, points: NDArray[np.floating], colour: Colour | float, width: float) -> None:
    """Draw an open polyline given in pixels, antialiased; `width` in px, at least 1."""
    cv2.polylines(image, [fixed(points)], False, colour, max(1, round(width)), cv2.LINE_AA, SHIFT)


def blend(image: Image, over: NDArray[np.generic], cover: Image) -> None:
    """Lay `over` on `image` in place where `cover` (H, W, 0..255) says so."""
    weight = cv2.merge([cover] * 3).astype(np.uint16)
    image[:] = ((image * (255 - weight) + over.astype(np.uint16) * weight + 127) // 255).astype(np.uint8)
