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


def test_the_command_teaches_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["style", "--faces", "some/folder"])
    monkeypatch.setattr(style_training, "taught", lambda folder: toy(0) if folder == Path("some/folder") else None)
    saved: list[style.Model] = []
    monkeypatch.setattr(style_training, "save", saved.append)
    style_training.main()
    assert (style_training.predictions(toy(1), saved[0]).argmax(1) == toy(1).label).mean() > 0.9
    assert "style.safetensors" in capsys.readouterr().err
