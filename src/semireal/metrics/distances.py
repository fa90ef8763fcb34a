"""Distances between two sets of features; pure functions of arrays [N, D].

Features may be float32, and mapped: all sums are taken in float64, over as many rows at a time as fit into memory.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import svdvals
from scipy.spatial.distance import cdist, pdist, squareform

Features = NDArray[np.floating]

PARTS = 10  # random pairs of parts of the real images that an average is taken over
ROWS = 10_000  # features that are taken at a time; up to so many, all sums are in one piece
TABLE = 5000  # rows and columns of a table of pairs


def frechet(x: Features, y: Features) -> float:
    """Frechet distance of two Gaussians fitted to x and y (Heusel et al. 2017, eq. 6).

    |mean_x - mean_y|^2 + trace(C_x + C_y - 2 (C_x C_y)^(1/2)). With A^T A = C_x and B^T B = C_y the eigenvalues of
    C_x C_y are the squared singular values of A B^T. So nothing is lost where there are fewer images than features,
    and matrices are no larger than the number of images. Never below 0.
    """
    mean = x.mean(axis=0, dtype=np.float64) - y.mean(axis=0, dtype=np.float64)
    a, b = (reduced(z, np.sqrt(len(z) - 1)) for z in (x, y))
    found = float(mean @ mean + (a**2).sum() + (b**2).sum() - 2 * svdvals(a @ b.T).sum())
    # as a formula it is never negative: what is below 0 is rounding of the sums, about 1e-16 of the traces
    return max(found, 0.0)


def perfect_frechet(real: Features, m: int, rng: np.random.Generator) -> float:
    """Frechet distance that m images of a perfect generator would have to these real ones, [N, D], on average.

    It is not 0: two parts of the real images are apart, too, and about linearly in s = 1 / N + 1 / m (Chong and
    Forsyth 2020). From such parts, of n and the other N - n images, it is their distance times (s / s_n)^a. a is 1
    where halves have as many images as there are features. With fewer, the distance grows more slowly than s; then
    what parts of half the size show goes into a, the more, the fewer images there are. In simulations that is within
    10 % of the truth from N = D / 20 on (a = 1: half of it at N = D / 3), with 10 to 20 % of noise where N is 50 and
    the variance is in few features. nan for fewer than 8 real images.
    """
    total, features = real.shape
    if total < 8:
        return float("nan")
    few = max(4, min(m, total // 2))
    size, wanted = 1 / few + 1 / (total - few), 1 / total + 1 / m
    part = _parts(real, total - few, few, rng)
    power = min(1.0, total / (2 * features))
    if power < 1 and part > 0:
        a, b = (total - few) // 2, few // 2
        seen = float(np.log(_parts(real, a, b, rng) / part) / np.log((1 / a + 1 / b) / size))
        power += (1 - power) * min(max(seen, 0.0), 1.0)
    return float(part * (wanted / size) ** power)


def _parts(x: Features, n: int, m: int, rng: np.random.Generator) -> float:
    """Mean Frechet distance of two random parts, of n and m images, that share none."""
    orders = [rng.permutation(len(x)) for _ in range(PARTS)]
    return float(np.mean([frechet(x[order[:n]], x[order[n : n + m]]) for order in orders]))


def reduced(x: Features, unit: float = 1.0) -> Features:
    """A with A^T A = C^T C, where C is x about its mean in these units, and as few rows as possible.

    The triangles of the parts, one below the other, have the triangle of the whole (Demmel et al. 2012, section 3).
    """
    mean = x.mean(axis=0, dtype=np.float64)
    if len(x) <= x.shape[1]:
        return np.asarray((x - mean) / unit)
    found = np.empty((0, x.shape[1]))
    for part in slices(len(x), ROWS):
        found = np.asarray(np.linalg.qr(np.concatenate([found, (x[part] - mean) / unit]), mode="r"))
    return found


def slices(count: int, size: int) -> Iterator[slice]:
    """`count` rows in parts of this size, and the rest."""
    return (slice(start, start + size) for start in range(0, count, size))


def kernel(x: Features, y: Features) -> float:
    """Kernel distance: unbiased squared MMD with k(a, b) = (a.b / D + 1)^3 (Binkowski et al. 2018, section 4)."""
    n, m = len(x), len(y)
    kxx, kyy, kxy = cubic(x, x), cubic(y, y), cubic(x, y)
    within = (kxx.sum() - np.trace(kxx)) / (n * (n - 1)) + (kyy.sum() - np.trace(kyy)) / (m * (m - 1))
    return float(within - 2 * kxy.mean())


def cubic(a: Features, b: Features) -> Features:
    """The kernel (a.b / D + 1)^3 of all pairs of rows, [len(a), len(b)]."""
    return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)


def mean_distance(x: Features) -> float:
    """Mean Euclidean distance between two different rows of x: how varied the images are."""
    return float(pdist(x).mean())


def relative(value: ArrayLike, reference: ArrayLike) -> Features:
    """value / reference, elementwise; nan where the reference is 0, as the distances of equal images are."""
    value, reference = np.broadcast_arrays(np.asarray(value, np.float64), np.asarray(reference, np.float64))
    return np.asarray(np.divide(value, reference, out=np.full(value.shape, np.nan), where=reference > 0))


def between(a: Features, b: Features) -> Features:
    """Euclidean distances of all pairs of rows, [len(a), len(b)], exact: 0 for equal rows."""
    return np.asarray(cdist(a, b))


def among(x: Features) -> Features:
    """Euclidean distances of all pairs of rows of one set, [N, N]: bit for bit those of `between`, in half the time."""
    return np.asarray(squareform(pdist(x)))


def radii(table: Features, k: int) -> Features:
    """[N]: distance of each image to its k-th nearest other one, from the table [N, N] of `among`; N more than k."""
    # column 0 of the sorted distances is the image itself
    return np.asarray(np.partition(table, k, axis=1)[:, k])


def balls(x: Features, k: int) -> Features:
    """The same of features, bit for bit, without the whole table of them."""
    nearest = np.full((len(x), k + 1), np.inf)  # the image itself among them
    for a, b in itertools.combinations_with_replacement(slices(len(x), TABLE), 2):
        table = among(x[a]) if a == b else between(x[a], x[b])
        for rows, found in ((a, table), (b, table.T))[: 1 if a == b else 2]:
            nearest[rows] = np.partition(np.concatenate([nearest[rows], found], axis=1), k, axis=1)[:, : k + 1]
    return np.asarray(nearest.max(axis=1))


def precision(cross: Features, real: Features) -> float:
    """Share of the generated images inside the ball of a real one (Kynkaanniemi et al. 2019, eq. 1 and 2).

    cross [N, M]: distances of real and generated images, of `between`; real [N]: `radii` of the real ones. A ball's
    border belongs to it.
    """
    return float((cross <= real[:, None]).any(axis=0).mean())


def recall(cross: Features, generated: Features) -> float:
    """Share of the real images inside the ball of a generated one: precision with the sets exchanged.

    cross [N, M] as there; generated [M]: `radii` of the generated ones.
    """
    return precision(cross.T, generated)


def densities(cross: Features, real: Features, k: int) -> Features:
    """[M]: real balls that each generated image is in, divided by k; the mean is the density.

    Naeem et al. 2020, eq. 3. cross, real as in `precision`, k as in `radii`. A ball's border does not belong to it, as
    in the authors' package prdc: so the density of a set against itself is 1. From 0; may be above 1.
    """
    return np.asarray((cross < real[:, None]).sum(axis=0) / k)


def coverage(cross: Features, real: Features) -> float:
    """Share of the real images with a generated one in their ball (Naeem et al. 2020, eq. 4); arrays of `densities`."""
    return float((cross.min(axis=1) < real).mean())


def precision_recall(real: Features, fake: Features, k: int, known: Features | None = None) -> tuple[float, float]:
    """Improved precision and recall with the k nearest neighbours, of features [N, D] and [M, D].

    As `precision` and `recall` of their tables, a part at a time; known: `balls` of the real ones, where they are.
    """
    of_real, of_fake = balls(real, k) if known is None else known, balls(fake, k)
    precise, recalled = np.zeros(len(fake), dtype=bool), np.zeros(len(real), dtype=bool)
    for rows, columns in itertools.product(slices(len(real), TABLE), list(slices(len(fake), TABLE))):
        cross = between(real[rows], fake[columns])
        precise[columns] |= (cross <= of_real[rows, None]).any(axis=0)
        recalled[rows] |= (cross <= of_fake[columns]).any(axis=1)
    return float(precise.mean()), float(recalled.mean())


def density_coverage(real: Features, fake: Features, k: int) -> tuple[Features, float]:
    """Density and coverage: less at the mercy of outliers than precision and recall.

    Density comes as one value per fake, whose mean it is.
    """
    cross, balls = between(real, fake), radii(among(real), k)
    return densities(cross, balls, k), coverage(cross, balls)
