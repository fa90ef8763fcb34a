"""Does a set of heads have something on one side, a scar or a patch, that mirroring would put on both?"""

import numpy as np
import torch
from numpy.typing import NDArray

from semireal.images import Pixels
from semireal.vision.efficientnet import EfficientNetLite0
from semireal.vision.looks import face_of, look

MOST = 64  # heads that are looked at
SURE = 6.0  # standard deviations of chance; so many of the demo's heads come to 16 with a scar, to 2 without a mark


def one_sided(net: EfficientNetLite0, pictures: Pixels, device: torch.device) -> float:
    """By how many standard deviations NHWC uint8 heads differ more from their mirror images than by chance.

    Each head differs from its mirror image, by its light and its pose; without a common side these differences point
    anywhere, and their mean is as small as chance makes it. Up to MOST heads, from all parts of the set.
    """
    chosen = np.linspace(0, len(pictures) - 1, min(len(pictures), MOST)).round().astype(int)
    faces = face_of(pictures[chosen])
    mirrored = np.ascontiguousarray(faces[:, :, ::-1])
    return deviation(look(net, faces, None, device).layout - look(net, mirrored, None, device).layout)


def deviation(differences: NDArray[np.float64]) -> float:
    """How much longer the sum of vectors [N, D] is than if each had its sign by chance, in standard deviations of that.

    Of the square of its length mean and variance over all signs are known: with G the products of the vectors with each
    other, the sum of G's diagonal, and twice the sum of squares of the rest.
    """
    products = differences @ differences.T
    own = np.trace(products)
    spread = np.sqrt(2 * ((products**2).sum() - (np.diag(products) ** 2).sum()))
    return float((products.sum() - own) / spread) if spread > 0 else 0.0
