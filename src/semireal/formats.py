"""What a file is by its first bytes, whatever its name says; and files whose picture is whole though they are not."""

import struct
import zlib
from collections.abc import Iterator

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
HEIC = "HEIC"
POSTSCRIPT = "PostScript (EPS)"
# What Pillow may read, by its names: pictures, and nothing that is a program (it would start Ghostscript for an EPS)
READ = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000")
HEAD = 512  # bytes that `unsupported` looks at

# What else of a PNG decides how its picture looks; its texts, times and sizes on paper do not
_SHOWN = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"sRGB", b"gAMA", b"cHRM", b"eXIf")
_PROFILE = b"iCCP"
LARGEST_PROFILE = 16_000_000  # bytes; those of printers have a few million

# the brands of files in the ISO container (ISO/IEC 14496-12) that are no moving pictures
_BRANDS = {b"hei": HEIC, b"hev": HEIC, b"mif": HEIC, b"msf": HEIC, b"avi": "AVIF", b"crx": "camera raw (CR3)"}
_BEGINS = {
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"FUJIFILMCCD-RAW": "camera raw (RAF)",
    b"IIRO": "camera raw (ORF)",
    b"IIRS": "camera raw (ORF)",
    b"IIU\x00": "camera raw (RW2)",
    b"\x00MRM": "camera raw (MRW)",
    b"FOVb": "camera raw (X3F)",
    b"8BPS": "Photoshop",
    b"gimp xcf": "GIMP (XCF)",
    b"CSFCHUNK": "Clip Studio Paint",
    b"%PDF": "PDF",
    b"%!PS": POSTSCRIPT,
    b"\xc5\xd0\xd3\xc6": POSTSCRIPT,
    b"\x1aE\xdf\xa3": "video (Matroska, WebM)",
    b"PK\x03\x04": "archive (ZIP)",
    b"Rar!": "archive (RAR)",
    b"7z\xbc\xaf": "archive (7z)",
}
_TEXTS = {b"<svg": "SVG", b"<!doctype html": "web page", b"<html": "web page"}


def unsupported(head: bytes) -> str:
    """Name of a format that is known, but not read here, from the first HEAD bytes of a file; "" for all others."""
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:11], "video")
    if head[:4] in (b"II*\0", b"MM\0*") and head[8:10] == b"CR":
        return "camera raw (CR2)"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<?xml") and b"<svg" in text:
        return "SVG"
    known = [name for begin, name in _BEGINS.items() if head.startswith(begin)]
    known += [name for begin, name in _TEXTS.items() if text.startswith(begin)]
    return known[0] if known else ""


def bare_png(data: bytes) -> tuple[bytes, bytes | None]:
    """A PNG with nothing but what its picture needs, and its colour profile.

    Pillow gives up where a text is large or has a wrong check sum. A profile larger than LARGEST_PROFILE is none.
    """
    kept, profile = [PNG], None
    for name, content, sound in _chunks(data):
        critical = name[:1].isupper()
        if name in _SHOWN and (sound or critical):  # a critical one that is broken is Pillow's to judge
            check = zlib.crc32(name + content) if sound else 0
            kept.append(struct.pack(">I", len(content)) + name + content + struct.pack(">I", check))
        elif name == _PROFILE and sound:
            profile = _inflated(content.partition(b"\0")[2][1:])
    return b"".join(kept), profile


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Name, content and whether the check sum is right, of the chunks of a PNG, up to where it ends or is cut off."""
    at = len(PNG)
    while at + 8 <= len(data):
        (length,), name = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        content, check = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        yield name, content, check == struct.pack(">I", zlib.crc32(name + content))
        at += 12 + length


def _inflated(packed: bytes) -> bytes | None:
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(packed, LARGEST_PROFILE)
    except zlib.error:
        return None
    return found if unpacking.eof else None


def has_all_scans(data: bytes) -> bool:
    """Whether the last scan of a JPEG that has begun gives the last bit of all frequencies, as of all that are not
    progressive.
    """
    at = data.rfind(b"\xff\xda")
    components = data[at + 4] if at >= 0 and len(data) > at + 4 else 0
    scan = data[at + 5 + 2 * components :][:3]
    if at < 0 or len(scan) < 3:
        return False
    _, last, bits = scan  # first and last frequency, and from which bit to which
    return last == 63 and bits & 15 == 0


def endings(data: bytes, pixels: int) -> tuple[bytes, bytes]:
    """A JPEG of so many pixels without its end, with two others: where both give one picture, nothing was missing.

    What is put behind are bits that stand for something else in each, enough for all of the picture; where that was
    complete already, a decoder skips them.
    """
    more = pixels // 8 + 64
    return data + b"\x00" * 2 * more + b"\xff\xd9", data + b"\xaa\x55" * more + b"\xff\xd9"
