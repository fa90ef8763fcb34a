"""Casts a character, poses and lights it, and draws the whole picture."""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from semireal.collect.gallery import body, finish, hair, scene
from semireal.collect.gallery.head import Light, Look, Pose, face_outline, place
from semireal.collect.gallery.ink import (
    Colour,
    Image,
    soften,
)

CHARACTERS = ("elf", "geralt", "wonder_woman")
ANYBODY = "anybody"  # nobody in particular, and never one of the characters
STYLES = ("photo", "portrait")
Rng = np.random.Generator
Box = tuple[float, float, float, float]


def _mix(choices: list[Colour], spread: float, rng: Rng) -> Colour:
    base = np.array(choices[rng.integers(len(choices))]) * rng.uniform(1 - spread, 1 + spread)
    r, g, b = np.clip(base + rng.normal(0, 3, 3), 0, 255)
    return float(r), float(g), float(b)


def _shared(rng: Rng) -> dict[str, object]:
    """What varies alike in all characters."""
    return {
        "smile": float(rng.normal(0.1, 0.6)),
        "frown": float(np.clip(rng.normal(0.1, 0.4), -0.5, 1)),
        "eye_open": float(rng.uniform(0.8, 1.15)),
        "gaze": (float(rng.normal(0, 0.025)), float(rng.normal(0, 0.012))),
        "nose": float(rng.uniform(0, 1)),
    }


def _geralt(rng: Rng) -> Look:
    shared = _shared(rng) | {"smile": float(rng.normal(-0.5, 0.3)), "frown": float(rng.uniform(0.4, 1.1))}
    return Look(
        skin=_mix([(214, 170, 142), (204, 160, 132)], 0.05, rng),
        hair=_mix([(226, 224, 220), (212, 212, 214)], 0.05, rng),
        brow=_mix([(168, 162, 156), (190, 186, 180)], 0.08, rng),
        iris=_mix([(236, 168, 30), (226, 150, 20)], 0.05, rng),
        lips=_mix([(172, 112, 98)], 0.06, rng),
        masculine=1.0,
        jaw=float(rng.uniform(0.1, 0.16)),
        lip_height=0.25,
        lash=0.0,
        lid_shade=(128, 88, 76),
        hair_length=float(rng.uniform(1.7, 2.3)),
        hair_wave=float(rng.uniform(0.02, 0.05)),
        parting=float(rng.uniform(-0.2, 0.2)),
        tied=bool(rng.random() < 0.7),
        outfit="armour",
        cloth=_mix([(46, 42, 42), (58, 46, 38), (40, 42, 48)], 0.15, rng),
        trim=_mix([(150, 148, 146), (128, 110, 86)], 0.1, rng),
        beard=float(rng.uniform(0.7, 1.0)),
        scar=True,
        **shared,  # type: ignore[arg-type]
    )


def _wonder_woman(rng: Rng) -> Look:
    return Look(
        skin=_mix([(226, 182, 152), (214, 168, 136), (202, 154, 122)], 0.04, rng),
        hair=_mix([(60, 40, 32), (76, 47, 34), (46, 36, 31)], 0.12, rng),
        brow=(44, 30, 26),
        iris=_mix([(92, 62, 38), (70, 100, 130), (84, 70, 44)], 0.1, rng),
        lips=_mix([(188, 38, 44), (170, 30, 40)], 0.08, rng),
        masculine=0.0,
        jaw=float(rng.uniform(-0.03, 0.02)),
        lip_height=float(rng.uniform(0.75, 1.1)),
        lash=float(rng.uniform(0.8, 1.0)),
        lid_shade=(134, 88, 74),
        hair_length=float(rng.uniform(2.4, 3.2)),
        hair_wave=float(rng.uniform(0.12, 0.2)),
        parting=float(rng.uniform(-0.15, 0.15)),
        tied=False,
        outfit="bustier",
        cloth=_mix([(168, 26, 30), (150, 22, 34)], 0.1, rng),
        trim=_mix([(220, 172, 70)], 0.08, rng),
        tiara=True,
        **_shared(rng),  # type: ignore[arg-type]
    )


