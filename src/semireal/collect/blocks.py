"""What a file says besides its picture: the blocks of metadata in it, found by their lengths, without unpacking pixels.

Pillow would give some of these, but it reads all of a WebP or an AVIF, nothing behind the pixels of a PNG, no C2PA, and
gives up on a broken text; and it copies what each entry of an EXIF block points to, as often as an entry asks for it.
c2pa-python is a compiled program of 50 MB that judges signatures, of which nobody asked.
So here is only what tells: no more than LARGEST bytes of a block, MOST of a file, PARTS parts. Nothing raises on bytes
of strangers.
"""

import io
import itertools
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from semireal import formats
from semireal.limits import PARTS

LARGEST = 8_000_000  # bytes of a block that are looked at; C2PA with its thumbnails has a tenth
UNPACKED = 1_000_000  # bytes of a text that is packed
MOST, BLOCKS = 64_000_000, 200  # bytes of all blocks of a file, and how many
SCANNED = 8_000_000  # bytes at the start and at the end of a file whose structure is not followed
PICTURES = 4  # of such a file, with EXIF each
C2PA, COMMENT, EXIF, IPTC, PNG_TEXT, XMP = "C2PA", "JPEG comment", "EXIF", "IPTC", "PNG chunk", "XMP"

_EXIF, _XMP, _MORE_XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_MORE_XMP_HEAD = len(_MORE_XMP) + 40  # a digest, the length of all, the place of this part
_PNG_XMP = b"XML:com.adobe.xmp"
_TIFF = (b"II*\0", b"MM\0*")
# ISO/IEC 14496-12: the box of C2PA (C2PA 2.1, A.5); XMP as its own specification lets it be found in any file
_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_EXTENSION = b"!\xff\x0bC2PA_GIF"
_BEGIN, _END = b"<x:xmpmeta", b"</x:xmpmeta>"
_EXIF_INSIDE = re.compile(rb"Exif\0\0(?=II\*\0|MM\0\*)")

# tags of TIFF 6.0 and EXIF 2.32 that hold texts of programs and people
_TEXTS = {
    0x010E: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    0x0131: "Software",
    0x013B: "Artist",
    0x9286: "UserComment",
    0x9C9C: "XPComment",
}
_EXIF_TAGS, _XMP_TAG, _IPTC_TAG, _C2PA_TAG = 0x8769, 700, 33723, 0xCD41
# datasets of IPTC-IIM 4.2, record 2
_IPTC = {65: "OriginatingProgram", 80: "By-line", 110: "Credit", 115: "Source", 120: "Caption"}
_DATASET = re.compile(rb"\x1c\x02([\x41\x50\x6e\x73\x78])([\x00-\x7f].)", re.DOTALL)


class Block(NamedTuple):
    """A text or a piece of data: of which kind (C2PA ...), how it is named there, and the text; C2PA as Latin-1."""

    kind: str
    name: str
    text: str


def blocks(path: Path) -> Iterator[Block]:
    """The metadata of a file, in its order; nothing of what is no picture, or cannot be read."""
    left = MOST
    try:
        with path.open("rb") as file:
            for block in itertools.islice(_walked(file), BLOCKS):
                left -= len(block.text)
                if left < 0:
                    return
                yield block
    except OSError:
        return


def _walked(file: BinaryIO) -> Iterator[Block]:
    head = file.read(12)
    if head.startswith(formats.JPEG):
        return _jpeg(file)
    if head.startswith(formats.PNG):
        return _png(file)
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return _webp(file)
    if head.startswith(_TIFF):
        return _tiff(file)
    return _scanned(file)


def _jpeg(file: BinaryIO) -> Iterator[Block]:
    """Segments up to the picture; what is in several parts comes last."""
    xmp, more = bytearray(), bytearray()
    boxes: dict[bytes, bytearray] = {}
    for marker, data in _segments(file):
        if marker == 0xFE:
            yield Block(COMMENT, "", _decoded(data))
        elif marker == 0xED:
            yield from _iptc(data)
        elif marker == 0xEB and data[:2] == b"JP":  # ISO/IEC 19566-5, D.2: each part repeats the head of its box
            first = data[2:4] not in boxes
            boxes.setdefault(data[2:4], bytearray()).extend(data[8 if first else 16 :])
        elif data.startswith(_EXIF):
            yield from _tiff(io.BytesIO(data[len(_EXIF) :]))
        elif data.startswith(_XMP):
            xmp += data[len(_XMP) :]
        elif data.startswith(_MORE_XMP):
            more += data[_MORE_XMP_HEAD:]
    if xmp or more:
        yield _xmp(bytes(xmp + more))
    for box in boxes.values():
        yield _c2pa(bytes(box))


