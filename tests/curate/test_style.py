from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import texture
from semireal import images
from semireal.classifiers import style as style_training
from semireal.classifiers.style import Example, Table
from semireal.curate import style
from semireal.curate.style import STYLES
from semireal.errors import UserError

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
    assert style.domain({"photo": 0.2, "portrait": 0.1, "line_art": 0.7, "anime": 0}) == "photo"
    assert style.domain({"photo": 0.1, "portrait": 0.2, "line_art": 0.7, "anime": 0}) == "portrait"


def test_detail_of_noise_of_enlarged_pictures_and_of_nothing() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    assert style.detail(noise) > 150
    for factor in (2, 4):
        enlarged = images.resize(noise, 200 * factor)
        assert 0.6 * 200 < style.detail(enlarged) < 1.3 * 200  # frequencies form a square, the measure a circle
    assert style.detail(np.full((64, 64, 3), 9, np.uint8)) == 0
    assert style.detail(noise[:1, :1]) == 0


@given(st.floats(-180, 180), st.floats(0.1, 50), st.tuples(*[st.floats(-500, 500)] * 2))
def test_turn_is_the_same_in_any_position(angle: float, scale: float, move: tuple[float, float]) -> None:
    a = np.radians(angle)
    turned = FACE @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) * scale + move
    turn, tilt = style.pose(turned)
    assert turn == pytest.approx(0, abs=1e-6)
    assert tilt == pytest.approx(abs(angle), abs=1e-4)


@pytest.mark.parametrize(("x", "turn"), [(50, 0), (40, 0.5), (30, 1), (70, 1), (20, 1.5)])
def test_turn_follows_the_nose(x: float, turn: float) -> None:
    face = FACE.copy()
    face[2, 0] = x
    assert style.pose(face)[0] == pytest.approx(turn)
    assert np.isfinite(style.pose(np.zeros((5, 2)))).all()


# --- training ------------------------------------------------------------------------------------------------


def table(trunk: np.ndarray, label: np.ndarray, group: list[str]) -> Table:
    count = len(label)
    none = np.zeros((count, 1), np.float32)
    ones = np.ones(count, bool)
    return Table(
        trunk.astype(np.float32), none, label, np.array(group), np.array(["real"] * count), ones, np.array(group)
    )


def toy(seed: int) -> Table:
    """Four clusters, one per style, far apart."""
    rng = np.random.default_rng(seed)
    label = np.arange(200) % 4
    return table(np.eye(4)[label] * 6 + rng.normal(0, 1, (200, 4)), label, [f"g{n}" for n in range(200)])


def test_regression_learns_what_can_be_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style_training, "L2", (1.0, 1.0))
    model = style_training.fit(toy(0))
    found = style_training.predictions(toy(1), model)
    assert np.allclose(found.sum(1), 1)
    assert (found.argmax(1) == toy(1).label).mean() > 0.98


def test_regression_ends_where_the_gradient_vanishes() -> None:
    data = toy(2)
    x, share = data.trunk.astype(np.float64), np.full(200, 0.5)
    weight, bias = style_training._regress(x, data.label, share, 2.0)
    odds = np.exp(x @ weight + bias)
    slope = share[:, None] * (odds / odds.sum(1, keepdims=True) - np.eye(4)[data.label])
    assert np.abs(x.T @ slope + 2.0 * weight).max() < 1e-2
    assert np.abs(slope.sum(0)).max() < 1e-2


def test_cross_validation_does_not_see_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each group has a label by chance and a feature of its own: only who has seen the group can know its label."""
    monkeypatch.setattr(style_training, "L2", (0.1, 0.1))
    rng = np.random.default_rng(0)
    label = np.repeat(rng.permutation(np.arange(60) % 4), 5)
    data = table(np.repeat(np.eye(60), 5, axis=0), label, [f"g{n // 5}" for n in range(300)])
    assert (style_training.predictions(data, style_training.fit(data)).argmax(1) == label).mean() == 1
    assert (style_training.cross_validated(data).argmax(1) == label).mean() < 0.45


def test_folds_keep_groups_together_and_use_all() -> None:
    groups = np.array([f"person {n % 50}" for n in range(200)])
    fold = style_training.folds(groups)
    assert set(fold.tolist()) == set(range(style_training.FOLDS))
    assert all(len(set(fold[groups == group].tolist())) == 1 for group in set(groups.tolist()))
    assert fold.tolist() != style_training.folds(groups, salt=1).tolist()


def test_saved_model_is_the_same_file_and_the_same_answers(tmp_path: Path) -> None:
    model = style_training.fit(toy(0))
    for name in ("a", "b"):
        style_training.save(model, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    again = style_training.predictions(toy(1), style.load(tmp_path / "a"))
    assert np.allclose(again, style_training.predictions(toy(1), model), atol=0.02)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.integers(48, 300))
def test_derived_pictures_are_squares_and_repeatable(seed: int, side: int) -> None:
    img = texture(seed % 7, side, side)
    for maker in (style_training.sketched, style_training.cel_shaded, style_training.varied):
        one, two = (maker(img, np.random.default_rng(seed)) for _ in range(2))
        assert one.shape == (len(one), len(one), 3)
        assert one.dtype == np.uint8
        assert np.array_equal(one, two)


def test_cel_shading_leaves_few_colours_and_sketches_are_mostly_paper() -> None:
    img = np.asarray(cv2.GaussianBlur(texture(0, 300, 300), (0, 0), 5), np.uint8)

    def colours(picture: images.Pixels) -> int:
        return len(np.unique(images.resize(picture, 128).reshape(-1, 3) // 16, axis=0))

    rng = np.random.default_rng(0)
    assert colours(style_training.cel_shaded(img, rng)) < colours(img)
    assert np.median([style_training.sketched(img, rng).mean() for _ in range(9)]) > 150


def test_derived_pictures_stay_with_their_group_and_out_of_the_test() -> None:
    examples = [Example(texture(n, 100, 100), n, f"g{n}", name=str(n)) for n in range(3)]
    jobs = style_training.expanded(examples)
    made = [example for example, _ in jobs]
    assert [e.name for e in made if e.plain] == ["0", "1", "2"]
    derived = [(STYLES[e.label], e.group) for e in made if e.origin == "derived"]
    assert sorted(derived) == [("anime", "g0"), ("anime", "g1"), ("line_art", "g0"), ("line_art", "g1")]
    assert np.array_equal(jobs[1][1](), jobs[1][1]())


def test_folder_without_labels_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"faces\.csv: not found"):
        style_training.real(tmp_path)
