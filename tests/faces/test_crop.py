import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from conftest import texture
from semireal import images, manifest
from semireal.collect.gallery import faces as gallery
from semireal.curate import resize
from semireal.errors import UserError
from semireal.faces import crop, detect, upright
from semireal.faces.detect import Face
from semireal.params.crop import Crop
from semireal.params.resize import Resize
from semireal.training.dataset import eyes

PARAMS = Crop(
    detector_photo="verified",
    detector_portrait="yunet",
    score=0.8,
    detect_size=640,
    faces="largest",
    geometry="box",
    margin=0.45,
    lift=0.12,
    scale=1.0,
    min_face=20,
    min_edge=None,
    max_outside=None,
)
FINAL = Resize(size=1024, quality=95)  # larger than the heads here, which keep their pixels
ALIGNED = replace(PARAMS, geometry="aligned")
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


class Straight:
    """In place of upright.Upright: no face has to be turned."""

    def __call__(self, img: images.Pixels, face: Face) -> upright.Turned:
        return upright.Turned(0, face)


def cropped(picture: Path, detector: Any, params: Crop) -> list[manifest.Row]:
    return crop.crop_image(picture, ROW, detector, upright.Upright(), params, FINAL, picture.with_name("head"))


def test_crop_is_the_square_of_the_picture(picture: Path) -> None:
    (row,) = cropped(picture, lambda _: [face(100, 100, 160, 160)], PARAMS)
    out = images.load_rgb(picture.parent / row["file"])
    x0, y0, x1, y1 = (int(v) for v in row["crop_box"].split())
    assert np.array_equal(out, texture(3, 300, 400)[y0:y1, x0:x1])
    assert (row["id"], row["status"], row["crop_side"], row["score"]) == ("00ff-0", "kept", 114, 0.91)
    assert (row["raw_width"], row["raw_height"]) == (400, 300)


FRONTAL = np.array([[40, 50], [60, 50], [50, 62], [42, 75], [58, 75]], np.float32)  # eyes 20 apart, mouth 25 below
SMALL = Resize(size=64, quality=90)


def cut(picture: Path, found: Face, params: Crop, final: Resize, stem: Path) -> manifest.Row:
    """A picture cut where somebody has found an upright face."""
    detector: Any = lambda _: [found]  # noqa: E731
    straight: Any = Straight()
    (row,) = crop.crop_image(picture, ROW, detector, straight, params, final, stem)
    return row


@pytest.mark.parametrize("params", [PARAMS, ALIGNED])
@pytest.mark.parametrize("corner", [100, 10])  # inside of the picture, and so that the square reaches past it
def test_a_large_head_is_finished_as_stage_resize_would(picture: Path, params: Crop, corner: int) -> None:
    found = replace(face(corner, corner, corner + 60, corner + 60), landmarks=FRONTAL + np.float32(corner))
    pixels, finished = (
        cut(picture, found, params, final, picture.with_name(name))
        for name, final in (("pixels", FINAL), ("finished", SMALL))
    )
    assert (pixels["file"], finished["file"]) == ("pixels-0.png", "finished-0.jpg")
    data = (picture.parent / finished["file"]).read_bytes()
    assert data == resize.finished(picture.parent / pixels["file"], SMALL)
    assert data == resize.finished(picture.parent / finished["file"], SMALL)
    assert images.load_rgb(picture.parent / finished["file"]).shape == (64, 64, 3)
    same = ("crop_side", "crop_box", "blocks", "outside")
    assert [pixels[name] for name in same] == [finished[name] for name in same]


@pytest.mark.parametrize("size", [113, 114, 115])
def test_a_smaller_head_keeps_its_pixels(picture: Path, size: int) -> None:
    of_114 = face(100, 100, 160, 160)
    row = cut(picture, of_114, PARAMS, Resize(size=size, quality=90), picture.with_name("head"))
    assert row["file"].endswith(".jpg" if size <= 114 else ".png")
    assert len(images.load_rgb(picture.parent / row["file"])) == min(size, 114)


def test_all_faces_or_the_largest(picture: Path) -> None:
    two = [face(10, 10, 110, 110), face(200, 100, 260, 160)]
    every = replace(PARAMS, faces="all")
    assert [r["id"] for r in cropped(picture, lambda _: two, every)] == [
        "00ff-0",
        "00ff-1",
    ]
    assert [r["id"] for r in cropped(picture, lambda _: two, PARAMS)] == ["00ff-0"]


