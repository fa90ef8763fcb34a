"""What a picture may cost to unpack, told by how its file is built.

Memory goes with the pixels and the bytes. Time does not: a few kilobytes can make a decoder go over the same pixels a
thousand times, or read a million empty parts. A thread cannot be interrupted, and a limit on the clock would give other
datasets on slower machines. So the time is estimated from what a file says of itself, by rates that were measured on a
slow core, and the same file is read everywhere or nowhere.
"""

import math
import re
import struct
from collections.abc import Callable
from typing import NamedTuple

from semireal.formats import PNG

PIXELS = 120_000_000  # more than any camera's but a few; unpacking takes up to 25 bytes for each, so 3 GB
BYTES = 500_000_000  # enough for so many pixels that are not compressed at all
LARGE = 25_000_000  # pixels or bytes; one such picture is unpacked at a time, or each core would take PIXELS
PARTS = 200_000  # segments, chunks or blocks before or around a picture; honest files have thousands
SECONDS = 20.0  # that a picture may take; honest ones of PIXELS take up to 12

# seconds for one ..., at most
_HEADER = 0.15e-6  # byte before the picture of a JPEG or GIF, which Pillow reads in Python
_SCAN, _SCANNED = 2e-6, 1e-9  # scan of a JPEG, and each pixel that it goes over
_COPIED = 1e-9  # byte of the EXIF of a JPEG, for each part that it is put together from
_RUN, _FILLED = 0.4e-6, 0.25e-6  # byte and pixel of a BMP that consists of runs, which Pillow unpacks in Python
_TAG, _NUMBER, _FRACTION = 5e-6, 1e-6, 5e-6  # tag of a TIFF, and each of its values
_RAW_TILE, _TILE = 40e-6, 5e-6  # strip or tile of a TIFF, without and with compression
_WAVELET, _BIT_PLANES = 0.03e-6, 0.17e-6  # pixel of a component, and byte, of JPEG 2000
_WAVELET_TILE, _BLOCK, _PRECINCT = 100e-6, 4e-6, 20e-6  # tile, block and precinct of JPEG 2000; they take memory too

# of TIFF: tags, values of the tag for compression, kinds of values
_SIZE, _TILE_SIZE, _COMPRESSION, _STRIPS, _TILES = (256, 257), (322, 323), 259, 273, 324
_RAW, _JPEGS = 1, (6, 7)
_BYTES, _FRACTIONS = (1, 2, 6, 7), (5, 10)
_CODESTREAM = b"\xff\x4f\xff\x51"


def seconds(data: bytes) -> float:
    """About how long it takes to unpack the first picture of a file on a slow core; inf for one of too many PARTS.

    Formats whose decoders take as long as their pixels and bytes alone say (WebP, AVIF, HEIC, plain BMP) count as 0.
    """
    return next((estimate(data) for begin, estimate in _ESTIMATES.items() if data.startswith(begin)), 0.0)


def padded_pixels(data: bytes) -> int:
    """Pixels of the tiles of a TIFF, which reach past its picture; 0 for all others."""
    if not data.startswith((b"II*\0", b"MM\0*")):
        return 0
    tags = _tags(data)
    (width, height), (across, down) = ((tags[x].value, tags[y].value) for x, y in (_SIZE, _TILE_SIZE))
    return math.ceil(width / across) * math.ceil(height / down) * across * down if across and down else 0


def _jpeg(data: bytes) -> float:
    pixels = exif = exifs = segments = 0
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker, (length,) = data[at + 1], struct.unpack_from(">H", data, at + 2)
        if marker == 0xDA:
            break
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9:  # these have no content
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and at + 9 <= len(data):
            pixels = max(pixels, math.prod(struct.unpack_from(">HH", data, at + 5)))
        if marker == 0xE1:
            exif, exifs = exif + length, exifs + 1
        at += 2 + max(length, 2)
        segments += 1
        if segments > PARTS:
            return math.inf
    header = at if at >= 0 else len(data)
    scans = data.count(b"\xff\xda")  # those of pictures within the header are few
    return header * _HEADER + scans * (_SCAN + pixels * _SCANNED) + exifs * exif * _COPIED


