import numpy as np
import pytest

from semireal.metrics import distances


def normal(seed: int, n: int, d: int, scale: float = 1.0, shift: float = 0.0) -> distances.Features:
    return np.random.default_rng(seed).normal(shift, scale, (n, d))


def test_frechet_of_gaussians_is_the_closed_form() -> None:
    # |shift|^2 + d (s1 - s2)^2 for isotropic Gaussians
    x, y = normal(0, 60_000, 4), normal(1, 60_000, 4, scale=2, shift=0.5)
    assert distances.frechet(x, y) == pytest.approx(4 * 0.25 + 4 * 1, rel=0.03)
    assert distances.frechet(x, x) == pytest.approx(0, abs=1e-8)
    assert distances.frechet(x, x + 3) == pytest.approx(4 * 9, rel=1e-9)


def test_frechet_with_fewer_images_than_features_is_finite() -> None:
    assert distances.frechet(normal(0, 20, 64), normal(1, 20, 64)) > 0


def test_kernel_distance_is_unbiased_and_sees_a_shift() -> None:
    same = [distances.kernel(normal(2 * n, 50, 8), normal(2 * n + 1, 50, 8)) for n in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(len(same)) + 1e-3
    assert distances.kernel(normal(0, 200, 8), normal(1, 200, 8, shift=1)) > 10 * np.std(same)


def test_kernel_distance_by_hand() -> None:
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [0.0]])
    # k(0,1)=1; k(2,0)=1; mean of k(0,2)=1, k(0,0)=1, k(1,2)=27, k(1,0)=1
    assert distances.kernel(x, y) == pytest.approx(1 + 1 - 2 * 30 / 4)


def test_precision_and_recall_mean_what_they_say() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(0, 0.1, (100, 2)), rng.normal(10, 0.1, (100, 2))
    both = np.concatenate([left, right])
    # fakes only on one of two islands: all plausible, half of the variety missing
    precision, recall = distances.precision_recall(both, rng.normal(0, 0.05, (100, 2)), k=3)
    assert precision > 0.95
    assert recall < 0.55
    # fakes on both islands and far away
    precision, recall = distances.precision_recall(both, np.concatenate([both, both + 100]), k=3)
    assert precision == pytest.approx(0.5)
    assert recall == 1


def test_order_does_not_matter() -> None:
    x, y = normal(0, 80, 6), normal(1, 70, 6, shift=0.3)
    a, b = x[::-1], np.random.default_rng(0).permutation(y)
    assert distances.frechet(x, y) == pytest.approx(distances.frechet(a, b), rel=1e-9)
    assert distances.kernel(x, y) == pytest.approx(distances.kernel(a, b), rel=1e-9)
    assert distances.precision_recall(x, y, 3) == distances.precision_recall(a, b, 3)


def test_frechet_is_the_formula() -> None:
    """Against eigenvalues of the product of the covariances, with more and with fewer images than features."""
    for n, m in ((50, 70), (6, 50), (7, 5)):
        x, y = normal(0, n, 8), normal(1, m, 8, scale=1.5, shift=0.3)
        cx, cy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
        root = np.sqrt(np.maximum(np.linalg.eigvals(cx @ cy).real, 0)).sum()
        mean = x.mean(axis=0) - y.mean(axis=0)
        assert distances.frechet(x, y) == pytest.approx(mean @ mean + np.trace(cx) + np.trace(cy) - 2 * root, abs=1e-6)


def test_frechet_is_never_negative() -> None:
    rng = np.random.default_rng(0)
    for n, d, scale in ((500, 64, 10), (300, 64, 100), (60, 64, 30), (200, 128, 5)):
        x = rng.normal(size=(n, d)) * scale + 1
        assert 0 <= distances.frechet(x, rng.permutation(x)) < 1e-8 * scale**2


@pytest.mark.parametrize("shift", [0.0, 1e5])
def test_distances_are_euclidean(shift: float) -> None:
    x, y = normal(0, 5, 3), normal(1, 4, 3)
    expected = np.linalg.norm(x[:, None] - y[None], axis=2)
    assert np.allclose(distances.between(x + shift, y + shift), expected)


def test_distances_of_a_set_are_exactly_those_of_two() -> None:
    x = normal(0, 70, 33)
    assert np.array_equal(distances.among(x), distances.between(x, x.copy()))
    assert np.array_equal(distances.among(x)[5:], distances.between(x[5:], x))


@pytest.mark.parametrize("n", [60, 500])
@pytest.mark.parametrize("m", [30, 400])
@pytest.mark.parametrize("d", [16, 64, 200])
def test_a_perfect_generator_is_foretold(n: int, m: int, d: int) -> None:
    """With more and with fewer images than features."""

    def features(rng: np.random.Generator, count: int) -> distances.Features:
        return np.maximum(rng.normal(size=(count, d)), -0.5) / np.sqrt(np.arange(1, d + 1))

    rng = np.random.default_rng(0)
    truth = np.mean([distances.frechet(features(rng, n), features(rng, m)) for _ in range(10)])
    found = np.mean([distances.perfect_frechet(features(rng, n), m, rng) for _ in range(3)])
    assert found == pytest.approx(truth, rel=0.15)