def test_further_faces_count_where_they_are_large_and_in_the_square() -> None:
    one = face(100, 100, 200, 200)  # its square: from 55 to 245 across, from 43 to 233 down
    beside, behind, outside = face(205, 120, 255, 170), face(60, 60, 95, 95), face(300, 100, 380, 180)
    count = crop.others(one, [one, beside, behind, outside], PARAMS, (1000, 1000))
    assert count == 1
    assert crop.others(beside, [one, beside], PARAMS, (1000, 1000)) == 0  # the middle of the large one is not in it
    assert crop.others(one, [one], PARAMS, (1000, 1000)) == 0


def test_a_second_face_in_the_square_is_told(picture: Path) -> None:
    img = images.load_rgb(picture)
    twice = [face(20, 20, 120, 120), face(100, 30, 160, 90)]
    row = crop.crop_image(picture, ROW, lambda *_: twice, upright.Upright(), PARAMS, FINAL, picture.with_name("h"))[0]
    assert min(img.shape[:2]) > 160
    assert row["others"] == 1


def test_rejections_have_a_row_and_no_file(picture: Path) -> None:
    (none,) = cropped(picture, lambda _: [], PARAMS)
    (small,) = cropped(picture, lambda _: [face(10, 10, 25, 25)], PARAMS)
    picture.write_bytes(picture.read_bytes()[:3000])
    (damaged,) = cropped(picture, lambda _: [], PARAMS)
    reasons = [(row["status"], row["reason"], row["file"]) for row in (none, small, damaged)]
    assert reasons == [(manifest.REJECTED, r, "") for r in ("no face", "face too small", "damaged file")]
    assert not list((picture.parent / "images").iterdir())


POINT = st.tuples(st.floats(-500, 1500), st.floats(-500, 1500))


def with_landmarks(points: np.ndarray) -> Face:
    return Face((0, 0, 100, 100), 0.9, points.astype(np.float32))


def in_the_square(points: np.ndarray, at: crop.Square) -> np.ndarray:
    """Where points of the image are in the square, in sides of it."""
    turn = images.square_to_image(at.centre, at.side, at.angle)
    inside = (points - 0.5 - turn[:, 2]) @ np.linalg.inv(turn[:, :2]).T
    return np.asarray((inside + 0.5) / at.side)


def test_alignment_of_a_frontal_face_is_that_of_ffhq() -> None:
    at = crop.aligned(with_landmarks(FRONTAL), 1)
    assert at is not None
    assert at.centre == pytest.approx((50, 52.5))  # a tenth of the way from the eyes to the mouth
    assert at.side == 90  # 3.6 times the 25 px from eyes to mouth, more than 4 times the 20 px between the eyes
    assert at.angle == pytest.approx(0)
    wide = FRONTAL * np.array([2, 1], np.float32)
    assert crop.aligned(with_landmarks(wide), 1.5) == crop.Square((100.0, 52.5), 240, 0.0)


@given(st.floats(-180, 180), st.floats(0.5, 20), POINT)
def test_aligned_eyes_and_mouth_are_in_the_same_places(angle: float, size: float, move: tuple[float, float]) -> None:
    a = np.radians(angle)
    turned = FRONTAL @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) * size + move
    at, straight = (crop.aligned(with_landmarks(points), 1) for points in (turned, FRONTAL * 20))
    assert at is not None
    assert straight is not None
    found = in_the_square(turned, at)
    assert np.allclose(found, in_the_square(FRONTAL * 20, straight), atol=1 / at.side)
    assert found[0][0] == pytest.approx(1 - found[1][0], abs=2e-3)


def test_no_alignment_without_landmarks_or_of_a_single_point() -> None:
    assert crop.aligned(Face((0, 0, 9, 9), 1, None), 1) is None
    assert crop.aligned(with_landmarks(np.full((5, 2), 7)), 1) is None


def test_a_square_inside_the_image_is_cut_as_it_is() -> None:
    img = texture(3, 300, 400)
    assert np.array_equal(crop.cut_padded(img, crop.Square((110, 70), 80, 0)), img[30:110, 70:150])
    quarter = crop.cut_padded(img, crop.Square((110, 70), 80, 90))
    assert np.array_equal(quarter, np.rot90(img[30:110, 70:150]))