def _png(data: bytes) -> float:
    at, chunks = len(PNG), 0
    while at + 8 <= len(data) and chunks <= PARTS:
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        chunks += 1
    return math.inf if chunks > PARTS else 0.0


def _gif(data: bytes) -> float:
    """The time to its first frame."""
    if len(data) < 13:
        return 0.0
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
    blocks, begin = 0, re.compile(rb"[!,;]")
    while (found := begin.search(data, at)) and found[0] == b"!":
        at = found.start() + 2
        while at < len(data) and data[at] and blocks <= PARTS:
            at += 1 + data[at]
            blocks += 1
        at += 1
        blocks += 1
        if blocks > PARTS:
            return math.inf
    return (found.start() if found else len(data)) * _HEADER


def _bmp(data: bytes) -> float:
    if len(data) < 34:
        return 0.0
    width, height, _, compression = struct.unpack_from("<iiII", data, 18)
    return len(data) * _RUN + abs(width * height) * _FILLED if compression in (1, 2) else 0.0


class _Tag(NamedTuple):
    """What one tag of a TIFF has: how many values, and the first one where that lies in the tag itself."""

    kind: int
    values: int
    value: int


class _Tags(dict[int, _Tag]):
    def __missing__(self, key: int) -> _Tag:
        return _Tag(0, 0, 0)


def _tags(data: bytes) -> _Tags:
    """The tags of the first picture of a TIFF, without those of BigTIFF."""
    order = "<" if data.startswith(b"II") else ">"
    found = _Tags()
    if len(data) < 8:
        return found
    (at,) = struct.unpack_from(order + "I", data, 4)
    if at + 2 > len(data):
        return found
    (count,) = struct.unpack_from(order + "H", data, at)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(data) - 11), 12):
        tag, kind, values = struct.unpack_from(order + "HHI", data, entry)
        (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
        found.setdefault(tag, _Tag(kind, values, value))
    return found


def _tiff(data: bytes) -> float:
    tags = _tags(data)
    strips = max(tags[_STRIPS].values, tags[_TILES].values)
    compression = tags[_COMPRESSION].value
    took = len(tags) * _TAG + strips * (_TILE if compression > _RAW else _RAW_TILE)
    for tag in tags.values():
        took += tag.values * (_FRACTION if tag.kind in _FRACTIONS else 0 if tag.kind in _BYTES else _NUMBER)
    if compression in _JPEGS and strips:
        pixels = math.prod(tags[side].value for side in _SIZE) / strips
        took += data.count(b"\xff\xda") * (_SCAN + pixels * _SCANNED)
    return took


def _jpeg2000(data: bytes) -> float:
    return len(data) * _BIT_PLANES + max(
        (_codestream(data[found.start() : found.start() + 65_536]) for found in re.finditer(_CODESTREAM, data)),
        default=0.0,
    )


def _codestream(data: bytes) -> float:
    if len(data) < 42:
        return 0.0
    x1, y1, x0, y0, width, height, left, top, components = map(int, struct.unpack_from(">8IH", data, 8))
    pixels = max(x1 - x0, 0) * max(y1 - y0, 0) * components
    tiles = math.ceil((x1 - left) / max(width, 1)) * math.ceil((y1 - top) / max(height, 1))
    took: float = pixels * _WAVELET + tiles * components * _WAVELET_TILE
    style = data.find(b"\xff\x52", 42)
    if style < 0 or style + 14 > len(data):
        return took
    levels, *block = data[style + 9 : style + 12]
    took += pixels / 2 ** (sum(side & 15 for side in block) + 4) * _BLOCK
    if data[style + 4] & 1:
        precincts = data[style + 14 : style + 15 + levels]
        took += (
            sum(pixels / 4**n / 2 ** ((size & 15) + (size >> 4)) for n, size in enumerate(reversed(precincts)))
            * _PRECINCT
        )
    return took


_ESTIMATES: dict[bytes, Callable[[bytes], float]] = {
    b"\xff\xd8": _jpeg,
    PNG: _png,
    b"GIF8": _gif,
    b"BM": _bmp,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    _CODESTREAM: _jpeg2000,
    b"\0\0\0\x0cjP  ": _jpeg2000,
}
