"""Who does not belong to a set of heads: what a head is known by, the odd ones out, and what a person's answers teach.

A head is known by what EfficientNet-Lite0 sees of the whole of it and of the face alone. Photos and portraits are taken
each by what is usual among them, so that the rarer of the two is not odd for that. benchmarks/identity.py tells how
well that goes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from semireal.images import Pixels
from semireal.vision.efficientnet import EfficientNetLite0
from semireal.vision.looks import WHOLE, face_of, look

SIZE = 512  # numbers that a head is known by; 128 do nearly as well, and 2560 not better
ODD = 5  # directions in which most of a set differs; whoever is far out in these is odd
LEARNED = 20  # those that answers are learned in; 10 do as well
TRUST = 0.05  # that a head about which nobody was asked belongs, against 1 of an answer
FREEDOM = 3.0  # of the weights; the inverse of how strongly they are held to 0

Vector = NDArray[np.float64]


def features(net: EfficientNetLite0, pictures: Pixels) -> NDArray[np.float16]:
    """What each of NHWC uint8 heads of one size is known by, [N, SIZE].

    A random projection of both views, which changes distances by a few percent (Johnson and Lindenstrauss 1984) and
    makes a hundred thousand heads 100 MB.
    """
    views = pictures, face_of(pictures)
    seen = np.concatenate([look(net, view, None, torch.device("cpu")).whole for view in views], axis=1)
    known: NDArray[np.float16] = (seen @ _projection()).astype(np.float16)
    return known


@lru_cache(maxsize=1)
def _projection() -> Vector:
    return np.asarray(np.random.default_rng(0).standard_normal((2 * WHOLE, SIZE)) / np.sqrt(SIZE))


@dataclass(frozen=True)
class Heads:
    """Heads that are compared with each other: how odd each is [N], and where it is in a few directions [N, D]."""

    odd: Vector
    places: Vector


def compared(known: NDArray[np.floating], domains: Sequence[str]) -> Heads:
    """Compare heads, known by [N, SIZE], each with those of its domain. Needs two, or what is odd has no meaning.

    odd: the square of the distance to the middle of the domain, in the ODD directions of most variance, in standard
    deviations over the set. It also is the last of the places.
    """
    centred = np.array(known, np.float64)
    for domain in sorted(set(domains)):
        of = np.array([one == domain for one in domains])
        centred[of] -= np.median(centred[of], axis=0)  # not moved by a few strangers
    centred /= max(np.sqrt((centred**2).sum(axis=1).mean()), 1e-9)
    variance, directions = np.linalg.eigh(np.cov(centred, rowvar=False))
    along = directions[:, np.argsort(-variance, kind="stable")[:LEARNED]]
    places = centred @ along
    distance = (places[:, :ODD] ** 2).sum(axis=1)
    odd = (distance - distance.mean()) / max(distance.std(), 1e-9)
    unit = max(places[:, 0].std(), 1e-9)
    return Heads(odd, np.column_stack([places / unit, odd]))


def probabilities(heads: Heads, answers: Mapping[int, bool]) -> Vector | None:
    """Probability [N] that each head belongs, learned from answers: by its number, whether it does.

    None while nobody was said not to belong: then only `Heads.odd` tells anything. Logistic regression in which heads
    without an answer count as belonging, a little (TRUST), since most do.
    """
    if all(answers.values()):
        return None
    belongs, weight = np.ones(len(heads.odd), bool), np.full(len(heads.odd), TRUST)
    for number, answer in answers.items():
        belongs[number], weight[number] = answer, 1
    if not belongs.any():
        return np.zeros(len(heads.odd))
    model = LogisticRegression(C=FREEDOM, max_iter=10_000).fit(heads.places, belongs, sample_weight=weight)
    return np.asarray(model.predict_proba(heads.places)[:, 1], np.float64)


def to_ask(heads: Heads, learned: Vector | None, answers: Mapping[int, bool], count: int) -> list[int]:
    """Up to `count` heads whose answers help most: the oddest, or, once something was learned, in turns the likeliest
    not to belong and the one about which least is known.
    """
    free = [number for number in range(len(heads.odd)) if number not in answers]
    if learned is None:
        return sorted(free, key=lambda number: -heads.odd[number])[:count]
    strangest = sorted(free, key=lambda number: learned[number])
    open_ones = sorted(free, key=lambda number: abs(learned[number] - 0.5))
    turns = [number for pair in zip(strangest, open_ones, strict=True) for number in pair]
    return list(dict.fromkeys(turns))[:count]
