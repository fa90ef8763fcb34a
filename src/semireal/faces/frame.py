"""Bars and borders around a picture, as around the stills of films: they are no part of it."""

import cv2
import numpy as np

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
    grey = np.asarray(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY), np.uint8)
    left, top, right, bottom = 0, 0, img.shape[1], img.shape[0]
    for _ in range(2):  # a border within bars, at most
        above, below = _bars(grey[top:bottom, left:right])
        top, bottom = top + above, bottom - below
        before, behind = _bars(grey[top:bottom, left:right].T)
        left, right = left + before, right - behind
        if not above + below + before + behind:
            break
    return left, top, right, bottom


def _bars(grey: Pixels) -> tuple[int, int]:
    """Heights of the bars at the top and at the bottom; none where they would leave nothing, as those of steps do."""
    above, below = _bar(grey), _bar(grey[::-1])
    return (above, below) if above + below < len(grey) else (0, 0)


def _bar(grey: Pixels) -> int:
    """Height of the bar at the top, 0 for none."""
    height, bar = len(grey), _flat(grey)
    if bar < LEAST * height or bar > MOST * height:
        return 0
    begins = np.abs(grey[bar : bar + SOFT] - np.median(grey[:bar])).max(axis=0)
    return bar if (begins > EDGE).mean() >= ACROSS else 0


def _flat(grey: Pixels) -> int:
    """How many lines from the top on are of one colour, the same for all.

    They are looked at in runs that grow twofold: the first line of most pictures says that they have no bar.
    """
    width = grey.shape[1]
    some = width // 100  # px of a line that do not count, at either end
    first, start, lines = int(np.sort(grey[0])[width // 2]), 0, 1
    while start < len(grey):
        ordered = np.sort(grey[start : start + lines], axis=1).astype(np.int16)
        same = (ordered[:, -1 - some] - ordered[:, some] <= FLAT) & (np.abs(ordered[:, width // 2] - first) <= FLAT)
        if not same.all():
            return start + int(np.argmin(same))
        start, lines = start + lines, 2 * lines
    return len(grey)
