"""Has the network learned training images by heart? The nearest training image of each generated one.

The network has seen every training image, so there are no real images to compare with that it does not know. What a
new picture looks like is told by the training images themselves: each in turn is held out and compared with all the
others, never with itself or its mirror image. The network takes no part in that, so it does not matter what it has
seen; and the reference is as large as that of the generated images, but for one image. A generator that draws new
pictures of the same kind is as far from the training images as these are from each other.

Mirrored training images count too: the networks are trained with them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semireal.metrics import distances
from semireal.metrics.distances import Features
from semireal.metrics.intervals import Mask
from semireal.vision import hashes
from semireal.vision.hashes import Bits

NEXT = 10  # the nearest image is compared with so many that come after it
QUANTILE = 0.05  # of the held-out images that are called near copies


@dataclass(frozen=True)
class Nearest:
    """The nearest training image of each of N images.

    index [N] of the training image; mirrored [N]: whether it is nearer when mirrored; distance [N];
    ratio [N]: that distance, relative to the mean distance of the NEXT nearest ones. A ratio tells copies from images
    that are near to everything, such as those at a low psi.
    """

    index: NDArray[np.int64]
    mirrored: Mask
    distance: Features
    ratio: Features


def nearest(plain: Features, mirrored: Features, held_out: bool = False) -> Nearest:
    """Find the nearest training images, given distances [N, T] to the training images and to their mirror images.

    held_out: the N images are the T training images, and each is compared with the others only. T must be at least 2,
    or 3 with held_out.
    """
    either = np.minimum(plain, mirrored)
    if held_out:
        np.fill_diagonal(either, np.inf)
    order = np.argsort(either, axis=1, kind="stable")
    others = either.shape[1] - int(held_out)
    first = order[:, :1]
    following = np.take_along_axis(either, order[:, 1 : min(NEXT + 1, others)], axis=1).mean(axis=1)
    distance = np.take_along_axis(either, first, axis=1)[:, 0]
    swapped = np.take_along_axis(mirrored, first, axis=1) < np.take_along_axis(plain, first, axis=1)
    ratio = np.divide(distance, following, out=np.ones_like(distance), where=following > 0)
    return Nearest(first[:, 0], swapped[:, 0], distance, ratio)


def in_features(query: Features, real: Features, real_mirrored: Features, held_out: bool = False) -> Nearest:
    """Nearest training images by the distance of features."""
    return nearest(distances.distances(query, real), distances.distances(query, real_mirrored), held_out)


def in_hashes(query: Bits, real: Bits, real_mirrored: Bits, held_out: bool = False) -> Nearest:
    """Nearest training images by perceptual hash, that of stage dedupe; distances are in bits."""
    return nearest(hashes.hamming(query, real), hashes.hamming(query, real_mirrored), held_out)


def limit(held_out: Nearest) -> float:
    """The ratio below which an image is called a near copy: QUANTILE of the held-out images are below it."""
    return float(np.quantile(held_out.ratio, QUANTILE))
