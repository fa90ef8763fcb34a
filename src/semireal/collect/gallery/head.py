"""Draws one head as a lit relief: an analytic height map gives the normals, a painted sheet the colours.

Head units: u to the viewer's right, v down, z towards the viewer; 1 = half of the face's width, and the
origin lies between the eyes. All colours at the rim are sRGB 0..255, all light is computed linearly.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from semireal.collect.gallery.ink import (
    SHIFT,
    TO_LINEAR,
    UV,
    Array,
    Colour,
    Image,
    Points,
    blend,
    f32,
    fill,
    fixed,
    linear,
    resize,
    smooth_curve,
    soften,
    srgb,
    stroke,
)


@dataclass(frozen=True)
class Pose:
    """Where a head stands in the picture: angles in rad, scale in px per head unit, centre in px."""

    roll: float
    yaw: float
    pitch: float
    scale: float
    cx: float
    cy: float

    def project(self, points: NDArray[np.floating]) -> Points:
        """Turn (..., 3) head units into (..., 2) pixels, orthographically."""
        u, v, z = (points[..., i] for i in range(3))
        x = u * np.cos(self.yaw) + z * np.sin(self.yaw)
        depth = z * np.cos(self.yaw) - u * np.sin(self.yaw)
        y = v * np.cos(self.pitch) - depth * np.sin(self.pitch)
        c, s = np.cos(self.roll) * self.scale, np.sin(self.roll) * self.scale
        return np.stack([self.cx + c * x - s * y, self.cy + s * x + c * y], axis=-1)


@dataclass(frozen=True)
class Light:
    """One key light, its colour, and what comes from all around; `key` is a unit vector towards the light."""

    key: tuple[float, float, float]
    colour: Colour
    ambient: Colour
    rim: Colour

    def shade(self, normals: Array, wrap: Colour = (0.1, 0.1, 0.1)) -> Array:
        """Light arriving at (..., 3) unit normals, per channel, 1 = full key light."""
        facing = normals @ f32(self.key)
        wraps = f32(wrap)
        diffuse = np.maximum((facing[..., None] + wraps) / (1 + wraps), 0)
        sky = (0.65 - 0.35 * normals[..., 1])[..., None]
        return f32(diffuse * f32(self.colour) + sky * f32(self.ambient))


@dataclass(frozen=True)
class Look:
    """What a character looks like in one picture; lengths in head units, strengths 0..1."""

    skin: Colour
    hair: Colour
    brow: Colour
    iris: Colour
    lips: Colour
    masculine: float
    jaw: float
    nose: float
    lip_height: float
    lash: float
    lid_shade: Colour
    smile: float
    frown: float
    eye_open: float
    gaze: tuple[float, float]
    hair_length: float
    hair_wave: float
    parting: float
    tied: bool
    outfit: str
    cloth: Colour
    trim: Colour
    beard: float = 0.0
    scar: bool = False
    tiara: bool = False
    ear_tip: float = 0.0
    freckles: float = 0.0


class Sheet:
    """The plane of head units on which a face is painted, `ppu` px per head unit."""

    U0, V0, U1, V1 = -1.2, -1.7, 1.2, 1.62

    def __init__(self, ppu: float) -> None:
        self.ppu = ppu
        self.width = round((self.U1 - self.U0) * ppu)
        self.height = round((self.V1 - self.V0) * ppu)
        self.u = (np.arange(self.width, dtype=np.float32) + 0.5) / ppu + self.U0
        self.v = (np.arange(self.height, dtype=np.float32) + 0.5) / ppu + self.V0

    def px(self, uv: UV) -> Points:
        """Turn head units into pixels of this sheet."""
        return np.asarray((np.asarray(uv) - (self.U0, self.V0)) * self.ppu - 0.5)

    def bump(self, u: float, v: float, su: float, sv: float) -> Array:
        """Draw a Gaussian hill of height 1."""
        across = np.exp(-(((self.u - u) / su) ** 2) / 2)
        along = np.exp(-(((self.v - v) / sv) ** 2) / 2)
        return f32(along[:, None] * across[None, :])

    def pair(self, u: float, v: float, su: float, sv: float) -> Array:
        """Draw the same hill on both sides."""
        across = np.exp(-(((self.u - u) / su) ** 2) / 2) + np.exp(-(((self.u + u) / su) ** 2) / 2)
        return f32(np.exp(-(((self.v - v) / sv) ** 2) / 2)[:, None] * across[None, :])

    def mask(self, uv: UV, blur: float = 0.0) -> Array:
        """Coverage 0..1 of a polygon in head units, its edge softened by `blur` head units."""
        out = np.zeros((self.height, self.width), np.uint8)
        fill(out, self.px(uv), 255)
        return f32((soften(out, blur * self.ppu) if blur else out) / np.float32(255))


def outline_width(v: NDArray[np.floating], look: Look) -> Points:
    """Half of the face's width at height v."""
    jaw = look.jaw
    stops = np.array([-1.7, -1.55, -1.3, -1.0, -0.6, -0.2, 0.2, 0.55, 0.85, 1.05, 1.2, 1.3, 1.37])
    widths = np.array([0.0, 0.5, 0.8, 0.94, 1.0, 1.0, 0.97, 0.89, 0.74, 0.58, 0.42, 0.27, 0.0])
    widths[7:12] += np.array([0.5, 0.9, 1.0, 0.9, 0.6]) * jaw
    at = np.linspace(stops[0], stops[-1], 120)
    smooth = np.asarray(cv2.GaussianBlur(np.interp(at, stops, widths)[:, None], (1, 13), 2.6))[:, 0]
    return np.asarray(np.interp(v, at, smooth, left=0, right=0))


