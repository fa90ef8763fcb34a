import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from semireal.collect.gallery import faces as gallery
from semireal.faces import blocks
from semireal.images import Pixels

LIMIT = 0.4  # filter.max_blocks


def head(n: int) -> Pixels:
    img = np.asarray(gallery.draw(("geralt", "elf", "wonder_woman")[n % 3], "photo", np.random.default_rng(n)))
    return np.ascontiguousarray(img[: min(img.shape[:2]), : min(img.shape[:2])])


def jpeg(img: Pixels, quality: int) -> Pixels:
    data = io.BytesIO()
    Image.fromarray(img).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data))


def share_by_floats(img: Pixels) -> float:
    """blocks.share, written down without care for time."""
    grey = cv2.cvtColor(img, cv2.COLOR_RGB2GRAY).astype(np.float32)
    axes = []
    for axis in (0, 1):
        steps = np.abs(np.diff(grey, axis=axis))
        usual = np.median(steps[:, :: blocks.SOME] if axis == 0 else steps[:: blocks.SOME])
        axes.append(np.minimum(steps, blocks.LOUD * usual + blocks.QUIET).mean(axis=1 - axis))
    found = []
    for period in blocks.PERIODS:
        if blocks.LEAST * period <= len(axes[0]):
            places = [one[: len(one) // period * period].reshape(-1, period).mean(axis=0) for one in axes]
            middle = [np.median(one) if period > 2 else one.min() for one in places]
            found.append(min(1 - u / one.max() if one.max() > 0 else 0 for u, one in zip(middle, places, strict=True)))
    return max(found, default=0)


@given(st.integers(2, 90), st.integers(0, 255), st.integers(0, 255), st.integers(1, 9), st.integers(0, 99))
def test_counting_changes_nothing(side: int, low: int, high: int, by: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.integers(min(low, high), max(low, high) + 1, (side, side, 3), dtype=np.uint8)
    for img in (levels, enlarged(levels, by)[:side, :side]):
        assert blocks.share(np.ascontiguousarray(img)) == pytest.approx(share_by_floats(img), abs=1e-6)


def enlarged(img: Pixels, by: int) -> Pixels:
    return np.repeat(np.repeat(img, by, axis=0), by, axis=1)


@pytest.mark.parametrize("n", range(4))
def test_pictures_have_few_blocks(n: int) -> None:
    img = head(n)
    for good in (img, jpeg(img, 75), (img * 0.15).round().astype(np.uint8), img[:, ::-1]):
        assert blocks.share(good) < LIMIT


@pytest.mark.parametrize("n", range(4))
def test_blocks_are_seen(n: int) -> None:
    img = head(n)
    mosaic = cv2.resize(img, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    assert blocks.share(enlarged(np.asarray(mosaic, np.uint8), 8)) == 1
    for by in (2, 3, 5):
        assert blocks.share(enlarged(img, by)) == 1
        assert blocks.share(enlarged(img, by)[1:-2, 1:-2]) > 0.9  # wherever the lattice begins
    assert blocks.share(jpeg(img, 5)) > LIMIT


def test_plain_and_tiny_pictures() -> None:
    assert blocks.share(np.full((64, 64, 3), 80, np.uint8)) == 0
    for side in (1, 2, 3, 9):
        assert 0 <= blocks.share(np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)) <= 1
