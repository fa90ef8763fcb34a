from pathlib import Path

import numpy as np
import pytest

from semireal.classifiers.usual import fit, save
from semireal.metrics import usual
from semireal.metrics.distances import Features
from semireal.metrics.usual import Usual


def faces(seed: int, n: int = 400) -> Features:
    """Features that vary much along the first axis, less along the next, and hardly along all others."""
    return np.asarray(np.random.default_rng(seed).normal(size=(n, 12)) * np.array([30, 5, *[1] * 10]) + 7)


def test_usual_by_hand() -> None:
    one = Usual(np.array([1.0, 1]), np.array([[1.0, 0]]), np.array([0.5]), np.array([2.0]))
    assert one(np.array([[5.0, 2]])).tolist() == [[2 * 0.5 * 4, 2 * 1]]


def test_what_varies_much_counts_less() -> None:
    known = fit(faces(0))
    standard = known(faces(1))
    assert np.mean(standard**2) == pytest.approx(1, rel=0.05)
    assert standard.std(axis=0) == pytest.approx(np.ones(12), rel=0.2)
    plain, other = faces(2), faces(3)
    along, across = other.copy(), other.copy()
    along[:, 0] += 3  # a tenth of what is usual
    across[:, 5] += 3  # three times what is usual
    near, far = (usual.apart(known(plain), known(one)) for one in (along, across))
    assert far > 50 * abs(near)


def test_distance_is_unbiased_and_in_units_of_the_spread() -> None:
    rng = np.random.default_rng(0)
    same = [usual.apart(rng.normal(size=(30, 6)), rng.normal(size=(40, 6))) for _ in range(300)]
    assert abs(np.mean(same)) < 4 * np.std(same) / np.sqrt(300)
    assert min(same) < 0
    shifted = [usual.apart(rng.normal(size=(30, 6)), rng.normal(1, 1, (40, 6))) for _ in range(100)]
    assert np.mean(shifted) == pytest.approx(1, abs=0.05)


def test_kernel_of_all_pairs_gives_the_same_distance() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 5)), rng.normal(0.3, 1, (9, 5))
    xx, yy, xy = usual.products(x, x), usual.products(y, y), usual.products(x, y)
    within = (xx.sum() - np.trace(xx)) / 42 + (yy.sum() - np.trace(yy)) / 72
    assert usual.apart(x, y) == pytest.approx(within - 2 * xy.mean())


def test_every_kind_is_there_and_fits_its_features() -> None:
    widths = {"whole": 1280, "layout": 5488, "eyes": 1280, "colour": 6}
    rng = np.random.default_rng(0)
    for kind, width in widths.items():
        x = rng.random((5, width))
        assert np.isfinite(usual.load()[kind](x)).all()
        assert abs(usual.distance(kind, x, x + 1)) > 0


def test_what_was_taught_is_read_again(tmp_path: Path) -> None:

    path = tmp_path / "usual.safetensors"
    known = fit(faces(0))
    save(dict.fromkeys(usual.KINDS, known), path)
    again = usual.load(path)["eyes"]
    for name, values in known.__dict__.items():
        assert np.allclose(getattr(again, name), values, atol=2e-3, rtol=2e-3), name  # half precision
    first = path.read_bytes()
    save(dict.fromkeys(usual.KINDS, known), path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("count", [3, 200])
def test_few_features_leave_an_axis_unshrunk(count: int) -> None:
    known = fit(np.random.default_rng(0).normal(size=(count, 6)))
    assert len(known.axes) == min(count, 6) - 1
    assert (known.factor <= 1).all()
