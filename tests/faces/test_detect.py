import itertools
import json
import math
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import texture
from semireal import images
from semireal.collect.gallery import faces as gallery
from semireal.errors import UserError
from semireal.faces import detect
from semireal.faces.detect import Face
from semireal.images import Pixels
from semireal.vision import efficientnet


@pytest.fixture(scope="module")
def verified() -> detect.Verified:
    return detect.Verified(detect.YuNet(score=0.5, size=480))


def labelled(shared: Path, *kinds: str) -> pd.DataFrame:
    table = pd.read_csv(shared / "faces" / "faces.csv")
    return table[(table["has_face"] == 1) & table["class"].isin(kinds)]


def test_labelled_faces_are_found(shared: Path, verified: detect.Verified) -> None:
    hits = []
    for label in labelled(shared, "photo", "portrait").iloc[::12].itertuples():
        x, y, w, h = (float(getattr(label, name)) for name in "xywh")
        found = verified(images.load_rgb(shared / "faces" / str(label.path)))
        hits.append(any(detect.iou(face.box, (x, y, x + w, y + h)) >= 0.4 for face in found))
    assert len(hits) > 30
    assert np.mean(hits) >= 0.95


@pytest.mark.parametrize("name", ["*dog01*", "*_jay.*", "*_baboon.*", "*_Chihuahua.*", "*_Egyptian_cat.*"])
def test_animals_are_no_faces_on_a_second_look(shared: Path, verified: detect.Verified, name: str) -> None:
    (path,) = (shared / "faces" / "noface").glob(name)
    img = images.load_rgb(path)
    assert verified.detector(img)
    assert not verified(img)


def test_weak_but_true_faces_stay(shared: Path, verified: detect.Verified) -> None:
    unsure = []
    for label in labelled(shared, "portrait").itertuples():
        if any(part in str(label.path) for part in ("tauroch", "male13", "goblin")):
            img = images.load_rgb(shared / "faces" / str(label.path))
            box = float(label.x), float(label.y), float(label.x + label.w), float(label.y + label.h)  # type: ignore[operator, arg-type]
            found = [face for face in verified.detector(img) if detect.iou(face.box, box) >= 0.4]
            unsure += [verified.accepts(img, face) for face in found if face.score < verified.SURE]
    assert len(unsure) >= 5
    assert np.mean(unsure) >= 0.8


