import numpy as np
import pytest

from heads import head
from semireal.curate import quality
from semireal.faces import detect
from semireal.images import Pixels

# right eye, left eye, nose, corners of the mouth: of a head that fills a good part of its picture
POINTS = np.array([[0.4, 0.5], [0.6, 0.5], [0.5, 0.6], [0.43, 0.7], [0.57, 0.7]])
COLOURS = {
    "dark": [(20, 18, 18), (52, 36, 30)],
    "grey": [(214, 214, 220), (130, 130, 134), (226, 218, 200)],
    "red": [(150, 66, 34), (190, 80, 40)],
    "brown": [(110, 76, 50), (150, 112, 70)],
    "blond": [(218, 184, 116), (235, 205, 140)],
    "other": [(104, 126, 78), (60, 90, 190), (170, 60, 170)],
}


def picture(hair: tuple[int, int, int], left: int = 120, right: int = 120, side: int = 200) -> Pixels:
    """A grey head below hair of one colour, its halves lit apart."""
    img = np.empty((side, side, 3), np.uint8)
    img[:, : side // 2], img[:, side // 2 :] = left, right
    img[: side * 3 // 10] = hair
    return img


@pytest.mark.parametrize("kind", COLOURS)
def test_hair_has_the_colour_above_the_forehead(kind: str) -> None:
    assert set(COLOURS) == set(quality.HAIR)
    for colour in COLOURS[kind]:
        assert quality.hair(picture(colour), POINTS) == kind, colour


def test_light_is_of_the_face_and_of_the_side_it_comes_from() -> None:
    even = quality.light(picture((255, 255, 255), 119, 119), POINTS)
    assert even == pytest.approx((50, 0), abs=0.2)  # L* of middle grey
    lit = quality.light(picture((0, 0, 0), 60, 200), POINTS)
    turned = quality.light(np.ascontiguousarray(picture((0, 0, 0), 60, 200)[:, ::-1]), POINTS)
    assert lit is not None
    assert turned is not None
    assert lit[1] > 40
    assert turned == pytest.approx((lit[0], -lit[1]), abs=3)


def test_a_head_that_is_turned_in_its_picture_is_looked_at_along_its_own_axes() -> None:
    img = picture((150, 66, 34), 60, 200)
    quarter = np.column_stack([1 - POINTS[:, 1], POINTS[:, 0]])  # clockwise
    turned = np.ascontiguousarray(np.rot90(img, -1))
    assert quality.hair(turned, quarter) == "red"
    assert quality.light(turned, quarter) == pytest.approx(quality.light(img, POINTS), abs=3)


@pytest.mark.parametrize(
    "points",
    [np.full((5, 2), 0.5), POINTS + 5, POINTS * 1e200, POINTS - (0, 3), np.full((5, 2), -1e9)],
    ids=["one point", "outside", "huge", "above", "far"],
)
def test_landmarks_of_no_face_tell_nothing(points: np.ndarray) -> None:
    assert quality.light(picture((0, 0, 0)), points) is None
    assert quality.hair(picture((0, 0, 0)), points) == ""


def test_hair_that_the_picture_cuts_off_is_not_known() -> None:
    assert quality.hair(picture((20, 18, 18)), POINTS - (0, 0.4)) == ""
    assert quality.light(picture((20, 18, 18)), POINTS - (0, 0.2)) is not None


def test_drawn_heads_have_the_hair_that_they_were_drawn_with() -> None:
    detector = detect.make("yunet", 0.5, 480)
    expected = {"geralt": "grey", "wonder_woman": "dark"}
    for who, kind in expected.items():
        for style in ("photo", "portrait"):
            for seed in range(4):
                img = head(who, style, seed, 256)
                points = detector(img)[0].landmarks
                assert points is not None
                assert quality.hair(img, points / 256) == kind
