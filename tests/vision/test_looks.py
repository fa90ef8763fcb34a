import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import texture
from semireal import images
from semireal.images import Pixels
from semireal.vision import efficientnet, looks
from semireal.vision.looks import Band, Looks

CPU = torch.device("cpu")
BAND = Band(0.25, 0.5, 0.25, 0.75)


def seen(pictures: Pixels, band: Band | None = BAND) -> Looks:
    return looks.look(efficientnet.load(), pictures, band, CPU)


def moved(a: Looks, b: Looks) -> dict[str, float]:
    """By how much of their length features differ."""
    pairs = {name: (getattr(a, name), getattr(b, name)) for name in ("whole", "layout", "eyes")}
    return {name: float(np.linalg.norm(x - y) / np.linalg.norm(x)) for name, (x, y) in pairs.items()}


@pytest.fixture(scope="module")
def picture() -> Pixels:
    return np.stack([texture(n, 64, 64) for n in range(2)])


def test_shapes_and_what_is_left_out(picture: Pixels) -> None:
    found = seen(picture)
    assert found.whole.shape == (2, looks.WHOLE)
    assert found.layout.shape == (2, looks.LAYOUT)
    assert found.eyes is not None
    assert found.eyes.shape == (2, looks.EYES)
    assert seen(picture, None).eyes is None
    # each picture for itself, whatever is beside it
    assert np.allclose(seen(picture[1:]).layout, found.layout[1:], atol=1e-4)


def test_the_eyes_see_the_band_alone(picture: Pixels) -> None:
    inside, outside = picture.copy(), picture.copy()
    inside[:, 16:32, 16:48] //= 2
    outside[:, 40:] //= 2
    assert moved(seen(picture), seen(outside))["eyes"] == 0
    assert moved(seen(picture), seen(inside))["eyes"] > 0.1


def test_the_layout_sees_where(picture: Pixels) -> None:
    """The same change left and right: the whole sees the same of both, the layout does not."""
    left, right = picture.copy(), picture[:, :, ::-1].copy()
    for img in (left, right):
        img[:, 20:30, 4:14] = 255
    there = seen(right[:, :, ::-1].copy())
    found = moved(seen(left), there)
    assert found["layout"] > 1.5 * found["whole"]


def test_small_pictures_are_enlarged(picture: Pixels) -> None:
    """A fine pattern at 64 px is what the network sees at its own size."""
    checkers = ((np.indices((64, 64)).sum(axis=0) % 2) * 2 - 1)[None, :, :, None] * 10
    patterned = np.clip(picture.astype(int) + checkers, 0, 255).astype(np.uint8)
    assert moved(seen(picture), seen(patterned))["whole"] > 0.05


def test_band_of_eyes_by_hand() -> None:
    pair = np.array([[0.4, 0.5], [0.6, 0.5]])
    far_off = np.array([[0.0, 0.0], [0.1, 0.0]])  # one wrong detection among three moves nothing
    found = looks.band_of(np.stack([pair, pair, far_off]))
    assert dataclasses.astuple(found) == pytest.approx((0.35, 0.64, 0.21, 0.79))
    at_the_edge = looks.band_of(np.array([[[0.02, 0.05], [0.5, 0.05]]]))
    assert at_the_edge.top == at_the_edge.left == 0


def test_eyes_of_real_faces_are_seen_best_by_the_eyes(shared: Path) -> None:
    """Darkened eyes, on a few real faces as they lie: the band moves more than the whole."""
    photos = [images.load_rgb(path) for path in sorted((shared / "faces" / "photo").iterdir())[:4]]
    squares = [images.resize(img[: min(img.shape[:2]), : min(img.shape[:2])], 128) for img in photos]
    pictures = np.stack(squares)
    dark = pictures.copy()
    dark[:, 40:56, 40:88] //= 2
    found = moved(seen(pictures, Band(0.3, 0.46, 0.3, 0.7)), seen(dark, Band(0.3, 0.46, 0.3, 0.7)))
    assert found["eyes"] > 1.5 * found["whole"]