def test_outside_of_the_image_is_blurred_and_fades_to_one_colour() -> None:
    img = texture(3, 300, 400)
    out = crop.cut_padded(img, crop.Square((0, 150), 200, 0))  # the left half lies outside
    assert np.array_equal(out[:, 122:], img[50:250, 22:100])  # the blur begins a tenth of the side before the edge
    far, mirrored = out[:, :30].astype(float), img[50:250, 60:5:-1].astype(float)
    assert np.ptp(far, axis=(0, 1)).max() == 0
    assert np.abs(far[0, 0] - np.median(img[50:250, :100], axis=(0, 1))).max() < 10
    beside = out[:, 40:95].astype(float)  # blurred and fading: of the mirrored picture, with less contrast
    assert 0 < beside.std() < mirrored.std()


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), POINT, st.integers(1, 400), st.floats(-180, 180))
def test_any_square_of_any_image_can_be_cut(
    size: tuple[int, int], centre: tuple[float, float], side: int, angle: float
) -> None:
    img = np.full((*size, 3), (10, 130, 250), np.uint8)
    out = crop.cut_padded(img, crop.Square(centre, side, angle))
    assert out.shape == (side, side, 3)
    assert np.abs(out.astype(int) - (10, 130, 250)).max() <= 1  # and never black


def test_a_tilted_face_is_turned_upright(picture: Path) -> None:
    tilted = FRONTAL @ np.array([[0.8, 0.6], [-0.6, 0.8]]) + (150, 100)
    (row,) = cropped(picture, lambda _: [with_landmarks(tilted)], ALIGNED)
    assert (row["geometry"], row["crop_side"]) == ("aligned", 90)
    assert row["angle"] == pytest.approx(np.degrees(np.arctan2(0.6, 0.8)), abs=0.01)
    assert images.load_rgb(picture.parent / row["file"]).shape == (90, 90, 3)


def test_a_face_without_landmarks_gets_the_square_of_its_box(picture: Path) -> None:
    found = Face((100, 100, 160, 160), 0.9, None)
    (row,) = cropped(picture, lambda _: [found], ALIGNED)
    (plain,) = cropped(picture, lambda _: [found], PARAMS)
    assert row == plain
    assert (row["geometry"], row["landmarks"], row["angle"]) == ("box", "", 0)


DRAWN = replace(PARAMS, score=0.5, detect_size=480, min_edge=0.15, max_outside=0.5)


@pytest.fixture(scope="module")
def detector() -> detect.Detector:
    return detect.make("verified", 0.5, 480)


def drawn(n: int) -> images.Pixels:
    return np.asarray(gallery.draw(("geralt", "elf", "wonder_woman")[n % 3], "photo", np.random.default_rng(n)))


@pytest.mark.parametrize("geometry", ["box", "aligned"])
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_heads_that_are_not_upright_are_turned(
    picture: Path, detector: detect.Detector, geometry: str, quarters: int
) -> None:
    turned = 0
    for n in range(4):
        straight, params = drawn(n), replace(DRAWN, geometry=geometry)
        Image.fromarray(straight).save(picture)
        (right,) = cropped(picture, detector, params)
        head = images.load_rgb(picture.parent / right["file"]).astype(float)
        Image.fromarray(np.rot90(straight, quarters)).save(picture)
        (row,) = cropped(picture, detector, params)
        if row["reason"] in ("no face", "not clear which way up"):
            continue
        turned += 1
        assert row["turned"] == (360 - 90 * quarters) % 360
        assert abs(row["angle"]) > 45
        again = images.load_rgb(picture.parent / row["file"])
        found = detector(again)[0].landmarks
        assert found is not None
        assert found[0][0] < found[1][0]  # the right eye of a person is to the left
        assert found[:2, 1].mean() < found[3:, 1].mean()
        assert np.corrcoef(head.ravel(), images.resize(again, len(head)).ravel())[0, 1] > 0.6
        # the manifest says where that is in the raw picture, as for heads that are upright
        place = eyes(row)
        assert np.allclose(place, found[:2] / len(again), atol=0.06)
    assert turned >= 1


@pytest.mark.parametrize("geometry", ["box", "aligned"])
def test_faces_cut_by_the_border_are_rejected(picture: Path, detector: detect.Detector, geometry: str) -> None:
    reasons = []
    for n in range(6):
        img = drawn(n)
        face = detector(img)[0]
        middle = max(int(face.centre[0]), 0)
        for part in (img[:, middle:], img[:, :middle], img[: int(face.centre[1])]):
            Image.fromarray(part).save(picture)
            reasons.append(cropped(picture, detector, replace(DRAWN, geometry=geometry))[0]["reason"])
    assert set(reasons) <= {"cut off", "no face"}
    assert "cut off" in reasons


