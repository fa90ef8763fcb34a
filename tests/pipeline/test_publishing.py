"""What a clone shows: the results, which are in git; the data are in a remote, or nowhere to be had."""

import csv
import json
import re
from pathlib import Path

import pytest

from semireal import paths
from tiny import copy, experiment_of, shell

pytestmark = pytest.mark.slow
NEW = "Running stage"


@pytest.fixture(scope="module")
def author(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one who commits results; beside the repository a bare one that clones are made of, and a DVC remote."""
    top = tmp_path_factory.mktemp("publishing")
    repo = copy(made, top / "author")
    shell(repo, "git", "clone", "-q", "--bare", ".", str(top / "hub.git"))
    shell(repo, "git", "remote", "add", "origin", str(top / "hub.git"))
    shell(repo, "dvc", "remote", "add", "--local", "-d", "store", str(top / "store"))
    return repo


def clone_of(author: Path, folder: Path) -> Path:
    shell(author, "git", "clone", "-q", str(author.parent / "hub.git"), str(folder))
    shell(folder, "git", "config", "user.email", "b@example.org")
    shell(folder, "git", "config", "user.name", "b")
    return folder


def test_a_fresh_clone_without_a_remote_shows_the_results(author: Path, tmp_path: Path) -> None:
    repo = clone_of(author, tmp_path / "repo")
    show = ("dvc", "metrics", "show", "--json")
    text = shell(repo, *show)
    assert text == shell(author, *show)
    assert "frechet_whole" in json.loads(text)[""]["data"]["results/metrics.json"]["data"]
    assert "WARNING" not in text
    text = shell(repo, "dvc", "plots", "show", "-o", "page")
    assert "failed" not in text
    assert "WARNING" not in text
    page = (repo / "page/index.html").read_text()
    assert page.count("vegaEmbed(") == 5
    shown = {path.name.removeprefix("workspace_results_published_") for path in (repo / "page/static").iterdir()}
    assert shown == {path.name for path in (repo / paths.PUBLISHED).iterdir() if path.suffix in (".png", ".jpg")}
    rows = list(csv.DictReader(shell(repo, "dvc", "exp", "show", "--csv").splitlines()))
    assert [float(row["frechet_whole"]) > 0 for row in rows] == [True, True]  # the workspace and main
    assert not (repo / "data").exists() or not any((repo / "data").rglob("*.jpg"))
    assert sum(path.stat().st_size for path in (repo / "results").rglob("*") if path.is_file()) < 300_000


def test_a_second_clone_gets_the_data_and_an_experiment(author: Path, tmp_path: Path) -> None:
    elf = experiment_of(author, "elf")
    shell(author, "dvc", "push", "-q")
    shell(author, "dvc", "exp", "push", "origin", elf)
    repo = clone_of(author, tmp_path / "repo")
    shell(repo, "dvc", "remote", "add", "--local", "-d", "store", str(author.parent / "store"))
    for command in ("pull", "checkout", f"exp pull origin {elf}"):
        shell(repo, "dvc", *command.split())
    assert "up to date" in shell(repo, "dvc", "status")
    before = (repo / paths.METRICS).read_text()
    found = json.loads(shell(repo, "dvc", "exp", "diff", "HEAD", elf, "--json"))
    assert found["metrics"][str(paths.METRICS)]["frechet_whole"]["diff"] != 0
    shell(repo, "dvc", "exp", "apply", elf)
    assert "up to date" in shell(repo, "dvc", "status")
    assert (repo / paths.METRICS).read_text() != before
    assert NEW not in shell(repo, "dvc", "repro")


def test_git_shows_whether_the_numbers_are_others(author: Path, tmp_path: Path) -> None:
    repo = copy(author, tmp_path / "repo")
    shell(repo, "python", "-m", "semireal", "compare-lock", "--record")
    shell(repo, "git", "add", str(paths.MADE_ON))
    shell(repo, "git", "commit", "-q", "-m", "made here")
    assert NEW not in shell(repo, "dvc", "repro")
    assert shell(repo, "git", "status", "--porcelain") == ""
    text = shell(repo, "python", "-m", "semireal", "compare-lock")
    assert re.search("all as committed\ncommitted: (.*)\nhere:      \\1\n$", text)
    found = repo / paths.HEADLINE
    content = json.loads(found.read_text())
    found.write_text(json.dumps(content | {"frechet_whole": 12.5}))
    shell(repo, "dvc", "commit", "-q", "-f", "evaluate")  # as if it had measured that
    assert f"{NEW} 'publish'" in shell(repo, "dvc", "repro", "publish")
    assert "12.5" in shell(repo, "git", "diff", str(paths.METRICS))
    text = shell(repo, "python", "-m", "semireal", "compare-lock")
    assert "compare-lock: not as committed: evaluate, publish\n" in text
    shell(repo, "git", "checkout", "-q", ".")
    shell(repo, "dvc", "checkout", "-q")
    assert "up to date" in shell(repo, "dvc", "status")
