"""Pixels: any picture file to RGB, RGB to the floats of the networks and back, grids, PNG and JPEG.

At the rim of the program an image is HWC uint8 RGB; inside the networks it is NCHW float32 in [-1, 1].
All conversions between the two are here.
"""

import contextlib
import io
import os
import queue
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps
from tqdm import tqdm

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
    write_atomic(path, buffer.getvalue())


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: temporary name, then rename."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 NCHW in 0..255 to float32 NCHW in [-1, 1]."""
    return images.to(torch.float32) / 127.5 - 1


def to_uint8(images: torch.Tensor) -> Pixels:
    """Float NCHW around [-1, 1] (clipped) to uint8 NHWC."""
    scaled = (images.detach().float() * 127.5 + 127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def to_nchw(images: Sequence[Pixels]) -> torch.Tensor:
    """HWC uint8 images of one size to one uint8 NCHW tensor."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def grid(images: Pixels, columns: int) -> Pixels:
    """Lay out NHWC images row by row in one HWC picture; missing places are black."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    canvas = np.zeros((rows * height, columns * width, channels), dtype=np.uint8)
    for index, img in enumerate(images):
        y, x = divmod(index, columns)
        canvas[y * height : (y + 1) * height, x * width : (x + 1) * width] = img
    return canvas


class Lent(Generic[T]):
    """Objects of which each may serve one thread at a time, made when all others are in use.

    Unlike in a threading.local they outlive the threads. Those of a pool are not waited for at the end of the program,
    and one that is still tearing down a network by then would abort the process.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._idle: queue.SimpleQueue[T] = queue.SimpleQueue()

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[T]:
        """Give one of the objects for the length of a `with` block."""
        try:
            one = self._idle.get_nowait()
        except queue.Empty:
            one = self._make()
        try:
            yield one
        finally:
            self._idle.put(one)


def each(work: Callable[[T], R], items: Sequence[T], desc: str) -> Iterator[R]:
    """Apply `work` to each item on all cores, in order, with a progress bar.

    Threads are enough, since OpenCV and Pillow release the interpreter; joblib's Dask backend takes the same
    call to a cluster.
    """
    results = Parallel(n_jobs=-1, prefer="threads", return_as="generator")(delayed(work)(i) for i in items)
    yield from tqdm(results, total=len(items), desc=desc, unit="img", mininterval=1)
