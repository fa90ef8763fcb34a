from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import texture
from semireal import images
from semireal.classifiers import style as style_training
from semireal.collect.gallery import faces as gallery
from semireal.curate import quality, style
from semireal.curate.style import STYLES

FACE = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], np.float64)


@pytest.fixture(scope="module")
def classifier() -> style.Classifier:
    return style.Classifier()


@pytest.mark.parametrize(
    "img",
    [
        texture(0, 512, 512),
        texture(1, 48, 48),
        np.zeros((300, 300, 3), np.uint8),
        np.full((7, 7, 3), 255, np.uint8),
        np.zeros((1, 1, 3), np.uint8),
    ],
)
def test_any_square_has_probabilities(classifier: style.Classifier, img: images.Pixels) -> None:
    found = classifier(img)
    assert tuple(found) == STYLES
    assert all(0 <= value <= 1 for value in found.values())
    assert sum(found.values()) == pytest.approx(1)
    assert classifier(img) == found


def test_shipped_model_fits_the_features() -> None:
    trunk, grain = style.Features()(texture(0, 300, 300))
    model = style.load()
    assert trunk.shape[0] + grain.shape[0] == model.mean.shape[0] == model.weight.shape[0]
    assert model.weight.shape[1] == model.bias.shape[0] == len(STYLES)
    assert np.isfinite(np.concatenate([trunk, grain])).all()


def test_real_pictures(shared: Path, classifier: style.Classifier) -> None:
    """A sample of the labelled heads, and lines drawn from some of them."""
    examples = style_training.real(shared / "faces")
    sample = examples[::15] + [example for example in examples if STYLES[example.label] == "line_art"][:4]
    right = []
    for example in sample:
        found = classifier(style_training.finished(example.img))
        right.append(max(found, key=lambda name: found[name]) == STYLES[example.label])
    assert np.mean(right) >= 0.95
    lines = [style_training.sketched(e.img, np.random.default_rng(n)) for n, e in enumerate(examples[5::70])]
    assert all(classifier(img)["line_art"] > 0.5 for img in lines)