def face_outline(look: Look) -> Points:
    """Polygon of the face in head units, clockwise from the top."""
    v = np.linspace(-1.7, 1.37, 90)
    w = outline_width(v, look)
    return np.concatenate([np.stack([w, v], 1), np.stack([-w, v], 1)[::-1]])


def relief(sheet: Sheet, look: Look) -> tuple[Array, Array]:
    """Height of the face over the sheet: in full, and a tame version without steep slopes for turning it."""
    m = look.masculine
    v = sheet.v
    w = f32(np.maximum(outline_width(v, look), 0.02))
    depth = 0.95 * np.sqrt(np.clip(1 - np.abs(v / 1.78) ** 3.5, 0.02, 1)) * np.clip((1.5 - v) / 0.3, 0.35, 1)
    side = np.clip(np.abs(sheet.u)[None, :] / w[:, None], 0, 1)
    dome = (depth[:, None] * np.sqrt(1 - side**2.4)).astype(np.float32)
    ridge = np.interp(v, [-0.4, -0.22, 0.1, 0.38, 0.46, 0.55, 0.62], [0.0, 0.05, 0.15, 0.33, 0.33, 0.1, 0.0])
    spread = np.interp(v, [-0.3, 0.1, 0.45], [0.075, 0.085, 0.125]) * (0.9 + 0.25 * look.nose)
    nose = ridge[:, None] * np.exp(-((sheet.u[None, :] / spread[:, None]) ** 2) / 2)
    nose = soften(nose.astype(np.float32), 0.02 * sheet.ppu)
    z = dome + nose * (0.9 + 0.2 * look.nose)
    z += 0.07 * sheet.bump(0, 0.42, 0.1, 0.08) + (0.07 + 0.03 * look.nose) * sheet.pair(0.15, 0.47, 0.06, 0.06)
    z += (0.05 + 0.08 * m) * sheet.pair(0.38, -0.27, 0.27, 0.08)
    z -= 0.15 * sheet.pair(0.4, 0.0, 0.2, 0.13) + 0.09 * sheet.pair(0.19, 0.0, 0.08, 0.12)
    z += 0.1 * sheet.pair(0.42, 0.0, 0.14, 0.09)
    z += 0.09 * sheet.pair(0.6, 0.3, 0.24, 0.16) - (0.04 + 0.05 * m) * sheet.pair(0.62, 0.72, 0.16, 0.22)
    z += 0.08 * sheet.bump(0, 0.75, 0.32, 0.22) - 0.025 * sheet.bump(0, 0.63, 0.035, 0.06)
    lip = 0.6 + 0.5 * look.lip_height
    z += 0.05 * lip * sheet.bump(0, 0.735, 0.2, 0.04) + 0.075 * lip * sheet.bump(0, 0.875, 0.17, 0.05)
    z -= 0.05 * sheet.bump(0, 0.8, 0.26, 0.018) + 0.06 * sheet.bump(0, 0.99, 0.2, 0.05)
    z += (0.08 + 0.04 * m) * sheet.bump(0, 1.14, 0.2 + 0.05 * m, 0.12) - 0.03 * sheet.pair(0.33, 0.8, 0.05, 0.07)
    tame = depth[:, None] * (1 - side**2) + soften(nose, 0.09 * sheet.ppu)
    return z, soften(tame.astype(np.float32), 0.05 * sheet.ppu)


