"""Marks as sites and artists put over pictures: watermarks, logos, signatures, captions, dates and frames, drawn.

What is drawn, where, how large and how faint is random, so that what learns from it does not learn one site's mark.
"""

import math
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from semireal.errors import UserError
from semireal.images import Pixels

VISIBLE = 12  # grey levels; what changes a pixel by less is hardly seen
LEAST = 0.002  # of the pixels; a mark that changes fewer is drawn anew, with other colours or somewhere else
SYLLABLES = (
    *("ar", "bel", "co", "da", "el", "fi", "gra", "ho", "is", "ja", "ka", "lu", "mi", "no", "or", "pa", "ri", "sa"),
    *("ta", "ve", "wy", "xa", "zo", "sto", "ck", "art", "stu", "dio", "ne", "th", "an"),
)
ENDINGS = (".com", ".net", ".org", ".art", "")
NOTES = ("SAMPLE", "PREVIEW", "PROOF", "DRAFT", "DO NOT COPY", "ALL RIGHTS RESERVED", "COPYRIGHT", "stock photo")

Rng = np.random.Generator
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Layer:
    """A transparent picture that marks are drawn on, of `side` px, with what they are drawn by."""

    image: Image.Image
    rng: Rng
    fonts: Sequence[Path]

    @property
    def side(self) -> int:
        """Of the square, in px."""
        return self.image.width

    def font(self, least: float, most: float) -> ImageFont.FreeTypeFont:
        """Any of the fonts, with a size between two shares of the side."""
        size = max(8, round(self.side * self.rng.uniform(least, most)))
        return ImageFont.truetype(str(self.rng.choice(np.array(self.fonts, object))), size)

    def put(self, drawn: Image.Image, x: float, y: float) -> None:
        """Lay a picture over the layer, its middle at (x, y)."""
        self.image.alpha_composite(*_inside(drawn, round(x - drawn.width / 2), round(y - drawn.height / 2)))


def _inside(drawn: Image.Image, x: int, y: int) -> tuple[Image.Image, tuple[int, int]]:
    """The part of a picture that is right of and below 0."""
    left, top = max(0, -x), max(0, -y)
    cut = drawn.crop((min(left, drawn.width - 1), min(top, drawn.height - 1), drawn.width, drawn.height))
    return cut, (max(x, 0), max(y, 0))


def marked(img: Pixels, rng: Rng, fonts: Sequence[Path], kind: str) -> tuple[Pixels, Mask]:
    """An [N, N, 3] picture with a mark of one of KINDS over it, and where [N, N] it is to be seen."""
    while True:
        layer = Layer(Image.new("RGBA", img.shape[1::-1]), rng, fonts)
        KINDS[kind](layer)
        over = np.asarray(layer.image, np.float64)
        share = over[..., 3:] / 255
        done = np.rint(img * (1 - share) + over[..., :3] * share).astype(np.uint8)
        seen = np.abs(done.astype(np.int64) - img).max(-1) >= VISIBLE
        if seen.mean() >= LEAST:
            return done, seen


def fonts_of(language: str = "en") -> list[Path]:
    """The outline fonts of this machine that have the letters of a language, by name; UserError if there are few."""
    listed = subprocess.run(
        ["fc-list", f":lang={language}:scalable=true", "file"], capture_output=True, text=True, check=True
    ).stdout
    found = sorted({Path(line.split(": ")[0]) for line in listed.splitlines()})
    usable = [path for path in found if path.suffix.lower() in (".ttf", ".otf") and _draws(path)]
    if len(usable) < 20:
        raise UserError(f"{len(usable)} fonts here, need 20 to draw marks with: install more, such as fonts-lato")
    return usable


def _draws(path: Path) -> bool:
    """Whether a font has capitals, small letters and digits that differ: fonts of signs do not."""
    try:
        font = ImageFont.truetype(str(path), 24)
        seen = {bytes(font.getmask(letter)) for letter in "AaQgz47"}
    except OSError:
        return False
    return len(seen) == 7


# --- words and colours -------------------------------------------------------------------------------------


def _word(rng: Rng) -> str:
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.integers(2, 5)))


def _text(rng: Rng) -> str:
    """What a mark may say."""
    name = _word(rng)
    way = rng.integers(6)
    if way == 0:
        return f"© {name.title()} {rng.integers(1995, 2026)}"
    if way == 1:
        return ("www." if rng.random() < 0.5 else "") + name + str(rng.choice(ENDINGS))
    if way == 2:
        return f"@{name}"
    if way == 3:
        return str(rng.choice(NOTES))
    words = f"{name} {_word(rng)}"
    return words.upper() if way == 4 else words.title()


def _colour(rng: Rng) -> tuple[int, int, int]:
    """Mostly white, black or grey, as marks are."""
    way = rng.random()
    if way < 0.45:
        return (255, 255, 255)
    if way < 0.6:
        return (0, 0, 0)
    if way < 0.75:
        return (grey := int(rng.integers(60, 230)), grey, grey)
    return tuple(int(one) for one in rng.integers(0, 256, 3))  # type: ignore[return-value]