def texture_by_floats(img: images.Pixels) -> np.ndarray:
    """style._texture, written down without care for time."""
    values = []
    for size in style.TEXTURE_SIZES:
        grey = cv2.cvtColor(style._scaled(img, size), cv2.COLOR_RGB2GRAY).astype(np.float32)
        middle = slice(size // 4, size - size // 4)
        for part in (grey, grey[middle, middle]):
            x, y = (cv2.Sobel(part, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
            places = np.searchsorted(style._STEPS, np.hypot(x, y).ravel(), side="right")
            values += [np.bincount(places, minlength=8) / part.size]
            for radius in (1, 2):
                wide = np.pad(part, radius, mode="symmetric")
                moved = [wide[radius * (1 + y) :, radius * (1 + x) :][: len(part), : len(part)] for y, x in style._RING]
                brighter = np.stack([one >= part + 2 for one in moved])
                changes = (brighter != np.roll(brighter, 1, axis=0)).sum(0)
                code = np.where(changes <= 2, brighter.sum(0), 9)
                values += [np.bincount(code.ravel(), minlength=10) / part.size]
    return np.sqrt(np.concatenate(values)).astype(np.float32)


def detail_by_all_waves(img: images.Pixels) -> float:
    """quality.detail, written down without care for time."""
    grey = cv2.cvtColor(img, cv2.COLOR_RGB2GRAY).astype(np.float64)
    side = len(grey)
    window = np.hanning(side + 2)[1:-1]
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window[:, None] * window)) ** 2
    waves = np.fft.fftfreq(side, 1 / side)
    radius = np.hypot(waves[:, None], waves)
    total = np.cumsum([(power * radius**2)[radius.astype(int) == ring].sum() for ring in range(side // 2 + 1)])
    return 2 * int(np.searchsorted(total, quality.DETAIL_SHARE * total[-1]))


def pictures() -> Iterator[images.Pixels]:
    """Smooth, rough and drawn ones, of many sides."""
    rng = np.random.default_rng(0)
    for n, side in enumerate((2, 3, 16, 31, 64, 97, 128, 211, 300)):
        yield texture(n, side, side)
        yield rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        drawn = np.asarray(gallery.draw("elf", "photo", rng))
        yield images.resize(np.ascontiguousarray(drawn[: min(drawn.shape[:2]), : min(drawn.shape[:2])]), side)


def waves(down: float, across: float) -> images.Pixels:
    """Five waves from top to bottom and twenty from left to right, of so many grey levels."""
    v, u = np.mgrid[:100, :100] / 100 * 2 * np.pi
    grey = 128 + down * np.cos(5 * v) + across * np.cos(20 * u)
    return np.repeat(grey.round().astype(np.uint8)[:, :, None], 3, axis=2)


def test_textures_are_those_of_the_plain_formulas() -> None:
    for img in pictures():
        assert np.array_equal(style._texture(img), texture_by_floats(img))


def test_detail_is_that_of_the_plain_formula() -> None:
    for img in pictures():
        assert quality.detail(img) == detail_by_all_waves(img), img.shape
    # waves along an axis stand once in half of a spectrum, all others for their opposites as well
    for img in (waves(100, 16), waves(100, 28)):
        for one in (img, np.ascontiguousarray(img.transpose(1, 0, 2))):
            assert quality.detail(one) == detail_by_all_waves(one)


def test_moments_are_mean_and_deviation() -> None:
    rows = np.abs(np.random.default_rng(0).normal(3, 2, (40, 700))).astype(np.float32)
    rows[0] = 0
    mean, deviation = style._moments(rows)
    assert np.allclose(mean, rows.astype(float).mean(1), rtol=1e-5)
    assert np.allclose(deviation, rows.astype(float).std(1), rtol=1e-5)


def test_a_picture_does_not_depend_on_the_one_before(classifier: style.Classifier) -> None:
    one, other = texture(0, 512, 512), texture(1, 512, 512)
    first = classifier(one)
    classifier(other)
    assert classifier(one) == first
    assert style.Classifier()(one) == first


def test_domain_is_the_likelier_of_two() -> None:
    assert quality.domain({"photo": 0.2, "portrait": 0.1, "line_art": 0.7, "anime": 0}) == "photo"
    assert quality.domain({"photo": 0.1, "portrait": 0.2, "line_art": 0.7, "anime": 0}) == "portrait"


def test_detail_of_noise_of_enlarged_pictures_and_of_nothing() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    assert quality.detail(noise) > 150
    for factor in (2, 4):
        enlarged = images.resize(noise, 200 * factor)
        assert 0.6 * 200 < quality.detail(enlarged) < 1.3 * 200  # frequencies form a square, the measure a circle
    assert quality.detail(np.full((64, 64, 3), 9, np.uint8)) == 0
    assert quality.detail(noise[:1, :1]) == 0


@given(st.floats(-180, 180), st.floats(0.1, 50), st.tuples(*[st.floats(-500, 500)] * 2))
def test_turn_is_the_same_in_any_position(angle: float, scale: float, move: tuple[float, float]) -> None:
    a = np.radians(angle)
    turned = FACE @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) * scale + move
    turn, tilt = quality.pose(turned)
    assert turn == pytest.approx(0, abs=1e-6)
    assert tilt == pytest.approx(abs(angle), abs=1e-4)


@pytest.mark.parametrize(("x", "turn"), [(50, 0), (40, 0.5), (30, 1), (70, 1), (20, 1.5)])
def test_turn_follows_the_nose(x: float, turn: float) -> None:
    face = FACE.copy()
    face[2, 0] = x
    assert quality.pose(face)[0] == pytest.approx(turn)
    assert np.isfinite(quality.pose(np.zeros((5, 2)))).all()
