"""`make scrape` with the real dvc in a clone; a local folder stands for the live site."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from PIL import Image

from conftest import ROOT, texture
from semireal import manifest
from semireal.collect import takedowns
from semireal.errors import UserError
from semireal.pipeline import refresh
from tiny import clone, shell

PIPELINE = "data/dvc.yaml"
DEFINITION = "experiments/sources/web/elf.yaml"


def commit(repo: Path) -> None:
    shell(repo, "git", "add", "-A")
    shell(repo, "git", "commit", "-q", "-m", "change")


def define(repo: Path, folder: str, limit: int) -> None:
    """Let the collection have so many images of a folder, and commit that."""
    source = {"folder": folder, "domain": "portrait", "limit": limit}
    (repo / DEFINITION).write_text(yaml.safe_dump({"sources": {"mine": source}}))
    commit(repo)


def scrape(repo: Path, *, ok: bool = True) -> str:
    return shell(repo, sys.executable, "-m", "semireal.pipeline.refresh", "web/elf", ok=ok)


def changes(repo: Path) -> list[str]:
    return shell(repo, "git", "status", "--porcelain").splitlines()


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("mine")
    for n in range(5):
        Image.fromarray(texture(n)).save(folder / f"{n}.png")
    return str(folder)


@pytest.fixture(scope="module")
def repo(mine: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with a collection of three images, committed."""
    folder = clone(tmp_path_factory.mktemp("clone") / "semi real")
    define(folder, mine, 3)
    text = scrape(folder)
    assert "data/raw/web/elf: 3 images, before: 0" in text
    assert "git add data/dvc.lock && git commit" in text
    assert "dvc push data/raw/web/elf" in text
    assert changes(folder) == ["?? data/dvc.lock"]
    commit(folder)
    return folder


def collected(repo: Path) -> int:
    return len(manifest.read_kept(repo / "data/raw/web/elf"))


@pytest.mark.slow
def test_going_on_a_killed_run_and_one_that_fails(repo: Path, mine: str) -> None:
    before = (repo / PIPELINE).read_text()
    assert collected(repo) == 3
    # frozen: dvc by itself does nothing about a changed definition
    define(repo, mine, 5)
    assert "is frozen" in shell(repo, "dvc", "repro", f"{PIPELINE}:scrape_web@elf")
    assert changes(repo) == []
    # a killed run has left the stage not frozen
    (repo / PIPELINE).write_text(before.replace("frozen: true", "frozen: false", 1))
    assert "data/raw/web/elf: 5 images, before: 3" in scrape(repo)
    assert changes(repo) == [" M data/dvc.lock"]
    assert (repo / PIPELINE).read_text() == before
    assert collected(repo) == 5
    # not while the result is not committed
    assert "error: scrape: not committed: data/dvc.lock." in scrape(repo, ok=False)
    define(repo, "no/such", 5)
    # a failure leaves everything as it was, the collection too
    text = scrape(repo, ok=False)
    assert "folder no/such not found" in text
    assert text.splitlines()[-1].startswith("error: scrape: web/elf is not complete")
    assert changes(repo) == []
    assert collected(repo) == 5
    # fewer than before is said, with the way back
    define(repo, mine, 2)
    text = scrape(repo)
    assert "data/raw/web/elf: 2 images, before: 5\nFewer than before!" in text
    shell(repo, "git", "checkout", "-q", "data/dvc.lock")
    shell(repo, "dvc", "checkout", "-q", "data/raw/web/elf")
    assert collected(repo) == 5
    assert changes(repo) == []


@pytest.mark.slow
def test_a_takedown_reaches_what_follows_a_frozen_collection(repo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(repo, folder, symlinks=True)
    given = yaml.safe_load((folder / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(given | {"name": "elf", "collection": "web/elf"}))
    commit(folder)
    rows = manifest.read_kept(folder / "data/raw/web/elf")
    with (folder / takedowns.FILE).open("a") as file:
        file.write(f",,{rows[0]['sha256']},asked by mail\n")
    text = shell(folder, "dvc", "repro", "crop", ok=False)  # none of the images has a face
    assert "Stage 'data/dvc.yaml:scrape_web@elf' didn't change, skipping" in text
    assert f"({takedowns.REASON} 1, no face {len(rows) - 1})" in text
    assert changes(folder) == [f" M {takedowns.FILE}"]
    assert len(manifest.read_kept(folder / "data/raw/web/elf")) == len(rows)


def test_a_changed_file_and_an_unknown_collection_are_refused(repo: Path) -> None:
    (repo / "notes.txt").touch()
    (repo / "params.yaml").write_text((repo / "params.yaml").read_text() + "\n")
    text = scrape(repo, ok=False)
    assert text == "error: scrape: not committed: params.yaml and 1 more. Commit or stash it (see git status) first\n"
    (repo / "notes.txt").unlink()
    shell(repo, "git", "checkout", "-q", "params.yaml")
    text = shell(repo, sys.executable, "-m", "semireal.pipeline.refresh", "demo/elf", ok=False)
    assert text.startswith("error: scrape: data/dvc.yaml has no frozen collection demo/elf; it has open/elf, ")
    with FileLock(repo / ".work/refresh.lock"):
        assert scrape(repo, ok=False).startswith("error: scrape: another `make scrape` is running here.")
    assert changes(repo) == []


def test_outside_of_git_is_one_clear_line(work_root: Path) -> None:
    with pytest.raises(UserError, match=r"scrape: git show HEAD:data/dvc\.yaml: fatal: not a git repository"):
        refresh.run("web/elf")


def test_only_the_one_line_is_changed() -> None:
    text = (ROOT / PIPELINE).read_text()
    for kind in ("web", "open"):
        stages = yaml.safe_load(refresh._thaw(text, kind))["stages"]
        assert [key for key, given in stages.items() if given.get("frozen") is False] == [f"scrape_{kind}"]
        changed = zip(text.splitlines(), refresh._thaw(text, kind).splitlines(), strict=True)
        assert [b for a, b in changed if a != b] == ["    frozen: false"]
    for broken in (text.replace("    frozen: true\n", ""), text.replace("scrape_web", "other")):
        with pytest.raises(UserError, match="scrape_web: need the line `frozen: true`"):
            refresh._thaw(broken, "web")


def test_make_passes_the_character_on() -> None:
    """Make alone, without running anything."""
    command = ["make", "-n", "-o", ".venv/installed", "scrape", "CHARACTER=elf", "KIND=open"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert 'python -m semireal.pipeline.refresh "open/elf"' in done.stdout
