import ast
import base64
import io
import os
import re
import struct
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from conftest import texture
from semireal import code, formats, images, tensors, workers
from semireal.collect.gallery import faces as gallery


def gradient() -> images.Pixels:
    ramp = np.linspace(0, 255, 48).astype(np.uint8)
    return np.stack([np.tile(ramp, (32, 1)), np.tile(ramp[::-1], (32, 1)), np.full((32, 48), 90, np.uint8)], axis=2)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "L", "LA", "1", "YCbCr", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    img = Image.fromarray(gradient())
    if mode == "I;16":
        img = Image.fromarray(np.asarray(img.convert("L")).astype(np.uint16) * 257)
    else:
        img = img.convert(mode)
    path = tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr") else "x.png")
    img.save(path)
    out = images.load_rgb(path)
    assert out.shape == (32, 48, 3)
    assert out.dtype == np.uint8
    grey, found = (np.asarray(Image.fromarray(x).convert("L"), dtype=float) for x in (gradient(), out))
    # dithered modes are right on average only
    assert np.corrcoef(grey.ravel(), found.ravel())[0, 1] > (0.1 if mode in ("1", "P") else 0.95)
    assert abs(grey.mean() - found.mean()) < 8


def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)).save(tmp_path / "x.png")
    out = images.load_rgb(tmp_path / "x.png")
    assert abs(out.mean() - 127.5) < 1


def test_16_bit_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), gradient()[:, :, ::-1].astype(np.uint16) * 257)
    assert np.abs(images.load_rgb(tmp_path / "x.png").astype(int) - gradient()).max() <= 1


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:4, :, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "x.png")
    out = images.load_rgb(tmp_path / "x.png")
    assert out[:4].max() == 0
    assert out[4:].min() == 255


@pytest.mark.parametrize(("orientation", "quarter_turns"), [(3, 2), (6, -1), (8, 1)])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, quarter_turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(gradient()).save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(images.load_rgb(tmp_path / "x.png"), np.rot90(gradient(), quarter_turns))


def test_icc_profile_is_converted(tmp_path: Path) -> None:
    lab = Image.fromarray(gradient()).convert("RGB")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab.save(tmp_path / "same.png", icc_profile=profile)
    assert np.abs(images.load_rgb(tmp_path / "same.png").astype(int) - gradient()).max() <= 2
    lab.save(tmp_path / "nonsense.png", icc_profile=b"no profile at all")
    assert np.array_equal(images.load_rgb(tmp_path / "nonsense.png"), gradient())


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert images.load_rgb(tmp_path / "x.gif")[0, 0].tolist() == [255, 0, 0]


