"""Where generated images lie between the portraits and the photos, and whether they lie between them at all.

Compared are means of features, with all mixtures of the two domains: the nearest one says where, its distance whether.
Which features, and what is taken for what: benchmarks/domains.py.
"""

from dataclasses import dataclass

import numpy as np

from semireal.metrics import distances
from semireal.metrics.distances import Features
from semireal.metrics.intervals import Mask, percentiles, weights

LEAST = 10  # images of a set
AXES = 16  # with twice as many, held-out portraits are no longer at 0
PER_AXIS = 8  # images; with fewer the axes are noise
FLAT = 1e-6  # of the spread of the first axis; along flatter ones the real images do not vary, and nothing is a unit
NEITHER = 0.5  # distances between the domains; nearly all held-out mixtures are nearer, ghosts and blurred ones further


@dataclass(frozen=True)
class Blend:
    """Generated images among the mixtures of the domains.

    value: share of photos of the nearest mixture, 0 (portraits) to 1 (photos). low, high: its 95 % interval. off:
    distance to that mixture, 0 or more, in distances between the domains. neither: it is more than NEITHER, and the
    interval of its square is above 0, so that few images are not called so by chance; value then says little.
    """

    value: float
    low: float
    high: float
    off: float
    neither: bool


@dataclass(frozen=True)
class _Means:
    """Means [1 + B, K] of a set and of B sets drawn from it, and |mean|^2 [1 + B] without the bias of small sets."""

    at: Features
    square: Features

    def dot(self, other: "_Means") -> Features:
        """Products with the means of a set that shares no image with this one."""
        return np.asarray((self.at * other.at).sum(axis=1))


def blend(
    real: Features, photo: Mask, portrait: Mask, generated: Features, rounds: int, rng: np.random.Generator
) -> Blend | None:
    """Where the generated images lie; None where that cannot be said.

    real [N, D], generated [M, D]: features. photo, portrait [N]: which of the real images are of which domain; others
    are not looked at. rounds: of the bootstrap, over the images of both domains and the generated ones.

    None: a set has fewer than LEAST images, or the features do not tell the domains apart (95 %). With the means f of
    the generated images, p of the photos and q of the portraits, whitened, the nearest mixture t p + (1 - t) q has
    t = (f - q).(p - q) / |p - q|^2, cut to 0..1. As all features are scaled together this is the direction of Fisher's
    linear discriminant (Fisher 1936) on the main axes. Squares leave out pairs of an image with itself, as in the
    unbiased MMD (Gretton et al. 2012, eq. 3) with a linear kernel.
    """
    if min(photo.sum(), portrait.sum(), len(generated)) < LEAST:
        return None
    both = np.concatenate([real[photo], real[portrait]])
    scaled = whitened(both, np.concatenate([both, generated]))
    parts = np.split(scaled, [int(photo.sum()), len(both)])
    p, q, f = (_means(part, rounds, rng) for part in parts)
    apart = p.square + q.square - 2 * p.dot(q)
    if percentiles(apart[1:])[0] <= 0:
        return None
    along = f.dot(p) - f.dot(q) - p.dot(q) + q.square
    share = np.clip(along / apart, 0, 1)
    off = (f.square + q.square - 2 * f.dot(q) - 2 * share * along) / apart + share**2  # squared; by chance below 0
    return Blend(
        float(share[0]),
        *percentiles(share[1:]),
        float(np.sqrt(max(off[0], 0))),
        bool(off[0] > NEITHER**2 and percentiles(off[1:])[0] > 0),
    )


def whitened(real: Features, features: Features) -> Features:
    """Features [N, D] along the main axes of real ones [M, D], which have mean 0 and variance 1 there; [N, K].

    In the raw features brightness and the like drown what tells a photo from a painting. K: 0 to AXES.
    """
    mean = real.mean(axis=0, dtype=np.float64)
    _, spread, turn = np.linalg.svd(distances.reduced(real), full_matrices=False)
    axes = min(AXES, max(1, len(real) // PER_AXIS), int((spread > FLAT * spread[0]).sum()))
    onto = turn[:axes].T * (np.sqrt(len(real)) / spread[:axes])
    parts = distances.slices(len(features), distances.ROWS)
    return np.concatenate([(features[part] - mean) @ onto for part in parts])


def _means(x: Features, rounds: int, rng: np.random.Generator) -> _Means:
    w = weights(np.ones(len(x), dtype=bool), rounds, rng)
    total, squares = w @ x, w**2
    # the square of the sum is a sum over all pairs
    different = (total**2).sum(axis=1) - squares @ (x**2).sum(axis=1)
    return _Means(total / len(x), np.asarray(different / (len(x) ** 2 - squares.sum(axis=1))))
