"""Hair as a few hundred strands in three dimensions, each lit along its length."""

import cv2
import numpy as np
from numpy.typing import NDArray

from semireal.collect.gallery.head import Light, Look, Pose
from semireal.collect.gallery.ink import (
    Colour,
    Image,
    Points,
    as_colour,
    f32,
    fill,
    fixed,
    linear,
    smooth_curve,
    srgb,
)

Strands = Points  # (strands, points, 3) in head units
Rng = np.random.Generator
_POINTS = 16
_PIECE = 3  # segments per piece of one colour


def _curves(u: list[Points], v: list[Points], z: list[Points]) -> Strands:
    """Strands through given points: per coordinate a list of (strands,) arrays from root to tip."""
    return smooth_curve(np.stack([np.stack(axis, 1) for axis in (u, v, z)], 2), _POINTS, axis=1)


def _lock(strands: Strands, look: Look, lock: NDArray[np.int64], rng: Rng) -> Strands:
    """Gather strands into waving locks that narrow towards their tips; `lock` numbers each strand's lock."""
    t = np.linspace(0, 1, _POINTS)[None, :]
    members = np.bincount(lock)
    centre = np.stack([np.bincount(lock, strands[:, -1, i]) / np.maximum(members, 1) for i in range(3)], 1)[lock]
    gather = (0.5 * t**1.5)[..., None]
    out = strands + gather * (centre - strands[:, -1])[:, None]
    phase = rng.uniform(0, 2 * np.pi, members.size)[lock][:, None]
    pace = rng.uniform(0.85, 1.15, members.size)[lock][:, None]
    length = 2.6 + look.hair_length
    swing = np.clip(t * 2 - 0.45, 0, 1) * look.hair_wave
    out[..., 0] += swing * np.sin(t * 2.7 * length * pace + phase) + rng.normal(0, 0.014, (len(out), 1)) * (0.5 + t)
    out[..., 2] += swing * np.cos(t * 2.7 * length * pace + phase)
    return out


def _loose(look: Look, count: int, rng: Rng) -> tuple[Strands, NDArray[np.int64]]:
    """From the parting over the temples down beside the face, the innermost last."""
    side = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    t = np.sort(rng.random(count))[::-1]
    lock = (t * 11).astype(np.int64) + 11 * (side > 0)
    zero, length = (
        np.zeros(count),
        look.hair_length * rng.uniform(0.8, 1.1, 22)[lock] * rng.uniform(0.95, 1.03, count),
    )
    part = look.parting + rng.normal(0, 0.035, count)
    body = 1 + 0.8 * look.hair_wave  # waving hair stands off more
    u = [
        part + side * 0.02,
        0.7 * part + side * (0.28 + 0.22 * t),
        0.2 * part + side * (0.58 + 0.34 * t),
        side * (0.82 + 0.29 * t * body),
        side * (0.97 + 0.32 * t * body),
        side * (1.0 + 0.42 * t * body),
        side * (0.98 + 0.52 * t * body),
        side * (0.92 + 0.62 * t * body),
    ]
    v = [
        -1.12 - 0.62 * t,
        -1.08 - 0.58 * t,
        -0.86 - 0.48 * t,
        -0.45 - 0.3 * t,
        zero + 0.15,
        0.15 + 0.3 * (length - 0.15),
        0.15 + 0.65 * (length - 0.15),
        length,
    ]
    z = [
        0.88 - 0.6 * t,
        0.82 - 0.58 * t,
        0.68 - 0.55 * t,
        0.5 - 0.5 * t,
        0.3 - 0.5 * t,
        0.25 - 0.45 * t,
        0.25 - 0.45 * t,
        0.25 - 0.45 * t,
    ]
    return _lock(_curves(u, v, z), look, lock, rng), lock


def _swept_back(count: int, rng: Rng) -> tuple[Strands, NDArray[np.int64]]:
    """From the hairline up over the skull, tied behind; the lowest roots last."""
    depth = np.sort(rng.random(count))[::-1] ** 1.3
    phi = rng.uniform(-1.62, 1.62, count)
    sin, cos = np.sin(phi), np.cos(phi)
    peak = 0.05 * np.cos(phi * 5) + rng.normal(0, 0.012, count)
    u = [
        (0.88 + 0.1 * depth) * sin,
        (0.99 + 0.06 * depth) * sin,
        1.08 * sin * np.ones(count),
        1.02 * sin,
        0.9 * sin,
    ]
    v = [
        -0.3 - 0.7 * cos + peak - 0.4 * depth * cos,
        -0.36 - (0.98 + 0.2 * depth) * cos,
        -0.42 - 1.22 * cos,
        -0.45 - 1.3 * cos,
        -0.45 - 1.25 * cos,
    ]
    z = [
        0.72 * cos + 0.12 - 0.3 * depth,
        0.55 * cos - 0.1 * depth,
        0.2 * cos - 0.1,
        -0.2 - 0.1 * cos,
        -0.5 + 0 * cos,
    ]
    strands = _curves(u, v, z)
    return strands + rng.normal(0, 0.008, (count, 1, 3)), ((phi + 1.7) * 9).astype(np.int64)


def _behind(look: Look, count: int, rng: Rng) -> tuple[Strands, NDArray[np.int64]]:
    """The mass behind head and neck."""
    s = rng.uniform(-1, 1, count)
    lock = ((s + 1) * 6).astype(np.int64)
    length = look.hair_length * rng.uniform(0.85, 1.1, 13)[lock]
    zero, wide = np.zeros(count), 1 + 0.9 * look.hair_wave
    u = [0.8 * s, 1.12 * s, 1.24 * s * wide, 1.3 * s * wide, 1.34 * s * wide]
    v = [-1.5 + 0.3 * s**2, -0.7 + zero, 0.3 + zero, 0.3 + 0.5 * (length - 0.3), length]
    z = [zero - 0.3, zero - 0.6, zero - 0.7, zero - 0.7, zero - 0.7]
    return _lock(_curves(u, v, z), look, lock, rng), lock