def _light_map(sheet: Sheet, z: Array, light: Light) -> tuple[Array, Array]:
    """Diffuse light (H, W, 3) with cast shadows and occlusion, and highlights (H, W)."""
    zx = cv2.Sobel(z, cv2.CV_32F, 1, 0, scale=sheet.ppu / 8)
    zy = cv2.Sobel(z, cv2.CV_32F, 0, 1, scale=sheet.ppu / 8)
    normals = np.dstack([-zx, -zy, np.ones_like(z)])
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    lx, ly, lz = light.key
    blocked = np.zeros_like(z)
    for step in (0.05, 0.1, 0.16, 0.23, 0.31, 0.4):
        shift = f32([[1, 0, -lx * step * sheet.ppu], [0, 1, -ly * step * sheet.ppu]])
        towards = cv2.warpAffine(z, shift, (sheet.width, sheet.height), borderMode=cv2.BORDER_REPLICATE)
        blocked = np.maximum(blocked, (towards - z - lz * step) / (0.06 + 0.25 * step))
    shadow = 1 - 0.75 * soften(np.clip(blocked, 0, 1), 0.025 * sheet.ppu)
    hollow = soften(z, 0.1 * sheet.ppu) - z
    occlusion = np.clip(1 - 2.6 * hollow, 0.5, 1.12)
    facing = np.maximum(normals @ f32(light.key), 0)
    shade = light.shade(normals, (0.45, 0.25, 0.2))
    ambient = (0.65 - 0.35 * normals[..., 1])[..., None] * f32(light.ambient)
    lit = (ambient + (shade - ambient) * shadow[..., None]) * occlusion[..., None]
    side = np.maximum(normals[..., 0] * (-np.sign(lx)), 0)
    lit += ((1 - normals[..., 2]) ** 2 * side)[..., None] * f32(light.rim)
    half = f32(light.key) + f32([0, 0, 1])
    half /= np.linalg.norm(half)
    gloss = np.maximum(normals @ half, 0)
    shine = (0.1 * gloss**12 + 0.13 * gloss**50) * shadow * (facing > 0)
    return lit.astype(np.float32), shine.astype(np.float32)


def _tint(image: Array, mask: Array, colour: Colour, strength: float) -> None:
    image += (mask * strength)[..., None] * (f32(colour) - image)


