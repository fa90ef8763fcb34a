"""`semireal scrape` with the real dvc in a clone; a local folder stands for a live site, and for own images."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from PIL import Image

from conftest import ROOT, texture
from semireal import manifest
from semireal.collect import takedowns
from tiny import clone, shell

DEFINITION = "experiments/sources/web/elf.yaml"
FOLDER = "data/raw/web/elf"


def commit(repo: Path, *paths: str) -> None:
    shell(repo, "git", "add", *(paths or ("-A",)))
    shell(repo, "git", "commit", "-q", "-m", "change")


def define(repo: Path, folder: str, limit: int) -> None:
    """Let the collection have so many images of a folder, and commit that."""
    source = {"folder": folder, "domain": "portrait", "limit": limit}
    (repo / DEFINITION).write_text(yaml.safe_dump({"sources": {"mine": source}}))
    commit(repo, DEFINITION)


def scrape(repo: Path, collection: str = "web/elf", *, ok: bool = True) -> str:
    kind, _, name = collection.partition("/")
    return shell(repo, "python", "-m", "semireal", "scrape", name, "--kind", kind, ok=ok)


def changes(repo: Path) -> list[str]:
    return shell(repo, "git", "status", "--porcelain", "--untracked-files=all").splitlines()


def collected(repo: Path) -> int:
    return len(manifest.read_kept(repo / FOLDER))


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("mine")
    for n in range(5):
        Image.fromarray(texture(n)).save(folder / f"{n}.png")
    return str(folder)


@pytest.fixture(scope="module")
def repo(mine: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with a collection of three images, committed as the command says."""
    folder = clone(tmp_path_factory.mktemp("clone") / "semi real")
    define(folder, mine, 3)
    text = scrape(folder)
    assert f"{FOLDER}: 3 images, before: 0" in text
    assert f"dvc push {FOLDER}" in text
    (told,) = (line for line in text.splitlines() if line.startswith("  git add "))
    shell(folder, "bash", "-c", told)
    assert changes(folder) == []
    return folder


def test_what_git_has_of_a_collection(repo: Path) -> None:
    made = yaml.safe_load((repo / f"{FOLDER}.yaml").read_text())
    assert (made["collection"], made["images"], made["rejected"]) == ("web/elf", 3, {})
    assert made["sources"] == yaml.safe_load((repo / DEFINITION).read_text())["sources"]
    assert yaml.safe_load((repo / f"{FOLDER}.dvc").read_text())["outs"][0]["path"] == "elf"
    assert shell(repo, "git", "check-ignore", FOLDER) == f"{FOLDER}\n"
    assert "web/elf" not in shell(repo, "dvc", "status", f"{FOLDER}.dvc")
    text = scrape(repo)  # once more, with nothing new
    assert "nothing to commit" in text
    assert "git add" not in text
    assert changes(repo) == []


@pytest.mark.slow
def test_going_on_failing_and_going_back(repo: Path, mine: str) -> None:
    assert collected(repo) == 3
    define(repo, mine, 5)
    assert f"{FOLDER}: 5 images, before: 3" in scrape(repo)
    assert changes(repo) == [f" M {FOLDER}.dvc", f" M {FOLDER}.yaml"]
    assert collected(repo) == 5
    commit(repo)
    # a failure leaves everything as it was, the collection too
    define(repo, "no/such", 5)
    assert "folder no/such not found" in scrape(repo, ok=False)
    assert changes(repo) == []
    assert collected(repo) == 5
    # fewer than before is said, with the way back
    define(repo, mine, 2)
    text = scrape(repo)
    assert f"{FOLDER}: 2 images, before: 5\nFewer than before!" in text
    (back,) = (line.partition("those: ")[2] for line in text.splitlines() if line.startswith("Fewer"))
    shell(repo, "bash", "-c", back)
    assert collected(repo) == 5
    assert changes(repo) == []


