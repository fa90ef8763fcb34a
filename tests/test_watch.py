"""Nothing that decides a stage changes while it runs without being noticed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from semireal import code, files, watch
from semireal.errors import UserError

PIPELINE = {
    "stages": {
        "one": {
            "deps": ["code/one.txt", "data/${collection}", "list.csv"],
            "params": ["seed", "crop.score", "train", {"more.yaml": ["sources"]}, {"whole.yaml": None}],
        },
        "each": {"foreach": ["x"], "do": {"deps": ["data/${item}"], "params": [{"${item}.yaml": ["a"]}]}},
    }
}


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one stage, whose code is as recorded."""
    monkeypatch.chdir(tmp_path)
    content = {
        "dvc.yaml": yaml.safe_dump(PIPELINE),
        "params.yaml": yaml.safe_dump(
            {"collection": "set", "seed": 0, "crop": {"score": 1, "other": 2}, "train": {"lr": 2}}
        ),
        "data/set/a.txt": "a",
        "data/set/below/b.txt": "b",
        "data/x/a.txt": "a",
        "list.csv": "url\n",
        "more.yaml": "sources: {a: 1}\nelse: 1\n",
        "whole.yaml": "a: 1\n",
        "x.yaml": "a: 1\n",
        "stages/one.py": "x = 1\n",
        "stages/each.py": "x = 1\n",
        "requirements.txt": "",
    }
    for name, text in content.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    Path("code").mkdir()
    for stage in ("one", "each"):
        Path(f"code/{stage}.txt").write_text(code.text_of(stage, Path()))
    return tmp_path


def during(change: Callable[[], object], stage: str = "one") -> str | None:
    """What is said where something happens while the stage runs; None if nothing is."""
    try:
        with watch.unchanged(stage):
            change()
    except UserError as error:
        return str(error)
    return None


def writing(name: str, text: str) -> Callable[[], object]:
    def write() -> None:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)

    return write


def params(**more: object) -> str:
    return yaml.safe_dump({"collection": "set", "seed": 0, "crop": {"score": 1, "other": 2}, "train": {"lr": 2}} | more)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (writing("params.yaml", params(seed=1)), "params.yaml: seed"),
        (writing("params.yaml", params(crop={"score": 2})), "params.yaml: crop.score"),
        (writing("params.yaml", params(crop={})), "params.yaml: crop.score"),
        (writing("data/set/a.txt", "c"), "data/set/a.txt"),
        (writing("data/set/below/b.txt", "bb"), "data/set/below/b.txt"),
        (writing("data/set/new.txt", ""), "data/set/new.txt"),
        (lambda: Path("data/set/a.txt").unlink(), "data/set/a.txt"),
        (writing("list.csv", "url\nx\n"), "list.csv"),
        (lambda: Path("list.csv").unlink(), "list.csv"),
        (writing("more.yaml", "sources: {a: 2}\n"), "more.yaml: sources.a"),
        (writing("params.yaml", params(train={"lr": 1})), "params.yaml: train.lr"),
        (writing("whole.yaml", "a: 1\nb: 1\n"), "whole.yaml"),
        (writing("stages/one.py", "x = 2\n"), "the code (stages/one.py)"),
        (writing("code/one.txt", ""), "code/one.txt and 1 more"),
    ],
)
def test_what_changes_while_the_stage_runs_is_named(repo: Path, change: Callable[[], object], named: str) -> None:
    said = during(change)
    assert said is not None
    assert said.startswith(f"one: {named} changed while the stage ran, so the result is of neither version")
    assert "\n" not in said


def back_and_forth() -> None:
    """Another content, and the old one again, in another file."""
    Path("list.csv").write_text("url\nx\n")
    Path("list.csv").unlink()
    Path("list.csv").write_text("url\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda: None,
        writing("params.yaml", params(more=1, crop={"score": 1, "other": 9})),
        writing("more.yaml", "sources: {a: 1}\nelse: 2\n"),
        writing("stages/one.py", "x = 1  # why\n"),
        lambda: os.utime("list.csv", (0, 0)),
        writing("data/set/__pycache__/a.pyc", "what Python leaves"),
        back_and_forth,
    ],
)
def test_what_decides_nothing_may_change(repo: Path, change: Callable[[], object]) -> None:
    assert during(change) is None


def test_a_stage_of_many_has_its_own_item(repo: Path) -> None:
    assert during(writing("data/x/a.txt", "b"), "each@x") is not None
    assert during(writing("x.yaml", "a: 2\n"), "each@x") is not None
    assert during(writing("data/set/a.txt", "b"), "each@x") is None


def test_code_that_changed_since_its_key_was_made_is_not_run(repo: Path) -> None:
    """`dvc repro --single-item` skips the stage that makes the key."""
    ran: list[int] = []
    Path("stages/one.py").write_text("x = 2\n")
    said = during(lambda: ran.append(1))
    assert said == (
        "one: code/one.txt is not about the code that is here (stages/one.py). Run `dvc repro one`, which makes it "
        "anew first"
    )
    Path("code/one.txt").unlink()
    assert "code/one.txt" in (during(lambda: ran.append(1)) or "")
    assert ran == []


def test_without_dvc_nothing_is_watched(repo: Path) -> None:
    with watch.unchanged(None):
        Path("params.yaml").write_text("seed: 1\n")


def test_a_failure_of_the_stage_is_told_and_not_the_change(repo: Path) -> None:
    with pytest.raises(ZeroDivisionError), watch.unchanged("one"):
        Path("list.csv").write_text("")
        raise ZeroDivisionError


def test_files_are_read_once_unless_they_look_touched(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    real = files.sha256_of

    def counting(path: Path) -> str:
        read.append(path)
        return real(path)

    monkeypatch.setattr(watch, "sha256_of", counting)
    assert during(lambda: Path("data/set/a.txt").touch()) is None
    seen = ("code/one.txt", "data/set/a.txt", "data/set/below/b.txt", "list.csv", "whole.yaml")
    assert sorted(set(read)) == sorted(map(Path, seen))
    assert read.count(Path("data/set/a.txt")) == 2
    assert read.count(Path("list.csv")) == 1
