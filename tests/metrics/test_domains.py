"""The place among the mixtures of the domains: by hand, of Gaussians where it is known, of planted faults and faces."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from semireal import images
from semireal.images import Pixels
from semireal.metrics.distances import Features
from semireal.metrics.domains import AXES, LEAST, Blend, blend, whitened
from semireal.vision import efficientnet, looks

SIGNS = np.resize([1.0, -1.0], 20)


def of(photos: Features, portraits: Features, generated: Features, seed: int = 0) -> Blend | None:
    first = np.arange(len(photos) + len(portraits)) < len(photos)
    real = np.concatenate([photos, portraits])
    return blend(real, first, ~first, generated, 300, np.random.default_rng(seed))


def found(photos: Features, portraits: Features, generated: Features, seed: int = 0) -> Blend:
    one = of(photos, portraits, generated, seed)
    assert one
    return one


def domains(seed: int, n: int = 150, apart: float = 1) -> tuple[Features, Features, np.random.Generator]:
    """Photos and portraits of 40 values, of which the first few are large and say nothing; portraits vary more."""
    rng = np.random.default_rng(seed)
    scale = np.concatenate([np.full(3, 20.0), np.full(9, 3.0), np.full(28, 0.1)])
    move = np.where(np.arange(40) < 3, 0, apart) * scale
    return rng.normal(0, 1, (n, 40)) * scale, rng.normal(0, 1.3, (n, 40)) * scale + move, rng


def mixture(share: float, n: int, seed: int) -> Features:
    photos, portraits, rng = domains(seed, n)
    return np.where(rng.random((n, 1)) < share, photos, portraits)


def test_by_hand() -> None:
    """The real images have mean 0 and variance 1 already; p = (1, 0), q = (-1, 0).

    Without pairs of an image with itself |p|^2 = |q|^2 = (20^2 - 20 * 2) / (20 * 19) = 18 / 19, so |p - q|^2 = 74 / 19.
    """
    photos, portraits = (np.stack([np.full(20, x), SIGNS], axis=1) for x in (1.0, -1.0))
    level = found(photos, portraits, np.stack([np.zeros(20), SIGNS], axis=1))
    assert level.value == pytest.approx(0.5)
    assert (level.off, level.neither) == (0, False)
    # |f|^2 = 9, f.p = f.q = 0, (f - q).(p - q) = 37 / 19
    far = found(photos, portraits, np.tile([0.0, 3.0], (20, 1)))
    assert far.value == pytest.approx(0.5)
    assert far.off == pytest.approx(np.sqrt((9 + 18 / 19 - 37 / 19) * 19 / 74 + 1 / 4))
    assert far.neither
    # beyond the photos: |f|^2 = 9, f.p = 3, f.q = -3; nearest is p, 9 + 18 / 19 - 6 away
    beyond = found(photos, portraits, np.tile([3.0, 0.0], (20, 1)))
    assert (beyond.value, beyond.low, beyond.high) == (1, 1, 1)
    assert beyond.off == pytest.approx(np.sqrt((3 + 18 / 19) * 19 / 74))
    assert beyond.neither


@pytest.mark.parametrize("share", [0, 0.25, 0.5, 1])
def test_a_mixture_is_its_share_of_photos(share: float) -> None:
    photos, portraits, _ = domains(0, 400)
    one = found(photos, portraits, mixture(share, 400, 1))
    assert one.value == pytest.approx(share, abs=0.05)
    assert one.low <= share <= one.high
    assert one.high - one.low < 0.25
    assert one.off < 0.15
    assert not one.neither


def test_images_half_way_between_are_a_half_and_no_neither() -> None:
    """No mixture, but each image in between, as the semi-realistic portraits that are wanted."""
    photos, portraits, _ = domains(0)
    first, second, _ = domains(1)
    one = found(photos, portraits, (first + second) / 2)
    assert one.value == pytest.approx(0.5, abs=0.1)
    assert not one.neither


@pytest.mark.parametrize(("by", "neither"), [(0.2, False), (1.5, True), (-1.5, True)])
def test_moved_away_from_the_line_is_neither(by: float, neither: bool) -> None:
    """Along a feature that does not tell the domains apart; in distances between the domains, as whitened."""
    photos, portraits, _ = domains(0, 300)
    both = np.concatenate([photos, portraits])
    means = [whitened(both, part).mean(axis=0) for part in (photos, portraits)]
    move = np.zeros(40)
    move[0] = both[:, 0].std() * np.linalg.norm(means[0] - means[1]) * by
    one = found(photos, portraits, mixture(0.5, 300, 1) + move)
    assert one.value == pytest.approx(0.5, abs=0.1)
    assert one.off == pytest.approx(abs(by), abs=0.15)
    assert one.neither == neither


def test_the_interval_holds_the_truth_and_chance_alone_is_never_neither() -> None:
    """Also of small sets; the demo has 58 real images."""
    runs = [found(*domains(n, 29)[:2], mixture(0.5, 58, 1000 + n), n) for n in range(100)]
    assert sum(one.low <= 0.5 <= one.high for one in runs) >= 88
    assert np.mean([one.value for one in runs]) == pytest.approx(0.5, abs=0.03)
    scatter, width = np.std([one.value for one in runs]), np.mean([one.high - one.low for one in runs])
    assert 3.3 < width / scatter < 6  # 3.92 for a normal distribution
    assert not any(one.neither for one in runs)


def test_domains_that_cannot_be_told_apart_have_no_blend() -> None:
    alike = [domains(n, 60, apart=0) for n in range(20)]
    assert sum(of(one[:30], one[30:], one[:20], n) is not None for n, (one, _, _) in enumerate(alike)) <= 3
    same = np.ones((30, 4))
    assert of(same, same, same) is None


@pytest.mark.parametrize("few", [0, 1, 2])
def test_too_few_images_have_no_blend(few: int) -> None:
    photos, portraits, _ = domains(0, 40, apart=3)  # so far that ten are enough to tell them apart
    for n, wanted in ((LEAST - 1, False), (LEAST, True)):
        sets = [photos, portraits, mixture(0.5, 40, 1)]
        sets[few] = sets[few][:n]
        assert (of(sets[0], sets[1], sets[2]) is not None) == wanted


def test_other_images_origin_and_unit_do_not_count() -> None:
    photos, portraits, rng = domains(0, 60)
    generated = mixture(0.3, 50, 1)
    one = found(photos, portraits, generated)
    moved = found(7 * photos + 100, 7 * portraits + 100, 7 * generated + 100)
    assert moved.value == pytest.approx(one.value)
    assert moved.off == pytest.approx(one.off, abs=1e-6)
    real = np.concatenate([rng.normal(50, 9, (20, 40)), photos, portraits])
    at = np.arange(140)
    among = blend(real, (at >= 20) & (at < 80), at >= 80, generated, 300, np.random.default_rng(0))
    assert among == one


def test_axes_along_which_the_real_images_do_not_vary_are_left_out() -> None:
    photos, portraits, rng = domains(0, 60)
    generated = mixture(0.5, 50, 1)
    more = [np.concatenate([x, np.full((len(x), 300), 5.0)], axis=1) for x in (photos, portraits, generated)]
    more[2][:, 40:] += rng.normal(size=(50, 300))
    one, other = found(photos, portraits, generated), found(more[0], more[1], more[2])
    assert other.value == pytest.approx(one.value)
    flat = np.concatenate([photos[:, :3], np.zeros((60, 3))], axis=1)
    assert whitened(flat, flat).shape == (60, 3)


def test_whitened_features_have_variance_one() -> None:
    photos, portraits, _ = domains(0)
    both = np.concatenate([photos, portraits])
    scaled = whitened(both, both)
    assert scaled.shape == (300, AXES)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.T @ scaled / 300, np.eye(AXES), atol=1e-10)
    assert whitened(both[:58], both).shape == (300, 7)


def test_the_same_numbers_give_the_same_result() -> None:
    photos, portraits, _ = domains(0, 40)
    assert of(photos, portraits, photos[:20], 3) == of(photos, portraits, photos[:20], 3)
    assert of(photos, portraits, photos[:20], 3) != of(photos, portraits, photos[:20], 4)


def heads(folder: Path, kind: str, n: int) -> Pixels:
    """Heads of n persons or characters of one class, 64 px."""
    table = pd.read_csv(folder / "faces.csv")
    table = table[(table["class"] == kind) & (table["has_face"] == 1)].drop_duplicates("group")[:n]
    found = []
    for path, *box in table[["path", "x", "y", "w"]].to_numpy():
        left, top, side = (max(int(value), 0) for value in box)
        found.append(images.resize(images.load_rgb(folder / path)[top : top + side, left : left + side], 64))
    return np.stack(found)


def test_faces(shared: Path) -> None:
    photos, portraits = (heads(shared / "faces", kind, 36) for kind in ("photo", "portrait"))
    noise = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8)
    net = efficientnet.load()
    p, q, n = (looks.look(net, part, None, torch.device("cpu")).whole for part in (photos, portraits, noise))
    given = p[::2], q[::2]
    answers = [found(*given, other) for other in (q[1::2], np.concatenate([p[1::2], q[1::2]]), p[1::2])]
    assert [one.value for one in answers] == pytest.approx([0, 0.5, 1], abs=0.2)
    assert all(one.low <= share <= one.high for one, share in zip(answers, (0, 0.5, 1), strict=True))
    assert not any(one.neither for one in answers)
    assert found(*given, n).neither
