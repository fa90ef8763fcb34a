import numpy as np
import pytest

from semireal.metrics import distances, inception, intervals
from semireal.metrics.estimates import Estimate, difference
from semireal.metrics.intervals import Pairs


def dot(a: distances.Features, b: distances.Features) -> distances.Features:
    return np.asarray(a @ b.T)


def ones(n: int) -> intervals.Mask:
    return np.ones(n, dtype=bool)


def test_wilson_is_never_empty() -> None:
    assert intervals.wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)  # the textbook's example
    assert intervals.wilson(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)
    assert intervals.wilson(1, 20) == pytest.approx((0.8389, 1), abs=1e-4)


def test_weights_draw_members_only() -> None:
    members = np.array([True, False, True, True])
    w = intervals.weights(members, 50, np.random.default_rng(0))
    assert w.shape == (51, 4)
    assert np.array_equal(w[0], members)
    assert (w.sum(axis=1) == 3).all()
    assert (w[:, 1] == 0).all()
    assert len(np.unique(w, axis=0)) > 5


def test_pairs_are_the_kernel_distance() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 5)), rng.normal(0.3, 1, (30, 5))
    members = np.arange(20) % 3 > 0
    w, v = (intervals.weights(m, 10, np.random.default_rng(1)) for m in (members, ones(30)))
    found = Pairs.of(distances.cubic, x, y).kernel(w, v)
    assert found[0] == pytest.approx(distances.kernel(x[members], y))
    # a resample by hand: all pairs of drawn images, but for those of an image with itself
    n = np.repeat(np.arange(20), w[3].astype(int))
    m = np.repeat(np.arange(30), v[3].astype(int))
    k = distances.cubic
    within = (
        [k(x[[a]], x[[b]])[0, 0] for a in n for b in n if a != b],
        [k(y[[a]], y[[b]])[0, 0] for a in m for b in m if a != b],
    )
    assert found[3] == pytest.approx(np.mean(within[0]) + np.mean(within[1]) - 2 * k(x[n], y[m]).mean())


@pytest.mark.parametrize(("n", "m"), [(40, 60), (100, 100)])
def test_kernel_intervals_hold_the_truth(n: int, m: int) -> None:
    """Gaussians of one variable and the kernel (ab + 1)^3: the distance has a closed form."""
    shift = 0.7
    moments = np.array([1, 0, 1, 0]), np.array([1, shift, 1 + shift**2, 3 * shift + shift**3])
    truth = float((np.array([1, 3, 3, 1]) * (moments[0] - moments[1]) ** 2).sum())
    held = 0
    for trial in range(100):
        rng = np.random.default_rng(trial)
        pairs = Pairs.of(distances.cubic, rng.normal(size=(n, 1)), rng.normal(shift, 1, (m, 1)))
        found = pairs.kernel(intervals.weights(ones(n), 200, rng), intervals.weights(ones(m), 200, rng))
        low, high = intervals.percentiles(found[1:])
        held += low <= truth <= high
    assert held >= 85


def test_groups_are_dealt_evenly() -> None:
    labels = intervals.groups((45, 23), np.random.default_rng(0))
    for label, n in zip(labels, (45, 23), strict=True):
        counts = np.bincount(label)
        assert len(label) == n
        assert len(counts) == intervals.GROUPS
        assert counts.max() - counts.min() <= 1
    assert {int(label.max()) for label in intervals.groups((45, 12), np.random.default_rng(0))} == {11}


def test_jackknife_of_means_is_their_variance() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 2)), rng.normal(2, 3, (600, 2))
    value, variance = intervals.jackknife(
        lambda r, g: x[r].mean(axis=0) - y[g].mean(axis=0), [np.arange(n) % 20 for n in (400, 600)]
    )
    assert value == pytest.approx(x.mean(axis=0) - y.mean(axis=0))
    assert variance == pytest.approx(1 / 400 + 9 / 600, rel=0.6)  # 20 groups: 19 degrees of freedom
    one = [np.arange(20)]  # groups of one image
    _, variance = intervals.jackknife(lambda kept: x[:20][kept].mean(axis=0), one)
    assert variance == pytest.approx(x[:20].var(axis=0, ddof=1) / 20, rel=0.03)


def test_jackknife_takes_half_of_what_it_counts_twice() -> None:
    """A product of two means that are 0: no image does anything without one of the other set."""
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=60), rng.normal(size=80)
        _, variance = intervals.jackknife(
            lambda r, g, x=x, y=y: np.array([x[r].mean() * y[g].mean()]), intervals.groups((60, 80), rng)
        )
        found.append(variance[0] * 60 * 80)
    assert np.mean(found) == pytest.approx(1.5, rel=0.2)


def test_frechet_and_its_interval() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 8)), rng.normal(0.5, 1, (30, 8))
    found = intervals.frechet(x, y, np.random.default_rng(1))
    assert found.value == distances.frechet(x, y)
    assert 0 <= found.low < found.value < found.high
    assert found == intervals.frechet(x, y, np.random.default_rng(1))
    same = intervals.frechet(x, x.copy(), rng)
    assert same.low == 0
    few = intervals.frechet(x, y[: intervals.LEAST - 1], rng)
    assert few.value == distances.frechet(x, y[: intervals.LEAST - 1])
    assert np.isnan(few[1:]).all()


