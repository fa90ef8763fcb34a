"""`semireal new`: a character of one's own. What runs of it come to is in test_clones."""

import contextlib
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from conftest import ROOT, texture
from semireal import manifest
from semireal.errors import Unfinished, UserError
from semireal.params import whole
from semireal.pipeline import compose, new
from tiny import clone, environment, shell

NEW = ("python", "-m", "semireal", "new")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of photos and portraits, one that is empty, and one of what is no picture."""
    top = tmp_path_factory.mktemp("pictures")
    for kind, count in (("cosplay", 3), ("paintings", 2)):
        (top / kind).mkdir()
        for n in range(count):
            Image.fromarray(texture(10 * count + n)).save(top / kind / f"{n}.png")
    for name in ("empty", "phone"):
        (top / name).mkdir()
    (top / "phone/IMG_1.HEIC").write_bytes(b"\0\0\0\x1cftypheic")
    (top / "phone/IMG_2.heic").write_bytes(b"\0\0\0\x1cftypheic")
    (top / "phone/notes.txt").write_text("a picture says more")
    return top


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(tmp_path_factory.mktemp("new") / "semi real")


@pytest.fixture
def repo(origin: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(origin, tmp_path / "repo", symlinks=True))


def changes(repo: Path) -> list[str]:
    return shell(repo, "git", "status", "--porcelain", "--untracked-files=all").splitlines()


def test_what_it_writes_and_says(repo: Path, folders: Path) -> None:
    text = shell(
        repo, *NEW, "yennefer", "--photos", str(folders / "cosplay"), "--portraits", str(folders / "paintings")
    )
    assert "data/raw/own/yennefer: 5 images (3 photo, 2 portrait), " in text
    assert "trains on 1,000 images shown at 16 x 16: less than two minutes here, at the " in text
    assert "-S profile=full\n      trains on 100,000 images shown at 512 x 512: for GPUs" in text
    # the queue would be without what git does not have
    shell(repo, "git", "add", "data", "experiments/sources")
    refused = shell(repo, "dvc", "exp", "run", "--queue", "-S", "character=yennefer", ok=False)
    assert "experiments/decisions/yennefer.csv is not in git, so a run in a copy would be without it" in refused
    # it is told how to commit, and then nothing is left over
    (told,) = (line for line in text.splitlines() if line.startswith("  git add "))
    shell(repo, "bash", "-c", told)
    assert changes(repo) == []
    assert len(manifest.read_kept(repo / "data/raw/own/yennefer")) == 5
    assert (repo / "experiments/decisions/yennefer.csv").read_text() == "id,decision,domain,reason\n"
    for profile in ("demo", "full"):
        made = compose.compose(repo, "character=yennefer", f"profile={profile}")
        assert (made["name"], made["collection"], made["drawn"]) == ("yennefer", "own/yennefer", [])
        whole.check(made)
    # nothing of another character's: the epochs and the photo ratio that it would have without a published training
    assert (made["train"]["epochs"], made["train"]["photo_ratio"]) == (100, None)
    assert "all good" in shell(repo, "python", "-m", "semireal", "check")
    # and what stands in its file wins over the profile
    with (repo / "experiments/character/yennefer.yaml").open("a") as file:
        file.write("train: {epochs: 7}\n")
    assert compose.compose(repo, "character=yennefer")["train"]["epochs"] == 7


def test_one_commit_of_its_files_alone(repo: Path, folders: Path) -> None:
    (repo / "params.yaml").write_text((repo / "params.yaml").read_text() + "\n")
    (repo / "mine.txt").touch()
    shell(repo, "git", "add", "mine.txt")
    text = shell(repo, *NEW, "me", "--mixed", str(folders), "--licence", "mine", "--commit")
    assert "5 images (5 auto)" in text  # what is no picture stays out
    told = f"note: {folders}: 3 of 8 files are no pictures that can be read, and stay out"
    assert f"{told} (1 .txt, 2 format not supported: HEIC)" in text
    assert set(changes(repo)) == {" M params.yaml", "A  mine.txt"}
    committed = shell(repo, "git", "show", "--format=%s", "--name-only").split("\n")
    assert committed[0] == "Add the character me"
    assert len([name for name in committed[1:] if name]) == 6
    sources = yaml.safe_load((repo / "experiments/sources/own/me.yaml").read_text())["sources"]
    assert sources == {"mixed": {"folder": str(folders), "domain": "auto", "licence": "mine"}}


def test_a_folder_of_the_repository_is_named_from_its_top(repo: Path, folders: Path) -> None:
    shutil.copytree(folders / "cosplay", repo / "data/own/me/a")
    shutil.copytree(folders / "paintings", repo / "data/own/me/b")
    shell(repo / "data/own", *NEW, "me", "--photos", "me/a", "--photos", "me/b", PYTHONPATH=str(repo / "src"))
    sources = yaml.safe_load((repo / "experiments/sources/own/me.yaml").read_text())["sources"]
    assert sources == {
        "photos": {"folder": "data/own/me/a", "domain": "photo"},
        "photos_2": {"folder": "data/own/me/b", "domain": "photo"},
    }


def test_a_dry_run_only_says(repo: Path, folders: Path) -> None:
    url = "https://www.deviantart.com/tag/yennefer"
    more = ("--url", url, "--domain", "portrait", "--limit", "7", "--dry-run")
    text = shell(repo, *NEW, "yennefer", "--photos", str(folders / "cosplay"), *more)
    assert "name: yennefer\n" in text
    assert f"  deviantart_com:\n    url: {url}\n    domain: portrait\n    limit: 7\n" in text
    assert "Nothing was written" in text
    assert "dvc exp run -S character=yennefer\n" in text
    assert changes(repo) == []
    assert not (repo / "data/raw").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["geralt", "--photos", "cosplay"], "geralt: experiments/character/geralt.yaml exists. Choose another name"),
        (["Yennefer", "--photos", "cosplay"], "'Yennefer' is no name for a character: need lower-case letters"),
        (["ye/nn", "--photos", "cosplay"], "'ye/nn' is no name for a character"),
        (["null", "--photos", "cosplay"], "'null' is no name for a character: YAML reads it as None"),
        (["me", "--photos", "nowhere"], "nowhere: no such folder"),
        (["me", "--photos", "cosplay/0.png"], "cosplay/0.png: no such folder"),
        (["me", "--photos", "cosplay", "--portraits", "empty"], "empty: the folder is empty"),
        (
            ["me", "--photos", "cosplay", "--portraits", "phone"],
            "phone: none of its 3 files is a picture that can be read (1 .txt, 2 format not supported: HEIC). "
            "Convert them to JPEG or PNG",
        ),
        (["me", "--url", "example.org/x", "--domain", "photo"], "--url example.org/x: need a whole address, such as"),
        (["me", "--url", "ftp://[", "--domain", "photo"], "--url ftp://[: need a whole address, such as"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    repo: Path, folders: Path, arguments: list[str], message: str
) -> None:
    arguments = [arguments[0], *(str(folders / word) if (folders / word).exists() else word for word in arguments[1:])]
    text = shell(repo, *NEW, *arguments, ok=False)
    assert message in text
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    assert changes(repo) == []


@given(st.text(max_size=12) | st.from_regex(r"[a-z0-9_]{1,8}", fullmatch=True))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_name_is_refused_or_survives_yaml_and_hydra(name: str) -> None:
    try:
        new.check(name)
    except UserError:
        return
    assert name.isidentifier()
    assert yaml.safe_load(f"name: {name}") == {"name": name}
    assert OverridesParser.create().parse_override(f"character={name}").value() == name
    assert Path(name).name == name


def test_what_dvc_does_not_take_in_leaves_nothing(repo: Path, folders: Path) -> None:
    config = repo / ".dvc/config.local"
    config.write_text("[garbage")
    before = set(repo.rglob("*"))
    text = shell(repo, *NEW, "me", "--photos", str(folders / "cosplay"), ok=False)
    assert "error: dvc add" in text
    config.unlink()
    assert changes(repo) == []
    assert not (repo / "data/raw/own/me").exists()
    left = {
        path for path in set(repo.rglob("*")) - before if not {".work", "__pycache__", "tmp", ".git"} & set(path.parts)
    }
    assert not [path for path in left if path.is_file()]
    shell(repo, *NEW, "me", "--photos", str(folders / "cosplay"))


def test_a_machine_that_is_not_there_is_named_before_anything_is_written(repo: Path, folders: Path) -> None:
    text = shell(repo, *NEW, "me", "--photos", str(folders / "cosplay"), ok=False, SEMIREAL_DEVICE="cuda")
    assert "found cuda, but there is no usable GPU here" in text
    assert changes(repo) == []


def test_a_commit_that_git_refuses_is_said_and_nothing_is_lost(repo: Path, folders: Path) -> None:
    hook = repo / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho not today >&2; exit 1\n")
    hook.chmod(0o755)
    text = shell(repo, *NEW, "me", "--photos", str(folders / "cosplay"), "--commit", ok=False)
    assert text.endswith("error: --commit: me is made, but git would not commit it: not today\n")
    assert "  git add experiments/character/me.yaml " in text
    assert "dvc exp run -S character=me" in text
    assert "3 images (3 photo)" in text


def test_names_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name in ("", "1st", "a-b", "a b", "ä", "true", "no", "on", "nan", "inf", "elf"):
        with pytest.raises(UserError):
            new.check(name)
    new.check("yennefer_2")


def test_what_is_not_complete_stays_to_go_on_with(repo: Path, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pause(collection: str) -> None:
        raise Unfinished(f"{collection}: go on after 12:00")

    monkeypatch.chdir(repo)
    monkeypatch.setattr("semireal.pipeline.collection.collect", pause)
    with pytest.raises(
        Unfinished, match=r"own/me: go on after 12:00\nme is there, not committed; .*: semireal scrape me$"
    ):
        new.run("me", [new.Source(str(folders / "cosplay"), "photo")], None, None, dry_run=False, commit=False)
    assert len(changes(repo)) == 3
    # the command that it names makes the collection, and says what to commit: all
    text = shell(repo, "python", "-m", "semireal", "scrape", "me")
    assert "data/raw/own/me: 3 images" in text
    (told,) = (line for line in text.splitlines() if line.startswith("  git add "))
    shell(repo, "bash", "-c", told)
    assert changes(repo) == []


def test_a_terminal_is_asked(repo: Path, folders: Path) -> None:
    """As a person sees it: a real terminal, answers typed one after the other."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, *NEW[1:], "me"], cwd=repo, env=environment(), stdin=slave, stdout=slave, stderr=slave
    ) as running:
        os.close(slave)
        os.write(master, f"{folders / 'cosplay'}\n\n\n".encode())
        text = b""
        with contextlib.suppress(OSError):  # the end of a terminal is an error
            while part := os.read(master, 4096):
                text += part
    os.close(master)
    assert running.returncode == 0, text
    assert b"Folder of photos" in text
    assert b"3 images (3 photo)" in text
