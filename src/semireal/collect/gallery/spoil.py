"""What a real site has besides good pictures: things to reject, and good pictures in odd encodings."""

import io
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import PngImagePlugin

from semireal.collect.gallery.ink import (
    SHIFT,
    Colour,
    Image,
    Points,
    f32,
    fill,
    fixed,
    grey,
    resize,
    shrink,
    smooth_curve,
    soften,
    stroke,
)

Rng = np.random.Generator

PAGE = b"""<!DOCTYPE html>
<html><head><title>Log in</title></head>
<body><h1>Please log in</h1><p>You must be logged in to see this picture.</p></body></html>
"""
DECLARATION = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>
</rdf:RDF></x:xmpmeta>"""
SETTINGS = """portrait, soft light
Negative prompt: blurry
Steps: 25, Sampler: Euler a, CFG scale: 7, Seed: 1234, Size: 512x512, Model: drawn"""


# --- encodings ---------------------------------------------------------------------------------------------


def _save(picture: Pillow.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def jpeg(image: Image, quality: int) -> bytes:
    """Encode as an ordinary JPEG."""
    return _save(Pillow.fromarray(image), "JPEG", quality=quality)


def _png(image: Image, _: Rng) -> bytes:
    return _save(Pillow.fromarray(image), "PNG", compress_level=1)


def _webp(image: Image, _: Rng) -> bytes:
    return _save(Pillow.fromarray(image), "WEBP", quality=92, method=0)


def _cmyk(image: Image, _: Rng) -> bytes:
    return _save(Pillow.fromarray(image).convert("CMYK"), "JPEG", quality=95)


def _deep(image: Image, _: Rng) -> bytes:
    deep = image[..., ::-1].astype(np.uint16) * 257
    return cv2.imencode(".png", deep, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def _palette(image: Image, _: Rng) -> bytes:
    return _save(Pillow.fromarray(image).quantize(256, method=Pillow.Quantize.FASTOCTREE), "PNG", compress_level=1)


def _alpha(image: Image, _: Rng) -> bytes:
    """Fades to nothing at the picture's corners."""
    height, width = image.shape[:2]
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    cover = np.clip(255 * (2.6 - x**4 - y**4 - 0.8 * x**2 * y**2) / 1.4, 0, 255).astype(np.uint8)
    return _save(Pillow.fromarray(np.dstack([image, cover])), "PNG", compress_level=1)


def _turned(image: Image, rng: Rng) -> bytes:
    """Stored turned, with the EXIF orientation that undoes it."""
    orientation, turns = ((3, 2), (6, 1), (8, 3))[rng.integers(3)]
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(np.rot90(image, turns))
    return _save(Pillow.fromarray(stored), "JPEG", quality=92, exif=exif)


def _frames(image: Image) -> list[Pillow.Image]:
    """The picture and two darker ones."""
    return [Pillow.fromarray((image * gain).astype(np.uint8)) for gain in (1.0, 0.8, 0.6)]


def _gif(image: Image, _: Rng) -> bytes:
    first, *rest = (f.quantize(256, method=Pillow.Quantize.FASTOCTREE) for f in _frames(image))
    return _save(first, "GIF", save_all=True, append_images=rest, duration=400, loop=0)


def _apng(image: Image, _: Rng) -> bytes:
    first, *rest = _frames(image)
    return _save(first, "PNG", save_all=True, append_images=rest, duration=400, compress_level=1)


def _moving_webp(image: Image, _: Rng) -> bytes:
    first, *rest = _frames(image)
    return _save(first, "WEBP", save_all=True, append_images=rest, duration=400, quality=90, method=0)


def _declared(image: Image, rng: Rng) -> bytes:
    """With the word of the IPTC for what a model has made, as several programs write it."""
    return _save(Pillow.fromarray(image), "JPEG", quality=int(rng.integers(90, 95)), xmp=DECLARATION)