def _lettering(layer: Layer, text: str, least: float, most: float, opacity: float) -> Image.Image:
    """A text as a picture of its own, some of them outlined, hollow, embossed or with a shadow."""
    rng, font = layer.rng, layer.font(least, most)
    pad = 4 + int(font.size) // 4
    left, top, right, bottom = map(round, font.getbbox(text))
    size = (right - left + 2 * pad, bottom - top + 2 * pad)
    at = (pad - left, pad - top)
    colour, alpha = _colour(rng), round(255 * opacity)
    drawn = Image.new("RGBA", size, (*colour, 0))
    pen = ImageDraw.Draw(drawn)
    way = rng.random()
    wide = max(1, font.size // 20)
    if way < 0.2:  # outline of the other lightness
        edge = (0, 0, 0) if sum(colour) > 380 else (255, 255, 255)
        pen.text(at, text, (*colour, alpha), font, stroke_width=wide, stroke_fill=(*edge, alpha))
    elif way < 0.3:  # hollow
        pen.text(at, text, (*colour, 0), font, stroke_width=wide, stroke_fill=(*colour, alpha))
    elif way < 0.5:  # shadow, or embossed
        shadow = Image.new("RGBA", size, (0, 0, 0, 0))
        ImageDraw.Draw(shadow).text((at[0] + wide, at[1] + wide), text, (0, 0, 0, alpha), font)
        drawn = shadow.filter(ImageFilter.GaussianBlur(wide * rng.uniform(0, 1.5)))
        over = Image.new("RGBA", size, (*colour, 0))
        ImageDraw.Draw(over).text(at, text, (*colour, alpha), font)
        drawn.alpha_composite(over)
    else:
        pen.text(at, text, (*colour, alpha), font)
    return drawn


def _turned(drawn: Image.Image, degrees: float) -> Image.Image:
    return drawn.rotate(degrees, Image.Resampling.BICUBIC, expand=True)


def _emblem(layer: Layer, least: float, most: float, opacity: float) -> Image.Image:
    """A sign: a ring, a shield, a star or a square, with letters or without."""
    rng = layer.rng
    size = max(16, round(layer.side * rng.uniform(least, most)))
    drawn = Image.new("RGBA", (size, size))
    pen = ImageDraw.Draw(drawn)
    colour = (*_colour(rng), round(255 * opacity))
    wide, box = max(1, round(size * rng.uniform(0.02, 0.08))), (2, 2, size - 3, size - 3)
    way = rng.integers(4)
    if way == 0:
        pen.ellipse(box, outline=colour, width=wide)
    elif way == 1:
        pen.rounded_rectangle(box, size // 6, outline=colour, width=wide)
    elif way == 2:
        pen.regular_polygon((size / 2, size / 2, size / 2 - 2), int(rng.integers(3, 8)), outline=colour, width=wide)
    else:
        points = [
            (size / 2 * (1 + r * math.sin(k * math.pi / 5)), size / 2 * (1 - r * math.cos(k * math.pi / 5)))
            for k, r in zip(range(10), (0.95, 0.4) * 5, strict=True)
        ]
        pen.polygon(points, fill=colour)
    if rng.random() < 0.7:
        font = ImageFont.truetype(str(rng.choice(np.array(layer.fonts, object))), max(8, size // 3))
        letters = _word(rng)[: rng.integers(1, 4)].upper()
        pen.text((size / 2, size / 2), letters, colour, font, anchor="mm")
    return drawn


# --- the kinds ---------------------------------------------------------------------------------------------


def _tiles(layer: Layer) -> None:
    """The same faint words or sign all over, mostly slanting."""
    rng = layer.rng
    opacity = rng.uniform(0.15, 0.5)
    if rng.random() < 0.75:
        one = _lettering(layer, _text(rng), 0.03, 0.09, opacity)
    else:
        one = _emblem(layer, 0.08, 0.2, opacity)
    one = _turned(one, rng.choice([0, 30, 45, -30, -45]) + rng.uniform(-5, 5))
    across, down = one.width * rng.uniform(1.0, 1.6), one.height * rng.uniform(1.0, 1.8)
    for row, y in enumerate(np.arange(-down, layer.side + down, down)):
        for x in np.arange(-across, layer.side + across, across):
            layer.put(one, x + (row % 2) * across / 2, y)


def _lines(layer: Layer) -> None:
    """Lines from corner to corner or a net of them, with words where they cross, as of agencies."""
    rng, side = layer.rng, layer.side
    opacity = rng.uniform(0.2, 0.6)
    colour, wide = (*_colour(rng), round(255 * opacity)), max(1, round(side * rng.uniform(0.002, 0.008)))
    pen = ImageDraw.Draw(layer.image)
    if rng.random() < 0.5:
        pen.line((0, 0, side, side), colour, wide)
        pen.line((0, side, side, 0), colour, wide)
    else:
        step = side * rng.uniform(0.12, 0.35)
        for at in np.arange(-side, 2 * side, step):
            pen.line((at, 0, at + side, side), colour, wide)
            pen.line((at, side, at + side, 0), colour, wide)
    layer.put(_lettering(layer, _text(rng), 0.05, 0.14, opacity), side / 2, side / 2)


def _word_across(layer: Layer) -> None:
    """One large word, faint or not."""
    rng, side = layer.rng, layer.side
    drawn = _lettering(layer, _text(rng), 0.07, 0.2, rng.uniform(0.2, 0.8))
    drawn = _turned(drawn, rng.choice([0, 0, 30, 45, -45]) + rng.uniform(-8, 8))
    layer.put(drawn, side * rng.uniform(0.4, 0.6), side * rng.uniform(0.25, 0.75))


def _logo(layer: Layer) -> None:
    rng, side = layer.rng, layer.side
    drawn = _emblem(layer, 0.12, 0.4, rng.uniform(0.25, 0.9))
    layer.put(drawn, side * rng.uniform(0.1, 0.9), side * rng.uniform(0.1, 0.9))


def _signature(layer: Layer) -> None:
    """A name or a scribble, opaque, in a colour of the picture or its opposite."""
    rng, side = layer.rng, layer.side
    if rng.random() < 0.5:
        drawn = _lettering(layer, _word(rng).title(), 0.035, 0.09, rng.uniform(0.6, 1))
    else:
        drawn = _scribble(layer)
    drawn = _turned(drawn, rng.uniform(-25, 25))
    layer.put(drawn, side * rng.uniform(0.15, 0.85), side * rng.uniform(0.15, 0.85))


def _scribble(layer: Layer) -> Image.Image:
    """Loops of a pen that goes from left to right."""
    rng = layer.rng
    width = round(layer.side * rng.uniform(0.12, 0.35))
    height = round(width * rng.uniform(0.3, 0.5))
    t = np.linspace(0, 1, 160)
    loops = rng.uniform(4, 9)
    x = 0.05 + 0.75 * t + 0.08 * np.sin(2 * np.pi * loops * t)
    y = 0.5 + (0.15 + 0.25 * rng.random() * np.abs(np.sin(np.pi * 3 * t + rng.uniform(0, 3)))) * np.cos(
        2 * np.pi * loops * t + rng.uniform(0, 1)
    )
    drawn = Image.new("RGBA", (width, height))
    points = [(float(a) * width, float(b) * height) for a, b in zip(x, y, strict=True)]
    colour = (*_colour(rng), round(255 * rng.uniform(0.7, 1)))
    ImageDraw.Draw(drawn).line(points, colour, max(1, round(layer.side * rng.uniform(0.003, 0.009))), joint="curve")
    return drawn


def _caption(layer: Layer) -> None:
    """A line or two of text at an edge, on a band or over the picture."""
    rng, side = layer.rng, layer.side
    lines = [_lettering(layer, f"{_text(rng)} {_word(rng)}", 0.035, 0.075, 1) for _ in range(rng.integers(1, 3))]
    height = sum(one.height for one in lines)
    top = rng.random() < 0.4
    y = 0 if top else side - height
    if rng.random() < 0.6:
        band = (*_colour(rng), round(255 * rng.uniform(0.4, 1)))
        ImageDraw.Draw(layer.image).rectangle((0, y, side, y + height), band)
    for one in lines:
        layer.put(one, side / 2, y + one.height / 2)
        y += one.height


def _stamp(layer: Layer) -> None:
    """A date, an address or a number in a corner."""
    rng, side = layer.rng, layer.side
    date = f"{rng.integers(1, 13):02}/{rng.integers(1, 29):02}/{rng.integers(1995, 2026)}"
    text = date if rng.random() < 0.4 else _text(rng)
    drawn = _lettering(layer, text, 0.03, 0.06, rng.uniform(0.6, 1))
    x, y = (rng.choice([1, -1]) * rng.uniform(0.05, 0.12) % 1 for _ in range(2))
    half = drawn.width / 2 / side
    layer.put(drawn, side * np.clip(x, half, max(1 - half, half)), side * y)


def _frame(layer: Layer) -> None:
    """Bars of one colour at one to four edges."""
    rng, side = layer.rng, layer.side
    pen, colour = ImageDraw.Draw(layer.image), (*_colour(rng), 255)
    wide = round(side * rng.uniform(0.03, 0.12))
    edges = [(0, 0, side, wide), (0, side - wide, side, side), (0, 0, wide, side), (side - wide, 0, side, side)]
    for which in rng.permutation(4)[: rng.choice([1, 2, 4, 4])]:
        pen.rectangle(edges[which], colour)


KINDS: dict[str, Callable[[Layer], None]] = {
    "tiles": _tiles,
    "lines": _lines,
    "word": _word_across,
    "logo": _logo,
    "signature": _signature,
    "caption": _caption,
    "stamp": _stamp,
    "frame": _frame,
}
