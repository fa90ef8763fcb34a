"""Distances that count what is unusual: features in units of how much faces vary.

KID compares features as they are, and what they have most of drowns the rest: a face in another light is further away
than one without pupils. So the axes along which real faces vary most are shrunk to what is left of variance behind
them (whitening, cut off where the axes are noise). Which axes these are was taught once, on some hundreds of photos and
paintings (semireal.classifiers.usual), and not on the images at hand: an image must not say itself what is usual.
benchmarks/measures.py tells what such distances see.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from semireal.metrics.distances import Features

FILE = Path(__file__).with_name("usual.safetensors")
KINDS = ("whole", "layout", "eyes", "colour")  # of features, see semireal.metrics.offline


@dataclass(frozen=True)
class Usual:
    """What is usual of one kind of features: mean [D], axes [K, D], the factor of each axis [K], and one of all [1]."""

    mean: Features
    axes: Features
    factor: Features
    scale: Features

    def __call__(self, features: Features) -> Features:
        """Features [N, D] in units of their usual spread: the mean square of faces is 1."""
        centred = features.astype(np.float64) - self.mean
        return np.asarray((centred - (centred @ self.axes.T * (1 - self.factor)) @ self.axes) * self.scale)


@functools.cache
def load(path: Path = FILE) -> dict[str, Usual]:
    """By kind of features, what semireal.classifiers.usual wrote."""
    found = {name: values.astype(np.float64) for name, values in load_file(path).items()}
    return {kind: Usual(*(found[f"{kind}.{part}"] for part in ("mean", "axes", "factor", "scale"))) for kind in KINDS}


def distance(kind: str, x: Features, y: Features) -> float:
    """Squared distance of the means of two sets of features [N, D] and [M, D], in units of the usual spread, unbiased.

    It is the MMD with the kernel `products` of usual features (Gretton et al. 2012, eq. 3). 0 for two sets of one kind,
    by chance below; 1 where the means are as far apart as single faces are from theirs.
    """
    return apart(*(load()[kind](one) for one in (x, y)))


def apart(a: Features, b: Features) -> float:
    """The same of usual features."""
    own = [((one.sum(axis=0) ** 2).sum() - (one**2).sum()) / (len(one) * (len(one) - 1)) for one in (a, b)]
    return float((own[0] + own[1] - 2 * a.mean(axis=0) @ b.mean(axis=0)) / a.shape[1])


def products(a: Features, b: Features) -> Features:
    """The kernel of all pairs of rows of usual features, a.b / D, [len(a), len(b)]."""
    return np.asarray(a @ b.T / a.shape[1])