def _skin(sheet: Sheet, look: Look, rng: np.random.Generator) -> Array:
    """Bare skin: blood in cheeks, nose and ears, shade around the eyes, uneven colour."""
    patches = rng.normal(0, 1, (14, 10, 3)).astype(np.float32) * f32((4, 3, 3))
    skin = resize(patches, (sheet.width, sheet.height), cv2.INTER_CUBIC) + f32(look.skin)
    blood = (look.skin[0] * 0.98, look.skin[1] * 0.72, look.skin[2] * 0.68)
    flush = 0.55 * sheet.pair(0.6, 0.38, 0.24, 0.18) + 0.5 * sheet.bump(0, 0.42, 0.15, 0.11)
    _tint(skin, flush, blood, 0.5 + 0.25 * (1 - look.masculine))
    _tint(skin, sheet.pair(0.42, -0.05, 0.24, 0.11), look.lid_shade, 0.55)
    _tint(
        skin,
        sheet.pair(0.36, 0.16, 0.17, 0.05),
        (look.skin[0] * 0.7, look.skin[1] * 0.58, look.skin[2] * 0.6),
        0.35,
    )
    return skin


def _beard(sheet: Sheet, image: Image, alpha: Image, look: Look, rng: np.random.Generator) -> None:
    """Short hairs on jaw, chin and upper lip; they may stick out of the face's outline."""
    count = int(1500 * look.beard)
    v = rng.uniform(0.3, 1.42, count)
    u = rng.uniform(-1, 1, count) * (outline_width(v, look) + 0.02)
    cheek = np.interp(np.abs(u), [0, 0.14, 0.36, 0.62, 0.86, 1.0], [0.62, 0.66, 0.78, 0.88, 0.45, 0.2])
    mouth = (np.abs(u) < 0.3) & (np.abs(v - 0.81) < 0.12 - 0.1 * np.abs(u))
    keep = (v > cheek) & ~mouth
    u, v = u[keep], v[keep]
    slant = 0.25 * u + rng.normal(0, 0.25, len(u))
    lip = (np.abs(u) < 0.38) & (v < 0.8)
    length = np.where(lip, 0.06, rng.uniform(0.08, 0.15, len(u)))
    ends = np.stack([u + slant * length, v + length], 1)
    start, end = fixed(sheet.px(np.stack([u, v], 1))), fixed(sheet.px(ends))
    tones = np.clip(f32(look.brow) * rng.uniform(0.55, 1.3, (len(u), 1)), 0, 255)
    width = max(1, round(0.014 * sheet.ppu))
    for a, b, tone in zip(start.tolist(), end.tolist(), tones.tolist(), strict=True):
        cv2.line(image, a, b, tone, width, cv2.LINE_AA, SHIFT)
        cv2.line(alpha, a, b, 255, width, cv2.LINE_AA, SHIFT)


def _brows(sheet: Sheet, image: Image, look: Look, rng: np.random.Generator) -> None:
    m = look.masculine
    for side in (-1, 1):
        arc = smooth_curve(
            np.array(
                [
                    (0.17, -0.255 + 0.06 * look.frown),
                    (0.36, -0.3 + 0.03 * m),
                    (0.56, -0.335 + 0.06 * m),
                    (0.73, -0.255 + 0.03 * m),
                ]
            ),
            46,
        )
        t = np.linspace(0, 1, 46)
        thick = (0.042 + 0.04 * m) * np.clip(1.15 - t, 0.2, 1) * np.clip(t * 6, 0.5, 1)
        for (u, v), h in zip(arc, thick, strict=True):
            for _ in range(3):
                dv = rng.uniform(-0.6, 0.6) * h
                lean = 0.35 + 0.6 * (u - 0.17)
                hair = [
                    (side * (u - 0.015), v + dv + h * 0.35),
                    (side * (u + 0.07 * lean), v + dv - h * 0.35),
                ]
                tone = np.clip(np.array(look.brow) * rng.uniform(0.75, 1.15), 0, 255).tolist()
                stroke(image, sheet.px(hair), tone, 0.016 * sheet.ppu)


