"""Bars and borders around a picture, as around the stills of films: they are no part of it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from semireal.images import Pixels

FLAT = 10  # grey levels within which a line of a bar is of one colour, JPEG's noise included
LEAST = 0.01  # thinner bars are left, in sides of the picture
EDGE = 16  # grey levels by which the picture differs from its bar ...
ACROSS = 0.4  # ... along so much of the line where it begins: a plain background ends nowhere at once
SOFT = 4  # px in which it begins
MOST = 0.9  # a picture is no bar

Part = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are the first outside


def inside(img: Pixels) -> Part:
    """The part of a picture [H, W, 3] within its bars, of which each has one colour; all of it where it has none."""
    grey = cv2.cvtColor(img, cv2.COLOR_RGB2GRAY).astype(np.int16)
    left, top, right, bottom = 0, 0, img.shape[1], img.shape[0]
    for _ in range(2):  # a border within bars, at most
        part = grey[top:bottom, left:right]
        above, below = _bar(part), _bar(part[::-1])
        part = part[above : part.shape[0] - below]
        before, behind = _bar(part.T), _bar(part.T[::-1])
        left, top, right, bottom = left + before, top + above, right - behind, bottom - below
        if not above + below + before + behind:
            break
    return left, top, right, bottom


def _bar(grey: NDArray[np.int16]) -> int:
    """Height of the bar at the top, 0 for none."""
    height = grey.shape[0]
    same = (np.percentile(grey, 99, axis=1) - np.percentile(grey, 1, axis=1) <= FLAT) & (
        np.abs(np.median(grey, axis=1) - np.median(grey[0])) <= FLAT
    )
    bar = int(np.argmin(same)) if not same.all() else height
    if bar < LEAST * height or bar > MOST * height:
        return 0
    begins = np.abs(grey[bar : bar + SOFT] - np.median(grey[:bar])).max(axis=0)
    return bar if (begins > EDGE).mean() >= ACROSS else 0