def test_truncated_file_is_named_damaged(tmp_path: Path) -> None:
    data = images.encode_jpeg(texture(0, 200, 200), 95)
    (tmp_path / "x.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(images.ImageError, match="damaged file"):
        images.load_rgb(tmp_path / "x.jpg")


@pytest.mark.parametrize("how", [{"quality": 90}, {"quality": 75, "progressive": True}, {"subsampling": 2}])
@pytest.mark.parametrize("left", [0.3, 0.5, 0.8, 0.95])
def test_a_jpeg_is_whole_without_its_end_mark_and_damaged_without_more(
    tmp_path: Path, how: dict[str, Any], left: float
) -> None:
    img = Image.fromarray(np.asarray(gallery.draw("elf", "photo", np.random.default_rng(1))))
    data = io.BytesIO()
    img.save(data, "JPEG", **how)
    whole = data.getvalue()
    path = tmp_path / "x.jpg"
    path.write_bytes(whole[:-2])
    assert np.array_equal(images.load_rgb(path), np.asarray(Image.open(data)))
    path.write_bytes(whole[: int(len(whole) * left)])
    with pytest.raises(images.ImageError, match="damaged file"):
        images.load_rgb(path)


def test_a_progressive_jpeg_that_ends_between_two_scans_is_damaged(tmp_path: Path) -> None:
    """All that it has is whole there, so nothing but the scans themselves tells that more should follow."""
    data = io.BytesIO()
    Image.fromarray(np.asarray(gallery.draw("elf", "photo", np.random.default_rng(1)))).save(
        data, "JPEG", quality=75, progressive=True
    )
    whole = data.getvalue()
    scans = [match.start() for match in re.finditer(rb"\xff\xda", whole)]
    ends = [re.compile(rb"\xff[\xc0-\xfe]").search(whole, scan + 2).start() for scan in scans]  # type: ignore[union-attr]
    assert len(ends) > 5
    for end in ends[:3]:  # the coarse scans: without the fine ones
        (tmp_path / "x.jpg").write_bytes(whole[:end])
        with pytest.raises(images.ImageError, match="damaged file"):
            images.load_rgb(tmp_path / "x.jpg")


def chunk(name: bytes, data: bytes, check: int | None = None) -> bytes:
    found = zlib.crc32(name + data) if check is None else check
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", found)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"layer " * 300_000)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x> </x>" * 200_000)),
        chunk(b"iCCP", b"p\0\0" + zlib.compress(SRGB + bytes(1_500_000))),
        chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(30_000_000))),
        chunk(b"iCCP", b"p\0\0no deflate"),
        chunk(b"tEXt", b"Comment\0hello", check=0),
        chunk(b"pHYs", bytes(9), check=1),
        chunk(b"eXIf", b"MM\0*broken", check=1),
        chunk(b"prVt", bytes(99)),
    ],
)
def test_what_is_no_part_of_a_png_s_picture_may_be_broken(tmp_path: Path, extra: bytes) -> None:
    data = io.BytesIO()
    Image.fromarray(gradient()).save(data, "PNG")
    whole = data.getvalue()
    for place in (whole.index(b"IDAT") - 4, whole.index(b"IEND") - 4):
        (tmp_path / "x.png").write_bytes(whole[:place] + extra + whole[place:])
        assert np.abs(images.load_rgb(tmp_path / "x.png").astype(int) - gradient()).max() <= 1


def test_a_broken_png_is_damaged(tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.fromarray(texture(0, 200, 200)).save(data, "PNG")
    whole = bytearray(data.getvalue())
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "flipped.png").write_bytes(whole)
    for name in ("cut.png", "flipped.png"):
        with pytest.raises(images.ImageError, match="damaged file"):
            images.load_rgb(tmp_path / name)