def _lid_curves(side: int, look: Look) -> tuple[Points, Points]:
    """Upper and lower lid of one eye from its inner to its outer corner."""
    t = np.linspace(-1, 1, 25)
    u = 0.42 + 0.205 * t
    tilt = -0.022 * t
    up = -(0.095 * look.eye_open) * np.clip(1 - np.abs(t + 0.12) ** 2.3 / 1.3, 0, 1) * (1 - t**8) + tilt
    down = 0.058 * (0.6 + 0.4 * look.eye_open) * (1 - np.abs(t - 0.15) ** 2.2 / 1.36) * (1 - t**8) + tilt
    return np.stack([side * u, up], 1), np.stack([side * u, down], 1)


def _eye(sheet: Sheet, image: Image, side: int, look: Look, rng: np.random.Generator) -> None:
    """One eye, painted three times finer than the sheet and reduced."""
    fine = 3
    u0, v0, u1, v1 = side * 0.42 - 0.3, -0.2, side * 0.42 + 0.3, 0.2
    x0, y0, x1, y1 = np.round(np.array([*sheet.px([(u0, v0)])[0], *sheet.px([(u1, v1)])[0]])).astype(int)
    size = ((x1 - x0) * fine, (y1 - y0) * fine)
    unit = sheet.ppu * fine

    def px(uv: UV) -> Points:
        return np.asarray((sheet.px(uv) - (x0, y0) + 0.5) * fine - 0.5)

    skin = resize(image[y0:y1, x0:x1], size, cv2.INTER_LINEAR)
    upper, lower = _lid_curves(side, look)
    ball = np.empty_like(skin)
    ball[:] = (222, 214, 206)
    cx, cy = px([(side * 0.42 + look.gaze[0], -0.012 + look.gaze[1])])[0]
    iris = np.array(look.iris)
    radius = 0.108 * unit
    centre = (round(cx), round(cy))
    cv2.circle(ball, centre, round(radius), (iris * 0.3).tolist(), -1, cv2.LINE_AA)
    cv2.circle(ball, centre, round(radius * 0.86), (iris * 0.85).tolist(), -1, cv2.LINE_AA)
    for angle in rng.uniform(0, 2 * np.pi, 40):
        ray = np.array([np.cos(angle), np.sin(angle)])
        gain = rng.uniform(0.6, 1.4) * (1 + 0.3 * ray[1])
        tone = np.clip(iris * gain, 0, 255).tolist()
        stroke(
            ball,
            np.array([(cx, cy) + ray * radius * 0.4, (cx, cy) + ray * radius * 0.84]),
            tone,
            0.012 * unit,
        )
    cv2.circle(ball, centre, round(radius * 0.42), (14, 11, 10), -1, cv2.LINE_AA)
    ys = np.linspace(v0, v1, size[1], dtype=np.float32)[:, None]
    xs = np.linspace(u0, u1, size[0], dtype=np.float32)[None, :]
    under_lid = np.clip((ys + 0.115 * look.eye_open) / 0.09, 0.32, 1)
    corners = 1 - 0.4 * (np.abs(xs - side * 0.42) / 0.2) ** 2.5
    ball = np.clip(ball * (under_lid * np.clip(corners, 0.4, 1))[..., None], 0, 255).astype(np.uint8)
    opening = np.zeros(size[::-1], np.uint8)
    fill(opening, px(np.concatenate([upper, lower[::-1]])), 255)
    cover = (soften(opening, 1.2).astype(np.float32) / 255)[..., None]
    eye = (skin * (1 - cover) + ball * cover).astype(np.uint8)
    dark = (34, 22, 18)
    crease = upper + np.stack([np.zeros(25), -0.05 - 0.02 * np.sin(np.linspace(0, np.pi, 25))], 1)
    shade = (np.array(look.skin) * (0.5, 0.38, 0.36)).tolist()
    stroke(eye, px(crease[2:]), shade, 0.014 * unit)
    stroke(eye, px(lower[3:]), (np.array(look.skin) * (0.6, 0.42, 0.4)).tolist(), 0.013 * unit)
    stroke(eye, px(upper), dark, (0.026 + 0.016 * look.lash) * unit)
    if look.lash:
        wing = np.array([upper[-4], upper[-1], upper[-1] + (side * 0.055, -0.045)])
        stroke(eye, px(wing), dark, 0.03 * look.lash * unit)
        stroke(eye, px(lower[14:]), dark, 0.018 * look.lash * unit)
    cv2.circle(
        eye,
        tuple(np.round(px([(side * 0.225, 0.012)])[0]).astype(int).tolist()),
        round(0.016 * unit),
        (196, 138, 128),
        -1,
        cv2.LINE_AA,
    )
    image[y0:y1, x0:x1] = resize(eye, (x1 - x0, y1 - y0), cv2.INTER_AREA)