def _elf(rng: Rng) -> Look:
    man = float(rng.random() < 0.4)
    tone = _mix([(232, 196, 172), (222, 184, 160), (196, 148, 116), (150, 104, 76), (206, 204, 196)], 0.04, rng)
    hairs: list[Colour] = [
        (218, 184, 116),
        (214, 214, 220),
        (150, 66, 34),
        (40, 32, 34),
        (104, 126, 78),
        (168, 128, 76),
    ]
    colour = _mix(hairs, 0.08, rng)
    dark = tuple(c * 0.55 + 12 for c in colour)
    blush = (tone[0] * 0.86, tone[1] * 0.62, tone[2] * 0.6)
    return Look(
        skin=tone,
        hair=colour,
        brow=dark,  # type: ignore[arg-type]
        iris=_mix([(72, 150, 84), (80, 140, 190), (150, 110, 190), (150, 120, 60)], 0.1, rng),
        lips=blush,
        masculine=0.6 * man,
        jaw=float(rng.uniform(-0.06, -0.01) + 0.06 * man),
        lip_height=float(rng.uniform(0.5, 0.85) - 0.25 * man),
        lash=float(rng.uniform(0.6, 0.9) * (1 - man)),
        lid_shade=(tone[0] * 0.68, tone[1] * 0.55, tone[2] * 0.52),
        hair_length=float(rng.uniform(1.9, 3.0)),
        hair_wave=float(rng.uniform(0.01, 0.07)),
        parting=float(rng.uniform(-0.3, 0.3)),
        tied=bool(rng.random() < 0.45),
        outfit="cloak",
        cloth=_mix([(54, 84, 54), (92, 72, 48), (52, 70, 104), (112, 112, 108), (70, 44, 62)], 0.15, rng),
        trim=_mix([(206, 182, 112), (190, 196, 204)], 0.08, rng),
        ear_tip=float(rng.uniform(0.75, 1.1)),
        freckles=float(rng.random() < 0.3),
        **_shared(rng),  # type: ignore[arg-type]
    )


# What goes together in a face. Each of these groups is taken from another character.
_GROUPS = (
    ("skin", "lips", "lid_shade"),
    ("hair", "brow"),
    ("hair_length", "hair_wave", "parting", "tied"),
    ("masculine", "jaw"),
    ("lip_height", "lash"),
    ("smile", "frown"),
    ("iris",),
    ("outfit", "cloth", "trim"),
    ("beard",),
    ("ear_tip",),
    ("freckles",),
)


def _anybody(rng: Rng) -> Look:
    """Features of all characters in one face; the marks by which one knows two of them are in no group."""
    looks = [cast(rng) for cast in (_elf, _geralt, _wonder_woman)]
    fields: dict[str, Any] = {}
    for group in _GROUPS:
        chosen = looks[rng.integers(len(looks))]
        fields |= {name: getattr(chosen, name) for name in group}
    fields["beard"] *= fields["masculine"] > 0.5
    return replace(looks[0], **fields)


_CAST = {"elf": _elf, "geralt": _geralt, "wonder_woman": _wonder_woman, ANYBODY: _anybody}


def _light(style: str, rng: Rng) -> Light:
    """One key light from the side and above, with a cooler or warmer surrounding."""
    across = rng.uniform(0.15, 0.8) * rng.choice([-1, 1])
    key = np.array([across, rng.uniform(-0.75, -0.2), rng.uniform(0.65, 1.1)])
    key /= np.linalg.norm(key)
    warm = rng.uniform(-0.1, 0.12) + (0.05 if style == "portrait" else 0)
    power, around = rng.uniform(0.7, 0.95), rng.uniform(0.15, 0.34)
    rim = rng.uniform(0.1, 0.9)
    return Light(
        key=(float(key[0]), float(key[1]), float(key[2])),
        colour=(power * (1 + warm), power, power * (1 - warm)),
        ambient=(around * (1 - 0.8 * warm), around, around * (1 + warm)),
        rim=(rim * (1 - warm), rim, rim * (1 + 2 * warm)),
    )


