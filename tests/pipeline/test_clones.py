"""The four states of a clone: before and after the first run, without and with a remote. Nothing ends with an error."""

import csv
import shutil
from pathlib import Path

import pytest
import yaml

from semireal import manifest
from semireal.collect.gallery.catalogue import posts, render
from tiny import copy, shell

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def origin(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with results and with a collection of somebody's own images, all of it committed and pushed."""
    top = tmp_path_factory.mktemp("clones")
    repo = copy(made, top / "origin")
    good = [post for post in posts("elf") if post.kind == "good"]
    for style in ("photo", "portrait"):
        folder = top / "mine" / style
        folder.mkdir(parents=True)
        for post in [post for post in good if post.style == style][:12]:
            (folder / f"{post.id}.{post.extension}").write_bytes(render(post))
    folders = ["--photos", str(top / "mine/photo"), "--portraits", str(top / "mine/portrait")]
    shell(repo, "python", "-m", "semireal", "new", "me", *folders, "--commit")
    shutil.rmtree(top / "mine")  # nobody needs them any more
    shell(repo, "dvc", "remote", "add", "--local", "-d", "store", str(top / "store"))
    shell(repo, "dvc", "push", "-q", "--run-cache")
    return repo


def clone_of(origin: Path, folder: Path, *, remote: bool) -> Path:
    shell(origin, "git", "clone", "-q", str(origin), str(folder))
    shell(folder, "git", "config", "user.email", "b@example.org")
    shell(folder, "git", "config", "user.name", "b")
    if remote:
        shell(folder, "dvc", "remote", "add", "--local", "-d", "store", str(origin.parent / "store"))
    return folder


OWN = ["-S", "character=me"]


def test_a_clone_without_a_remote_runs_and_compares(made: Path, tmp_path: Path) -> None:
    """State 1 (nothing has run) and 2 (after the first run)."""
    repo = clone_of(made, tmp_path / "repo", remote=False)
    for command in (["metrics", "show"], ["plots", "show", "-o", "page"], ["exp", "show", "--csv"], ["status"]):
        shell(repo, "dvc", *command)
    for command in (["pull"], ["checkout"]):  # what is nowhere cannot be had: said, and nothing is lost
        shell(repo, "dvc", *command, ok=False)
    shell(repo, "dvc", "repro")
    assert "Running stage" not in shell(repo, "dvc", "repro")
    shell(repo, "dvc", "exp", "run", "-n", "one", "-S", "character=geralt", "-S", "sample.psi=0.7")
    shell(repo, "dvc", "exp", "run", "--queue", "-S", "character=geralt", "-S", "sample.psi=0.9")
    shell(repo, "dvc", "queue", "remove", "--all")
    shell(repo, "git", "checkout", "-q", ".")
    shell(repo, "dvc", "exp", "apply", "one")
    assert yaml.safe_load((repo / "params.yaml").read_text())["sample"]["psi"] == 0.7


def test_a_collection_that_is_nowhere_to_be_had_is_named(origin: Path, tmp_path: Path) -> None:
    """A clone without a remote, of a repository with somebody's own images: the drawn ones need them not."""
    repo = clone_of(origin, tmp_path / "repo", remote=False)
    shell(repo, "dvc", "repro", "crop")
    text = shell(repo, "dvc", "exp", "run", *OWN, ok=False)
    assert "data/raw/own/me" in text


def test_a_second_clone_has_everything_from_the_remote(origin: Path, tmp_path: Path) -> None:
    """State 3 (plain pull, nothing runs) and 4 (an experiment of a collection that only git and the remote carry)."""
    repo = clone_of(origin, tmp_path / "repo", remote=True)
    shell(repo, "dvc", "pull", "--run-cache")
    shell(repo, "dvc", "checkout")
    assert "up to date" in shell(repo, "dvc", "status")
    assert "Running stage" not in shell(repo, "dvc", "repro")
    rows = list(csv.DictReader(shell(repo, "dvc", "exp", "show", "--csv").splitlines()))
    assert rows[0]["name"] == "geralt"
    assert len(manifest.read_kept(repo / "data/raw/own/me")) == 24
    # somebody's own images, in a copy of the repository, without the folder that they came from
    shell(repo, "dvc", "exp", "run", "--temp", "-n", "mine", *OWN)
    shell(repo, "dvc", "exp", "apply", "mine")
    given = yaml.safe_load((repo / "params.yaml").read_text())
    assert (given["name"], given["collection"]) == ("me", "own/me")
    assert len(manifest.read_kept(repo / "data/dataset")) >= 20
    assert "Running stage" not in shell(repo, "dvc", "repro")
    assert len(manifest.read_kept(repo / "data/raw/own/me")) == 24
    # and back
    shell(repo, "git", "checkout", "-q", ".")
    shell(repo, "dvc", "checkout")
    assert "up to date" in shell(repo, "dvc", "status")