def _catchlights(sheet: Sheet, lit: Array, look: Look, light: Light) -> None:
    spots = np.zeros((sheet.height, sheet.width), np.uint8)
    for side in (-1, 1):
        at = sheet.px([(side * 0.42 + look.gaze[0] + 0.042 * np.sign(light.key[0]), -0.05 + look.gaze[1])])[0]
        cv2.circle(spots, tuple(fixed(at).tolist()), round(0.024 * sheet.ppu * 16), 255, -1, cv2.LINE_AA, SHIFT)
    lit += (spots.astype(np.float32) / 255 * 0.85)[..., None]


def _mouth(sheet: Sheet, image: Image, look: Look) -> None:
    lift = -0.05 * look.smile
    wide = 0.3 + 0.025 * look.smile + 0.015 * look.masculine
    h = 0.6 + 0.55 * look.lip_height
    line = smooth_curve(
        np.array([(-wide, 0.8 + lift), (-0.12, 0.795), (0, 0.808), (0.12, 0.795), (wide, 0.8 + lift)]), 31
    )
    bow = [(-wide, 0.8 + lift), (-0.16, 0.765 - 0.03 * h), (-0.055, 0.77 - 0.07 * h), (0, 0.775 - 0.052 * h)]
    top = smooth_curve(np.array(bow + [(-u, v) for u, v in bow[-2::-1]]), 31)
    low = smooth_curve(
        np.array(
            [
                (-wide, 0.8 + lift),
                (-0.15, 0.83 + 0.07 * h),
                (0, 0.835 + 0.1 * h),
                (0.15, 0.83 + 0.07 * h),
                (wide, 0.8 + lift),
            ]
        ),
        31,
    )
    lips = np.array(look.lips)
    soft = soften(image, 0.012 * sheet.ppu)
    fill(soft, sheet.px(np.concatenate([top, line[::-1]])), (lips * 0.72).tolist())
    fill(soft, sheet.px(np.concatenate([line, low[::-1]])), lips.tolist())
    blurred = soften(soft, 0.012 * sheet.ppu)
    cover = sheet.mask(np.concatenate([top, low[::-1]]), 0.02)[..., None] ** 0.7
    image[:] = (image * (1 - cover) + blurred * cover).astype(np.uint8)
    stroke(image, sheet.px(line), (lips * (0.32, 0.22, 0.22)).tolist(), 0.02 * sheet.ppu)
    for side in (-1, 1):
        corner = [(side * (wide - 0.01), 0.8 + lift), (side * (wide + 0.018), 0.803 + 1.1 * lift)]
        stroke(image, sheet.px(corner), (np.array(look.skin) * 0.5).tolist(), 0.016 * sheet.ppu)


