"""Pictures: any file to RGB, scaling and cutting, grids, PNG and JPEG.

An image is HWC uint8 RGB here, and everywhere outside of the networks (see semireal.tensors).
"""

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import ExifTags, Image

from semireal import colours, files, formats, limits

Pixels = colours.Pixels

MAX_PIXELS = limits.PIXELS  # larger pictures are refused before they are unpacked (decompression bombs)
MISSING = 0.01  # a JPEG whose last bytes are missing is whole if they change less of the picture
TOO_LARGE, TOO_LONG, TOO_SLOW = "too many pixels", "too many bytes", "too slow to unpack"
UNSUPPORTED, UNREADABLE = "format not supported", "cannot be read"
_TURNS = dict(
    enumerate(
        (
            Image.Transpose.FLIP_LEFT_RIGHT,
            Image.Transpose.ROTATE_180,
            Image.Transpose.FLIP_TOP_BOTTOM,
            Image.Transpose.TRANSPOSE,
            Image.Transpose.ROTATE_270,
            Image.Transpose.TRANSVERSE,
            Image.Transpose.ROTATE_90,
        ),
        start=2,
    )
)  # by the number in EXIF
# both are held while a large picture is unpacked and used: by one thread, and by one process of the user
_thread = threading.RLock()
_process = FileLock(Path(os.environ.get("TMPDIR", "/tmp"), f"semireal-{os.getuid()}.lock"))


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    with _thread, _process:
        yield


class ImageError(ValueError):
    """The file cannot be used as a picture; the text is the reason for the manifest."""


def load_rgb(path: Path) -> Pixels:
    """Read a picture as sRGB: EXIF-turned, alpha over white, first frame, 8 bits; [H, W, 3] uint8.

    What is no part of the picture may be broken: texts, profiles, the last bytes. Raises ImageError: "cannot be read",
    "not an image", "format not supported: NAME", "damaged file", or a limit (see semireal.limits): "too many pixels",
    "too many bytes", "too slow to unpack".
    """
    with unpacked(path) as img:
        return img


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Pixels]:
    """What load_rgb gives, for the length of a `with` block: there is only one large picture at a time in any."""
    with contextlib.ExitStack() as alone:
        yield _decoded(_bytes_of(path, alone), alone)


def decode(data: bytes) -> Pixels:
    """The same of the content of a file."""
    with contextlib.ExitStack() as alone:
        return _decoded(data, alone)


def _decoded(data: bytes, alone: contextlib.ExitStack) -> Pixels:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd EXIF or palettes; the result decides
        with _opened(data) as img:
            pixels = max(img.width * img.height, limits.padded_pixels(data))
            if pixels > MAX_PIXELS:
                raise ImageError(TOO_LARGE)
            if pixels > limits.LARGE:
                alone.enter_context(_alone())
            return _unpack(img, data)


def problem(path: Path) -> str:
    """Why a file is no picture that can be read, as far as can be told without unpacking it; "" if it is one."""
    with warnings.catch_warnings(), contextlib.ExitStack() as alone:
        warnings.simplefilter("ignore")
        try:
            _opened(_bytes_of(path, alone)).close()
        except ImageError as error:
            return str(error)
    return ""


def is_jpeg(path: Path, size: int) -> bool:
    """Whether a file is a JPEG of size x size px, as far as can be told without unpacking it."""
    with contextlib.ExitStack() as alone, contextlib.suppress(ImageError):
        data = _bytes_of(path, alone)
        if data.startswith(formats.JPEG):
            with _opened(data) as img:
                return img.size == (size, size)
    return False


def _bytes_of(path: Path, alone: contextlib.ExitStack) -> bytes:
    """The content of a file; not that of a pipe, socket or device, which may never end. alone: is let wait for it."""
    if not path.is_file():
        raise ImageError(UNREADABLE)
    try:
        size = path.stat().st_size
        if size > limits.BYTES:
            raise ImageError(TOO_LONG)
        if size > limits.LARGE:
            alone.enter_context(_alone())
        return path.read_bytes()
    except OSError as error:
        raise ImageError(UNREADABLE) from error


