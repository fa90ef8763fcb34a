"""Distances between two sets of features; pure functions of arrays [N, D]."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist, pdist

Features = NDArray[np.float64]


def frechet(x: Features, y: Features) -> float:
    """Frechet distance of two Gaussians fitted to x and y (Heusel et al. 2017, eq. 6).

    |mean_x - mean_y|^2 + trace(C_x + C_y - 2 (C_x C_y)^(1/2)).
    """
    mean = x.mean(axis=0) - y.mean(axis=0)
    cx, cy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    # eigenvalues of C_x C_y are real and not negative; rounding may add tiny imaginary parts
    root = sqrtm(cx @ cy)
    return float(mean @ mean + np.trace(cx) + np.trace(cy) - 2 * np.trace(root).real)


def kernel(x: Features, y: Features) -> float:
    """Kernel distance: unbiased squared MMD with k(a, b) = (a.b / D + 1)^3 (Binkowski et al. 2018, section 4)."""
    n, m = len(x), len(y)
    kxx, kyy, kxy = _cubic(x, x), _cubic(y, y), _cubic(x, y)
    within = (kxx.sum() - np.trace(kxx)) / (n * (n - 1)) + (kyy.sum() - np.trace(kyy)) / (m * (m - 1))
    return float(within - 2 * kxy.mean())


def _cubic(a: Features, b: Features) -> Features:
    return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)


def mean_distance(x: Features) -> float:
    """Mean Euclidean distance between two different rows of x: how varied the images are."""
    return float(pdist(x).mean())


def precision_recall(real: Features, fake: Features, k: int) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, eq. 1 and 2) with the k nearest neighbours.

    Precision: share of fakes inside the k-NN balls of the real set; recall: the reverse.
    """
    distance = cdist(real, fake)
    precision = (distance <= _radii(real, k)[:, None]).any(axis=0).mean()
    recall = (distance <= _radii(fake, k)[None, :]).any(axis=1).mean()
    return float(precision), float(recall)


def _radii(x: Features, k: int) -> Features:
    # column 0 of the sorted distances is the point itself
    return np.asarray(np.partition(cdist(x, x), k, axis=1)[:, k])
