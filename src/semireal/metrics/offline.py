"""Features that need no download: what people see of a portrait, and a plain statistic of colour beside it."""

import cv2
import numpy as np
import torch

from semireal.images import Pixels
from semireal.metrics.distances import Features
from semireal.vision import efficientnet, looks
from semireal.vision.looks import Band

COLOURS = 6  # values
MIDDLE, UNIT = 128.0, 32.0  # of the 8-bit values of Lab, so that those of pictures are of the order of 1


def features(pictures: Pixels, band: Band | None, device: torch.device) -> dict[str, Features]:
    """Features of NHWC uint8 pictures by name, each [N, D]: whole, layout, eyes (not without a band) and colour."""
    seen = looks.look(efficientnet.load(), pictures, band, device)
    eyes = {} if seen.eyes is None else {"eyes": seen.eyes}
    return {"whole": seen.whole, "layout": seen.layout} | eyes | {"colour": colour(pictures)}


def widths(band: Band | None) -> dict[str, int]:
    """The same names, and how many values each has."""
    eyes = {"eyes": looks.EYES} if band else {}
    return {"whole": looks.WHOLE, "layout": looks.LAYOUT} | eyes | {"colour": COLOURS}


def colour(pictures: Pixels) -> Features:
    """Mean and standard deviation of lightness and of both colour axes (CIE L*a*b*), [N, COLOURS].

    The networks mind colour little.
    """
    lab = (cv2.cvtColor(img, cv2.COLOR_RGB2LAB).astype(np.float64) for img in pictures)
    return np.stack([np.concatenate([img.mean(axis=(0, 1)) - MIDDLE, img.std(axis=(0, 1))]) for img in lab]) / UNIT