def _segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Marker and content of the segments of a JPEG that may have metadata, up to LARGEST bytes of all."""
    at, left = 2, LARGEST
    for _ in range(PARTS):
        file.seek(at)
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF or head[1] in (0xD9, 0xDA):
            return
        marker, length = head[1], max(int.from_bytes(head[2:]), 2)
        if marker in (0xFF, 0x01) or 0xD0 <= marker <= 0xD8:  # filling, and what has no content
            at += 1 if marker == 0xFF else 2
            continue
        at += 2 + length
        if marker in (0xE1, 0xEB, 0xED, 0xFE):
            left -= length
            if left < 0:
                return
            yield marker, file.read(length - 2)


def _png(file: BinaryIO) -> Iterator[Block]:
    """Chunks, also those behind the picture."""
    at = len(formats.PNG)
    for _ in range(PARTS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length, name = int.from_bytes(head[:4]), head[4:]
        at += 12 + length
        if name not in (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"caBX"):
            continue
        data = file.read(min(length, LARGEST))
        if name == b"caBX":
            yield _c2pa(data)
        elif name == b"eXIf":
            yield from _tiff(io.BytesIO(data.removeprefix(_EXIF)))
        else:
            yield _png_text(name, data)


def _png_text(name: bytes, data: bytes) -> Block:
    key, _, rest = data.partition(b"\0")
    if name == b"zTXt":
        rest = _inflated(rest[1:])
    elif name == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]  # behind the language and the key in that language
        rest = _inflated(rest) if packed else rest
    return _xmp(rest) if key == _PNG_XMP else Block(PNG_TEXT, _decoded(key[:80]), _decoded(rest))


def _webp(file: BinaryIO) -> Iterator[Block]:
    at = 12
    for _ in range(PARTS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        name, length = head[:4], int.from_bytes(head[4:], "little")
        at += 8 + length + length % 2
        data = file.read(min(length, LARGEST)) if name in (b"EXIF", b"XMP ", b"C2PA") else b""
        if name == b"EXIF":
            yield from _tiff(io.BytesIO(data.removeprefix(_EXIF)))
        elif name == b"XMP ":
            yield _xmp(data)
        elif name == b"C2PA":
            yield _c2pa(data)


def _tiff(file: BinaryIO) -> Iterator[Block]:
    """The texts of the first directory of a TIFF, which an EXIF block also is, and of its EXIF."""
    file.seek(0)
    head = file.read(8)
    if not head.startswith(_TIFF) or len(head) < 8:
        return
    order = "<" if head.startswith(b"II") else ">"
    places = [int(struct.unpack(order + "I", head[4:])[0])]
    seen: set[int] = set()  # tags: a second one of a kind is nobody's
    for place in places:
        file.seek(place)
        count = int.from_bytes(file.read(2), "little" if order == "<" else "big")
        for entry in struct.iter_unpack(order + "HHI4s", _whole(file.read(12 * count), 12)):
            tag, _, values, value = entry
            (there,) = struct.unpack(order + "I", value)
            if tag in seen:
                continue
            seen.add(tag)
            if tag == _EXIF_TAGS:
                places.append(there)
            elif tag in _TEXTS or tag in (_XMP_TAG, _IPTC_TAG, _C2PA_TAG):
                size = min(values * (4 if entry[1] == 4 else 1), LARGEST)
                file.seek(there)
                yield from _tag(tag, value[:size] if size <= 4 else file.read(size), order)


def _tag(tag: int, data: bytes, order: str) -> Iterator[Block]:
    if tag == _XMP_TAG:
        yield _xmp(data)
    elif tag == _IPTC_TAG:
        yield from _iptc(data)
    elif tag == _C2PA_TAG:
        yield _c2pa(data)
    elif tag >= 0x9C9C:
        yield Block(EXIF, _TEXTS[tag], data.decode("utf-16-le", "replace").strip("\0 "))
    elif data.startswith(b"UNICODE\0"):
        words, wide = data[8:], "utf-16-le" if order == "<" else "utf-16-be"
        if words[:1] == b"\0" or words[1:2] == b"\0":  # many write another order than that of the block
            wide = "utf-16-be" if words[:1] == b"\0" else "utf-16-le"
        yield Block(EXIF, _TEXTS[tag], words.decode(wide, "replace").strip("\0 \ufeff"))
    else:
        yield Block(EXIF, _TEXTS[tag], _decoded(data.removeprefix(b"ASCII\0\0\0")))


def _iptc(data: bytes) -> Iterator[Block]:
    for found in _DATASET.finditer(data):
        length = int.from_bytes(found[2])
        yield Block(IPTC, _IPTC[found[1][0]], _decoded(data[found.end() : found.end() + length]))


def _scanned(file: BinaryIO) -> Iterator[Block]:
    """What can be found without the structure of a file: in AVIF, HEIC, JPEG 2000, GIF."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    data = file.read(SCANNED)
    if size > SCANNED:
        file.seek(max(size - SCANNED, SCANNED))
        data += file.read(SCANNED)
    end = 0
    while (begin := data.find(_BEGIN, end)) >= 0 and (end := data.find(_END, begin)) >= 0:
        yield _xmp(data[begin:end])
    at = data.find(_BOX)
    if at >= 8:
        length = int.from_bytes(data[at - 8 : at - 4])
        yield _c2pa(data[at : at - 8 + length if length > 1 else None])  # 0: up to the end; 1: told elsewhere
    at = data.find(_EXTENSION)
    if at >= 0:
        yield _c2pa(_sub_blocks(data, at + len(_EXTENSION) + 3))  # behind its authentication code
    for exif in itertools.islice(_EXIF_INSIDE.finditer(data), PICTURES):
        yield from _tiff(io.BytesIO(data[exif.end() : exif.end() + LARGEST]))


def _sub_blocks(data: bytes, at: int) -> bytes:
    """What a GIF has in parts of at most 255 bytes, each behind its length, up to one of length 0."""
    found = bytearray()
    while at < len(data) and data[at]:
        found += data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
    return bytes(found)


def _xmp(data: bytes) -> Block:
    return Block(XMP, "", data[:LARGEST].decode("utf-8", "replace"))


def _c2pa(data: bytes) -> Block:
    return Block(C2PA, "", data[:LARGEST].decode("latin-1"))


def _decoded(data: bytes) -> str:
    return data[:LARGEST].decode("utf-8", "replace").strip("\0 ")


def _inflated(packed: bytes) -> bytes:
    """What is packed, up to UNPACKED bytes of it; nothing of what is broken."""
    try:
        return zlib.decompressobj().decompress(packed, UNPACKED)
    except zlib.error:
        return b""


def _whole(data: bytes, size: int) -> bytes:
    """The data without what is left of them after whole parts of `size` bytes."""
    return data[: len(data) - len(data) % size]