@pytest.mark.parametrize(
    ("begin", "name"),
    [
        (b"\xff\x0a" + bytes(range(256)), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(200), "camera raw (CR2)"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "camera raw (CR3)"),
        (b"FUJIFILMCCD-RAW 0201", "camera raw (RAF)"),
        (b"\0\0\0\x18ftypmp42" + bytes(99), "video"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC"),
        (b"gimp xcf v011", "GIMP (XCF)"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "SVG"),
        (b"\xef\xbb\xbf\n <HTML><p>login", "web page"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_formats_that_are_not_read_are_named(tmp_path: Path, begin: bytes, name: str) -> None:
    (tmp_path / "x.jpg").write_bytes(begin)
    assert images.problem(tmp_path / "x.jpg") == f"format not supported: {name}"
    with pytest.raises(images.ImageError, match=re.escape(f"format not supported: {name}")):
        images.load_rgb(tmp_path / "x.jpg")


def test_a_picture_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow starts Ghostscript for PostScript, also under another name."""
    started = tmp_path / "started"
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {started}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    path = tmp_path / "eps.jpg"
    Image.fromarray(gradient()).save(path, "EPS")
    with pytest.raises(images.ImageError, match=r"format not supported: PostScript \(EPS\)"):
        images.load_rgb(path)
    path.write_bytes(path.read_bytes().replace(b"%!PS", b" %!PS", 1))
    with pytest.raises(images.ImageError):
        images.load_rgb(path)
    assert images.problem(path)
    assert not started.exists()
    with suppress(Exception):
        Image.open(io.BytesIO(path.read_bytes()[1:])).load()
    assert started.exists()  # it would have been


def test_of_large_pictures_there_is_one_at_a_time_on_the_machine(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(images.encode_jpeg(np.full((64, 64, 3), 9, np.uint8), 50))
    script = (
        "import sys; from pathlib import Path; from semireal import images, limits; limits.LARGE = 32 * 32; "
        "print('here', flush=True); images.load_rgb(Path('x.jpg')); print('read', flush=True)"
    )
    env = os.environ | {"PYTHONPATH": str(code.SRC)}
    with images._alone():
        other = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=env, stdout=subprocess.PIPE)
        assert other.stdout
        assert other.stdout.readline() == b"here\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=1)
    assert other.communicate(timeout=30)[0] == b"read\n"


def test_whoever_opens_a_picture_says_which_formats() -> None:
    calls = [
        (path.name, call)
        for path in code.SRC.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("Image.open", "Pillow.open", "PIL.Image.open")
    ]
    assert len(calls) >= 4  # and none is missed by another name
    for name, call in calls:
        assert "formats" in [word.arg for word in call.keywords], f"{name}: {ast.unparse(call)}"


def test_formats_that_nobody_wants_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    # who saves SPIDER as x.jpg teaches Pillow that it is the format of .jpg
    monkeypatch.setattr(Image, "EXTENSION", dict(Image.EXTENSION))
    wanted = 0
    for name in Image.SAVE:
        path = tmp_path / "x.jpg"
        with suppress(Exception):
            Image.fromarray(gradient()).save(path, name)
            opened = Image.open(path).format
            if opened in formats.READ:
                wanted += 1
                assert images.load_rgb(path).shape == (32, 48, 3)
            else:
                with pytest.raises(images.ImageError):
                    images.load_rgb(path)
    assert wanted > 5


def test_photos_of_phones_are_read(tmp_path: Path) -> None:
    """A sound HEIC file, as a telephone writes them, with a profile and landscape of 64 x 64 px."""
    (tmp_path / "IMG_0001.HEIC").write_bytes(base64.b64decode(HEIC))
    assert images.problem(tmp_path / "IMG_0001.HEIC") == ""
    assert images.load_rgb(tmp_path / "IMG_0001.HEIC").shape == (64, 64, 3)


def grey_profile(gamma: float) -> bytes:
    """An ICC profile (version 2) of a grey device with a power law."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    white = fixed(0.9642, 1, 0.8249)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"Grey\0" + bytes(78),
        b"wtpt": b"XYZ " + bytes(4) + white,
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, int(gamma * 256)) + bytes(2),
        b"cprt": b"text" + bytes(4) + b"none\0" + bytes(3),
    }
    offset, table, data = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">II", offset + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = (
        struct.pack(">I", offset + len(data)) + b"lcms\2\x40\0\0mntrGRAYXYZ " + struct.pack(">6H", 2024, 1, 1, 0, 0, 0)
    )
    head += b"acsp" + bytes(28) + white
    return head + bytes(128 - len(head)) + table + data


@pytest.mark.parametrize("kind", ["8 bit", "with alpha", "16 bit", "float"])
def test_a_grey_profile_counts_in_all_depths_and_with_alpha(tmp_path: Path, kind: str) -> None:
    truth = np.tile(np.linspace(30, 255, 64), (64, 1))
    linear = (truth / 255) ** 2.2
    img = {
        "8 bit": Image.fromarray((linear * 255).round().astype(np.uint8)),
        "with alpha": Image.fromarray((linear * 255).round().astype(np.uint8)).convert("LA"),
        "16 bit": Image.fromarray((linear * 65535).round().astype(np.uint16)),
        "float": Image.fromarray(linear.astype(np.float32)),
    }[kind]
    path = tmp_path / ("x.tif" if kind == "float" else "x.png")
    img.save(path, icc_profile=grey_profile(1.0))
    # sRGB's curve is not quite 2.2, and 8 bits of linear grey are coarse
    assert np.abs(images.load_rgb(path)[:, :, 0] - truth).mean() < 8


@pytest.mark.parametrize("alpha", [0, 1, 128, 255])
def test_an_alpha_that_is_the_same_everywhere_hides_nothing(tmp_path: Path, alpha: int) -> None:
    shot = Image.fromarray(gradient()).convert("RGBA")
    shot.putalpha(alpha)
    shot.save(tmp_path / "x.png")
    assert np.array_equal(images.load_rgb(tmp_path / "x.png"), gradient())


def test_too_many_pixels_are_named_also_beyond_pillow_s_own_limit(tmp_path: Path) -> None:
    Image.new("1", (14_000, 13_000)).save(tmp_path / "x.png")
    with pytest.raises(images.ImageError, match="too many pixels"):
        images.load_rgb(tmp_path / "x.png")


def test_html_is_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_text("<!doctype html><p>login")
    with pytest.raises(images.ImageError, match="format not supported: web page"):
        images.load_rgb(tmp_path / "x.jpg")


def test_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "x.png")
    with pytest.raises(images.ImageError, match="too many pixels"):
        images.load_rgb(tmp_path / "x.png")


HEIC = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
    "ACJpbG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAABwAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRt"
    "AAAAAAABAAAA1mlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA"
    "AAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xy"
    "bmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAACRt"
    "ZGF0AAAAGCgBrxmA9wkZvo0Ike4fkU2qZj7N+NIc/g=="
)
JPEG = images.encode_jpeg(texture(1), 90)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(JPEG) - 1), st.integers(0, 255)), max_size=20),
    st.integers(1, len(JPEG)),
)
def test_mangled_bytes_give_an_image_or_an_image_error(changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(JPEG)
    for where, value in changes:
        data[where] = value
    with TemporaryDirectory() as folder:
        file = Path(folder) / "x"
        file.write_bytes(data[:length])
        try:
            out = images.load_rgb(file)
        except images.ImageError:
            return
    assert out.ndim == 3
    assert out.shape[2] == 3


def test_float_round_trip_is_exact() -> None:
    values = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    floats = tensors.to_float(values)
    assert floats.min() == -1
    assert floats.max() == 1
    assert torch.equal(torch.from_numpy(tensors.to_uint8(floats)).permute(0, 3, 1, 2), values)
    assert tensors.to_uint8(torch.full((1, 3, 1, 1), 9.0)).max() == 255  # clipped


def test_grid_places_images_row_by_row() -> None:
    pictures = np.stack([np.full((2, 3, 3), n, np.uint8) for n in range(1, 6)])
    out = images.grid(pictures, columns=2)
    assert out.shape == (6, 6, 3)
    assert [int(out[y, x, 0]) for y in (0, 2, 4) for x in (0, 3)] == [1, 2, 3, 4, 5, 0]


def test_png_round_trip_leaves_no_partial_file(tmp_path: Path) -> None:
    images.save_png(tmp_path / "x.png", gradient())
    assert np.array_equal(images.load_rgb(tmp_path / "x.png"), gradient())
    assert [f.name for f in tmp_path.iterdir()] == ["x.png"]


def test_each_keeps_the_order() -> None:
    assert list(workers.each(lambda x: x * x, list(range(50)), "square")) == [x * x for x in range(50)]


def test_lent_objects_serve_one_thread_at_a_time_and_are_used_again() -> None:
    made: list[set[int]] = []

    def make() -> set[int]:
        made.append(set())
        return made[-1]

    lent = workers.Pool(make)

    def use(item: int) -> int:
        with lent.borrowed() as one:
            assert not one
            one.add(item)
            time.sleep(0.001)
            one.clear()
        return item

    assert list(workers.each(use, range(40), "test")) == list(range(40))
    assert 1 <= len(made) <= (os.cpu_count() or 1)
    with lent.borrowed() as first, lent.borrowed() as second:
        assert first is not second
    with suppress(ValueError), lent.borrowed():
        raise ValueError
    assert len(made) <= max(2, os.cpu_count() or 1)  # given back after an error too


def other_primaries() -> bytes:
    """A profile of a screen whose red and green are swapped."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ", 1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_those_of_the_profile(tmp_path: Path, mode: str) -> None:
    Image.fromarray(gradient()).convert(mode).save(tmp_path / "x.png", icc_profile=other_primaries())
    found = images.load_rgb(tmp_path / "x.png").astype(int)
    assert np.abs(found - gradient()[..., [1, 0, 2]]).max() <= 3


def test_a_colour_that_stands_for_nothing_is_white(tmp_path: Path) -> None:
    img = gradient()
    img[:8] = (10, 200, 30)
    Image.fromarray(img).save(tmp_path / "x.png", transparency=(10, 200, 30))
    found = images.load_rgb(tmp_path / "x.png")
    assert (found[:8] == 255).all()
    assert np.array_equal(found[8:], img[8:])


def test_resize_averages() -> None:
    img = texture(0, 64, 64)
    assert images.resize(img, 64) is img
    small = images.resize(img, 8)
    assert small.shape == (8, 8, 3)
    assert small.dtype == np.uint8
    blocks = img.reshape(8, 8, 8, 8, 3).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), blocks.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
@pytest.mark.parametrize("corner", [(0, 0), (30, 50), (44, 74), (70, 9)])
def test_cut_of_whole_pixels_copies_them(angle: int, corner: tuple[int, int]) -> None:
    img, side = texture(0, 100, 120), 20
    x, y = corner
    found = images.cut(img, (x + side / 2, y + side / 2), side, angle, cv2.BORDER_REPLICATE)
    # what is to the right in the square is below it in the image at 90 degrees
    assert np.array_equal(found, np.rot90(img[y : y + side, x : x + side], angle // 90))


@pytest.mark.parametrize("centre", [(-3, 50), (0, 0), (119, 99), (60, 104), (200, 50), (-90, -90)])
def test_cut_beyond_the_rim_is_as_the_border_says(centre: tuple[float, float]) -> None:
    img, side, pad = texture(0, 100, 120), 21, 150
    for border in (cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT):
        found = images.cut(img, centre, side, 30, border)
        padded = cv2.copyMakeBorder(img, pad, pad, pad, pad, border)
        whole = images.cut(np.asarray(padded, np.uint8), (centre[0] + pad, centre[1] + pad), side, 30, border)
        assert np.abs(found.astype(int) - whole).max() <= 2, border


def test_cut_of_a_part_is_that_of_the_whole() -> None:
    img, side, angle = texture(0, 200, 200), 31, 17.0
    turn = images.square_to_image((80.5, 120.25), side, angle)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    whole = cv2.warpAffine(img, turn, (side, side), flags=flags)
    found = images.cut(img, (80.5, 120.25), side, angle, cv2.BORDER_CONSTANT)
    assert np.abs(found.astype(int) - whole).max() <= 2
    middle, right = turn @ (15, 15, 1), turn @ (30, 15, 1)
    assert middle == pytest.approx((80, 119.75))
    assert right - middle == pytest.approx(15 * np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))]))


def test_jpeg_keeps_colour_at_full_resolution() -> None:
    img = np.zeros((16, 16, 3), np.uint8)
    img[:, ::2], img[:, 1::2] = (200, 40, 40), (40, 40, 200)
    data = images.encode_jpeg(img, 100)
    assert np.abs(np.asarray(Image.open(io.BytesIO(data))).astype(int) - img).max() <= 4
    assert len(images.encode_jpeg(texture(0), 50)) < len(images.encode_jpeg(texture(0), 95))


def test_large_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(gradient()).save(tmp_path / "x.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 32 * 48)
    assert images.load_rgb(tmp_path / "x.png").shape == (32, 48, 3)
    monkeypatch.setattr(images, "MAX_PIXELS", 32 * 48 - 1)
    with pytest.raises(images.ImageError, match="too many pixels"):
        images.load_rgb(tmp_path / "x.png")


@pytest.mark.parametrize("full", [255, 65535])
def test_greys_of_more_bits_keep_black_and_white(tmp_path: Path, full: int) -> None:
    steps = np.arange(256).reshape(16, 16)
    Image.fromarray((steps * (full // 255)).astype(np.uint16)).save(tmp_path / "x.png")
    assert np.array_equal(images.load_rgb(tmp_path / "x.png")[..., 1], steps)
