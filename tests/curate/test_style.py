from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import texture
from semireal import images
from semireal.classifiers import style as style_training
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