def _nose(sheet: Sheet, image: Image, look: Look) -> None:
    dark = (np.array(look.skin) * (0.32, 0.2, 0.18)).tolist()
    fold = (np.array(look.skin) * (0.62, 0.47, 0.44)).tolist()
    soft = image.copy()
    wing = 0.02 * look.nose
    for side in (-1, 1):
        hole = sheet.px([(side * (0.085 + wing), 0.522)])[0]
        axes = (round(0.052 * sheet.ppu * 16), round(0.02 * sheet.ppu * 16))
        cv2.ellipse(soft, (tuple(fixed(hole).tolist())), axes, -side * 12, 0, 360, dark, -1, cv2.LINE_AA, SHIFT)
        ala = smooth_curve(
            np.array([(0.185 + wing, 0.4), (0.225 + wing, 0.47), (0.2 + wing, 0.53), (0.15 + wing, 0.54)]), 12
        )
        stroke(soft, sheet.px(ala * (side, 1)), fold, 0.018 * sheet.ppu)
        smile_line = smooth_curve(np.array([(0.25, 0.5), (0.35, 0.62), (0.41, 0.76)]), 9) * (side, 1)
        stroke(soft, sheet.px(smile_line), (np.array(look.skin) * (0.82, 0.72, 0.7)).tolist(), 0.02 * sheet.ppu)
    image[:] = soften(soft, 0.011 * sheet.ppu)


def _scar(sheet: Sheet, image: Image, look: Look) -> None:
    """A cut over his left eye: the viewer's right; the eyeball is drawn over it."""
    path = smooth_curve(np.array([(0.5, -0.62), (0.45, -0.3), (0.47, 0.0), (0.5, 0.22), (0.58, 0.52)]), 24)
    stroke(
        image,
        sheet.px(path + np.array((0.022, 0))),
        np.clip(np.array(look.skin) * 1.14, 0, 255).tolist(),
        0.03 * sheet.ppu,
    )
    stroke(image, sheet.px(path), (np.array(look.skin) * (0.64, 0.4, 0.38)).tolist(), 0.045 * sheet.ppu)


def _tiara(sheet: Sheet) -> tuple[Array, Array, Array]:
    """Masks of a tiara: its gold, its red star, and the height by which it stands off."""
    low = smooth_curve(np.array([(-1.05, -0.66), (-0.5, -0.63), (0, -0.55), (0.5, -0.63), (1.05, -0.66)]), 41)
    high = smooth_curve(
        np.array(
            [
                (-1.05, -0.8),
                (-0.45, -0.84),
                (-0.17, -0.92),
                (0, -1.1),
                (0.17, -0.92),
                (0.45, -0.84),
                (1.05, -0.8),
            ]
        ),
        61,
    )
    gold = sheet.mask(np.concatenate([low, high[::-1]]))
    turn = np.arange(10) * np.pi / 5
    reach = np.where(np.arange(10) % 2 == 0, 0.15, 0.062)
    star = sheet.mask(np.stack([reach * np.sin(turn), -0.78 - reach * np.cos(turn)], 1))
    inner = sheet.mask(np.concatenate([low * (1, 0.95) + (0, -0.055), high[::-1] * (1, 0.97) + (0, 0.005)]), 0.012)
    return gold, star, gold - 0.5 * inner