def test_the_stage_says_what_a_smaller_least_face_would_bring_back(
    tmp_path: Path, detector: detect.Detector, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    out.mkdir()
    side = round(detector(drawn(1))[0].side)
    Image.fromarray(drawn(1)).save(raw / "x.png")
    Image.fromarray(np.asarray(Image.fromarray(drawn(2)).resize((1200, 1200)))).save(raw / "y.png")
    rows = [manifest.kept({"id": name, "domain": "photo", "source": "s"}, file=f"{name}.png") for name in "xy"]
    manifest.save(raw, rows, "test", "")
    least = round(side * 1.2)
    crop.run(raw, out, replace(DRAWN, min_face=least), FINAL)
    report = json.loads((out / "report.json").read_text())
    assert report["rejected"] == {"face too small": 1}
    assert report["milder"] == {f"min_face: {round(least * 0.75)}": 1}
    assert (
        f"crop.min_face: {round(least * 0.75)} instead of {least} would bring back 1 images" in capsys.readouterr().err
    )


def test_bars_are_no_part_of_a_picture(picture: Path, detector: detect.Detector) -> None:
    img = drawn(1)
    (face,) = detector(img)[:1]
    _, y0, _, y1 = (round(value) for value in face.box)
    still = img[max(y0 - 40, 0) : y1 + 40]
    bar = np.zeros((60, img.shape[1], 3), np.uint8)
    for colour in (0, 255):
        Image.fromarray(np.vstack([bar + colour, still, bar + colour]).astype(np.uint8)).save(picture)
        (row,) = cropped(picture, detector, DRAWN)
        left, top, right, bottom = (float(value) for value in row["crop_box"].split())
        assert top >= 60
        assert bottom <= 60 + len(still)
        head = images.load_rgb(picture.parent / row["file"])
        assert np.array_equal(head, still[int(top) - 60 : int(bottom) - 60, int(left) : int(right)])
        assert abs(np.array(row["box"].split(), float)[1] - (60 + y0 - max(y0 - 40, 0))) < 25


@given(st.tuples(*[st.floats(0, 60)] * 2), st.integers(1, 60), st.floats(-180, 180))
def test_a_square_reaches_past_its_picture_where_a_corner_does(
    centre: tuple[float, float], side: int, angle: float
) -> None:
    at = crop.Square(centre, side, angle)
    corners, pixels = (crop._outside(at, n, 60, 60) for n in (np.array([0, side - 1]), np.arange(side)))
    assert (corners.max() > 0) == (pixels.max() > 0)


def test_a_large_square_past_the_border_is_made_smaller_first() -> None:
    img = np.asarray(Image.fromarray(drawn(1)).resize((3000, 3000)))
    at = crop.Square((1500.0, 1500.0), 3200, 3.0)
    small = crop.cut_padded(img, at)
    assert small.shape == (crop.LARGEST, crop.LARGEST, 3)
    shrunk = np.asarray(Image.fromarray(img).resize((960, 960), Image.Resampling.BOX))
    direct = crop.cut_padded(shrunk, crop.Square((480.0, 480.0), 1024, 3.0))
    assert np.abs(small.astype(int) - direct).mean() < 2


def test_each_domain_has_its_detector(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    out.mkdir()
    Image.fromarray(texture(3, 300, 400)).save(raw / "x.png")
    rows = [manifest.kept({"id": name, "domain": name, "source": "s"}, file="x.png") for name in ("photo", "portrait")]
    manifest.save(raw, rows, "test", "")
    with pytest.raises(UserError, match="none of 2 images kept"):
        crop.run(raw, out, PARAMS, FINAL)
    assert manifest.read(out)["detector"].tolist() == ["verified", "yunet"]


def test_run_on_real_pictures(shared: Path, tmp_path: Path) -> None:
    """Photos and paintings with a face, and landscapes: the detector tells them apart."""
    labels = pd.read_csv(shared / "faces" / "faces.csv")
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    (raw / "faces").symlink_to(shared / "faces")
    out.mkdir()
    rows = [
        manifest.kept({"id": f"{kind}{n:03}", "domain": "photo", "source": kind}, file=f"faces/{path}")
        for kind, face in (("photo", 1), ("portrait", 1), ("noface", 0))
        for n, path in enumerate(labels[(labels["class"] == kind) & (labels["has_face"] == face)]["path"].iloc[::12])
    ]
    manifest.save(raw, rows, "test", "")
    crop.run(raw, out, PARAMS, FINAL)
    found = manifest.read(out).groupby("source")["status"].apply(lambda status: (status == "kept").mean())
    assert found["photo"] >= 0.9
    assert found["portrait"] >= 0.9
    assert found["noface"] <= 0.2
