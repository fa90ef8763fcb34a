import numpy as np
import pytest

from conftest import texture
from semireal import images
from semireal.metrics import copies
from semireal.metrics.distances import Features
from semireal.vision import hashes


def pictures(start: int, count: int, size: int = 48) -> images.Pixels:
    return np.stack([texture(n, size, size) for n in range(start, start + count)])


def test_planted_copies_are_caught_by_hash() -> None:
    """Plain, mirrored, darker and JPEG copies; new pictures are not, and no image is its own copy."""
    train, new = pictures(0, 40), pictures(100, 12)
    noise = np.random.default_rng(0).normal(0, 6, train[:4].shape)
    planted = np.concatenate(
        [
            train[:4],
            train[4:8, :, ::-1],
            (train[8:12] * 0.7).astype(np.uint8),
            (train[:4] + noise).clip(0, 255).astype("u1"),
        ]
    )
    plain, mirrored = hashes.of_all(train), hashes.of_all(train[:, :, ::-1])
    found = copies.in_hashes(hashes.of_all(np.concatenate([planted, new])), plain, mirrored)
    assert (found.distance <= 36).tolist() == [True] * 16 + [False] * 12
    assert found.index[:16].tolist() == [*range(12), 0, 1, 2, 3]
    assert found.mirrored[:12].tolist() == [False] * 4 + [True] * 4 + [False] * 4
    held_out = copies.in_hashes(plain, plain, mirrored, held_out=True)
    assert held_out.distance.min() > 36
    assert (held_out.index != np.arange(40)).all()


def set_of(rng: np.random.Generator, n: int) -> Features:
    return rng.normal(size=(n, 16)) * np.linspace(2, 0.2, 16)


def test_planted_copies_are_caught_in_features() -> None:
    rng = np.random.default_rng(0)
    train, mirror = set_of(rng, 200), set_of(rng, 200)
    near = train[:30] + rng.normal(0, 0.05, (30, 16))
    flipped = mirror[30:60] + rng.normal(0, 0.05, (30, 16))
    found = copies.in_features(np.concatenate([near, flipped, set_of(rng, 140)]), train, mirror)
    usual = copies.in_features(train, train, mirror, held_out=True)
    near_copies = found.ratio < copies.limit(usual)
    assert near_copies[:60].all()
    assert found.index[:60].tolist() == list(range(60))
    assert found.mirrored[:60].tolist() == [False] * 30 + [True] * 30
    assert near_copies[60:].mean() < 0.15


def test_new_pictures_are_called_copies_as_often_as_held_out_ones() -> None:
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        train, mirror = set_of(rng, 150), set_of(rng, 150)
        usual = copies.in_features(train, train, mirror, held_out=True)
        found = copies.in_features(set_of(rng, 150), train, mirror)
        shares.append((found.ratio < copies.limit(usual)).mean())
    assert np.mean(shares) == pytest.approx(copies.QUANTILE, abs=0.02)


def test_images_near_to_everything_are_no_copies() -> None:
    """At a low psi all images are near the mean, and so nearer to each training image than these to each other."""
    rng = np.random.default_rng(0)
    train, mirror = set_of(rng, 200), set_of(rng, 200)
    usual = copies.in_features(train, train, mirror, held_out=True)
    found = copies.in_features(set_of(rng, 200) * 0.2, train, mirror)
    by_distance = (found.distance < np.quantile(usual.distance, copies.QUANTILE)).mean()
    assert by_distance > 0.3  # what a rule about distances would say
    assert (found.ratio < copies.limit(usual)).mean() < 0.1


def test_few_training_images_are_enough() -> None:
    rng = np.random.default_rng(0)
    train, mirror = set_of(rng, 3), set_of(rng, 3)
    usual = copies.in_features(train, train, mirror, held_out=True)
    assert np.isfinite(usual.ratio).all()
    assert (usual.index != np.arange(3)).all()
    assert copies.in_features(train[:1], train, mirror).distance[0] == pytest.approx(0, abs=1e-6)


def test_nearest_by_hand() -> None:
    plain = np.array([[1.0, 4, 2], [9, 3, 3], [0, 0, 0]])
    mirrored = np.array([[5, 0.5, 8], [9, 9, 1], [0, 0, 0]])
    found = copies.nearest(plain, mirrored)
    assert found.index.tolist() == [1, 2, 0]
    assert found.mirrored.tolist() == [True, True, False]
    assert found.distance.tolist() == [0.5, 1, 0]
    assert found.ratio.tolist() == [0.5 / 1.5, 1 / 6, 1]  # the last: nothing to be relative to
    held_out = copies.nearest(plain, mirrored, held_out=True)
    assert held_out.index.tolist() == [1, 2, 0]
    assert held_out.distance.tolist() == [0.5, 1, 0]
    assert held_out.ratio.tolist() == [0.5 / 2, 1 / 9, 1]


def test_distance_is_relative_to_the_next_ten() -> None:
    distance = np.arange(1.0, 14)[None, ::-1]
    assert copies.nearest(distance, distance + 1).ratio[0] == pytest.approx(1 / np.mean(np.arange(2, 12)))


def test_limit_is_what_few_held_out_images_are_below() -> None:
    ratio = np.arange(101) / 100
    none = np.zeros(101, dtype=int)
    usual = copies.Nearest(none, none > 0, ratio, ratio)
    assert copies.limit(usual) == pytest.approx(0.05)
