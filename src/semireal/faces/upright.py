"""Which way up a face is.

A face detector gives a face that is upside down the landmarks of an upright one, and believes in them. But it is surer
of the same face upright: so it looks again, at the face alone, in four turns; or once, if that makes it certain.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from semireal import images
from semireal.faces.detect import Box, Face, YuNet
from semireal.images import Pixels

VIEW = 1.6  # side of the square that is looked at, in sides of the face's box
SIZES = (128, 160)  # px of that square; the mean of two errs less often than one
LEAST = 0.3  # confidence from which on a face counts as seen
SURER = 0.02  # so much more confidence is needed to turn a face
MIDDLE = 0.25  # the face is looked for so near to the middle, in sides of the square
# Confidence of the detector, and of a look at the face as it lies, with which it is upright. Of 2,830 faces (those of
# benchmarks/detect.py and drawn ones, as they are, and mirrored in other light, each in four turns) two thirds of those
# that are upright have it, and none that is surer in another turn: of these the lesser of the two is at most 0.913.
CERTAIN = 0.92


class Turned(NamedTuple):
    """A face in a picture that has to be turned `quarters` times to the left (as np.rot90) for it to be upright.

    face: where it is in the turned picture.
    """

    quarters: int
    face: Face


class Upright:
    """Tells how a face has to be turned; belongs to one thread."""

    def __init__(self) -> None:
        self._nets = {size: YuNet(LEAST, size) for size in SIZES}  # one for all would be laid out anew at each look

    def __call__(self, img: Pixels, face: Face) -> Turned | None:
        """See Turned; the face as given where it is upright, or cannot be seen in any turn. None: that is not clear."""
        side = max(round(VIEW * face.side), 1)
        if face.score >= CERTAIN and _score(self._best(_thinned(img, face.centre, side), max(SIZES))) >= CERTAIN:
            return Turned(0, face)
        view = _view(img, face.centre, side)
        turns = [np.ascontiguousarray(np.rot90(view, k)) for k in range(4)]
        found = [self._best(turn, SIZES[1]) for turn in turns]
        scores = [0.0] * 4
        for k in sorted(range(4), key=lambda k: -_score(found[k])):
            if k == 0 or (_score(found[k]) + 1) / 2 >= max(scores):  # else it cannot be the best
                scores[k] = (_score(found[k]) + _score(self._best(turns[k], SIZES[0]))) / 2
        best = int(np.argmax(scores))
        if best == 0:
            return Turned(0, face)
        seen = found[best]
        if seen is None or scores[best] < scores[0] + SURER:
            return None
        centre = turned_point(face.centre, (img.shape[1], img.shape[0]), best)
        return Turned(best, _moved(seen, side / view.shape[0], centre[0] - side / 2, centre[1] - side / 2))

    def _best(self, view: Pixels, size: int) -> Face | None:
        height, width = view.shape[:2]
        near = [
            face
            for face in self._nets[size](view)
            if max(abs(face.centre[0] - width / 2), abs(face.centre[1] - height / 2)) < MIDDLE * max(width, height)
        ]
        return max(near, key=lambda face: face.score, default=None)


def _score(face: Face | None) -> float:
    return face.score if face else 0.0


def _thinned(img: Pixels, centre: tuple[float, float], side: int) -> Pixels:
    """The square of `side` px around a point, as far as it is inside of the picture, with few of its pixels."""
    x0, y0 = (max(round(c - side / 2), 0) for c in centre)
    x1, y1 = (max(round(c + side / 2), 1) for c in centre)
    each = max(side // (2 * max(SIZES)), 1)
    return np.ascontiguousarray(img[y0:y1:each, x0:x1:each])


def _view(img: Pixels, centre: tuple[float, float], side: int) -> Pixels:
    """The square of `side` px around a point, of at most twice what is looked at."""
    most = 2 * max(SIZES)
    if side > most:
        img, centre = images.shrunk(img, centre, side, most)
    return images.cut(img, centre, min(side, most), 0, cv2.BORDER_REPLICATE)


def _moved(face: Face, zoom: float, x: float, y: float) -> Face:
    x0, y0, x1, y1 = face.box
    box: Box = (x0 * zoom + x, y0 * zoom + y, x1 * zoom + x, y1 * zoom + y)
    assert face.landmarks is not None  # of YuNet
    return Face(box, face.score, (face.landmarks * zoom + (x, y)).astype(np.float32))


def turned_point(point: tuple[float, float], size: tuple[int, int], quarters: int) -> tuple[float, float]:
    """Where a point x, y of a picture of width, height is after so many quarter turns to the left."""
    (x, y), (width, height) = point, size
    return ((x, y), (y, width - x), (width - x, height - y), (height - y, x))[quarters % 4]


def turned_points(points: NDArray[np.floating], size: tuple[int, int], quarters: int) -> NDArray[np.float64]:
    """The same for [N, 2]."""
    return np.array([turned_point((float(x), float(y)), size, quarters) for x, y in points])
