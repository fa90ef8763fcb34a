"""How much of the layout is kept: by hand, and with planted faults that it must see, or must not."""

import cv2
import numpy as np
import pytest

from semireal.images import Pixels
from semireal.metrics import layout
from semireal.metrics.distances import Features

SIDE = 64


def heads(count: int, side: int = SIDE) -> Pixels:
    """Plain heads that differ by place, size, turn and hair, as those of seeds do."""
    rng = np.random.default_rng(0)
    return np.stack([head(rng, side) for _ in range(count)])


def head(rng: np.random.Generator, side: int) -> Pixels:
    img = np.full((256, 256, 3), rng.integers(60, 120, 3), np.uint8)
    x, y = (int(n) for n in 128 + rng.normal(0, 12, 2))
    tall, turn, lean = int(rng.normal(80, 10)), int(rng.normal(0, 14)), float(rng.normal(0, 8))
    hair = int(rng.integers(8, 40))
    cv2.ellipse(img, (x, y - hair // 3), (60 + hair, tall + hair), lean, 0, 360, (70, 45, 30), -1, cv2.LINE_AA)
    cv2.ellipse(img, (x, y), (58, tall), lean, 0, 360, (205, 170, 150), -1, cv2.LINE_AA)
    for eye in (-24, 24):
        cv2.circle(img, (x + eye + turn, y - 12), 8, (40, 40, 60), -1, cv2.LINE_AA)
    cv2.line(img, (x - 18 + turn, y + 38), (x + 18 + turn, y + 38), (120, 50, 50), 5, cv2.LINE_AA)
    return np.asarray(cv2.resize(img, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


BASE = heads(40)


def kept(other: Pixels, base: Pixels = BASE) -> float:
    found = layout.kept(layout.edges(base), layout.edges(other), 20, np.random.default_rng(0))
    assert found is not None
    return found.value


def moved(matrix: list[list[float]]) -> Pixels:
    turn, size = np.array(matrix), (SIDE, SIDE)
    return np.stack([cv2.warpAffine(i, turn, size, borderMode=cv2.BORDER_REFLECT) for i in BASE])


def test_by_hand() -> None:
    """By the definition, pair by pair."""
    base, other = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0]]), np.array([[0.0, 1.0], [2.0, 1.0], [1.0, 4.0]])
    same = np.mean([((a - b) ** 2).mean() for a, b in zip(base, other, strict=True)])
    pairs = [((base[i] - other[j]) ** 2).mean() for i in range(3) for j in range(3) if i != j]
    found = layout.kept(base, other, 20, np.random.default_rng(0))
    assert found is not None
    assert found.value == pytest.approx(1 - same / np.mean(pairs), rel=1e-12)
    assert np.isnan([found.low, found.high]).all()  # of three seeds


def test_equal_pictures_keep_all_and_other_seeds_nothing() -> None:
    assert kept(BASE) == 1
    rng = np.random.default_rng(1)
    shuffled = [kept(BASE[rng.permutation(len(BASE))]) for _ in range(20)]
    assert abs(np.mean(shuffled)) < 0.05
    assert np.max(np.abs(shuffled)) < 0.25


def test_planted_faults_of_the_layout_are_seen() -> None:
    mirrored = BASE[:, :, ::-1]
    half = BASE.copy()
    half[::2] = mirrored[::2]
    zoomed = moved([[1.15, 0, -0.075 * SIDE], [0, 1.15, -0.075 * SIDE]])  # all of them alike: a mean would hide it
    aside = moved([[1, 0, 0.06 * SIDE], [0, 1, 0]])
    wide = moved([[1.15, 0, -0.075 * SIDE], [0, 1, 0]])
    found = {name: kept(p) for name, p in zip("mhzaw", (mirrored, half, zoomed, aside, wide), strict=True)}
    assert max(found.values()) < 0.85, found
    assert found["m"] < found["h"]
    assert found["m"] < 0.6


def test_another_rendering_keeps_the_layout() -> None:
    """More than the least of the faults above loses."""
    colours = np.clip(BASE * np.array([1.3, 1, 0.6]), 0, 255).astype(np.uint8)
    grey = np.repeat(np.stack([cv2.cvtColor(img, cv2.COLOR_RGB2GRAY) for img in BASE])[..., None], 3, axis=3)
    blurred = np.stack([cv2.GaussianBlur(img, (0, 0), 1) for img in BASE])
    noisy = np.clip(BASE + np.random.default_rng(2).normal(0, 4, BASE.shape), 0, 255).astype(np.uint8)
    for other in (colours, grey, blurred, noisy, BASE // 2, 255 - BASE):
        assert kept(other) > 0.85


def test_the_nearer_to_other_seeds_the_less() -> None:
    """More and more of the seeds exchanged, less and less kept."""
    values = []
    for share in (0, 10, 20, 40):
        other = BASE.copy()
        other[:share] = np.roll(BASE[:share], 1, axis=0)
        values.append(kept(other))
    assert values == sorted(values, reverse=True)
    assert values[2] == pytest.approx(0.5, abs=0.12)


def test_the_interval_holds_the_value_of_many_seeds() -> None:
    rng = np.random.default_rng(4)

    def drawn(count: int) -> tuple[Features, Features]:
        base = rng.normal(size=(count, 20))
        return base, base + 0.6 * rng.normal(size=(count, 20))

    truth = layout.kept(*drawn(3000), 0, rng)
    assert truth is not None
    found = [layout.kept(*drawn(60), 100, rng) for _ in range(60)]
    held = [one.low <= truth.value <= one.high for one in found if one is not None]
    assert np.mean(held) > 0.85
    assert len(held) == 60


def test_seeds_that_do_not_differ_have_no_layout_of_their_own() -> None:
    one = np.repeat(BASE[:1], 12, axis=0)
    assert layout.kept(layout.edges(one), layout.edges(BASE[:12]), 20, np.random.default_rng(0)) is None
    assert layout.kept(layout.edges(BASE[:1]), layout.edges(BASE[:1]), 20, np.random.default_rng(0)) is None


@pytest.mark.parametrize("side", [16, 32, 512])
def test_any_size_of_pictures(side: int) -> None:
    shown = heads(12, side)
    assert layout.edges(shown).shape == (12, layout.GRID**2)
    assert kept(shown, shown) == 1
    assert kept(shown[:, :, ::-1], shown) < 0.85