def paint(sheet: Sheet, look: Look, light: Light, rng: np.random.Generator) -> tuple[Image, Image]:
    """Paint and light a face on its sheet; returns colours (H, W, 3) and coverage (H, W)."""
    image = np.clip(_skin(sheet, look, rng), 0, 255).astype(np.uint8)
    alpha = np.zeros((sheet.height, sheet.width), np.uint8)
    fill(alpha, sheet.px(face_outline(look)), 255)
    _nose(sheet, image, look)
    _mouth(sheet, image, look)
    if look.freckles:
        for u, v in rng.normal((0, 0.3), (0.42, 0.12), (int(90 * look.freckles), 2)):
            tone = (np.array(look.skin) * (0.78, 0.64, 0.56)).tolist()
            cv2.circle(
                image,
                tuple(fixed(sheet.px([(u, v)])[0]).tolist()),
                round(0.012 * sheet.ppu * 16),
                tone,
                -1,
                cv2.LINE_AA,
                SHIFT,
            )
    if look.beard:
        shadow = np.clip(2.2 * sheet.bump(0, 1.1, 0.75, 0.3), 0, 1)
        base = image.astype(np.float32)
        _tint(base, shadow, (look.brow[0] * 0.62, look.brow[1] * 0.6, look.brow[2] * 0.6), 0.5 * look.beard)
        image[:] = base.astype(np.uint8)
        _mouth(sheet, image, look)
        _beard(sheet, image, alpha, look, rng)
    if look.scar:
        _scar(sheet, image, look)
    _brows(sheet, image, look, rng)
    for side in (-1, 1):
        _eye(sheet, image, side, look, rng)
    coarse = Sheet(sheet.ppu / 2)
    z, _ = relief(coarse, look)
    if look.tiara:
        gold, star, rise = _tiara(sheet)
        z = z + 0.07 * resize(rise, (coarse.width, coarse.height), cv2.INTER_AREA)
    lit, shine = _light_map(coarse, z, light)
    lit = resize(lit, (sheet.width, sheet.height), cv2.INTER_LINEAR)
    shine = resize(shine, (sheet.width, sheet.height), cv2.INTER_LINEAR)
    colour = TO_LINEAR[image]
    if look.tiara:
        metal = linear((214, 160, 58)) * (0.75 + 3.2 * shine)[..., None]
        colour += gold[..., None] * (metal - colour)
        colour += star[..., None] * (linear((165, 6, 14)) - colour)
        shine = shine * (1 + 1.5 * gold - 2.3 * star)
    pores = 1 + 0.035 * rng.standard_normal(shine.shape, np.float32)
    colour = colour * lit * pores[..., None] + (shine * pores)[..., None] * f32(light.colour)
    _catchlights(sheet, colour, look, light)
    return srgb(colour), alpha


def place(image: Image, pose: Pose, look: Look, light: Light, rng: np.random.Generator) -> None:
    """Paint a face, turn it by the pose and lay it over `image` (H, W, 3 uint8, changed in place)."""
    sheet = Sheet(float(np.clip(pose.scale, 80, 190)))
    face, alpha = paint(sheet, look, light, rng)
    coarse = Sheet(24)
    _, tame = relief(coarse, look)
    height, width = image.shape[:2]
    reach = 2.2 * pose.scale
    x0, y0 = int(max(pose.cx - reach, 0)), int(max(pose.cy - reach, 0))
    x1, y1 = int(min(pose.cx + reach, width)), int(min(pose.cy + reach, height))
    step = 4  # px between the points where the turn is solved; between them it is smooth
    ys, xs = np.mgrid[y0 : y1 + step : step, x0 : x1 + step : step].astype(np.float32)
    dx, dy = (xs - pose.cx) / pose.scale, (ys - pose.cy) / pose.scale
    c, s = np.cos(pose.roll), np.sin(pose.roll)
    p, q = (c * dx + s * dy).astype(np.float32), (c * dy - s * dx).astype(np.float32)
    sin_y, cos_y, sin_p, cos_p = np.sin(pose.yaw), np.cos(pose.yaw), np.sin(pose.pitch), np.cos(pose.pitch)
    u, v = p.copy(), q.copy()
    for _ in range(7):  # p = u cos + z(u, v) sin, solved for u and v by fixed-point iteration
        z = cv2.remap(tame, (u - coarse.U0) * 24 - 0.5, (v - coarse.V0) * 24 - 0.5, cv2.INTER_LINEAR)
        u = (0.4 * u + 0.6 * (p - z * sin_y) / cos_y).astype(np.float32)
        v = (0.4 * v + 0.6 * (q + (z * cos_y - u * sin_y) * sin_p) / cos_p).astype(np.float32)
    matrix = f32([[1 / step, 0, 0], [0, 1 / step, 0]])
    size = (x1 - x0, y1 - y0)
    grids: list[Array] = []
    for grid, origin in ((u, sheet.U0), (v, sheet.V0)):
        pixels = ((grid - origin) * sheet.ppu - 0.5).astype(np.float32)
        grids.append(f32(cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)))
    blend(
        image[y0:y1, x0:x1],
        cv2.remap(face, grids[0], grids[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        np.asarray(cv2.remap(alpha, grids[0], grids[1], cv2.INTER_LINEAR), np.uint8),
    )
