"""Drawn heads for tests."""

import numpy as np

from semireal.collect.gallery.faces import draw, face_box
from semireal.faces.crop import square
from semireal.images import Pixels, resize


def head(who: str, style: str, seed: int, side: int) -> Pixels:
    """A head as stage crop cuts it, by the box that the drawing knows."""
    picture = draw(who, style, np.random.default_rng(seed))
    box = face_box(who, style, np.random.default_rng(seed))
    left, top, width = square(box, 0.35, 0.1, (picture.shape[1], picture.shape[0]))
    return resize(picture[top : top + width, left : left + width], side)