def _tones(strands: Strands, lock: NDArray[np.int64], look: Look, light: Light, dim: float, rng: Rng) -> Image:
    """Colour of each piece: Kajiya and Kay (1989), diffuse sin(T, L) and highlight sin(T, H)^n."""
    start, end = strands[:, :-_PIECE:_PIECE], strands[:, _PIECE::_PIECE]
    mid, along = (start + end) / 2, end - start
    along /= np.linalg.norm(along, axis=2, keepdims=True) + 1e-9
    outward = mid * (0.6, 0.0, 1.0) + (0, 0, 0.4)
    outward[..., 1] = np.clip((mid[..., 1] + 0.2) * 0.8, -1.2, 0.0)
    outward /= np.linalg.norm(outward, axis=2, keepdims=True)
    key = np.array(light.key)
    half = key + np.array((0, 0, 1))
    half /= np.linalg.norm(half)
    facing = np.clip(0.35 + 0.65 * outward @ key, 0.08, 1)
    diffuse = (0.45 + 0.55 * np.sqrt(np.clip(1 - (along @ key) ** 2, 0, 1))) * facing
    gloss = np.sqrt(np.clip(1 - (along @ half + 0.1) ** 2, 0, 1)) ** 50 * facing
    each = np.exp(rng.normal(0, 0.24, len(strands)) + rng.normal(0, 0.14, lock.max() + 1)[lock])[:, None]
    colour = linear(look.hair)
    lit = diffuse[..., None] * np.array(light.colour) + 0.8 * np.array(light.ambient)
    shine = (gloss * each)[..., None] * (0.035 + 0.75 * colour) * np.array(light.colour)
    return srgb((dim * (each[..., None] * colour * lit + shine)).astype(np.float32))


def _draw(image: Image, strands: Strands, tones: Image, pose: Pose, thickness: float) -> None:
    """Draw strands, thinner in their last piece."""
    points = fixed(pose.project(strands))
    pieces = range(0, _POINTS - 1, _PIECE)
    widths = [max(1, round(thickness * pose.scale))] * (len(pieces) - 1) + [max(1, round(0.5 * thickness * pose.scale))]
    for path, colours in zip(points, tones.tolist(), strict=True):
        for k, colour, width in zip(pieces, colours, widths, strict=True):
            cv2.polylines(image, [path[k : k + _PIECE + 1]], False, colour, width, cv2.LINE_AA, 4)


def _base(look: Look, light: Light, dim: float) -> Colour:
    """Colour of the depth between the strands."""
    around = 0.25 * f32(light.colour) + 0.7 * f32(light.ambient)
    return as_colour(srgb(linear(look.hair) * dim * around))


def draw_behind(image: Image, pose: Pose, look: Look, light: Light, rng: Rng) -> None:
    """Draw what hangs behind face and neck."""
    wide, end = 1 + 0.9 * look.hair_wave, look.hair_length
    rim = [
        (0, -1.75),
        (0.5, -1.62),
        (0.85, -1.2),
        (1.08, -0.5),
        (1.16 * wide, 0.4),
        (1.2 * wide, end * 0.75),
        (0.8, end * 0.85),
    ]
    mass = np.array([(u, v, -0.6) for u, v in [*rim, *[(-u, v) for u, v in rim[:0:-1]]]])
    fill(image, pose.project(mass), _base(look, light, 0.5))
    strands, lock = _behind(look, 220, rng)
    _draw(image, strands, _tones(strands, lock, look, light, 0.6, rng), pose, 0.022)


def draw_front(image: Image, pose: Pose, look: Look, light: Light, rng: Rng) -> None:
    """Draw the hair in front of skull and temples."""
    if look.tied:
        rim = np.linspace(-1.62, 1.62, 40)
        inner = np.stack([0.9 * np.sin(rim), -0.3 - 0.74 * np.cos(rim), 0.7 * np.cos(rim)], 1)
        outer = np.stack([1.05 * np.sin(rim), -0.42 - 1.27 * np.cos(rim), 0 * rim], 1)
        fill(image, pose.project(np.concatenate([inner, outer[::-1]])), _base(look, light, 1.0))
        strands, lock = _loose(look, 420, rng)
        outside = np.abs(strands[:, 8, 0]) > 1.06
        hanging = smooth_curve(strands[outside, 5:], _POINTS, axis=1)
        hanging[..., 0] *= np.linspace(0.55, 0, _POINTS) ** 2 * -0.5 + 1  # comes out from under the rest
        _draw(image, hanging, _tones(hanging, lock[outside], look, light, 0.85, rng), pose, 0.018)
        strands, lock = _swept_back(420, rng)
        _draw(image, strands, _tones(strands, lock, look, light, 1.0, rng), pose, 0.018)
        return
    strands, lock = _loose(look, 640, rng)
    for side in (-1, 1):
        own = strands[np.sign(strands[:, 6, 0]) == side]
        outer, inner = own[:30].mean(0), own[-30:].mean(0)
        fill(image, pose.project(np.concatenate([inner[:9], outer[8::-1]])), _base(look, light, 0.7))
    _draw(image, strands, _tones(strands, lock, look, light, 1.0, rng), pose, 0.02)
