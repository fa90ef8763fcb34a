"""Pictures: any file to RGB, scaling and cutting, grids, PNG and JPEG.

An image is HWC uint8 RGB here, and everywhere outside of the networks (see semireal.tensors).
"""

import contextlib
import io
import warnings
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from semireal import files

Pixels = NDArray[np.uint8]
T = TypeVar("T")
R = TypeVar("R")

MAX_PIXELS = 120_000_000  # larger files are refused before they are unpacked (decompression bombs)
_SRGB = ImageCms.createProfile("sRGB")


class ImageError(ValueError):
    """The file cannot be used as a picture; the text is the reason for the manifest."""


def load_rgb(path: Path) -> Pixels:
    """Read a picture as sRGB: EXIF-turned, alpha over white, first frame, 8 bits; [H, W, 3] uint8.

    Raises ImageError: "not an image", "too many pixels" or "damaged file".
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd EXIF or palettes; the result decides
        try:
            img = Image.open(path)
        except Exception as error:
            # Pillow's parsers raise almost anything on hostile bytes; whatever it is, this is no picture for us
            raise ImageError("not an image") from error
        with img:
            if img.width * img.height > MAX_PIXELS:
                raise ImageError("too many pixels")
            try:
                img.load()
                return np.asarray(_to_srgb(_turned(img)))
            except Exception as error:
                raise ImageError("damaged file") from error


def is_picture(path: Path) -> bool:
    """Whether a file begins like a picture that can be read; what is behind is not looked at."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            Image.open(path).close()
        except Exception:  # as in load_rgb
            return False
    return True


def _turned(img: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(img)
    except Exception:  # an unreadable EXIF block is no reason to lose the picture
        return img.copy()


def _to_srgb(img: Image.Image) -> Image.Image:
    if img.mode.startswith(("I", "F")):  # 16-bit and float greys; Pillow's own conversion would clip them
        grey = np.asarray(img, dtype=np.float64)
        full = 65535.0 if grey.max() > 255 else 255.0
        img = Image.fromarray((grey * (255.0 / full)).clip(0, 255).round().astype(np.uint8))
    if img.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in img.info:
        img = img.convert("RGBA")
    if img.mode == "RGBA":
        white = Image.new("RGBA", img.size, "white")
        white.info = {}
        profile = img.info.get("icc_profile")
        img = Image.alpha_composite(white, img).convert("RGB")
        img.info["icc_profile"] = profile
    profile = img.info.get("icc_profile")
    if profile:
        # a profile that does not fit its picture is ignored, as browsers do
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(img, source, _SRGB, outputMode="RGB")
            if converted is not None:
                return converted
    return img.convert("RGB")


def resize(img: Pixels, size: int) -> Pixels:
    """Scale a square image to [size, size, 3] with an antialiasing filter (Lanczos)."""
    if img.shape[:2] == (size, size):
        return img
    return np.asarray(Image.fromarray(img).resize((size, size), Image.Resampling.LANCZOS))


def cut(img: Pixels, centre: tuple[float, float], side: int, angle: float, border: int) -> Pixels:
    """Cut out a turned square of side px without scaling it, [side, side, 3].

    centre: x, y in px of the image, where pixel i covers i to i + 1. angle: degrees; the direction of the image that
    is to the right in the square, clockwise from the image's own. border: OpenCV's rule for what lies outside.
    """
    height, width = img.shape[:2]
    reach = side * 0.71 + 4  # half a diagonal, and what the interpolation looks at
    # a part is enough: faster, and OpenCV turns no image of more than 32,767 px
    x0, y0 = (int(min(max(c - reach, 0), n - 1)) for c, n in zip(centre, (width, height), strict=True))
    x1, y1 = (
        max(int(min(c + reach, n)), start + 1) for c, n, start in zip(centre, (width, height), (x0, y0), strict=True)
    )
    turn = square_to_image(centre, side, angle) - np.array([[0, 0, x0], [0, 0, y0]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(img[y0:y1, x0:x1], turn, (side, side), flags=flags, borderMode=border), np.uint8)


def square_to_image(centre: tuple[float, float], side: int, angle: float) -> NDArray[np.float64]:
    """[2, 3] matrix from the pixel indices x, y, 1 of a cut square to those of the image; see `cut`."""
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    turn = np.array([[cos, -sin], [sin, cos]])
    middle = (side - 1) / 2  # of the square; indices are those of the middles of pixels
    return np.column_stack([turn, np.array(centre) - 0.5 - turn @ np.array([middle, middle])])


def encode_jpeg(img: Pixels, quality: int) -> bytes:
    """JPEG bytes of an RGB image, colour at full resolution (4:4:4), without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(img).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def save_png(path: Path, img: Pixels) -> None:
    """Write a PNG through a temporary name, so that no half picture is ever seen."""
    buffer = io.BytesIO()
    Image.fromarray(img).save(buffer, "PNG", compress_level=3)
    files.write_atomic(path, buffer.getvalue())


def grid(images: Pixels, columns: int) -> Pixels:
    """Lay out NHWC images row by row in one HWC picture; missing places are black."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    canvas = np.zeros((rows * height, columns * width, channels), dtype=np.uint8)
    for index, img in enumerate(images):
        y, x = divmod(index, columns)
        canvas[y * height : (y + 1) * height, x * width : (x + 1) * width] = img
    return canvas