def _settings(image: Image, _: Rng) -> bytes:
    """With the settings of a generator, as AUTOMATIC1111 writes them."""
    about = PngImagePlugin.PngInfo()
    about.add_text("parameters", SETTINGS)
    return _save(Pillow.fromarray(image), "PNG", compress_level=1, pnginfo=about)


# name of the encoding: file extension, encoder
ENCODINGS: dict[str, tuple[str, Callable[[Image, Rng], bytes]]] = {
    "jpeg": ("jpg", lambda image, rng: jpeg(image, int(rng.integers(90, 95)))),
    "png": ("png", _png),
    "webp": ("webp", _webp),
    "cmyk": ("jpg", _cmyk),
    "deep": ("png", _deep),
    "palette": ("png", _palette),
    "alpha": ("png", _alpha),
    "turned": ("jpg", _turned),
    "gif": ("gif", _gif),
    "apng": ("png", _apng),
    "moving_webp": ("webp", _moving_webp),
    "declared": ("jpg", _declared),
    "settings": ("png", _settings),
}


# --- things to reject --------------------------------------------------------------------------------------


def pencil(image: Image, rng: Rng) -> bytes:
    """Line sketch of a picture on paper."""
    tone = f32(soften(grey(image), 1.6))
    dodge = np.clip((tone + 16) / (soften(tone, 7) + 16), 0, 1)  # 16: no lines from grain in the dark
    lines = np.clip((dodge - 0.62) / 0.33, 0.12, 1)
    height, width = tone.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    hatch = 1 - 0.3 * (np.sin((x + y) * 0.9) > 0.3) * (soften(tone, 5) < 55)
    paper = f32((244, 240, 230)) * (0.96 + 0.02 * rng.normal(0, 1, (height, width, 1)).astype(np.float32))
    ink = f32((52, 50, 54))
    strength = (lines * hatch)[..., None]
    return jpeg(np.clip(paper * strength + ink * (1 - strength), 0, 255).astype(np.uint8), 92)


def near_copy(image: Image, rng: Rng) -> bytes:
    """The same picture slightly cropped, made smaller and compressed harder."""
    height, width = image.shape[:2]
    left, top, right, bottom = (rng.uniform(0.001, 0.006, 4) * (width, height, width, height)).astype(int)
    cut = image[top : height - bottom, left : width - right]
    factor = rng.uniform(0.65, 0.9)
    return jpeg(shrink(cut, factor), int(rng.integers(70, 84)))


def thumbnail(image: Image, rng: Rng) -> bytes:
    """A copy of 90 to 140 px."""
    factor = rng.uniform(90, 140) / max(image.shape[:2])
    return jpeg(shrink(image, factor), 85)


def washed_out(image: Image, rng: Rng) -> bytes:
    """A blurred upscale, compressed hard."""
    height, width = image.shape[:2]
    factor = rng.uniform(48, 70) / width
    big = soften(resize(shrink(image, factor), (width, height)), 3)
    return jpeg(big, int(rng.integers(20, 30)))


def truncated(image: Image, rng: Rng) -> bytes:
    """A JPEG whose end is missing."""
    whole = jpeg(image, 92)
    return whole[: int(len(whole) * rng.uniform(0.3, 0.6))]


