"""Distances between two sets of features; pure functions of arrays [N, D]."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svdvals
from scipy.spatial.distance import cdist, pdist

Features = NDArray[np.float64]


def frechet(x: Features, y: Features) -> float:
    """Frechet distance of two Gaussians fitted to x and y (Heusel et al. 2017, eq. 6).

    |mean_x - mean_y|^2 + trace(C_x + C_y - 2 (C_x C_y)^(1/2)). With A^T A = C_x and B^T B = C_y the eigenvalues of
    C_x C_y are the squared singular values of A B^T. So nothing is lost where there are fewer images than features,
    and matrices are no larger than the number of images.
    """
    mean = x.mean(axis=0) - y.mean(axis=0)
    a, b = _root(x), _root(y)
    return float(mean @ mean + (a**2).sum() + (b**2).sum() - 2 * svdvals(a @ b.T).sum())


def _root(x: Features) -> Features:
    """A with A^T A = covariance of x, and as few rows as possible."""
    centred = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    return centred if len(x) <= x.shape[1] else np.asarray(np.linalg.qr(centred, mode="r"))


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


def distances(a: Features, b: Features) -> Features:
    """Euclidean distances of all pairs of rows, [len(a), len(b)]; fast, and exact to about 1e-8 of their lengths."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def precision_recall(real: Features, fake: Features, k: int) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, eq. 1 and 2) with the k nearest neighbours.

    Precision: share of fakes inside the k-NN balls of the real set; recall: the reverse.
    """
    distance = cdist(real, fake)
    precision = (distance <= _radii(real, k)[:, None]).any(axis=0).mean()
    recall = (distance <= _radii(fake, k)[None, :]).any(axis=1).mean()
    return float(precision), float(recall)


def density_coverage(real: Features, fake: Features, k: int) -> tuple[Features, float]:
    """Density and coverage (Naeem et al. 2020, eq. 3 and 4): less at the mercy of outliers than precision and recall.

    Density comes as one value per fake, whose mean it is; coverage: share of reals with a fake in their k-NN ball.
    """
    inside = distances(real, fake) <= _radii(real, k)[:, None]
    return np.asarray(inside.sum(axis=0) / k), float(inside.any(axis=1).mean())


def _radii(x: Features, k: int) -> Features:
    # column 0 of the sorted distances is the point itself
    return np.asarray(np.partition(cdist(x, x), k, axis=1)[:, k])
