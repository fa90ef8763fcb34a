import io
import os
import time
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from conftest import texture
from semireal import images, tensors, workers


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


def test_html_is_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_text("<!doctype html><p>login")
    with pytest.raises(images.ImageError, match="not an image"):
        images.load_rgb(tmp_path / "x.jpg")


def test_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "x.png")
    with pytest.raises(images.ImageError, match=r"too many pixels|not an image"):
        images.load_rgb(tmp_path / "x.png")


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
    file = io.BytesIO(bytes(data[:length]))
    try:
        out = images.load_rgb(file)  # type: ignore[arg-type]
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
