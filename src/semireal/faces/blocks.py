"""Blocks where there should be detail: of strong JPEG, of mosaics, of pictures enlarged without interpolation."""

import cv2
import numpy as np
from numpy.typing import NDArray

from semireal.images import Pixels

PERIODS = range(2, 25)  # px; sides of the blocks that are looked for
LEAST = 4  # blocks on each axis
LOUD, QUIET = 3.0, 2.0  # a step counts as at most LOUD medians of all steps and QUIET grey levels
LEVELS = np.arange(256)
SOME = 4  # of so many steps along a line one is enough for their median


def share(img: Pixels) -> float:
    """How much of the steps between neighbouring pixels is due to blocks, 0 to 1; of a picture [N, N, 3] not scaled.

    Steps on the lines of a lattice, the same on both axes, against those between them: 1 = there are none between.
    Photos and paintings have less than 0.3, JPEG at quality 75 at most 0.35, at quality 5 about 0.5.
    """
    grey = np.asarray(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY), np.uint8)
    across, down = _steps(grey[1:], grey[:-1], 1), _steps(grey[:, 1:], grey[:, :-1], 0)
    found = [min(_lattice(across, p), _lattice(down, p)) for p in PERIODS if LEAST * p <= len(across)]
    return max(found, default=0.0)


def _steps(one: Pixels, other: Pixels, along: int) -> NDArray[np.float32]:
    """Mean step between the lines of one picture and of another; an edge of what is shown counts little more than its
    texture.
    """
    if not one.size:
        return np.empty(0, np.float32)
    steps = np.asarray(cv2.absdiff(one, other), np.uint8)
    some = np.ascontiguousarray(steps[:, ::SOME] if along else steps[::SOME])
    counted = np.minimum(LEVELS, LOUD * _median(some) + QUIET).astype(np.float32)
    sums = cv2.reduce(cv2.LUT(steps, counted), along, cv2.REDUCE_SUM).ravel()  # exact: halves of whole numbers
    return np.asarray(sums / steps.shape[along], np.float32)


def _median(values: Pixels) -> float:
    """The median of many whole numbers, by counting them."""
    below = np.cumsum(cv2.calcHist([values], [0], None, [len(LEVELS)], [0, len(LEVELS)]), dtype=np.float64)
    low, high = np.searchsorted(below, [(values.size - 1) // 2, values.size // 2], side="right")
    return float(low + high) / 2


def _lattice(steps: NDArray[np.float32], period: int) -> float:
    """1 less the usual step over that on the lines of a lattice; 0 where no place of it stands out."""
    places = np.sort(steps[: len(steps) // period * period].reshape(-1, period).mean(axis=0))
    usual = (places[(period - 1) // 2] + places[period // 2]) / 2 if period > 2 else places[0]  # the median
    return float(1 - usual / places[-1]) if places[-1] > 0 else 0.0
