import numpy as np
import pytest

from semireal.metrics import distances, intervals
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


def test_frechet_intervals_are_as_wide_as_the_scatter() -> None:
    def sets(seed: int) -> tuple[distances.Features, distances.Features]:
        rng = np.random.default_rng(seed)
        return rng.normal(size=(60, 4)), rng.normal(0.5, 1, (80, 4))

    scatter = np.std([distances.frechet(*sets(seed)) for seed in range(300)])
    widths = []
    for seed in range(10):
        x, y = sets(seed)
        value = distances.frechet(x, y)
        low, high = intervals.normal(
            value, intervals.resampled(distances.frechet, x, y, 60, np.random.default_rng(seed))
        )
        assert low < value < high
        widths.append((high - low) / 2 / intervals.Z)
    assert np.mean(widths) == pytest.approx(scatter, rel=0.35)


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_blend_of_a_mixture_is_its_share_of_photos(share: float) -> None:
    rng = np.random.default_rng(0)
    photo, portrait = rng.normal(0, 1, (300, 8)), rng.normal(0.8, 1.5, (200, 8))
    photos = round(400 * share)
    fake = np.concatenate([rng.normal(0, 1, (photos, 8)), rng.normal(0.8, 1.5, (400 - photos, 8))])
    pairs = Pairs.of(dot, np.concatenate([photo, portrait]), fake)
    first = np.arange(500) < 300
    w = [intervals.weights(domain, 200, rng) for domain in (first, ~first)]
    found = pairs.blend(w[0], w[1], intervals.weights(ones(400), 200, rng))
    assert found[0] == pytest.approx(share, abs=0.08)
    low, high = intervals.percentiles(found[1:])
    assert low < share < high
    assert high - low < 0.3
    assert pairs.apart(*w)[0] == pytest.approx(8 * 0.8**2, rel=0.15)


def test_images_half_way_between_the_domains_blend_to_a_half() -> None:
    """No mixture, but each image in between, as the semi-realistic portraits that are wanted."""
    rng = np.random.default_rng(1)
    real = np.concatenate([rng.normal(0, 1, (200, 8)), rng.normal(1, 1, (200, 8))])
    pairs = Pairs.of(dot, real, rng.normal(0.5, 0.3, (300, 8)))
    w = np.arange(400)[None] < 200
    assert pairs.blend(w.astype(float), (~w).astype(float), np.ones((1, 300)))[0] == pytest.approx(0.5, abs=0.1)


def test_blend_and_apart_do_not_depend_on_the_origin() -> None:
    rng = np.random.default_rng(0)
    real, fake, far = rng.normal(size=(30, 4)), rng.normal(0.5, 1, (20, 4)), np.array([3.0, -2, 1, 0.5])
    w = (np.arange(30)[None] < 12).astype(float)
    here, there = (Pairs.of(dot, real + shift, fake + shift) for shift in (0 * far, far))
    assert here.blend(w, 1 - w, np.ones((1, 20))) == pytest.approx(there.blend(w, 1 - w, np.ones((1, 20))))
    assert here.apart(w, 1 - w) == pytest.approx(there.apart(w, 1 - w))


def test_each_row_of_both_sets_is_drawn() -> None:
    drawn: list[set[float]] = [set(), set()]

    def see(x: distances.Features, y: distances.Features) -> float:
        for rows, values in zip(drawn, (x, y), strict=True):
            assert len(values) == 5
            rows |= set(values[:, 0])
        return 0.0

    x = np.arange(5.0)[:, None]
    assert intervals.resampled(see, x, x, 40, np.random.default_rng(0)).shape == (40,)
    assert drawn == [{0, 1, 2, 3, 4}] * 2