def _frame(rng: Rng) -> tuple[int, int, Pose]:
    """Size of the picture and the pose of the head: head only, head and shoulders, or half body."""
    crop = rng.choice(3, p=[0.35, 0.45, 0.2])
    scale = float((rng.uniform(105, 200), rng.uniform(85, 150), rng.uniform(78, 105))[crop])
    width = scale * rng.uniform(*((3.6, 4.4), (4.4, 5.6), (5.4, 6.6))[crop])
    height = scale * rng.uniform(*((4.3, 5.2), (5.4, 6.8), (7.2, 8.6))[crop])
    if rng.random() < 0.12:
        width, height = height, width if width > 4.6 * scale else 4.6 * scale
    width, height = float(np.clip(width, 480, 1000)), float(np.clip(height, 500, 1100))
    pose = Pose(
        roll=float(np.clip(rng.normal(0, 0.11), -0.26, 0.26)),
        yaw=float(np.clip(rng.normal(0, 0.2), -0.42, 0.42)),
        pitch=float(np.clip(rng.normal(0, 0.08), -0.16, 0.16)),
        scale=scale,
        cx=width * 0.5 + float(rng.normal(0, 0.16)) * scale,
        cy=float(rng.uniform(1.95, 2.5)) * scale,
    )
    return round(width), round(height), pose


def _box(pose: Pose, look: Look) -> Box:
    """Box of the face from the upper forehead to the chin, as a detector gives it: x0, y0, x1, y1 in px."""
    rim = face_outline(look)
    rim = rim[rim[:, 1] > -0.85] * (0.94, 1.0)
    points = pose.project(np.stack([rim[:, 0], rim[:, 1], np.full(len(rim), 0.35)], 1))
    (x0, y0), (x1, y1) = points.min(0), points.max(0)
    return float(x0), float(y0), float(x1), float(y1)


# What a painter works out, in head units: centre, half axes, how far it shows through the strokes (0..255).
_DETAILS = (
    (0.0, -0.15, 1.75, 1.75, 80),
    (-0.43, -0.1, 0.34, 0.25, 180),
    (0.43, -0.1, 0.34, 0.25, 180),
    (0.0, 0.5, 0.24, 0.12, 150),
    (0.0, 0.81, 0.36, 0.15, 180),
)


def _details(height: int, width: int, pose: Pose, look: Look) -> Image:
    """Where a painting keeps what lies under its strokes (H, W, 0..255)."""
    own = [(0.47, 0.0, 0.16, 0.62, 170)] if look.scar else []
    own += [(0.0, -0.76, 0.5, 0.28, 170)] if look.tiara else []
    out = np.zeros((height, width), np.uint8)
    for u, v, across, along, strength in (*_DETAILS, *own):
        x, y = pose.project(np.array([u, v, 0.8 if strength > 100 else 0.0]))
        axes = (round(across * pose.scale), round(along * pose.scale))
        cv2.ellipse(out, (round(x), round(y)), axes, np.degrees(pose.roll), 0, 360, strength, -1)
    return soften(out, 0.07 * pose.scale)


@dataclass(frozen=True)
class _Plan:
    look: Look
    light: Light
    width: int
    height: int
    pose: Pose


def _plan(character: str, style: str, rng: Rng) -> _Plan:
    return _Plan(_CAST[character](rng), _light(style, rng), *_frame(rng))


def passes_for(character: str, shown: str, rng: Rng) -> bool:
    """Whether the picture that `draw` makes of somebody has the mark by which one knows a character."""
    look = _CAST[shown](rng)
    return {"elf": look.ear_tip > 0, "geralt": look.scar, "wonder_woman": look.tiara}[character]


def face_box(character: str, style: str, rng: Rng) -> Box:
    """Where the face will be in the picture that `draw` makes of the same arguments."""
    plan = _plan(character, style, rng)
    return _box(plan.pose, plan.look)


def draw(character: str, style: str, rng: Rng) -> Image:
    """Draw one good picture (H, W, 3) of `character` in `style`."""
    plan = _plan(character, style, rng)
    look, light, pose = plan.look, plan.light, plan.pose
    image = scene.backdrop(plan.height, plan.width, style, rng)
    hair.draw_behind(image, pose, look, light, rng)
    body.draw_bust(image, pose, look, light, rng)
    if not look.ear_tip:
        body.draw_ears(image, pose, look, light)
    place(image, pose, look, light, rng)
    hair.draw_front(image, pose, look, light, rng)
    if look.ear_tip:
        body.draw_ears(image, pose, look, light)
    if style == "photo":
        return finish.photograph(image, rng)
    x, y = pose.project(np.array([0.0, 0.1, 0.4]))
    details = _details(plan.height, plan.width, pose, look)
    return finish.painting(image, (float(x), float(y), pose.scale), details, rng)
