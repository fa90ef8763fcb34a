"""Blocks where there should be detail: of strong JPEG, of mosaics, of pictures enlarged without interpolation."""

import cv2
import numpy as np
from numpy.typing import NDArray

from semireal.images import Pixels

PERIODS = range(2, 25)  # px; sides of the blocks that are looked for
LEAST = 4  # blocks on each axis
LOUD, QUIET = 3.0, 2.0  # a step counts as at most LOUD medians of all steps and QUIET grey levels


def share(img: Pixels) -> float:
    """How much of the steps between neighbouring pixels is due to blocks, 0 to 1; of a picture [N, N, 3] not scaled.

    Steps on the lines of a lattice, the same on both axes, against those between them: 1 = there are none between.
    Photos and paintings have less than 0.3, JPEG at quality 75 at most 0.35, at quality 5 about 0.5.
    """
    grey = cv2.cvtColor(img, cv2.COLOR_RGB2GRAY).astype(np.float32)
    across, down = (_steps(grey, axis) for axis in (0, 1))
    found = [min(_lattice(across, p), _lattice(down, p)) for p in PERIODS if LEAST * p <= len(across)]
    return max(found, default=0.0)


def _steps(grey: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Mean step between each two neighbouring lines; an edge of what is shown counts little more than its texture."""
    steps = np.abs(np.diff(grey, axis=axis))
    return np.asarray(np.minimum(steps, LOUD * np.median(steps) + QUIET).mean(axis=1 - axis), np.float32)


def _lattice(steps: NDArray[np.float32], period: int) -> float:
    """1 less the usual step over that on the lines of a lattice; 0 where no place of it stands out."""
    places = steps[: len(steps) // period * period].reshape(-1, period).mean(axis=0)
    usual = np.median(places) if period > 2 else places.min()
    return float(1 - usual / places.max()) if places.max() > 0 else 0.0
