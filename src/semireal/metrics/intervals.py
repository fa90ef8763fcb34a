"""How sure a metric is: 95 % intervals over drawing both the real images and the seeds of the generated ones anew.

Diversity and blend, means over pairs of images, are bootstrapped: images are drawn with replacement. Drawing an image
twice must not make a set look more alike than it is, so they leave out all pairs of an image with itself. All others
are jackknifed: groups of images are left out. Duplicates would spoil the Frechet distance, the Inception Score and
neighbourhoods, and make intervals of kernel distances too wide. The first three have another expectation with another
number of images; theirs with the numbers at hand is what their intervals hold, not the value for endlessly many images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, softmax
from scipy.stats import t as student

from semireal.metrics import distances, inception
from semireal.metrics.distances import Features
from semireal.metrics.estimates import Estimate
from semireal.params.evaluate import SPLITS

Interval = tuple[float, float]
Mask = NDArray[np.bool_]
Labels = NDArray[np.int64]

Z = 1.959964  # 97.5 % quantile of the normal distribution
LEVELS = (2.5, 97.5)
MAX_IMAGES = 5000  # of a set, that the pairwise metrics look at: the tables of all pairs have to fit into memory
GROUPS = 20  # of the images, left out in turn by the jackknife
LEAST = 10  # images of a set that the jackknife needs


def wilson(share: float, n: float, z: float = Z) -> Interval:
    """Interval of a share of n images (Wilson 1927); never empty, also at 0 and 1. z: quantile, 95 % by default.

    It holds the truth over drawing these n images; what else is random has to be in n, as in `neighbourhood`.
    """
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # rounding must not leave the share outside
    return float(min(max(middle - half, 0), share)), float(max(min(middle + half, 1), share))


def percentiles(values: Features) -> Interval:
    """The middle 95 % of bootstrapped values."""
    low, high = np.percentile(values, LEVELS)
    return float(low), float(high)


def weights(members: Mask, rounds: int, rng: np.random.Generator) -> Features:
    """How often each of N images is drawn: [1 + rounds, N], the first row being the set itself.

    members: which of the N images are in the set at all.
    """
    n = int(members.sum())
    counts = np.zeros((1 + rounds, len(members)))
    counts[0, members] = 1
    counts[1:, members] = rng.multinomial(n, np.full(n, 1 / n), size=rounds)
    return counts


def some(features: Features) -> Features:
    """At most MAX_IMAGES rows, see `places`."""
    return features if len(features) <= MAX_IMAGES else np.asarray(features[places(len(features))])


def places(count: int) -> Labels:
    """At most MAX_IMAGES of so many, always the same, of all parts: rows of a source, or domain, may lie together."""
    return np.sort(np.random.default_rng(0).permutation(count)[:MAX_IMAGES])


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

    def part(self, real: Mask, generated: Mask) -> "Pairs":
        """Only some of the images; masks [N] and [M]."""
        return Pairs(
            self.real[np.ix_(real, real)],
            self.generated[np.ix_(generated, generated)],
            self.cross[np.ix_(real, generated)],
        )

    def among_real(self, w: Features) -> Features:
        """Mean over pairs of different real images."""
        return within(self.real, w)

    def among_generated(self, v: Features) -> Features:
        """Mean over pairs of different generated images."""
        return within(self.generated, v)

    def kernel(self, w: Features, v: Features) -> Features:
        """Kernel distance, as distances.kernel, of weighted sets."""
        return self.among_real(w) + self.among_generated(v) - 2 * _between(self.cross, w, v)


def tables(real: Features, generated: Features) -> Pairs:
    """Euclidean distances of all pairs of the rows of [N, D] and [M, D], exact: for `neighbourhood` and diversity."""
    return Pairs(distances.among(real), distances.among(generated), distances.between(real, generated))


def within(table: Features, w: Features) -> Features:
    """Mean over pairs of different images of a number for each pair [N, N], under weights [B, N]; [B]."""
    squares = w**2
    pairs = w.sum(axis=1) ** 2 - squares.sum(axis=1)
    return np.asarray((((w @ table) * w).sum(axis=1) - squares @ np.diagonal(table)) / pairs)


def _between(table: Features, w: Features, v: Features) -> Features:
    return np.asarray(((w @ table) * v).sum(axis=1) / (w.sum(axis=1) * v.sum(axis=1)))


# --- jackknife -----------------------------------------------------------------------------------------------------


def groups(sizes: Sequence[int], rng: np.random.Generator) -> list[Labels]:
    """Deal the images of each set at random into the same number of groups: arrays [n] of group numbers."""
    count = min(GROUPS, *sizes)
    return [rng.permutation(n) % count for n in sizes]


def jackknife(metric: Callable[..., Features], labels: Sequence[Labels]) -> tuple[Features, Features]:
    """Values [K] of a metric of one or more sets, and their variances [K] over drawing all sets anew.

    metric: takes a mask of the images to keep for each set, gives K numbers; it is called 2 GROUPS + 1 times.
    labels: of `groups`. Group g of all sets is left out at once: G values, whose scatter is the delete-a-group
    jackknife (Kott 2001), and so are g and the next one, which shows what the two groups do together.

    Where a metric is a sum of terms that depend on r images at once, the jackknife counts the variance of such terms
    r-fold, so that on average it is not too small (Efron and Stein 1981). That doubles it for equal distributions,
    where terms of one image vanish. The interactions of two groups count it r (r - 1) / 2-fold. Taking half of them
    off leaves 1, 1.5, 1.5, 1 for r = 1, 2, 3, 4; all of them would leave 1, 1, 0, -2, too little for neighbourhoods.
    """
    count = int(labels[0].max()) + 1

    def without(*gone: int) -> Features:
        return metric(*(~np.isin(label, gone) for label in labels))

    whole = without()
    one = np.array([without(g) for g in range(count)])
    two = np.array([without(g, (g + 1) % count) for g in range(count)])
    plain = (count - 1) * one.var(axis=0)
    together = two - one - np.roll(one, -1, axis=0) + whole
    # (count - 2) / count: each pair weighs the more, the fewer images are left
    interaction = count * (count - 1) / 2 * together.var(axis=0, ddof=1) * ((count - 2) / count) ** 4
    return whole, np.maximum(plain - interaction / 2, plain / 2)


def frechet(real: Features, generated: Features, rng: np.random.Generator) -> Estimate:
    """Frechet distance of features [N, D] and [M, D], with its interval.

    The interval is one of the expectation with N and M images. That is above the value for endlessly many:
    `distances.perfect_frechet` tells how much a perfect generator would get. From LEAST images on.
    """
    sizes = len(real), len(generated)
    if min(sizes) < LEAST:
        return Estimate(distances.frechet(real, generated), np.nan, np.nan)
    labels = groups(sizes, rng)
    value, variance = jackknife(lambda r, g: np.array([distances.frechet(real[r], generated[g])]), labels)
    low, high = _symmetric(value[0], variance[0], _quantile(labels))
    return Estimate(float(value[0]), max(low, 0.0), high)


def kernel(pairs: Pairs, real: Mask, rng: np.random.Generator) -> Estimate:
    """Kernel distance of all pairs, with its interval; unbiased, so also one of the value for endlessly many images.

    pairs: of `distances.cubic`; real [N]: which of the real images are in the set. From LEAST of them on. May be below
    0. For equal distributions a bootstrap is far too wide: it holds the truth in 99.9 %, and this in 96 %.
    """
    members = np.flatnonzero(real)

    def value(kept: Mask, generated: Mask) -> Features:
        w = np.zeros((1, len(real)))
        w[0, members[kept]] = 1
        return pairs.kernel(w, generated[None].astype(np.float64))

    sizes = len(members), len(pairs.generated)
    if min(sizes) < LEAST:
        whole = value(*(np.ones(n, dtype=bool) for n in sizes))
        return Estimate(float(whole[0]), np.nan, np.nan)
    labels = groups(sizes, rng)
    found, variance = jackknife(value, labels)
    return Estimate(float(found[0]), *_symmetric(found[0], variance[0], _quantile(labels)))


def score(logits: Features) -> Estimate:
    """Inception Score of logits [M, 1008], as `inception.score`, with its interval.

    The interval is one of the expectation with M images, which is less than for endlessly many; real images in the
    same number are what to compare it with. From three images in each of the SPLITS on.
    """
    value = inception.score(logits)[0]
    if len(logits) < 3 * SPLITS:
        return Estimate(value, np.nan, np.nan)
    probabilities, starts = _shuffled(logits)
    # neighbours in the shuffled order are of one split, and in groups of their own: no split loses all its images
    labels = [np.arange(len(logits)) % GROUPS]
    _, variance = jackknife(lambda keep: np.array([_splits(probabilities, starts, keep).mean()]), labels)
    low, high = _symmetric(value, variance[0], _quantile(labels))
    return Estimate(value, max(low, 1.0), high)


def _shuffled(logits: Features) -> tuple[Features, Labels]:
    """Class probabilities [M, C] in the order in which torch-fidelity splits them, and where each split starts."""
    order = np.random.RandomState(2020).permutation(len(logits))  # torch-fidelity's shuffle
    probabilities = softmax(logits[order].astype(np.float64), axis=1)
    return probabilities, np.arange(SPLITS) * len(logits) // SPLITS


def _splits(probabilities: Features, starts: Labels, keep: Mask) -> Features:
    """Score of each split: exp of the mean of KL(p(class | image) || p(class)) (Salimans et al. 2016).

    That mean is the entropy of the mean probabilities less the mean entropy. keep: mask [M] of the images that count.
    """
    counts = np.add.reduceat(keep.astype(np.float64), starts)
    kept = np.where(keep[:, None], probabilities, 0)  # nothing at all has no entropy
    average = np.add.reduceat(kept, starts) / counts[:, None]
    return np.asarray(np.exp(entr(average).sum(axis=1) - np.add.reduceat(entr(kept).sum(axis=1), starts) / counts))


class Neighbourhood(NamedTuple):
    """Precision, recall, density and coverage with their intervals."""

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def neighbourhood(pairs: Pairs, k: int, rng: np.random.Generator) -> Neighbourhood:
    """Precision, recall, density and coverage with the k nearest neighbours, with their intervals.

    pairs: of `tables`. The intervals are of the expectations with N real and M generated images and this k: the balls
    of more images are smaller. From LEAST images on, and where k neighbours stay with two groups left out.
    """
    sizes = pairs.cross.shape
    labels = groups(sizes, rng)
    if min(sizes) < LEAST or min(np.sort(np.bincount(label))[:-2].sum() for label in labels) <= k:
        return Neighbourhood(*(Estimate(value, np.nan, np.nan) for value in _neighbourhood(pairs, k).tolist()))
    values, variances = jackknife(lambda r, g: _neighbourhood(pairs.part(r, g), k), labels)
    t = _quantile(labels)
    real, generated = sizes
    precision, recall, density, coverage = (
        Estimate(float(value), *interval(float(value), float(variance), of, t))
        for value, variance, interval, of in zip(
            values, variances, (_share, _share, _rate, _share), (generated, real, generated, real), strict=True
        )
    )
    return Neighbourhood(precision, recall, density, coverage)


def _neighbourhood(pairs: Pairs, k: int) -> Features:
    cross, real = pairs.cross, distances.radii(pairs.real, k)
    return np.array(
        [
            distances.precision(cross, real),
            distances.recall(cross, distances.radii(pairs.generated, k)),
            distances.densities(cross, real, k).mean(),
            distances.coverage(cross, real),
        ]
    )


def _quantile(labels: Sequence[Labels]) -> float:
    return float(student.ppf(0.975, labels[0].max()))  # groups - 1 degrees of freedom


def _symmetric(value: float, variance: float, t: float) -> Interval:
    half = t * float(np.sqrt(variance))
    return float(value) - half, float(value) + half


def _share(share: float, variance: float, n: int, t: float) -> Interval:
    """Wilson interval of as many independent images as give this variance; never more than there are."""
    likely = (share * n + 0.5) / (n + 1)  # at 0 and 1, too, there is a variance to divide
    inside = likely * (1 - likely)
    return wilson(share, inside / max(variance, inside / n), t)


def _rate(rate: float, variance: float, n: int, t: float) -> Interval:
    """Interval of a number per image that varies in proportion to itself, as Wilson's: never empty, never below 0.

    Solves (rate - truth)^2 = t^2 truth variance / rate. At 0, where none of n images says how it varies, as a count.
    """
    grain = variance / rate if rate > 0 else 1 / n
    middle, half = rate + t**2 * grain / 2, t * np.sqrt(rate * grain + t**2 * grain**2 / 4)
    return float(max(middle - half, 0)), float(middle + half)