@pytest.mark.slow
def test_a_takedown_reaches_what_follows_a_collection(repo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(repo, folder, symlinks=True)
    given = yaml.safe_load((folder / "params.yaml").read_text())
    own = {"name": "elf", "collection": "web/elf", "drawn": []}
    (folder / "params.yaml").write_text(yaml.safe_dump(given | own))
    commit(folder)
    rows = manifest.read_kept(folder / FOLDER)
    with (folder / takedowns.FILE).open("a") as file:
        file.write(f",,{rows[0]['sha256']},asked by mail\n")
    text = shell(folder, "dvc", "repro", "crop", ok=False)  # none of the images has a face
    assert f"'{FOLDER}.dvc' didn't change, skipping" in text
    assert f"({takedowns.REASON} 1, no face {len(rows) - 1})" in text
    assert changes(folder) == [f" M {takedowns.FILE}", "?? dvc.lock"]
    assert len(manifest.read_kept(folder / FOLDER)) == len(rows)


def test_a_definition_that_changed_since_is_a_note(repo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(repo, folder, symlinks=True)
    given = yaml.safe_load((folder / "params.yaml").read_text())
    (folder / "params.yaml").write_text(
        yaml.safe_dump(given | {"name": "elf", "collection": "web/elf", "drawn": []}, sort_keys=False)
    )
    define(folder, "another", 1)
    text = shell(folder, "python", "-m", "semireal", "check")
    assert "note: web/elf was collected from other sources than experiments/sources/web/elf.yaml has now" in text


def test_what_cannot_be_collected_is_named(repo: Path) -> None:
    assert scrape(repo, "demo/elf", ok=False) == (
        "error: scrape: demo/elf is drawn by the embedded gallery: `dvc repro` makes it\n"
    )
    for wrong in ("web/elv", "web/../web/elf", "../elf"):
        text = scrape(repo, wrong, ok=False)
        assert text.startswith(f"error: scrape: {wrong}: there is no experiments/sources/"), text
        assert "there are open/elf, " in text
    with FileLock(repo / ".work/collection.lock"):
        assert scrape(repo, ok=False).startswith("error: scrape: another `semireal scrape` is running here.")
    assert changes(repo) == []


def test_a_collection_that_was_never_made_is_named_before_dvc_starts(repo: Path) -> None:
    before = (repo / "params.yaml").read_bytes()
    for more in ([], ["--queue"], ["--temp"]):
        text = shell(repo, "dvc", "exp", "run", *more, "-S", "character=geralt", "-S", "profile=full", ok=False)
        assert "ERROR: collection: web/geralt has not been made here: there is no data/raw/web/geralt.dvc" in text
        assert "Traceback" not in text
    assert (repo / "params.yaml").read_bytes() == before
    assert "No experiment tasks" in shell(repo, "dvc", "queue", "status")
    # made and not in git: only a run in a copy would be without it
    definition = repo / "experiments/sources/own/me.yaml"
    definition.parent.mkdir(exist_ok=True)
    definition.write_text((repo / DEFINITION).read_text())
    scrape(repo, "own/me")
    mine = ["-S", "character=geralt", "-S", "name=me", "-S", "collection=own/me", "-S", "drawn=[]"]
    text = shell(repo, "dvc", "exp", "run", "--queue", *mine, ok=False)
    assert "ERROR: collection: data/raw/own/me.dvc is not in git, so a run in a copy would be without it." in text
    text = shell(repo, "python", "-m", "semireal", "sweep", "character=geralt", "sample.psi=0.1", ok=False)
    assert "error: sweep: data/raw/own/.gitignore and 3 more is not in git" in text
    shutil.rmtree(repo / "data/raw/own")
    shutil.rmtree(definition.parent)


def test_links_in_a_folder_are_followed_or_named(repo: Path, tmp_path: Path) -> None:
    """Case 9 of the frame: what is read is what is hashed."""
    other, folder = tmp_path / "other", tmp_path / "mine"
    (other / "below").mkdir(parents=True)
    folder.mkdir()
    for n, place in enumerate((other / "a.png", other / "below/b.png", folder / "c.png")):
        Image.fromarray(texture(n + 10)).save(place)
    (folder / "linked.png").symlink_to(other / "a.png")
    (folder / "linked folder").symlink_to(other / "below")
    (folder / "round").symlink_to(folder)
    copy = tmp_path / "repo"
    shutil.copytree(repo, copy, symlinks=True)
    define(copy, str(folder), 9)
    scrape(copy)
    assert collected(copy) == 3
    (other / "a.png").unlink()
    text = scrape(copy, ok=False)
    assert "/mine/linked.png is a link that leads nowhere" in text
    assert collected(copy) == 3


def test_make_passes_the_character_on() -> None:
    """Make alone, without running anything."""
    command = ["make", "-n", "-o", ".venv/installed", "-o", "whole", "scrape", "CHARACTER=elf"]
    for more, passed in ((["KIND=open"], ' --kind "open"'), ([], "")):
        done = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, check=True)
        assert re.search(rf'python -m semireal scrape "elf" ?{passed}$', done.stdout, re.MULTILINE)
