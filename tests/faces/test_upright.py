from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from semireal import images
from semireal.collect.gallery import faces as gallery
from semireal.faces import detect, upright
from semireal.images import Pixels


@pytest.fixture(scope="module")
def detector() -> detect.Detector:
    return detect.make("verified", 0.5, 480)


def by_all_looks(img: Pixels, face: detect.Face, up: upright.Upright) -> upright.Turned | None:
    """What Upright says, by eight looks at each face, however certain the first of them is."""
    side = max(round(upright.VIEW * face.side), 1)
    view = upright._view(img, face.centre, side)
    found = [[up._best(np.ascontiguousarray(np.rot90(view, k)), size) for size in upright.SIZES] for k in range(4)]
    scores = [np.mean([one.score if one else 0 for one in seen]) for seen in found]
    best, seen = int(np.argmax(scores)), found[int(np.argmax(scores))][-1]
    if best == 0:
        return upright.Turned(0, face)
    if seen is None or scores[best] < scores[0] + upright.SURER:
        return None
    centre = upright.turned_point(face.centre, (img.shape[1], img.shape[0]), best)
    return upright.Turned(best, upright._moved(seen, side / len(view), centre[0] - side / 2, centre[1] - side / 2))


def alike(pictures: Iterator[Pixels], detector: detect.Detector) -> list[int | None]:
    """Quarters for each face of pictures in four turns (None: not clear), the same by few looks as by all."""
    up, quarters = upright.Upright(), []
    for picture in pictures:
        for k in range(4):
            img = np.ascontiguousarray(np.rot90(picture, k))
            for face in detector(img)[:1]:
                found, slow = up(img, face), by_all_looks(img, face, up)
                assert (found is None) == (slow is None)
                quarters.append(found and found.quarters)
                if found and slow:
                    assert (found.quarters, found.face.box, found.face.score) == (
                        slow.quarters,
                        slow.face.box,
                        slow.face.score,
                    )
    return quarters


class Told(upright.Upright):
    """Sees a face with told scores [4, 2], by turn and size, in a picture whose quarters are 0 to 3 times 60 grey."""

    def __init__(self, scores: list[list[float]]) -> None:
        self.scores = scores

    def _best(self, view: Pixels, size: int) -> detect.Face | None:
        turn = (0, 1, 3, 2).index(round(int(view[1, 1, 0]) / 60))
        score = self.scores[turn][upright.SIZES.index(size)]
        return detect.Face((10, 10, 90, 90), score, np.zeros((5, 2), np.float32)) if score else None


SCORES = st.lists(st.lists(st.sampled_from([0, 0.3, 0.6, 0.7, 0.8, 0.9, 1]), min_size=2, max_size=2), min_size=4)


@given(SCORES)
@example([[0.7, 0.8], [0, 0], [1, 0.58], [0, 0]])
def test_a_turn_is_left_unseen_only_if_it_cannot_be_the_best(scores: list[list[float]]) -> None:
    quarters = np.repeat(np.repeat(np.array([[0, 1], [2, 3]], np.uint8) * 60, 50, axis=0), 50, axis=1)
    img = np.repeat(quarters[:, :, None], 3, axis=2)
    face = detect.Face((20, 20, 80, 80), 0.5, None)
    up = Told(scores)
    found, slow = up(img, face), by_all_looks(img, face, up)
    assert (found and (found.quarters, found.face.score)) == (slow and (slow.quarters, slow.face.score))


def test_few_looks_say_what_all_do(detector: detect.Detector) -> None:
    drawn = (gallery.draw(("geralt", "elf")[n % 2], "photo", np.random.default_rng(n)) for n in range(4))
    assert {0, 2} <= set(alike((np.asarray(img) for img in drawn), detector))


def test_few_looks_say_what_all_do_of_real_pictures(shared: Path, detector: detect.Detector) -> None:
    paths = sorted((shared / "faces").glob("p*/*"))[::25]
    assert {0, 1, 2, 3} <= set(alike((images.load_rgb(path) for path in paths), detector))
