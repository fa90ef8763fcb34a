"""Backgrounds behind the characters, and whole pictures without any face."""

from collections.abc import Callable

import cv2
import numpy as np

from semireal.collect.gallery.ink import Array, Image, Points, f32, fill, resize, soften, stroke

Rng = np.random.Generator


def noise(height: int, width: int, cells: float, rng: Rng, octaves: int = 4) -> Array:
    """Smooth noise about 0 with deviation about 1; `cells` features across the picture."""
    out = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        n = max(2, round(cells * 2**octave))
        grid = rng.normal(0, 1, (max(2, round(n * height / width)) + 1, n + 1)).astype(np.float32)
        out += resize(grid, (width, height), cv2.INTER_CUBIC) / 1.8**octave
    return out


def gradient(height: int, width: int, top: tuple[float, ...], bottom: tuple[float, ...]) -> Array:
    """Vertical colour gradient (H, W, 3)."""
    t = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return np.broadcast_to((1 - t) * f32(top) + t * f32(bottom), (height, width, 3)).copy()


def _discs(image: Array, count: int, colours: Array, rng: Rng) -> None:
    """Out-of-focus lights."""
    height, width = image.shape[:2]
    for _ in range(count):
        spot = np.zeros((height, width), np.float32)
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.circle(spot, centre, int(rng.integers(3, max(4, width // 9))), 1.0, -1, cv2.LINE_AA)
        image += spot[..., None] * colours[rng.integers(len(colours))] * rng.uniform(0.12, 0.5)


def _bokeh(height: int, width: int, rng: Rng) -> Array:
    hue = rng.uniform(0.5, 1, 3)
    image = gradient(height, width, tuple(50 * hue), tuple(25 * hue))
    warm = f32([(255, 190, 110), (255, 150, 70), (200, 220, 255), (120, 200, 220), (255, 120, 90)])
    _discs(image, int(rng.integers(12, 34)), warm, rng)
    return image


def _room(height: int, width: int, rng: Rng) -> Array:
    wall = rng.uniform(60, 170) * rng.uniform(0.75, 1, 3)
    image = gradient(height, width, tuple(wall * 1.1), tuple(wall * 0.7))
    for _ in range(int(rng.integers(2, 6))):
        x0, y0 = int(rng.uniform(-0.2, 0.9) * width), int(rng.uniform(-0.1, 0.7) * height)
        x1, y1 = x0 + int(rng.uniform(0.1, 0.45) * width), y0 + int(rng.uniform(0.2, 0.7) * height)
        colour = rng.uniform(0.35, 1.5) * wall * rng.uniform(0.8, 1.2, 3)
        cv2.rectangle(image, (x0, y0), (x1, y1), colour.tolist(), -1)
    if rng.random() < 0.6:
        x = int(rng.choice([-0.05, 0.72]) * width)
        cv2.rectangle(image, (x, 0), (x + width // 3, int(height * 0.7)), (235, 240, 250), -1)
        cv2.line(image, (x + width // 6, 0), (x + width // 6, int(height * 0.7)), (90, 85, 80), 3)
    return image


def _forest(height: int, width: int, rng: Rng) -> Array:
    green = f32((0.75, 1, 0.5)) * rng.uniform(0.8, 1.2, 3)
    image = gradient(height, width, tuple(150 * green), tuple(55 * green))
    image *= (1 + 0.35 * noise(height, width, 7, rng))[..., None].clip(0.2, 2)
    for _ in range(int(rng.integers(3, 9))):
        x, w = rng.uniform(0, width), rng.uniform(0.02, 0.1) * width
        lean = rng.uniform(-0.05, 0.05) * width
        trunk = np.array([(x - w / 2, 0), (x + w / 2, 0), (x + w + lean, height), (x - w + lean, height)])
        cv2.fillPoly(image, [trunk.astype(np.int32)], (f32((50, 38, 28)) * rng.uniform(0.6, 1.4)).tolist())
    _discs(image, 8, f32([(250, 250, 170), (190, 230, 140)]), rng)
    return image


def _sky(height: int, width: int, rng: Rng) -> Array:
    dusk = rng.random() < 0.45
    top, low = ((70, 60, 110), (240, 150, 90)) if dusk else ((80, 130, 200), (205, 220, 235))
    image = gradient(height, width, top, low)
    cloud = np.clip(noise(height, width, 2.5, rng), 0, 1.5)[..., None]
    image += cloud * (f32((250, 225, 215)) - image) * 0.55
    edge = height * rng.uniform(0.6, 0.85) + noise(2, width, 4, rng)[0] * height * 0.04
    ground = np.arange(height)[:, None] > edge[None, :]
    image[ground] = image[ground] * 0.25 + f32((30, 38, 34)) * rng.uniform(0.7, 1.6)
    return image


def _studio(height: int, width: int, rng: Rng) -> Array:
    """A painter's backdrop: one warm or cool colour, lighter beside the head."""
    choices = f32([(96, 70, 46), (62, 76, 74), (88, 52, 44), (64, 62, 88), (112, 98, 66), (58, 84, 58), (40, 44, 56)])
    base = choices[rng.integers(len(choices))] * rng.uniform(0.7, 1.5)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    cx, cy = rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.5) * height
    glow = np.exp(-(((x - cx) / (0.55 * width)) ** 2 + ((y - cy) / (0.5 * height)) ** 2))
    image = base * (0.55 + 0.9 * glow)[..., None]
    image *= (1 + 0.22 * noise(height, width, 4, rng))[..., None]
    other = choices[rng.integers(len(choices))]
    blend = np.clip(noise(height, width, 2, rng) * 0.4 + 0.3, 0, 0.8)[..., None]
    return f32(image * (1 - blend) + other * 1.2 * blend)


_PHOTO: tuple[Callable[[int, int, Rng], Array], ...] = (_bokeh, _room, _forest, _sky)
_PAINTED = (_studio, _studio, _forest, _sky)


def backdrop(height: int, width: int, style: str, rng: Rng) -> Image:
    """An out-of-focus background (H, W, 3)."""
    h, w = height // 6 + 1, width // 6 + 1
    choices = _PHOTO if style == "photo" else _PAINTED
    small = choices[rng.integers(len(choices))](h, w, rng)
    small = soften(small, rng.uniform(0.012, 0.04) * w)
    small = np.clip(small * rng.uniform(0.65, 1.1), 0, 255).astype(np.uint8)
    return resize(small, (width, height), cv2.INTER_CUBIC)


def _ball(image: Image, x: float, y: float, r: float, colour: Array) -> None:
    x0, y0, x1, y1 = (
        int(c) for c in (max(x - r, 0), max(y - r, 0), min(x + r, image.shape[1]), min(y + r, image.shape[0]))
    )
    if x1 <= x0 or y1 <= y0:
        return
    ys, xs = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    nx, ny = (xs - x) / r, (ys - y) / r
    inside = nx**2 + ny**2 < 1
    nz = np.sqrt(np.clip(1 - nx**2 - ny**2, 0, 1))
    lit = np.clip(0.2 + 0.9 * np.clip(-0.5 * nx - 0.55 * ny + 0.67 * nz, 0, 1), 0, 1.2)[..., None] * colour
    lit += (np.clip(-0.3 * nx - 0.33 * ny + 0.9 * nz, 0, 1) ** 40 * 150)[..., None]
    patch = image[y0:y1, x0:x1]
    patch[inside] = np.clip(lit, 0, 255).astype(np.uint8)[inside]


def _landscape(height: int, width: int, rng: Rng) -> Image:
    image = np.clip(_sky(height, width, rng), 0, 255)
    tone = rng.uniform(60, 150) * f32((0.75, 0.95, 1.1))
    for layer in range(5):
        edge = height * (0.35 + 0.13 * layer) + noise(2, width, 2 + 2 * layer, rng, 6)[0] * height * 0.05
        below = np.arange(height)[:, None] > edge[None, :]
        fade = layer / 4
        colour = tone * (1 - 0.55 * fade) + f32((-25, 20, -50)) * fade
        texture = 1 + 0.14 * noise(height, width, 24, rng, 3)
        image[below] = np.clip(colour * texture[..., None], 0, 255)[below]
    return image.astype(np.uint8)


def _still_life(height: int, width: int, rng: Rng) -> Image:
    image = np.clip(_studio(height, width, rng), 0, 255).astype(np.uint8)
    table = int(height * 0.62)
    wood = f32((120, 78, 46)) * (1 + 0.16 * noise(height - table, width, 5, rng, 5))[..., None]
    image[table:] = np.clip(wood, 0, 255).astype(np.uint8)
    fruit = f32([(200, 40, 30), (220, 150, 30), (120, 160, 50), (110, 50, 110), (230, 190, 70)])
    for _ in range(int(rng.integers(4, 9))):
        r = rng.uniform(0.06, 0.13) * width
        x, y = rng.uniform(0.1, 0.9) * width, table + rng.uniform(-0.02, 0.2) * height
        cv2.ellipse(
            image,
            (int(x + r * 0.4), int(y + r * 0.9)),
            (int(r * 1.2), int(r * 0.25)),
            0,
            0,
            360,
            (40, 26, 18),
            -1,
        )
        _ball(image, x, y, r, fruit[rng.integers(len(fruit))])
    return image


def _sword(height: int, width: int, rng: Rng) -> Image:
    image = np.clip(_bokeh(height, width, rng), 0, 255).astype(np.uint8)
    angle = rng.uniform(-0.5, 0.5)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre, unit = np.array([width * 0.5, height * 0.52]), height * 0.42

    def at(points: list[tuple[float, float]]) -> Points:
        return np.asarray(np.array(points) @ turn * unit + centre)

    fill(image, at([(-0.06, 0.45), (-0.05, -0.9), (0, -1.05), (0, 0.45)]), (188, 194, 204))
    fill(image, at([(0.06, 0.45), (0.05, -0.9), (0, -1.05), (0, 0.45)]), (110, 116, 128))
    stroke(image, at([(0, 0.4), (0, -0.7)]), (232, 236, 240), 0.012 * unit)
    fill(image, at([(-0.3, 0.44), (0.3, 0.44), (0.27, 0.52), (-0.27, 0.52)]), (150, 112, 52))
    fill(image, at([(-0.045, 0.52), (0.045, 0.52), (0.04, 0.86), (-0.04, 0.86)]), (72, 44, 30))
    pommel = at([(0, 0.92)])[0]
    _ball(image, float(pommel[0]), float(pommel[1]), 0.08 * unit, f32((190, 150, 70)))
    return image


def _building(height: int, width: int, rng: Rng) -> Image:
    image = np.clip(_sky(height, width, rng), 0, 255).astype(np.uint8)
    stone = f32((150, 140, 126)) * rng.uniform(0.6, 1.1)
    for _ in range(int(rng.integers(3, 7))):
        x, w, top = (
            rng.uniform(0, 0.85) * width,
            rng.uniform(0.12, 0.26) * width,
            rng.uniform(0.15, 0.5) * height,
        )
        shade = stone * rng.uniform(0.7, 1.15)
        cv2.rectangle(image, (int(x), int(top)), (int(x + w), height), shade.tolist(), -1)
        cv2.rectangle(image, (int(x + 0.7 * w), int(top)), (int(x + w), height), (shade * 0.7).tolist(), -1)
        roof = np.array([(x - 0.1 * w, top), (x + 1.1 * w, top), (x + 0.5 * w, top - rng.uniform(0.6, 1.3) * w)])
        fill(image, roof, (shade * f32((0.7, 0.35, 0.3))).tolist())
        for row in np.arange(top + 0.25 * w, height, 0.45 * w):
            for column in (0.2, 0.55):
                corner = (int(x + column * w), int(row))
                cv2.rectangle(image, corner, (corner[0] + int(0.16 * w), corner[1] + int(0.26 * w)), (28, 24, 26), -1)
    texture = 1 + 0.07 * noise(height, width, 30, rng, 3)
    return np.clip(image * texture[..., None], 0, 255).astype(np.uint8)


_FACELESS = (_landscape, _still_life, _sword, _building)


def faceless(height: int, width: int, rng: Rng) -> Image:
    """A picture (H, W, 3) in which nobody is seen."""
    return _FACELESS[rng.integers(len(_FACELESS))](height, width, rng)
