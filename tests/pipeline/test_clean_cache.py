"""`semireal clean-cache` on a real repository, where `dvc gc` with fewer flags would delete results."""

from pathlib import Path

import pytest

from tiny import copy, experiment_of, shell

pytestmark = pytest.mark.slow
CLEAN = ("python", "-m", "semireal", "clean-cache", "--yes")


@pytest.fixture(scope="module")
def repo(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy(made, tmp_path_factory.mktemp("clean") / "semi real")


def _objects(repo: Path) -> set[Path]:
    return {file.relative_to(repo) for file in (repo / ".dvc/cache/files").rglob("*") if file.is_file()}


def test_only_what_nothing_refers_to_is_deleted(repo: Path) -> None:
    before = _objects(repo)
    # one result is of an older commit only, one of a branch, one of a tag, one of an experiment
    shell(repo, "dvc", "exp", "branch", elf := experiment_of(repo, "elf"), "elf")
    shell(repo, "dvc", "exp", "branch", warrior := experiment_of(repo, "wonder_woman"), "temporary")
    shell(repo, "git", "tag", "v1", "temporary")
    shell(repo, "git", "branch", "-q", "-D", "temporary")
    shell(repo, "dvc", "exp", "remove", elf, warrior)
    shell(repo, "git", "rm", "-q", "dvc.lock")
    shell(repo, "git", "commit", "-q", "-m", "without results")
    leaving = repo / ".dvc/cache/files/md5/ab/cdef0123456789abcdef0123456789"
    leaving.parent.mkdir(exist_ok=True)
    leaving.write_bytes(b"of a run that was never committed")

    assert "nothing deleted" in shell(repo, *CLEAN[:-1], ok=False)  # nobody there to agree
    assert leaving.is_file()
    text = shell(repo, *CLEAN)
    assert _objects(repo) == before
    assert text.startswith("clean-cache: 0.0 MB freed")
    # and this is what it saves from
    assert "Removed" in shell(repo, "dvc", "gc", "--workspace", "--force", "--dry")


def test_it_does_not_touch_data_of_queued_experiments(repo: Path) -> None:
    shell(repo, "dvc", "exp", "run", "--queue", "-S", "character=elf")
    text = shell(repo, *CLEAN, ok=False)
    assert "1 experiments are queued or running" in text
    shell(repo, "dvc", "queue", "remove", "--all")
    shell(repo, *CLEAN)


def test_a_cache_outside_of_the_repository_may_be_of_others(repo: Path, tmp_path: Path) -> None:
    shell(repo, "dvc", "cache", "dir", "--local", str(tmp_path))
    assert "others may use it" in shell(repo, *CLEAN, ok=False)
    shell(repo, "dvc", "config", "--local", "--unset", "cache.dir")


def test_a_run_in_a_temporary_folder_has_no_commit_yet(repo: Path) -> None:
    (folder := repo / ".dvc/tmp/exps/standalone/tmpabc").mkdir(parents=True)
    assert "tmpabc is an experiment in a temporary folder" in shell(repo, *CLEAN, ok=False)
    folder.rmdir()
    (folder.parent / "run").mkdir(exist_ok=True)  # DVC's records of those that have ended
    shell(repo, *CLEAN)
