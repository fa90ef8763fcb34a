"""Files that a folder of pictures should not have, but may: broken, disguised, huge once unpacked, slow to unpack.

All are made here, and small: what they cost is in what they make of a decoder.
"""

import io
import os
import random
import re
import socket
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from conftest import texture
from semireal.collect.gallery import faces as gallery

Files = dict[str, bytes]
FLIPS = 12  # files with one bit flipped, of each format
_SIDE = 10_900  # px of a square just below the limit
NOISE = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


def files() -> Files:
    """All files by name: the sound ones, what is cut off and flipped of them, the disguised, the odd, the bombs."""
    good = sound()
    return good | cut(good) | flipped(good) | disguised() | odd() | bombs() | slow()


def saved(img: Image.Image, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    img.save(buffer, kind, **how)
    return buffer.getvalue()


def portrait(number: int) -> Image.Image:
    """A drawn head that the stages keep."""
    return Image.fromarray(np.asarray(gallery.draw("elf", "photo", np.random.default_rng(number))))


def sound() -> Files:
    """A small picture in each format that is read."""
    img = Image.fromarray(texture(1, 32, 48))
    return {
        "a.jpg": saved(img, "JPEG"),
        "progressive.jpg": saved(img, "JPEG", progressive=True),
        "a.png": saved(img, "PNG"),
        "a.webp": saved(img, "WEBP"),
        "lossless.webp": saved(img, "WEBP", lossless=True),
        "a.gif": saved(img, "GIF"),
        "a.tif": saved(img, "TIFF"),
        "lzw.tif": saved(img, "TIFF", compression="tiff_lzw"),
        "a.bmp": saved(img, "BMP"),
        "a.avif": saved(img, "AVIF"),
        "a.jp2": saved(img, "JPEG2000"),
        "a.j2k": saved(img, "JPEG2000", no_jp2=True),
    }


def borders(data: bytes) -> list[int]:
    """Where the parts of a file begin: segments, chunks, boxes, blocks, tags."""
    if data.startswith(b"\xff\xd8"):
        return [found.start() for found in re.finditer(rb"\xff[\xc0-\xfe]", data)]
    if data.startswith(b"\x89PNG"):
        return [found.start() - 4 for found in re.finditer(rb"IHDR|PLTE|IDAT|IEND", data)]
    if data.startswith(b"RIFF"):
        return [0, 4, 8, *(found.start() for found in re.finditer(rb"VP8.|ALPH|EXIF", data))]
    if data.startswith(b"GIF"):
        return [6, 13, *range(16, len(data), len(data) // 12)]
    if data.startswith(b"II*"):
        (at,) = struct.unpack_from("<I", data, 4)
        (tags,) = struct.unpack_from("<H", data, at)
        return [4, 8, at, *range(at + 2, at + 2 + 12 * tags, 12)]
    if data.startswith(b"BM"):
        return [2, 14, 18, 54, 54 + 3 * 48, len(data) - 3 * 48]
    if data.startswith(b"\xff\x4f"):
        return [found.start() for found in re.finditer(rb"\xff[\x4f-\x93\xd9]", data)]
    names = (
        rb"jp2h|ihdr|colr|jp2c|ftyp|meta|hdlr|pitm|iloc|iinf|infe|iprp|ipco|ispe|pixi|av1C|ipma|mdat|\xff[\x51-\x93]"
    )
    return [found.start() - 4 for found in re.finditer(names, data)]


def cut(good: Files) -> Files:
    """What is left of each file where its parts begin, and a few bytes later."""
    return {
        f"cut at {at + more} {name}": data[: at + more]
        for name, data in good.items()
        for at in borders(data)
        for more in (0, 3)
    }


def flipped(good: Files) -> Files:
    """Each file with one bit that is wrong; in the first half, where the structure is, two times in three."""
    chance, found = random.Random(0), {}
    for name, data in good.items():
        for n in range(FLIPS):
            bit = chance.randrange(8 * len(data) // (2 if n % 3 else 1))
            wrong = bytearray(data)
            wrong[bit // 8] ^= 1 << bit % 8
            found[f"bit {bit} {name}"] = bytes(wrong)
    return found


def disguised() -> Files:
    """What is no picture, or another one than its name says."""
    img = Image.fromarray(texture(2))
    eps = saved(img, "EPS")
    return {
        "eps.jpg": eps,
        "eps behind a blank.jpg": b" " + eps,
        "pdf.jpg": saved(img, "PDF"),
        "svg.png": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "page.jpg": b"<!doctype html><script>1</script>",
        "zip.jpg": b"PK\3\4" + bytes(99),
        "program.jpg": b"#!/bin/sh\ntouch ran\n",
        "elf.jpg": b"\x7fELF" + bytes(99),
        "pickle.jpg": b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.",
        "empty.jpg": b"",
        "one byte.jpg": b"\xff",
        "zeros.jpg": bytes(10_000),
        "png.jpg": saved(img, "PNG"),
        "jpg.gif": saved(img, "JPEG"),
        "tga.jpg": saved(img, "TGA"),
        "ico.png": saved(img, "ICO"),
        "no suffix": saved(img, "WEBP"),
    }


def odd() -> Files:
    """Sound pictures of unusual kinds, and such with unusual things beside the picture."""
    img = Image.fromarray(texture(3, 32, 48))
    grey = img.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x" * 60_000
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "x" * 900_000, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", "x" * 900_000, zip=True)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames = [Image.new("RGB", (16, 16), (n % 256, 0, 0)) for n in range(40)]
    found = {f"{mode}.tif": saved(img.convert(mode), "TIFF") for mode in ("1", "L", "LA", "P", "CMYK", "YCbCr", "RGBA")}
    found |= {f"{mode}.png": saved(img.convert(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGBA")}
    lab = ImageCms.profileToProfile(
        img, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    found["LAB.tif"] = saved(lab, "TIFF")
    found |= {
        "16 bit.png": saved(deep, "PNG"),
        "16 bit.tif": saved(deep, "TIFF"),
        "16 bit.jp2": saved(deep, "JPEG2000"),
    }
    values = np.asarray(grey, np.float32) / 255
    found |= {"float.tif": saved(Image.fromarray(values), "TIFF")}
    found |= {"nan.tif": saved(Image.fromarray(np.full_like(values, np.nan)), "TIFF")}
    found |= {"infinite.tif": saved(Image.fromarray(np.full_like(values, np.inf)), "TIFF")}
    found |= {"int.tif": saved(Image.fromarray(np.asarray(grey, np.int32)), "TIFF")}
    found["CMYK.jpg"] = saved(img.convert("CMYK"), "JPEG")
    found["YCCK.jpg"] = _adobe(found["CMYK.jpg"])
    found["exif.jpg"] = saved(img, "JPEG", exif=exif)
    found["profile.jpg"] = saved(img, "JPEG", icc_profile=profile)
    found["huge profile.jpg"] = saved(img, "JPEG", icc_profile=profile + bytes(3_000_000))
    found["broken profile.webp"] = saved(img, "WEBP", icc_profile=profile[:300])
    found["profile of greys.png"] = saved(img, "PNG", icc_profile=profile.replace(b"RGB ", b"GRAY"))
    found["texts.png"] = saved(img, "PNG", pnginfo=texts)
    found["interlaced 1 px.png"] = png(1, 30_000, interlaced=True)
    found["arithmetic.jpg"] = saved(img, "JPEG").replace(b"\xff\xc0", b"\xff\xc9", 1)
    for kind in ("GIF", "WEBP", "TIFF", "PNG", "AVIF"):
        found[f"frames.{kind.lower()}"] = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    for width, height in ((1, 1), (30_000, 1), (1, 30_000), (2, 4000)):
        for kind in ("PNG", "JPEG", "TIFF"):
            found[f"{width} x {height}.{kind.lower()}"] = saved(Image.new("RGB", (width, height), "red"), kind)
    return found


def _adobe(cmyk: bytes) -> bytes:
    """A JPEG of four channels that says that they are YCCK."""
    at = cmyk.index(b"Adobe")
    return cmyk[: at + 11] + b"\2" + cmyk[at + 12 :]


def bombs() -> Files:
    """A few kilobytes that say that they are hundreds of megabytes, beyond the limit of pixels."""
    side = 20_000
    return {
        "bomb 1 bit.png": png(side, side, bits=1),
        "bomb.gif": saved(Image.new("P", (4, 4)), "GIF").replace(
            struct.pack("<HH", 4, 4), struct.pack("<HH", 65_535, 65_535)
        ),
        "bomb.bmp": saved(Image.new("L", (4, 4)), "BMP").replace(
            struct.pack("<ii", 4, 4), struct.pack("<ii", side, side)
        ),
        "bomb.jpg": jpeg(b"", 60_000, 60_000),
        "bomb.webp": _with_canvas(saved(Image.new("RGBA", (4, 4), (1, 2, 3, 4)), "WEBP", exif=b"Exif\0\0"), 16_000),
        "bomb.j2k": j2k(side, side, side),
        "bomb.tif": tiff({256: side, 257: side, 258: 1, 259: 1, 262: 1, 273: 8, 278: side, 279: 50_000_000}),
        "tile larger than its picture.tif": tiff(
            {256: 99, 257: 99, 258: 8, 259: 8, 262: 1, 322: 30_000, 323: 30_000, 324: 8, 325: 99}
        ),
        "bomb.avif": saved(Image.new("RGB", (48, 32)), "AVIF").replace(
            b"ispe" + struct.pack(">III", 0, 48, 32), b"ispe" + struct.pack(">III", 0, 30_000, 30_000)
        ),
    }


def _with_canvas(webp: bytes, side: int) -> bytes:
    at = webp.index(b"VP8X") + 12
    return webp[:at] + 2 * struct.pack("<I", side - 1)[:3] + webp[at + 6 :]


def slow() -> Files:
    """What is below all limits of size, and would take a decoder from half a minute to hours."""
    small = saved(Image.new("RGB", (9, 9)), "JPEG")
    gif = saved(Image.new("L", (9, 9)), "GIF")
    frame = 13 + (3 << (gif[10] & 7) + 1)  # behind its palette
    return {
        "scans.jpg": jpeg(segment(0xDA, b"\1\1\0\1\x3f\0") * 3000, _SIDE, _SIDE),
        "comments.jpg": small[:2] + segment(0xFE, b"") * 300_000 + small[2:],
        "parts of EXIF.jpg": small[:2] + segment(0xE1, b"Exif\0\0" + bytes(2000)) * 8000 + small[2:],
        "chunks.png": png(9, 9)[:33] + chunk(b"IDAT", b"") * 300_000 + png(9, 9)[33:],
        "runs.bmp": bmp_of_runs(_SIDE, _SIDE, b"\1\1\0\0" * _SIDE),
        "comment.gif": gif[:frame] + b"!\xfe" + b"\1a" * 300_000 + b"\0" + gif[frame:],
        "tiles of a pixel.tif": tiff(
            {256: 1000, 257: 1000, 258: 8, 259: 1, 262: 1, 322: 1, 323: 1, 324: (8,) * 10**6, 325: (1,) * 10**6}
        ),
        "precincts of a pixel.j2k": j2k(8000, 8000, 8000, precinct=0x11),
        "tiles of a pixel.j2k": j2k(3000, 3000, 1),
        "blocks of 4 pixels.j2k": j2k(10_000, 10_000, 10_000, block=0),
    }


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg(scans: bytes, width: int, height: int) -> bytes:
    """A progressive grey JPEG of one colour, with further scans."""
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"
    tables = (
        segment(0xDB, b"\0" + b"\1" * 64)
        + segment(0xC4, b"\0\1" + bytes(15) + b"\0")
        + segment(0xC4, b"\x10\1" + bytes(15) + b"\0")
    )
    return b"\xff\xd8" + tables + segment(0xC2, frame) + segment(0xDA, b"\1\1\0\0\0\0") + scans + b"\xff\xd9"


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, bits: int = 8, interlaced: bool = False) -> bytes:
    """A black grey PNG."""
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, interlaced)
    content = zlib.compress(bytes((width * bits // 8 + 1) * height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def bmp_of_runs(width: int, height: int, runs: bytes) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(runs), 0, 0, 1078) + head + bytes(range(256)) * 4 + runs


def tiff(tags: Mapping[int, int | tuple[int, ...]]) -> bytes:
    """A TIFF of these tags, all of whose values are of four bytes."""
    entries, values = b"", b""
    begin = 8 + 2 + 12 * len(tags) + 4
    for tag, given in tags.items():
        many = given if isinstance(given, tuple) else (given,)
        packed = struct.pack(f"<{len(many)}I", *many)
        entries += struct.pack("<HHI", tag, 4, len(many)) + (
            packed if len(many) == 1 else struct.pack("<I", begin + len(values))
        )
        values += packed if len(many) > 1 else b""
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + values


def j2k(width: int, height: int, tile: int, precinct: int = 0, block: int = 4) -> bytes:
    """A JPEG 2000 of this size without any data."""
    data = saved(Image.new("L", (64, 64)), "JPEG2000", no_jp2=True)
    size = struct.pack(">8I", width, height, 0, 0, tile, tile, 0, 0)
    at = data.index(b"\xff\x52")
    (length,) = struct.unpack_from(">H", data, at + 2)
    style = bytearray(data[at + 4 : at + 2 + length])
    style[6:8] = bytes([block, block])
    if precinct:
        style[0] |= 1
        style += bytes([precinct]) * (style[5] + 1)
    return data[:8] + size + data[40:at] + segment(0x52, bytes(style)) + data[at + 2 + length :]


NAMES = (
    "line\nbreak.jpg",
    "tab\tand\x07bell.jpg",
    "right\u202egnp.jpg",
    "\u05d0\u05d1.jpg",
    "x" * 246 + ".jpg",
    "-rf .jpg",
    "; echo.jpg",
    "😀.jpg",
)


def no_files(folder: Path, outside: Path) -> set[str]:
    """Put into a folder what is no file of a picture, and links; returns what no picture can come of.

    outside: a folder that has a picture, `secret.png`.
    """
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    (folder / "folder.jpg" / "circle").symlink_to(folder)
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "memory.jpg").symlink_to("/proc/self/mem")  # a regular file that cannot be read
    (folder / "linked.png").symlink_to(outside / "secret.png")
    (folder / "elsewhere").symlink_to(outside)
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(folder)  # the name of a socket may have 107 bytes
        try:
            one.bind("socket.jpg")
        finally:
            os.chdir(here)
    with (folder / "hole.png").open("wb") as file:
        file.truncate(10**12)
    return {"pipe.jpg", "device.jpg", "memory.jpg", "socket.jpg", "hole.png"}


def mutations(data: bytes, others: list[bytes], chance: random.Random) -> Iterator[bytes]:
    """The same file again and again with other bytes changed, left out, doubled, or taken from other files."""
    while True:
        wrong = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            at, length = chance.randrange(len(wrong) + 1), chance.choice((1, 1, 2, 4, 64))
            other = chance.choice(others)
            start = chance.randrange(len(other) + 1)
            new = chance.choice(
                (
                    b"",
                    b"\0",
                    b"\xff",
                    chance.randbytes(length),
                    other[start : start + 4 * length],
                    wrong[at:][:length] * 2,
                )
            )
            wrong[at : at + chance.choice((0, length))] = new
        yield bytes(wrong)