def _opened(data: bytes) -> Image.Image:
    """The picture, not unpacked yet."""
    name = formats.unsupported(data[: formats.HEAD])
    if name == formats.HEIC:
        _learn_heic()
    if limits.seconds(data) > limits.SECONDS:
        raise ImageError(TOO_SLOW)
    try:
        if data.startswith(formats.PNG):
            bare, profile = formats.bare_png(data)
            img = Image.open(io.BytesIO(bare), formats=["PNG"])
            img.info["icc_profile"] = profile
            return img
        return Image.open(io.BytesIO(data), formats=_read())
    except Image.DecompressionBombError as error:  # Pillow's own limit, above ours
        raise ImageError(TOO_LARGE) from error
    except Exception as error:
        # Pillow's parsers raise almost anything on hostile bytes; whatever it is, this is no picture for us
        raise ImageError(f"{UNSUPPORTED}: {name}" if name else "not an image") from error


def _unpack(img: Image.Image, data: bytes) -> Pixels:
    try:
        img.load()
    except Exception as error:
        if img.format != "JPEG":
            raise ImageError("damaged file") from error
        return _without_end(data, img.width * img.height)
    return _upright(img)


def _read() -> list[str]:
    """The formats that may be read, of those that this Pillow knows."""
    Image.init()
    return [name for name in formats.READ if name in Image.OPEN]


def _learn_heic() -> None:
    """Let Pillow read the photos of phones; training and evaluation work without, and never see one."""
    with contextlib.suppress(ImportError):
        import pi_heif

        pi_heif.register_heif_opener()


def _without_end(data: bytes, pixels: int) -> Pixels:
    """A JPEG whose last bytes are missing, if that is less than MISSING of the picture."""
    if not formats.has_all_scans(data):
        raise ImageError("damaged file")
    try:
        first, second = (
            _upright(Image.open(io.BytesIO(whole), formats=["JPEG"])) for whole in formats.endings(data, pixels)
        )
    except Exception as error:
        raise ImageError("damaged file") from error
    if (first != second).any(axis=2).mean() > MISSING:
        raise ImageError("damaged file")
    return first


def _upright(img: Image.Image) -> Pixels:
    try:
        orientation = img.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # an unreadable EXIF block is no reason to lose the picture
        orientation = None
    try:
        # not ImageOps.exif_transpose: it copies, and writes all of the EXIF anew
        return colours.to_srgb(img.transpose(_TURNS[orientation]) if orientation in _TURNS else img)
    except Exception as error:
        raise ImageError("damaged file") from error


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


def shrunk(img: Pixels, centre: tuple[float, float], side: int, most: int) -> tuple[Pixels, tuple[float, float]]:
    """What is around a square of side px, however turned, scaled down so that the square has `most` px; and where its
    centre is in there.
    """
    zoom, reach = most / side, side * 0.71 + 1
    height, width = img.shape[:2]
    (x, y) = centre
    x0, y0 = (int(min(max(c - reach, 0), n - 1)) for c, n in zip((x, y), (width, height), strict=True))
    x1, y1 = (max(int(min(c + reach, n)), s + 1) for c, n, s in zip((x, y), (width, height), (x0, y0), strict=True))
    shape = max(round((x1 - x0) * zoom), 1), max(round((y1 - y0) * zoom), 1)
    small = cv2.resize(img[y0:y1, x0:x1], shape, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), ((x - x0) * shape[0] / (x1 - x0), (y - y0) * shape[1] / (y1 - y0))


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
    files.write_atomic(path, encode_png(img))


def encode_png(img: Pixels) -> bytes:
    """PNG bytes of an RGB image.

    Each line is compressed as what it differs in from the one above: a third of the time of zlib's level 3 on photos
    and drawings, for 5 % more bytes.
    """
    how = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)
    _, data = cv2.imencode(".png", cv2.cvtColor(img, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_PNG_COMPRESSION, 1, *how))
    return bytes(data.tobytes())


def grid(images: Pixels, columns: int) -> Pixels:
    """Lay out NHWC images row by row in one HWC picture; missing places are black."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    canvas = np.zeros((rows * height, columns * width, channels), dtype=np.uint8)
    for index, img in enumerate(images):
        y, x = divmod(index, columns)
        canvas[y * height : (y + 1) * height, x * width : (x + 1) * width] = img
    return canvas