def test_a_perfect_generator_of_too_few_or_equal_images() -> None:
    rng = np.random.default_rng(0)
    assert np.isnan(distances.perfect_frechet(normal(0, 7, 4), 100, rng))
    assert distances.perfect_frechet(normal(0, 8, 4), 2, rng) > 0
    assert distances.perfect_frechet(np.ones((20, 4)), 100, rng) == 0


def test_relative_to_nothing_is_unknown() -> None:
    assert float(distances.relative(3.0, 2.0)) == 1.5
    assert np.isnan(distances.relative(3.0, distances.mean_distance(np.ones((4, 2)))))
    assert distances.relative([1, 2, 0], [4, 0, 0]) == pytest.approx([0.25, np.nan, np.nan], nan_ok=True)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_density_of_a_set_against_itself_is_one_wherever_the_origin_is(k: int) -> None:
    x = normal(0, 200, 64, scale=3)
    for same in (x, x + 100, x + 1e6, np.round(x * 4)):
        density, coverage = distances.density_coverage(same, same.copy(), k)
        assert density.mean() == pytest.approx(1, abs=0.01)
        assert coverage == 1
        assert distances.precision_recall(same, same.copy(), k) == (1, 1)


def test_borders_of_balls() -> None:
    """A ball's border belongs to it for precision and recall, not for density and coverage."""
    real, fake = np.array([[0.0], [1], [3]]), np.array([[-1.0], [5]])
    # radii of the nearest: real 1, 1, 2; both fakes are on borders; fake 6, 6
    assert distances.precision_recall(real, fake, 1) == (1, 1)
    density, coverage = distances.density_coverage(real, fake, 1)
    assert density.tolist() == [0, 0]
    assert coverage == 0
    density, coverage = distances.density_coverage(real, fake * 0.99, 1)
    assert density.tolist() == [1, 1]
    assert coverage == pytest.approx(2 / 3)


def test_density_and_coverage_mean_what_they_say() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(0, 0.1, (100, 2)), rng.normal(10, 0.1, (100, 2))
    density, coverage = distances.density_coverage(np.concatenate([left, right]), rng.normal(0, 0.1, (200, 2)), k=5)
    assert density.shape == (200,)
    assert density.mean() == pytest.approx(1, abs=0.25)
    assert coverage == pytest.approx(0.5, abs=0.02)
    # an outlier among the reals has a huge ball: precision believes in it, density hardly
    outlier = np.array([[50.0, 50.0]])
    fakes = rng.uniform(20, 40, (100, 2))
    precision, _ = distances.precision_recall(np.concatenate([left, outlier]), fakes, k=5)
    density, _ = distances.density_coverage(np.concatenate([left, outlier]), fakes, k=5)
    assert precision > 0.9
    assert density.mean() < 0.3


def test_mean_distance_by_hand() -> None:
    assert distances.mean_distance(np.array([[0.0, 0], [3, 4], [6, 8]])) == pytest.approx((5 + 10 + 5) / 3)


def test_neighbourhoods_by_hand() -> None:
    real, fake = np.array([[0.0], [1], [3], [7]]), np.array([[2.0], [4.5], [20]])
    # radii of the second nearest: real 3, 2, 3, 6; fake 18, 15.5, 18
    assert distances.precision_recall(real, fake, 2) == pytest.approx((2 / 3, 1))
    density, coverage = distances.density_coverage(real, fake, 2)
    assert density.tolist() == [4 / 2, 2 / 2, 0]
    assert coverage == 1
    # of the nearest: real 1, 1, 2, 4; fake 2.5, 2.5, 15.5. The fake at 2 is on the border of the real one at 1
    assert distances.precision_recall(real, fake, 1) == pytest.approx((2 / 3, 1))
    density, coverage = distances.density_coverage(real, fake, 1)
    assert density.tolist() == [1, 2, 0]
    assert coverage == 2 / 4


def test_parts_of_the_tables_are_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(43, 6)).astype(np.float32), rng.normal(0.3, 1, (31, 6)).astype(np.float32)
    fake[7] = real[3]  # at distance 0
    cross, of_real, of_fake = distances.between(real, fake), distances.among(real), distances.among(fake)
    for size in (1, 2, 10, 31, 1000):
        monkeypatch.setattr(distances, "TABLE", size)
        for k in (1, 3, 12):
            radii = distances.radii(of_real, k)
            assert np.array_equal(distances.balls(real, k), radii)
            by_hand = distances.precision(cross, radii), distances.recall(cross, distances.radii(of_fake, k))
            assert distances.precision_recall(real, fake, k) == by_hand
            assert distances.precision_recall(real, fake, k, radii) == by_hand


@pytest.mark.parametrize("count", [5, 20, 21, 90])
def test_parts_of_the_rows_give_the_frechet_distance(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(2, 1, (count, 20)).astype(np.float32), rng.normal(size=(60, 20)).astype(np.float32)
    whole = distances.frechet(x, y)
    assert distances.frechet(x.astype(np.float64), y.astype(np.float64)) == whole
    for size in (1, 7, 30):
        monkeypatch.setattr(distances, "ROWS", size)
        assert distances.frechet(x, y) == pytest.approx(whole, rel=1e-12)
        # what is as it was: the sum of squares about the mean
        centred = x - x.mean(axis=0, dtype=np.float64)
        root = distances.reduced(x)
        assert root.T @ root == pytest.approx(centred.T @ centred, rel=1e-9, abs=1e-9)
        assert len(root) == min(count, 20)
