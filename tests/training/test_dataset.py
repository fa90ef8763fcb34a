import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT, texture
from semireal import images
from semireal.errors import UserError
from semireal.faces import crop, detect, upright
from semireal.manifest import Row
from semireal.params import whole
from semireal.training import dataset
from semireal.vision import looks


def rows_of(photos: int, portraits: int) -> list[Row]:
    domains = ["photo"] * photos + ["portrait"] * portraits
    return [{"id": f"{n:04}", "domain": domain, "file": f"images/{n:04}.jpg"} for n, domain in enumerate(domains)]


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1))
def test_mixture_has_the_ratio_and_cannot_be_larger(photos: int, portraits: int, ratio: float) -> None:
    chosen = dataset.select(rows_of(photos, portraits), ratio, seed=0)
    found = sum(row["domain"] == "photo" for row in chosen)
    assert abs(found - ratio * len(chosen)) <= 1
    assert [row["id"] for row in chosen] == sorted({row["id"] for row in chosen})
    # one of the two domains is used up, to within rounding
    assert found >= photos - 1 or len(chosen) - found >= portraits - 1


def face(box: str, eyes: str, angle: float = 0.0) -> Row:
    """Landmarks are five; the other three are somewhere."""
    return {"crop_box": box, "landmarks": f"{eyes} 0 0 0 0 0 0", "angle": angle}


def test_eyes_by_hand() -> None:
    straight = dataset.eyes(face("100 200 300 400", "150 280 250 280"))
    assert straight == pytest.approx(np.array([[0.25, 0.4], [0.75, 0.4]]))
    # a head turned by 90 degrees: the line through its eyes points down in the image, to the right in the square
    turned = dataset.eyes(face("100 200 300 400", "220 250 220 350", 90.0))
    assert turned == pytest.approx(np.array([[0.25, 0.4], [0.75, 0.4]]))


def test_band_is_around_the_eyes_that_most_have() -> None:
    seen, unseen = face("0 0 100 100", "35 40 65 40"), {"landmarks": "", "crop_box": "0 0 9 9", "angle": 0}
    band = dataset.band([seen, seen, unseen])
    assert band == looks.band_of(np.array([[[0.35, 0.4], [0.65, 0.4]]]))
    assert (band.left, band.right) == pytest.approx((0.5 - 0.435, 0.5 + 0.435))
    assert (band.top, band.bottom) == pytest.approx((0.4 - 0.225, 0.4 + 0.21))
    assert dataset.band([seen, unseen]) is None
    assert dataset.band([{"id": "1"}]) is None  # of before there were landmarks


@pytest.mark.parametrize("geometry", ["box", "aligned"])
def test_eyes_are_where_the_crop_stage_put_them(shared: Path, tmp_path: Path, geometry: str) -> None:
    """Landmarks of the manifest, against the detector on the finished crop of a head that is tilted."""
    raw = shared / "faces" / "photo"
    given = whole.load(ROOT / "params.yaml")
    settings = dataclasses.replace(given.crop, geometry=geometry)
    detector = detect.make(settings.detector_photo, settings.score, settings.detect_size)
    (tmp_path / "images").mkdir()
    for n, path in enumerate(sorted(raw.iterdir())[:6]):
        img = np.ascontiguousarray(images.cut(images.load_rgb(path), (300, 300), 700, 20.0, 0))
        images.save_png(tmp_path / f"{n}.png", img)
        for row in crop.crop_image(
            tmp_path / f"{n}.png",
            {"id": str(n)},
            detector,
            upright.Upright(),
            settings,
            given.resize,
            tmp_path / "head",
        ):
            if row["status"] != "kept":
                continue
            found = images.load_rgb(tmp_path / row["file"])
            again = detector(found)[0]
            assert again.landmarks is not None
            assert np.abs(dataset.eyes(row) - again.landmarks[:2] / found.shape[0]).max() < 0.03


def test_mixture_examples() -> None:
    assert dataset.select(rows_of(3, 9), None, 0) == rows_of(3, 9)
    half = dataset.select(rows_of(3, 9), 0.5, 0)
    assert [row["domain"] for row in half] == ["photo"] * 3 + ["portrait"] * 3
    assert dataset.select(rows_of(3, 9), 0.5, 0) == half
    assert dataset.select(rows_of(3, 9), 0.5, 1) != half
    assert len(dataset.select(rows_of(3, 9), 1, 0)) == 3
    assert len(dataset.select(rows_of(3, 9), 0, 0)) == 9
    assert len(dataset.select(rows_of(72, 128), 0.36, 0)) == 200  # Wonder Woman of the report: all of it


def test_one_image_more_changes_one_image() -> None:
    before = {row["id"] for row in dataset.select(rows_of(20, 100), 0.5, 0)}
    after = {row["id"] for row in dataset.select(rows_of(20, 101), 0.5, 0)}
    assert len(before ^ after) <= 2


def test_empty_domain_is_named() -> None:
    with pytest.raises(UserError, match=r"train\.photo_ratio: found 0\.5 for 0 photos and 4 portraits"):
        dataset.select(rows_of(0, 4), 0.5, 0)


def test_load_scales_and_keeps_order(work_root: Path, make_dataset: Callable[..., Path]) -> None:
    folder = make_dataset("set", [(np.full((64, 64, 3), 40 * n, np.uint8), {}) for n in range(4)])
    tensor, rows = dataset.load(folder, 16, None, 0)
    assert tensor.shape == (4, 3, 16, 16)
    assert tensor.dtype == torch.uint8
    assert tensor[:, 0, 0, 0].tolist() == [0, 40, 80, 120]
    assert [row["id"] for row in rows] == ["0000", "0001", "0002", "0003"]
    assert np.array_equal(dataset.load(folder, 16, None, 0)[0], tensor)


def test_all_damaged_files_are_named(work_root: Path, make_dataset: Callable[..., Path]) -> None:
    folder = make_dataset("set", [(texture(n), {}) for n in range(5)])
    (folder / "images/0001.png").write_bytes(b"x")
    (folder / "images/0003.png").unlink()
    with pytest.raises(UserError, match=r"images/0001\.png, images/0003\.png"):
        dataset.load(folder, 16, None, 0)


def test_one_image_is_no_training_set(work_root: Path, make_dataset: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="1 images to train on, need 2"):
        dataset.load(make_dataset("set", [(texture(0), {})]), 16, None, 0)
