"""How sure a metric is: 95 % intervals, by resampling images with replacement (bootstrap) or in closed form.

Generated images are resampled (that is: seeds) and real ones. Drawing an image twice must not make a set look more
alike than it is, so means over pairs leave out all pairs of an image with itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semireal.metrics.distances import Features

Interval = tuple[float, float]
Mask = NDArray[np.bool_]

Z = 1.959964  # 97.5 % quantile of the normal distribution
LEVELS = (2.5, 97.5)
MAX_IMAGES = 5000  # of a set, that the pairwise metrics look at: the tables of all pairs have to fit into memory


def wilson(share: float, n: int) -> Interval:
    """Interval of a share of n images (Wilson 1927); never empty, also at 0 and 1."""
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return float(max(middle - half, 0)), float(min(middle + half, 1))


def percentiles(values: Features) -> Interval:
    """The middle 95 % of bootstrapped values."""
    low, high = np.percentile(values, LEVELS)
    return float(low), float(high)


def normal(value: float, values: Features) -> Interval:
    """Value -+ 1.96 standard deviations of bootstrapped values.

    For metrics whose bias depends on how many different images there are: the bootstrapped values are all shifted,
    but their spread is right. The interval says nothing about the bias.
    """
    half = Z * float(np.std(values, ddof=1))
    return value - half, value + half


def resampled(
    metric: Callable[[Features, Features], float], x: Features, y: Features, rounds: int, rng: np.random.Generator
) -> Features:
    """[rounds] values of a metric of two sets, the rows of both drawn anew with replacement."""
    return np.array(
        [metric(x[rng.integers(0, len(x), len(x))], y[rng.integers(0, len(y), len(y))]) for _ in range(rounds)]
    )


def weights(members: Mask, rounds: int, rng: np.random.Generator) -> Features:
    """How often each of N images is drawn: [1 + rounds, N], the first row being the set itself.

    members: which of the N images are in the set at all.
    """
    n = int(members.sum())
    counts = np.zeros((1 + rounds, len(members)))
    counts[0, members] = 1
    counts[1:, members] = rng.multinomial(n, np.full(n, 1 / n), size=rounds)
    return counts


@dataclass(frozen=True)
class Pairs:
    """A number for each pair of real and generated images (kernel or distance), and means of it under weights.

    real [N, N], generated [M, M], cross [N, M]. Weights are arrays [B, N] or [B, M]; results are arrays [B].
    """

    real: Features
    generated: Features
    cross: Features

    @classmethod
    def of(cls, number: Callable[[Features, Features], Features], real: Features, generated: Features) -> "Pairs":
        """All pairs of the rows of two arrays."""
        return cls(number(real, real), number(generated, generated), number(real, generated))

    def among_real(self, w: Features) -> Features:
        """Mean over pairs of different real images."""
        return _within(self.real, w)

    def among_generated(self, v: Features) -> Features:
        """Mean over pairs of different generated images."""
        return _within(self.generated, v)

    def kernel(self, w: Features, v: Features) -> Features:
        """Kernel distance, as distances.kernel, of weighted sets."""
        return self.among_real(w) + self.among_generated(v) - 2 * _between(self.cross, w, v)

    def blend(self, photo: Features, portrait: Features, v: Features) -> Features:
        """Where the generated images are between the portraits (0) and the photos (1), for pairs of dot products.

        With the mean features f of the generated images, p of the photos and q of the portraits it is the t for which
        the mixture t p + (1 - t) q is nearest to f: (f - q).(p - q) / |p - q|^2, without the bias of small sets. May
        be below 0 or above 1. photo, portrait: weights that are positive on one domain each.
        """
        pp, qq = self.among_real(photo), self.among_real(portrait)
        pq = _between(self.real, photo, portrait)
        fp, fq = _between(self.cross, photo, v), _between(self.cross, portrait, v)
        return np.asarray((qq - fq + fp - pq) / (pp + qq - 2 * pq))

    def apart(self, photo: Features, portrait: Features) -> Features:
        """Squared distance of the means of two sets of real images that share none, |p - q|^2."""
        within = self.among_real(photo) + self.among_real(portrait)
        return np.asarray(within - 2 * _between(self.real, photo, portrait))


def _within(table: Features, w: Features) -> Features:
    squares = w**2
    pairs = w.sum(axis=1) ** 2 - squares.sum(axis=1)
    return np.asarray((((w @ table) * w).sum(axis=1) - squares @ np.diagonal(table)) / pairs)


def _between(table: Features, w: Features, v: Features) -> Features:
    return np.asarray(((w @ table) * v).sum(axis=1) / (w.sum(axis=1) * v.sum(axis=1)))