def cartoon(height: int, width: int, hair: Colour, iris: Colour, rng: Rng) -> Image:
    """A flat head with large eyes, two tones per colour and black outlines."""
    image = np.empty((height, width, 3), np.uint8)
    image[:] = rng.integers(150, 255, 3)
    cv2.rectangle(image, (0, 0), (width, int(height * rng.uniform(0.3, 0.7))), rng.integers(150, 255, 3).tolist(), -1)
    scale = width * rng.uniform(0.24, 0.32)
    centre = np.array([width * rng.uniform(0.45, 0.55), height * rng.uniform(0.42, 0.5)])
    roll = rng.uniform(-0.2, 0.2)
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    line = max(2.0, scale * 0.025)
    black, skin, shade = (30, 24, 30), (254, 226, 206), (236, 186, 168)
    dark: Colour = (hair[0] * 0.72, hair[1] * 0.7, hair[2] * 0.78)

    def at(points: list[tuple[float, float]], count: int = 0) -> Points:
        raw = np.array(points, np.float64)
        return np.asarray((smooth_curve(raw, count) if count else raw) @ turn * scale + centre)

    def shape(points: Points, colour: Colour) -> None:
        fill(image, points, colour)
        stroke(image, np.concatenate([points, points[:1]]), black, line)

    shape(at([(-1.2, 2.4), (-1.35, 0), (-1.0, -1.2), (0, -1.55), (1.0, -1.2), (1.35, 0), (1.2, 2.4)], 60), dark)
    shape(
        at([(-0.28, 0.8), (-0.3, 1.5), (-1.8, 2.0), (-2, 6), (2, 6), (1.8, 2.0), (0.3, 1.5), (0.28, 0.8)]),
        skin,
    )
    shape(at([(-1.4, 1.95), (0, 2.5), (1.4, 1.95), (2.2, 2.4), (2.2, 6), (-2.2, 6), (-2.2, 2.4)]), iris)
    fill(image, at([(-0.28, 0.95), (0.28, 0.95), (0.3, 1.25), (-0.28, 1.4)]), shade)
    shape(
        at(
            [
                (-1, -0.6),
                (-0.98, 0.2),
                (-0.7, 0.75),
                (0, 1.22),
                (0.7, 0.75),
                (0.98, 0.2),
                (1, -0.6),
                (0, -1.1),
            ],
            60,
        ),
        skin,
    )
    for side in (-1, 1):
        x = side * 0.48
        fill(
            image,
            at(
                [(x - 0.26, -0.1), (x, -0.25), (x + 0.26, -0.1), (x + 0.24, 0.3), (x, 0.42), (x - 0.24, 0.3)],
                30,
            ),
            (255, 255, 255),
        )
        for radius, colour in ((0.24, black), (0.2, iris), (0.1, black)):
            spot = at([(x, 0.1)])[0]
            axes = (round(radius * scale * 16), round(radius * 1.3 * scale * 16))
            cv2.ellipse(image, tuple(fixed(spot).tolist()), axes, 0, 0, 360, colour, -1, cv2.LINE_AA, SHIFT)
        glint = at([(x - 0.08, -0.04)])[0]
        cv2.circle(image, tuple(fixed(glint).tolist()), round(0.07 * scale * 16), (255, 255, 255), -1, cv2.LINE_AA, 4)
        stroke(image, at([(x - 0.28, -0.06), (x, -0.27), (x + 0.28, -0.06)], 12), black, line * 2.2)
        stroke(image, at([(x - 0.2, -0.42), (x + 0.2, -0.42 - 0.05 * side)], 0), dark, line * 1.5)
    stroke(image, at([(0.0, 0.5), (0.03, 0.56)]), shade, line)
    stroke(image, at([(-0.12, 0.82), (0, 0.86), (0.12, 0.82)], 9), black, line)
    fringe = [
        (-1.08, 0.35),
        (-0.95, -0.3),
        (-0.7, -0.1),
        (-0.5, -0.5),
        (-0.2, -0.12),
        (0.05, -0.5),
        (0.35, -0.1),
        (0.6, -0.5),
        (0.8, -0.1),
        (0.95, -0.35),
        (1.08, 0.35),
        (1.2, -0.6),
        (0.75, -1.4),
        (0, -1.6),
        (-0.75, -1.4),
        (-1.2, -0.6),
    ]
    shape(at(fringe), hair)
    fill(image, at([(-0.8, -1.0), (-0.3, -1.2), (0.5, -1.15), (0.2, -1.02), (-0.3, -1.05)]), (255, 255, 255))
    return image
