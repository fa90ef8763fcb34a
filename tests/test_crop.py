from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import texture
from semireal import crop, images, manifest
from semireal.detect import Face
from semireal.params import Crop

PARAMS = Crop(score=0.8, detect_size=640, faces="largest", margin=0.45, lift=0.12, min_face=20)
ROW = {"id": "00ff", "domain": "photo", "source": "s", "status": "kept", "file": "images/x.png"}


def face(*box: float) -> Face:
    return Face((box[0], box[1], box[2], box[3]), 0.91, np.zeros((5, 2), np.float32))


@given(
    st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
    st.tuples(*[st.floats(-300, 2300)] * 2),
    st.floats(1, 3000),
    st.floats(0, 3),
    st.floats(-1, 1),
)
def test_square_is_inside_the_image(
    size: tuple[int, int], corner: tuple[float, float], side: float, margin: float, lift: float
) -> None:
    box = (*corner, corner[0] + side, corner[1] + side)
    left, top, found = crop.square(box, margin, lift, size)
    assert 0 <= left <= left + found <= size[0]
    assert 0 <= top <= top + found <= size[1]
    assert found == min(round(side * (1 + 2 * margin)), *size)


def test_square_is_centred_and_lifted() -> None:
    assert crop.square((100, 100, 200, 200), 0.5, 0, (1000, 1000)) == (50, 50, 200)
    assert crop.square((100, 100, 200, 200), 0.5, 0.1, (1000, 1000)) == (50, 40, 200)
    assert crop.square((100, 0, 200, 100), 0.5, 0.1, (1000, 1000)) == (
        50,
        0,
        200,
    )  # moved inwards at the edge


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    Image.fromarray(texture(3, 300, 400)).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def test_crop_is_the_square_of_the_picture(picture: Path) -> None:
    (row,) = crop.crop_image(picture, ROW, lambda _: [face(100, 100, 160, 160)], PARAMS, picture.parent)
    out = images.load_rgb(picture.parent / row["file"])
    x0, y0, x1, y1 = (int(v) for v in row["crop_box"].split())
    assert np.array_equal(out, texture(3, 300, 400)[y0:y1, x0:x1])
    assert (row["id"], row["status"], row["crop_side"], row["score"]) == ("00ff-0", "kept", 114, 0.91)
    assert (row["raw_width"], row["raw_height"]) == (400, 300)


def test_all_faces_or_the_largest(picture: Path) -> None:
    two = [face(10, 10, 110, 110), face(200, 100, 260, 160)]
    every = Crop(**{**PARAMS.__dict__, "faces": "all"})
    assert [r["id"] for r in crop.crop_image(picture, ROW, lambda _: two, every, picture.parent)] == [
        "00ff-0",
        "00ff-1",
    ]
    assert [r["id"] for r in crop.crop_image(picture, ROW, lambda _: two, PARAMS, picture.parent)] == ["00ff-0"]


def test_rejections_have_a_row_and_no_file(picture: Path) -> None:
    (none,) = crop.crop_image(picture, ROW, lambda _: [], PARAMS, picture.parent)
    (small,) = crop.crop_image(picture, ROW, lambda _: [face(10, 10, 25, 25)], PARAMS, picture.parent)
    picture.write_bytes(picture.read_bytes()[:3000])
    (damaged,) = crop.crop_image(picture, ROW, lambda _: [], PARAMS, picture.parent)
    reasons = [(row["status"], row["reason"], row["file"]) for row in (none, small, damaged)]
    assert reasons == [(manifest.REJECTED, r, "") for r in ("no face", "face too small", "damaged file")]
    assert not list((picture.parent / "images").iterdir())


def test_run_on_real_pictures(shared: Path, tmp_path: Path) -> None:
    """Photos and paintings with a face, and landscapes: the detector tells them apart."""
    labels = pd.read_csv(shared / "faces" / "faces.csv")
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    out.mkdir()
    rows = [
        manifest.kept({"id": f"{kind}{n:03}", "domain": "photo", "source": kind}, file=str(shared / "faces" / path))
        for kind, face in (("photo", 1), ("portrait", 1), ("noface", 0))
        for n, path in enumerate(labels[(labels["class"] == kind) & (labels["has_face"] == face)]["path"].iloc[::12])
    ]
    manifest.save(raw, rows, "test", "")
    crop.run(raw, out, PARAMS)
    found = manifest.read(out).groupby("source")["status"].apply(lambda status: (status == "kept").mean())
    assert found["photo"] >= 0.9
    assert found["portrait"] >= 0.9
    assert found["noface"] <= 0.2
