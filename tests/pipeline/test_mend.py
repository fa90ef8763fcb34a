"""DVC writes some files in place: what a kill leaves of one of them stops DVC until somebody mends it."""

from pathlib import Path

import pytest

from semireal.pipeline import mend
from tiny import shell

GRAPH = """
stages:
  first:
    cmd: date +%N > a.txt
    deps: [seed.txt]
    outs: [a.txt]
  second:
    cmd: cp a.txt b.txt
    deps: [a.txt]
    outs: [b.txt]
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A graph that has been run; its first stage gives something else each time."""
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    (tmp_path / "seed.txt").write_text("1")
    for command in ("git init -q", "dvc init -q", "dvc repro -q"):
        shell(tmp_path, *command.split())
    return tmp_path


def test_whatever_a_kill_leaves_of_the_lock_is_gone_on_with_and_nothing_runs_again(repo: Path) -> None:
    whole, made = (repo / "dvc.lock").read_bytes(), (repo / "a.txt").read_bytes()
    mended = 0
    for length in range(0, len(whole), 9):
        (repo / "dvc.lock").write_bytes(whole[:length])
        told = mend.run(repo)
        mended += len(told)
        assert bool(told) == (not (repo / "dvc.lock").exists())
    assert mended > 10
    # DVC itself refuses an empty one, and goes on after it was mended
    (repo / "dvc.lock").write_bytes(b"")
    assert "validation failed" in shell(repo, "dvc", "repro", ok=False)
    mend.run(repo)
    shell(repo, "dvc", "repro", "-q")
    assert (repo / "dvc.lock").read_bytes() == whole
    assert (repo / "a.txt").read_bytes() == made


@pytest.mark.parametrize("content", ["", '{"a.txt": {"wri', "[1", "\x00"])
def test_whatever_a_kill_leaves_of_the_list_of_writers_is_gone_on_with(repo: Path, content: str) -> None:
    (repo / "seed.txt").write_text("2")
    (repo / ".dvc/tmp/rwlock").write_text(content)
    if not content:  # DVC itself refuses it
        assert "JSON structure is corrupted" in shell(repo, "dvc", "repro", ok=False)
    assert mend.run(repo) == [".dvc/tmp/rwlock: DVC was killed while it wrote it; removed. Run `dvc repro`"]
    if not content:
        shell(repo, "dvc", "repro", "-q")


def test_a_lock_of_dvc_and_none_are_left_alone(repo: Path) -> None:
    before = (repo / "dvc.lock").read_bytes()
    assert mend.run(repo) == []
    assert (repo / "dvc.lock").read_bytes() == before
    (repo / "dvc.lock").unlink()
    assert mend.run(repo) == []


def test_make_repro_mends_before_it_runs() -> None:
    from conftest import ROOT

    recipe = (ROOT / "Makefile").read_text().partition("\nrepro:")[2].partition("\n\n")[0].split("\n\t")[1:]
    assert recipe.index("@python -m semireal mend") < recipe.index("dvc repro")