def test_sure_faces_get_no_second_look(verified: detect.Verified, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = [Face((0, 0, 30, 30), score, None) for score in (0.95, 0.6)]
    looked: list[float] = []

    def reject(img: Pixels, face: Face) -> bool:
        looked.append(face.score)
        return False

    monkeypatch.setattr(verified, "detector", lambda img, size: faces)
    monkeypatch.setattr(verified, "accepts", reject)
    assert verified(texture(0)) == faces[:1]
    assert looked == [0.6]


@pytest.mark.parametrize(
    ("scores", "every", "largest"),
    [
        # confidence, and whether it is a face on a second look; faces given and looked at, of all and of the largest
        (((0.95, False), (0.6, True)), ([0, 1], [1]), ([0], [])),
        (((0.6, False), (0.7, True), (0.8, True)), ([1, 2], [0, 1, 2]), ([1], [0, 1])),
        (((0.6, False), (0.7, False)), ([], [0, 1]), ([], [0, 1])),
        (((0.6, True), (0.7, True), (0.95, False)), ([0, 1, 2], [0, 1]), ([0, 2], [0])),
    ],
)
def test_nobody_looks_twice_behind_the_largest_face(
    scores: tuple[tuple[float, bool], ...],
    every: tuple[list[int], list[int]],
    largest: tuple[list[int], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faces = [Face((0, 0, 90 - n, 90 - n), score, None) for n, (score, _) in enumerate(scores)]
    for only, (given_, seen) in ((False, every), (True, largest)):
        verified = detect.Verified(lambda *_: faces, only)
        looks: list[Face] = []

        def accepts(_: Pixels, face: Face, looks: list[Face] = looks) -> bool:
            looks.append(face)
            return dict(scores)[face.score]

        monkeypatch.setattr(verified, "accepts", accepts)
        assert verified(texture(0)) == [faces[n] for n in given_]
        assert looks == [faces[n] for n in seen]


def test_the_largest_of_several_detectors_is_known_only_in_the_end() -> None:
    alone, several = (detect.make(name, 0.5, 480, largest=True) for name in ("verified", "verified+haar"))
    assert alone.detector.largest  # type: ignore[attr-defined]
    assert not several.detector.detectors[0].largest  # type: ignore[attr-defined]


def test_the_largest_face_is_the_first_of_all(shared: Path) -> None:
    every, largest = (detect.make("verified", 0.5, 480, largest=only) for only in (False, True))
    for path in sorted((shared / "faces").glob("*/*"))[::20]:
        img = images.load_rgb(path)
        found, first = every(img), largest(img)
        assert [face.box for face in first[:1]] == [face.box for face in found[:1]]
        assert {face.box for face in first} <= {face.box for face in found}


def test_a_look_ends_when_it_is_decided(verified: detect.Verified, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    limit = math.log((1 - verified.EPS) / verified.EPS)
    weights, bias = np.array(json.loads(detect.VERIFIER.read_text())["weights"]), verified._bias
    looks = []
    for score in np.linspace(0.5, 0.9, 41):
        for animals in rng.uniform(-limit, limit, (10, len(verified.VIEWS))):
            seen = iter(animals)
            monkeypatch.setattr(verified, "_animal", lambda views, seen=seen: [next(seen) for _ in views])
            taken = verified.accepts(texture(0), Face((20, 20, 60, 60), float(score), None))
            assert taken == (math.log(score / (1 - score)) * weights[0] + animals.mean() * weights[1] + bias > 0)
            looks.append(len(animals) - len(list(seen)))
    assert set(looks) == {0, 1, 2, 3}  # hopeless ones cost nothing, near ones all three


def test_features_are_log_odds(verified: detect.Verified) -> None:
    img = texture(1, 200, 300)
    limit = math.log((1 - verified.EPS) / verified.EPS)
    # boxes of a pixel, and past the image, are no error
    for box in ((20, 20, 120, 120), (290, 190, 291, 191), (-100, -100, 50, 60), (0, 0, 2000, 2000)):
        confidence, animal = verified.features(img, Face(box, 0.75, None))
        assert confidence == pytest.approx(math.log(3))
        assert -limit <= animal <= limit
    assert verified.features(img, Face((0, 0, 9, 9), 1.0, None))[0] == pytest.approx(limit)


def test_more_confidence_and_less_animal_make_a_face(verified: detect.Verified) -> None:
    confidence, animal = verified._weights
    assert confidence > 0 > animal


def test_coordinates_are_those_of_the_image_given(shared: Path) -> None:
    path = sorted((shared / "faces" / "photo").iterdir())[0]
    img = images.load_rgb(path)
    detector = detect.YuNet(score=0.8, size=640)
    (first, *_), (padded, *_) = detector(img), detector(np.pad(img, ((0, 0), (img.shape[1], 0), (0, 0))))
    assert first.landmarks is not None
    assert first.landmarks.shape == (5, 2)
    x0, y0, x1, y1 = padded.box
    assert detect.iou(first.box, (x0 - img.shape[1], y0, x1 - img.shape[1], y1)) > 0.7
    # the nose lies between the eyes and the mouth
    assert first.landmarks[:2, 1].max() < first.landmarks[2, 1] < first.landmarks[3:, 1].min()


def animeface_or_skip(name: str) -> None:
    try:
        detect.check(name)
    except UserError as missing:
        pytest.skip(str(missing))


def test_a_detector_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"animeface": "2.0.3"}
    monkeypatch.setattr(metadata, "version", found.__getitem__)
    detect.check("haar+animeface")
    found["animeface"] = "2.1.0"  # its images in memory may be others
    with pytest.raises(UserError, match=r"animeface 2\.0\.3.*pip install .*requirements-animeface\.txt"):
        detect.make("haar+animeface", 0.5, 320)

    def nothing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", nothing)
    with pytest.raises(UserError, match="animeface"):
        detect.make("animeface", 0.5, 320)
    detect.check("haar+verified")


@pytest.mark.parametrize("name", ["verified", "yunet", "animeface", "haar", "haar+animeface"])
def test_odd_shapes_are_no_error(name: str) -> None:
    animeface_or_skip(name)
    detector = detect.make(name, 0.8, 320)
    for shape in ((1, 1), (1, 3000), (3000, 1), (3000, 160), (7, 5)):
        assert detector(texture(0, *shape)) == []


@pytest.mark.parametrize(("name", "every", "least"), [("haar", 20, 0.7), ("animeface", 8, 0.02)])
def test_the_report_s_detectors_find_faces(shared: Path, name: str, every: int, least: float) -> None:
    """AnimeFace was made for another style: few faces, but in the right place and with landmarks in the right order."""
    animeface_or_skip(name)
    detector = detect.make(name, 0.5, 320)
    hits = []
    for label in labelled(shared, "photo").iloc[::every].itertuples():
        x, y, w, h = (float(getattr(label, column)) for column in "xywh")
        faces = detector(images.load_rgb(shared / "faces" / str(label.path)))
        near = [face for face in faces if detect.iou(face.box, (x, y, x + w, y + h)) >= 0.4]
        hits.append(bool(near))
        for face in near:
            assert 0 <= face.score <= 1
            assert (face.landmarks is None) == (name == "haar")
            if face.landmarks is not None:
                right_eye, left_eye, _, right_mouth, left_mouth = face.landmarks
                assert right_eye[0] < left_eye[0]
                assert right_mouth[0] < left_mouth[0]
                assert max(right_eye[1], left_eye[1]) < right_mouth[1]
    assert np.mean(hits) >= least


def test_union_keeps_the_first_detector_s_face() -> None:
    one, same, other = (
        Face(box, score, None) for box, score in (((0, 0, 10, 10), 0.9), ((1, 1, 11, 11), 1.0), ((50, 50, 90, 90), 0.5))
    )
    assert detect.Union([lambda *_: [one], lambda *_: [same, other]])(texture(0)) == [other, one]
    assert detect.Union([lambda *_: [], lambda *_: [same]])(texture(0)) == [same]


@pytest.mark.parametrize("px", [64, 96, 200])
def test_small_faces_of_large_pictures_and_strips_are_found(px: int) -> None:
    detector = detect.make("verified", 0.5, 480, least=48)
    for n, character in enumerate(("geralt", "elf")):
        img = np.asarray(gallery.draw(character, "photo", np.random.default_rng(n)))
        zoom = px / detector(img)[0].side
        head = np.asarray(cv2.resize(img, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA))
        for height, width in ((4000, 4000), (len(head) + 10, 6000), (9000, 600)):
            canvas = np.full((height, width, 3), 200, np.uint8)
            canvas[5 : 5 + len(head), 300 : 300 + head.shape[1]] = head[:, : width - 300]
            (face,) = detector(canvas)
            assert face.side == pytest.approx(px, rel=0.3)


def test_nothing_is_found_in_plain_strips_whatever_memory_held_before() -> None:
    detector = detect.make("yunet", 0.5, 480)
    for width in (1, 31, 32, 33, 40):
        strip = np.full((480, width, 3), 200, np.uint8)
        for value in (np.nan, 1e30, -1e30, 50.0, -50.0, 1.0) * 5:
            freed = [np.full(size, value, np.float32) for size in range(1000, 200_000, 4000)]
            del freed
            assert detector(strip) == detector(np.ascontiguousarray(strip.transpose(1, 0, 2))) == [], (width, value)


def test_a_closer_look_only_where_needed() -> None:
    asked: list[int] = []

    def detector(img: Pixels, size: int) -> list[Face]:
        asked.append(size)
        return (
            [Face((0, 0, 9, 9), 1, None)]
            if size < 500
            else [Face((1, 1, 9, 9), 1, None), Face((50, 50, 90, 90), 1, None)]
        )

    large = texture(0, 1500, 3000)
    assert len(detect.Closer(detector, 400, 48, False)(large)) == 1  # type: ignore[arg-type]
    assert asked == [400]
    assert len(detect.Closer(detector, 400, 48, True)(large)) == 2  # type: ignore[arg-type]
    assert asked == [400, 400, 1000]


NUMBER = st.floats(-1e4, 1e4)
SIDE = st.floats(0.01, 1e4)


@given(st.tuples(NUMBER, NUMBER, SIDE, SIDE), st.tuples(NUMBER, NUMBER, SIDE, SIDE))
def test_overlap_is_symmetric_and_at_most_one(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> None:
    a, b = ((x, y, x + w, y + h) for x, y, w, h in (one, other))
    assert detect.iou(a, b) == detect.iou(b, a)
    assert 0 <= detect.iou(a, b) <= 1 + 1e-9
    assert detect.iou(a, a) == pytest.approx(1)


def test_overlap_of_known_boxes() -> None:
    assert detect.iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert detect.iou((0, 0, 2, 2), (2, 0, 4, 2)) == 0


def test_convolution_has_as_many_outputs_as_tensorflow_s() -> None:
    for height, width, kernel, stride in itertools.product((7, 8), (9, 10), (1, 3, 5), (1, 2)):
        layer = efficientnet.SameConv(2, 4, kernel, stride)
        out = layer(torch.zeros(1, 2, height, width))
        assert out.shape == (1, 4, math.ceil(height / stride), math.ceil(width / stride))


def test_an_odd_pixel_of_padding_is_right_and_below() -> None:
    layer = efficientnet.SameConv(1, 1, 3, 2).requires_grad_(False)
    layer.load_state_dict({"weight": torch.zeros(1, 1, 3, 3), "bias": torch.zeros(1)})
    layer.weight[0, 0, 0, 0] = 1
    img = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert layer(img).tolist() == img[:, :, ::2, ::2].tolist()  # so the first window begins at the first pixel


def test_the_network_knows_animals(shared: Path) -> None:
    classes = {"goldfinch": 11, "jay": 17, "box_turtle": 37, "hare": 331, "zebra": 340, "baboon": 372}
    net = efficientnet.load()
    right = []
    for name, number in classes.items():
        (path,) = (shared / "faces" / "noface").glob(f"*imagenet*_{name}.jpg")
        img = images.resize(images.load_rgb(path), efficientnet.SIZE)
        pixels = torch.from_numpy(img.astype(np.float32)).permute(2, 0, 1)[None]
        with torch.no_grad():
            right.append(int(net((pixels - efficientnet.MEAN) / efficientnet.SCALE).argmax()) == number)
    assert np.mean(right) >= 0.8
