"""Ears, neck, shoulders and clothes."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from semireal.collect.gallery import scene
from semireal.collect.gallery.head import Light, Look, Pose
from semireal.collect.gallery.ink import (
    Array,
    Colour,
    Image,
    Points,
    as_colour,
    blend,
    f32,
    fill,
    linear,
    resize,
    smooth_curve,
    soften,
    srgb,
    stroke,
)

Rng = np.random.Generator
Outline = list[tuple[float, float]]

# Outlines in head units. Most are the viewer's right half, from the middle outwards and back.
_COLLAR: Outline = [(0, 2.12), (0.42, 1.84), (0.75, 1.5), (0.8, 1.53), (0.47, 1.93), (0, 2.24)]
_PAULDRON: Outline = [(1.0, 2.0), (1.45, 2.05), (1.85, 2.3), (2.1, 2.75), (1.6, 2.62), (1.2, 2.4)]
_STUD: Outline = [(-0.04, 0), (0, -0.04), (0.04, 0), (0, 0.04)]
_STRAP: Outline = [(-1.25, 1.9), (-1.0, 1.86), (0.9, 3.6), (0.6, 3.75)]
_MEDAL: Outline = [(-0.1, 2.35), (0, 2.28), (0.1, 2.35), (0.1, 2.5), (0, 2.6), (-0.1, 2.5)]
_EAGLE: Outline = [
    (0, 2.34),
    (0.45, 2.1),
    (0.85, 1.98),
    (0.95, 1.86),
    (1.12, 1.9),
    (1.05, 2.12),
    (0.5, 2.28),
    (0, 2.52),
]
_CHEVRON: Outline = [(0, 2.75), (0.5, 2.5), (1.2, 2.4), (1.1, 2.55), (0.5, 2.68), (0, 2.95)]
_BELT: Outline = [(0, 4.15), (1.5, 3.95), (1.5, 4.25), (0, 4.5)]
_HEM: Outline = [(0, 2.48), (0.3, 2.03), (0.58, 1.56), (0.7, 1.58), (0.42, 2.08), (0, 2.68)]
_ARM_GAP: Outline = [(1.38, 2.75), (1.44, 2.75), (1.56, 9), (1.4, 9)]


def _mirrored(half: Outline) -> Outline:
    return [*half, *[(-u, v) for u, v in half[::-1]]]


def draw_ears(image: Image, pose: Pose, look: Look, light: Light) -> None:
    """Draw the ears; `look.ear_tip` 0 gives round ones, about 1 long pointed ones."""
    tip = look.ear_tip
    reach, rise = 0.14 + 0.5 * tip, 0.3 + 0.45 * tip
    front = [
        (0.9, -0.18),
        (0.97, -0.3),
        (0.98 + 0.42 * reach, -0.22 - 0.58 * rise),
        (0.98 + reach, -0.1 - rise),
    ]
    back = [
        (1.01 + 0.66 * reach, -0.05 - 0.42 * rise),
        (1.04 + 0.32 * reach, 0.02),
        (1.04, 0.22),
        (0.97, 0.34),
        (0.9, 0.3),
    ]
    if tip:  # two curves that meet in a corner
        rim = np.concatenate([smooth_curve(np.array(front), 14), smooth_curve(np.array([front[-1], *back]), 20)])
    else:
        rim = smooth_curve(np.array([*front, *back]), 34)
    depth = -0.12 - 0.25 * np.clip(rim[:, 0] - 0.95, 0, 1)
    middle = rim.mean(0)
    hollow = (rim - middle) * (0.62, 0.68) + middle - np.array((0.02, 0))
    for side in (-1, 1):
        turned = light.shade(f32([[side * 0.45, -0.25, 0.86]]), (0.4, 0.25, 0.2))[0]
        lit = linear(look.skin) * f32((1.0, 0.86, 0.82)) * turned

        def at(uv: Points, side: int = side) -> Points:
            return pose.project(np.stack([side * uv[:, 0], uv[:, 1], depth[: len(uv)]], 1))

        fill(image, at(rim), as_colour(srgb(lit)))
        _lay(image, at(hollow), srgb(lit * f32((0.45, 0.27, 0.25))), 0.045 * pose.scale, 200)
        stroke(image, at(rim - np.array((0.02, -0.02)))[2:-8], as_colour(srgb(lit * 1.45)), 0.022 * pose.scale)


def _lay(image: Image, outline: Points, over: Image, soft: float = 0.0, strength: int = 255) -> None:
    """Lay a colour or a layer over what lies inside an outline in px; `soft` px of blur at its edge."""
    height, width = image.shape[:2]
    margin = 2 + 3 * soft
    x0, y0 = (outline.min(0) - margin).astype(int).clip(0, (width, height))
    x1, y1 = (outline.max(0) + margin).astype(int).clip(0, (width, height))
    if x0 >= x1 or y0 >= y1:
        return
    cover = np.zeros((y1 - y0, x1 - x0), np.uint8)
    fill(cover, outline - (x0, y0), strength)
    if soft:
        cover = soften(cover, soft)
    patch = image[y0:y1, x0:x1]
    blend(patch, over[y0:y1, x0:x1] if over.ndim == 3 else np.broadcast_to(over, patch.shape), cover)


class _Bust:
    """Draws the parts of neck and shoulders, each lit as an upright cylinder."""

    def __init__(self, image: Image, pose: Pose, light: Light, rng: Rng) -> None:
        nape = np.array([0.0, 0.9, -0.3])
        lean = replace(pose, roll=pose.roll * 0.35, yaw=pose.yaw * 0.5, pitch=0.0)
        dx, dy = (pose.project(nape) - lean.project(nape)).tolist()
        self.pose = replace(lean, cx=pose.cx + dx, cy=pose.cy + dy)
        self.light = light
        top = int(np.clip(pose.cy + 0.3 * pose.scale, 0, image.shape[0] - 8))
        self.image = image[top:]
        self.top = top
        ys, xs = np.mgrid[top : image.shape[0] : 4, 0 : image.shape[1] : 4].astype(np.float32)
        c, s = np.cos(self.pose.roll), np.sin(self.pose.roll)
        dxs, dys = (xs - self.pose.cx) / pose.scale, (ys - self.pose.cy) / pose.scale
        self.u: Array = f32(c * dxs + s * dys)
        self.v: Array = f32(c * dys - s * dxs)
        height, width = self.u.shape
        streaks = scene.noise(height // 5 + 2, width, 16, rng, 2)  # wide cells made high: folds hang
        self.folds: Array = f32(1 + 0.2 * resize(streaks, (width, height))[..., None].clip(-2, 2))

    def cloth(self, colour: Colour, round_to: float, up: float, dim: NDArray[np.floating] | float) -> Image:
        """The whole region in one colour: a cylinder of half width `round_to`, tilted `up`, times `dim`."""
        nx = np.clip(self.u / round_to, -0.97, 0.97)
        normals = np.dstack([nx, np.full_like(nx, -up), np.sqrt(1 - nx**2)]) / np.sqrt(1 + up**2)
        lit = linear(colour) * self.light.shade(f32(normals), (0.3, 0.2, 0.2)) * dim
        return resize(srgb(f32(lit)), (self.image.shape[1], self.image.shape[0]))

    def put(self, outline: Outline, cloth: Image, soft: float = 0.0) -> None:
        """Lay a cloth over an outline in head units."""
        points = self.pose.project(np.array([(u, v, -0.3) for u, v in outline])) - (0, self.top)
        _lay(self.image, points, cloth, soft * self.pose.scale)


def draw_bust(image: Image, pose: Pose, look: Look, light: Light, rng: Rng) -> None:
    """Draw neck, shoulders and clothes."""
    bust = _Bust(image, pose, light, rng)
    m = look.masculine
    neck = 0.46 + 0.17 * m
    slope = [
        (neck - 0.02, 0.6),
        (neck, 1.55),
        (neck + 0.12, 1.72),
        (1.2 + 0.3 * m, 2.0),
        (1.7 + 0.5 * m, 2.3),
    ]
    arms = [(1.95 + 0.6 * m, 2.95), (2.05 + 0.6 * m, 4.5), (2.2 + 0.5 * m, 9.0)]
    edge = [(float(u), float(v)) for u, v in smooth_curve(np.array([*slope, *arms]), 44)]
    shadow = 1 - 0.62 * np.clip(1 - np.abs(bust.v - 1.25) / 0.5, 0, 1) * np.clip(1.2 - np.abs(bust.u), 0, 1)
    bust.put(_mirrored(edge), bust.cloth(look.skin, 1.05, 0.25, shadow[..., None]))
    cloth, trim = (bust.cloth(colour, 2.6, 0.35, bust.folds) for colour in (look.cloth, look.trim))
    dark = bust.cloth(look.cloth, 2.6, 0.35, 0.3)
    outer = [(u * 1.04 + 0.02, v - 0.05) for u, v in edge if v > 1.62]
    if look.outfit == "armour":
        bust.put(_mirrored([(0.02, 2.05), (0.4, 1.75), (neck + 0.1, 1.42), *outer]), cloth)
        bust.put(_mirrored(_COLLAR), trim)
        leather = bust.cloth(look.cloth, 2.4, 0.7, 1.9)
        for side in (-1, 1):
            bust.put([(side * u, v) for u, v in _PAULDRON], leather)
            for k in range(3):
                bust.put([(side * (1.12 + 0.28 * k + u), 2.22 + 0.1 * k + v) for u, v in _STUD], trim)
        bust.put(_STRAP, bust.cloth((112, 74, 46), 2.6, 0.4, bust.folds))
        bust.put(_MEDAL, bust.cloth((206, 206, 210), 0.3, 0.3, 1.0))
    elif look.outfit == "bustier":
        bust.put(_mirrored([(0, 2.3), (0.45, 2.08), (0.8, 2.0), *[p for p in outer if p[1] > 1.78]]), cloth)
        for part in (_EAGLE, _CHEVRON, _BELT):
            bust.put(_mirrored(part), trim)
    else:
        bust.put(_mirrored([(0, 2.5), (0.3, 2.05), (neck + 0.14, 1.58), *outer]), cloth)
        bust.put(_mirrored(_HEM), trim)
    for side in (-1, 1):
        bust.put([(side * (u + 0.35 * m), v) for u, v in _ARM_GAP], dark, 0.03)
