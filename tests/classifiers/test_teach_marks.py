import hashlib
from pathlib import Path

import numpy as np
import pytest

from conftest import texture
from semireal import images
from semireal.classifiers import drawn_marks, style
from semireal.classifiers import marks as teaching
from semireal.classifiers.marks import Seen
from semireal.classifiers.style import Example
from semireal.curate import marks
from semireal.errors import UserError

PLACES = marks.GRID**2


@pytest.fixture(scope="module")
def fonts() -> list[Path]:
    try:
        return drawn_marks.fonts_of()
    except (UserError, FileNotFoundError) as error:
        pytest.skip(f"no marks can be drawn: {error}")


@pytest.mark.parametrize("kind", teaching.KINDS)
def test_a_mark_is_where_it_is_said_to_be(fonts: list[Path], kind: str) -> None:
    img = images.resize(texture(0), 256)
    before = img.copy()
    done, mask = drawn_marks.marked(img, np.random.default_rng(1), fonts, kind)
    assert (img == before).all()
    assert done.shape == img.shape
    assert mask.mean() >= drawn_marks.LEAST
    changed = np.abs(done.astype(int) - img).max(-1)
    assert ((changed >= drawn_marks.VISIBLE) == mask).all()
    again, _ = drawn_marks.marked(img, np.random.default_rng(1), fonts, kind)
    assert (again == done).all()
    other, _ = drawn_marks.marked(img, np.random.default_rng(2), fonts, kind)
    assert (other != done).any()


@pytest.mark.parametrize("level", [0, 255])
def test_marks_are_seen_on_black_and_on_white(fonts: list[Path], level: int) -> None:
    plain = np.full((128, 128, 3), level, np.uint8)
    for seed, kind in enumerate(teaching.KINDS * 3):
        done, mask = drawn_marks.marked(plain, np.random.default_rng(seed), fonts, kind)
        assert mask.any()
        assert (done[mask] != level).any(1).all()


def test_a_machine_without_fonts_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_marks, "_draws", lambda path: False)
    with pytest.raises(UserError, match="0 fonts here, need 20"):
        drawn_marks.fonts_of()


def test_each_head_is_seen_without_and_with_every_kind(fonts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMIREAL_WORKERS", "1")
    table = teaching.seen([Example(texture(3, 200, 200), 0, "somebody", name="a")], fonts)
    assert [one.kind for one in table[:2]] == ["", ""]
    assert [one.plain for one in table] == [True] + [False] * (len(table) - 1)
    assert {one.kind for one in table[2:]} == set(teaching.KINDS)
    assert all(one.found.shape == (PLACES, 240) for one in table)
    assert all(one.marked == bool(one.covered.any()) for one in table)


def toy(seed: int, count: int = 60) -> list[Seen]:
    """Heads of noise; in half of them, some places have a sign that is no place of the others has."""
    rng = np.random.default_rng(seed)
    found = rng.normal(0, 1, (count, PLACES, 6))
    covered = np.zeros((count, PLACES), np.float32)
    for number in range(0, count, 2):
        under = rng.permutation(PLACES)[:20]
        covered[number, under] = 0.5
        found[number, under, :2] += 4
    kinds = ["" if number % 2 else "word" for number in range(count)]
    return [
        Seen(places.astype(np.float16), cover, kind, True, f"g{number}")
        for number, (places, cover, kind) in enumerate(zip(found, covered, kinds, strict=True))
    ]


def test_what_can_be_learned_is_learned_and_few_are_lost(tmp_path: Path) -> None:
    model = teaching.fit(toy(0))
    asked = toy(1)
    odds = model.at_places(asked[0].found.astype(np.float32))
    assert odds[asked[0].covered > 0].min() > np.quantile(odds[asked[0].covered == 0], 0.9)
    found = np.array([model(one.found.astype(np.float32)) for one in asked])
    marked = np.array([one.marked for one in asked])
    assert (found[marked] > 0.5).mean() > 0.95
    assert (found[~marked] > 0.5).mean() <= 0.1
    teaching.save(model, tmp_path / "a")
    teaching.save(teaching.fit(toy(0)), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    kept = np.array([marks.load(tmp_path / "a")(one.found.astype(np.float32)) for one in asked])
    assert np.abs(kept - found).max() < 0.05


def test_heads_that_somebody_marked_teach_nothing(shared: Path) -> None:
    every = [one for one in style.real(shared / "faces") if one.label < 2]
    used = teaching.heads_of(shared / "faces")
    left = {one.name for one in every} - {one.name for one in used}
    digests = {hashlib.sha256((shared / "faces" / name).read_bytes()).hexdigest()[:12] for name in left}
    assert digests == set(teaching.REALLY_MARKED)