def test_kernel_and_its_interval() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)), rng.normal(0.5, 1, (30, 5))
    members = np.arange(60) % 3 > 0
    pairs = Pairs.of(distances.cubic, x, y)
    found = intervals.kernel(pairs, members, rng)
    assert found.value == pytest.approx(distances.kernel(x[members], y))
    assert found.low < found.value < found.high
    few = intervals.kernel(pairs, np.arange(60) < intervals.LEAST - 1, rng)
    assert few.value == pytest.approx(distances.kernel(x[: intervals.LEAST - 1], y))
    assert np.isnan(few[1:]).all()


@pytest.mark.parametrize("images", [10, 29, 30, 43, 200])
def test_score_is_torch_fidelitys(images: int) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (images, 50))
    found = intervals.score(logits)
    assert found.value == inception.score(logits)[0]
    if images < 30:
        assert np.isnan(found[1:]).all()
        return
    assert 1 <= found.low < found.value < found.high
    # the interval is around our own formula, that of torch-fidelity
    assert intervals._splits(*intervals._shuffled(logits), ones(images)).mean() == pytest.approx(found.value, rel=1e-9)


def test_score_of_certain_classes() -> None:
    """Probabilities that are 0 or 1 to the last bit."""
    logits = np.eye(10)[np.random.default_rng(0).integers(0, 10, 200)] * 2000
    probabilities, starts = intervals._shuffled(logits)
    assert set(probabilities.ravel()) == {0, 1}
    values = intervals._splits(probabilities, starts, ones(200))
    assert np.isfinite(values).all()
    assert 5 < values.mean() < 10


def test_score_of_some_images_is_that_of_them_alone() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (60, 50))
    probabilities, starts = intervals._shuffled(logits)
    keep = np.arange(60) % 3 > 0
    part = intervals._splits(probabilities[keep], np.arange(10) * 4, ones(40))
    assert intervals._splits(probabilities, starts, keep) == pytest.approx(part)


def test_neighbourhood_is_that_of_the_features() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)), rng.normal(0.5, 1, (50, 4))
    found = intervals.neighbourhood(intervals.tables(x, y), 3, rng)
    densities, coverage = distances.density_coverage(x, y, 3)
    assert (found.precision.value, found.recall.value) == distances.precision_recall(x, y, 3)
    assert (found.density.value, found.coverage.value) == (densities.mean(), coverage)
    for value, low, high in found:
        assert 0 <= low < value < high
    for _, _, high in (found.precision, found.recall, found.coverage):
        assert high <= 1


def test_neighbourhood_at_its_edges() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4))
    apart = intervals.neighbourhood(intervals.tables(x, rng.normal(size=(50, 4)) + 100), 3, rng)
    same = intervals.neighbourhood(intervals.tables(x, x.copy()), 3, rng)
    for value, low, high in apart:
        assert value == low == 0
        assert 0.01 < high < 0.2
    for value, low, high in (same.precision, same.recall, same.coverage):
        assert value == high == 1
        assert 0.5 < low < 0.99
    # too few images, or too few that stay for so many neighbours
    for n, k in ((9, 3), (12, 10)):
        few = intervals.neighbourhood(intervals.tables(x[:n], x[20:]), k, rng)
        assert few.recall.value == distances.precision_recall(x[:n], x[20:], k)[1]
        assert all(np.isnan(low) and np.isnan(high) for _, low, high in few)


def test_a_part_of_the_pairs() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(15, 3))
    r, g = rng.random(20) < 0.5, rng.random(15) < 0.5
    part, again = intervals.tables(x, y).part(r, g), intervals.tables(x[r], y[g])
    for a, b in ((part.real, again.real), (part.generated, again.generated), (part.cross, again.cross)):
        assert np.array_equal(a, b)


def test_difference_of_shares_is_newcombes() -> None:
    # Newcombe 1998, table II: 56 / 70 - 48 / 80, method 10
    a, b = (Estimate(x / n, *intervals.wilson(x / n, n)) for x, n in ((56, 70), (48, 80)))
    assert difference(a, b) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    # turned round it is the same
    assert difference(b, a) == pytest.approx((-0.2, -0.3339, -0.0524), abs=1e-4)


def test_difference_for_several_comparisons_is_wider() -> None:
    a, b = Estimate(5, 4, 7), Estimate(3, 2.5, 3.5)
    value, low, high = difference(a, b)
    assert (value, low, high) == pytest.approx((2, 2 - np.hypot(1, 0.5), 2 + np.hypot(2, 0.5)))
    # 97.5 % and 99.167 % quantiles of the normal distribution
    wide = difference(a, b, comparisons=3)
    assert (wide.value - wide.low) / (value - low) == pytest.approx(2.3940 / 1.9600, rel=1e-4)
    assert (wide.high - wide.value) / (high - value) == pytest.approx(2.3940 / 1.9600, rel=1e-4)
    assert np.isnan(difference(a, Estimate(3, np.nan, np.nan))[1:]).all()
