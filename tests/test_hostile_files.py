"""What people, programs and strangers may put in the place of a table or of parameters is one line, soon, and little.

Every reader, every stage and the commands that read such a file meet each kind of it.
"""

import itertools
import os
import resource
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT
from semireal import cli, machine, manifest
from semireal.collect import gallerydl, source, takedowns
from semireal.curate import decisions
from semireal.errors import UserError
from semireal.params import whole

STAGES = sorted(path.stem for path in (ROOT / "stages").glob("*.py"))
MANIFEST = "id,status,reason,file,domain,source"
ROW = "a,kept,,images/a.png,photo,s"


@contextmanager
def soon(seconds: int = 60) -> Iterator[None]:
    """Fail instead of waiting for a pipe that nobody writes to."""

    def late(*_: object) -> None:
        raise AssertionError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _bomb() -> str:
    """Ten texts, ten lists of them, ten lists of those ...: a billion texts, if anyone writes them out."""
    lines = ["a: &a [" + "lol, " * 10 + "]"]
    lines += [f"{name}: &{name} [" + f"*{before}, " * 10 + "]" for before, name in itertools.pairwise("abcdefghij")]
    return "\n".join(lines)


YAML: dict[str, bytes] = {
    "bomb": _bomb().encode(),
    "circle": b"&a {seed: *a}",
    "circle by merging": b"&a {<<: *a}",
    "deep brackets": b"[" * 100_000,
    "deep braces": b"{a: " * 40_000,
    "deep lines": b"".join(b"%sa:\n" % (b" " * n) for n in range(600)),
    "python object": b'seed: !!python/object/apply:os.system ["exit 1"]',
    "key twice": b"seed: 1\nseed: 2\n",
    "no such day": b"seed: 2024-99-99",
    "no number": b"seed: !!int x",
    "no truth": b"seed: !!bool x",
    "no time": b"seed: !!timestamp x",
    "thousands of digits": b"seed: " + b"9" * 5000,
    "two documents": b"--- 1\n--- 2\n",
    "UTF-16": "seed: 1".encode("utf-16"),
    "Latin-1": "seed: é".encode("latin-1"),
    "NUL": b"seed: \0",
    "a list for a key": b"[1]: 2",
    "never closed": b'seed: "',
    "a list": b"[1, 2]",
    "a text": b"seed",
}
CSV: dict[str, bytes] = {
    "nothing": b"",
    "UTF-16": "HEAD\na".encode("utf-16"),
    "Latin-1": "HEAD\né,keep,,\n".encode("latin-1"),
    "NUL": b"HEAD\n\0,\0,\0,\0\n",
    "a million columns": b"HEAD,\n" + b"a," * 1_000_000 + b"\n",
    "a row of a million cells": b"HEAD\n" + b"a," * 1_000_000 + b"\n",
    "never closed": b'HEAD\na,"',
    "never closed, and long": b'HEAD\na,"' + b"b,c\n" * 100_000,
}
READERS: dict[str, Callable[[Path], Any]] = {
    "params.yaml": whole.load,
    "sources.yaml": source.load_sources,
    "secrets.yaml": gallerydl.read_secrets,
    "machine.yaml": lambda path: machine.load(),
    "decisions.csv": decisions.read,
    "takedowns.csv": takedowns.read,
    "manifest.csv": lambda path: manifest.read_kept(path.parent, "domain"),
}
HEADS = {"decisions.csv": decisions.COLUMNS, "takedowns.csv": takedowns.COLUMNS, "manifest.csv": MANIFEST.split(",")}


def one_line(read: Callable[[], Any], name: str) -> str:
    with soon(), pytest.raises(UserError) as caught:
        read()
    told = str(caught.value)
    assert name in told
    assert "\n" not in told
    assert len(told) < 1000
    return told


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in READERS for kind in (CSV if name.endswith(".csv") else YAML)],
)
def test_every_reader_says_in_one_line_what_is_wrong_with_a_file(work_root: Path, name: str, kind: str) -> None:
    path = work_root / name
    head = ",".join(HEADS.get(name, [])).encode()
    path.write_bytes((CSV if name in HEADS else YAML)[kind].replace(b"HEAD", head))
    path.chmod(0o600)
    one_line(lambda: READERS[name](path), name)


def _pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize("make", [Path.mkdir, _pipe])
@pytest.mark.parametrize("name", READERS)
def test_a_folder_or_a_pipe_in_the_place_of_a_file(work_root: Path, name: str, make: Callable[[Path], None]) -> None:
    make(work_root / name)
    if name == "secrets.yaml":
        (work_root / name).chmod(0o600)
    one_line(lambda: READERS[name](work_root / name), name)


@pytest.mark.parametrize("name", READERS)
def test_a_file_of_200_mb_is_not_taken_into_memory(work_root: Path, name: str) -> None:
    with (work_root / name).open("wb") as file:
        file.write(",".join(HEADS.get(name, ["seed: 1"])).encode() + b"\n")
        file.truncate(200_000_000)
    (work_root / name).chmod(0o600)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    one_line(lambda: READERS[name](work_root / name), name)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB


@pytest.mark.parametrize(
    ("head", "row", "message"),
    [
        (MANIFEST, "../../a,kept,,f,photo,s", "image 2: id: found '../../a', need letters, digits"),
        (MANIFEST, "/a,kept,,f,photo,s", "image 2: id: found '/a'"),
        (MANIFEST, "=cmd(),kept,,f,photo,s", "image 2: id: found '=cmd()'"),
        (MANIFEST, "a,kept,,f,photo,s", "image 2: id: found 'a', need another one for each image"),
        (MANIFEST, "b,kept,,../../f,photo,s", "image 2: file: found '../../f', need a path inside"),
        (MANIFEST, "b,kept,,/etc/passwd,photo,s", "image 2: file: found '/etc/passwd'"),
        (MANIFEST, "b,kept,,a\0b,photo,s", "image 2: file: found 'a\\x00b'"),
        (MANIFEST, "b,kept,,f,cat,s", "image 2: domain: found 'cat', need photo or portrait or auto"),
        (MANIFEST, "b,kept,,f,photo,", "image 2: source: found '', need a value"),
        (f"{MANIFEST},score", "b,kept,,f,photo,s,1e999", "image 2: score: found '1e999', need a number"),
        (f"{MANIFEST},score", "b,kept,,f,photo,s,inf", "image 2: score: found 'inf'"),
        (f"{MANIFEST},score", f"b,kept,,f,photo,s,{'9' * 400}", "image 2: score: found '999"),
        (f"{MANIFEST},box", "b,kept,,f,photo,s,1 2 3", "image 2: box: found '1 2 3', need 4 numbers"),
        (f"{MANIFEST},landmarks", "b,kept,,f,photo,s,1 2 3 4 5 6 7 8 9 x", "image 2: landmarks: found '1 2"),
        (f"{MANIFEST},crop_box", "b,kept,,f,photo,s,1 2 3 nan", "image 2: crop_box: found '1 2 3 nan'"),
        (f"{MANIFEST},colour", "b,kept,,f,photo,s,red", "line 1: 'colour' is no column that stages write"),
        (f"{MANIFEST},file", "b,kept,,f,photo,s,g", "line 1: a column is there twice"),
        ("id,status,reason,file,source", "b,kept,,f,s", "no column domain"),
    ],
)
def test_a_manifest_that_no_stage_has_written(tmp_path: Path, head: str, row: str, message: str) -> None:
    first = ",".join(["a", "kept", "", "f", *(["photo"] if "domain" in head else []), "s"])
    more = "," * (head.count(",") - first.count(","))
    (tmp_path / "manifest.csv").write_text(f"{head}\n{first}{more}\n{row}\n")
    told = one_line(lambda: manifest.read_kept(tmp_path, "domain", "source"), "manifest.csv")
    assert f"manifest.csv: damaged ({message}" in told


def test_what_was_left_out_may_have_any_id(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(
        f"{MANIFEST}\n{ROW}\na,rejected,same file,,photo,s\n,rejected,gone,,photo,s\n"
    )
    assert [row["id"] for row in manifest.read_kept(tmp_path, "domain", "source")] == ["a"]


def test_a_manifest_with_the_mark_of_a_spreadsheet(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(f"\ufeff{MANIFEST}\n{ROW}\n")
    assert [row["id"] for row in manifest.read_kept(tmp_path)] == ["a"]


@pytest.fixture
def repository(work_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small files of this repository; commands believe that they are in it."""
    for name in ("params.yaml", "dvc.yaml", "requirements.txt"):
        shutil.copyfile(ROOT / name, work_root / name)
    shutil.copytree(ROOT / "experiments", work_root / "experiments")
    shutil.copytree(ROOT / "stages", work_root / "stages")
    (work_root / ".git").mkdir()
    monkeypatch.setattr(cli, "enter", lambda: None)
    return work_root


@pytest.mark.parametrize("kind", ["bomb", "deep brackets", "key twice", "UTF-16", "a text"])
@pytest.mark.parametrize("name", [name for name in STAGES if name not in ("scrape", "publish")])  # take no parameters
def test_every_stage_meets_hostile_parameters(repository: Path, name: str, kind: str) -> None:
    (repository / "params.yaml").write_bytes(YAML[kind])
    if name == "report":
        (repository / "results/evaluation").mkdir(parents=True)
        (repository / "results/evaluation/metrics.json").write_text("{}")
    one_line(runpy.run_path(str(ROOT / f"stages/{name}.py"))["main"], "params.yaml")
    assert not list(repository.glob("data/*"))


TABLE_OF = {
    "crop": "data/raw/demo/geralt",
    "resize": "data/crops",
    "filter": "data/resized",
    "dedupe": "data/filtered",
    "train": "data/dataset",
}


@pytest.mark.parametrize("row", ["../../evil,kept,,f,photo,s", "b,kept,,../../evil,photo,s", "b,kept,,f,cat,s"])
@pytest.mark.parametrize("name", TABLE_OF)
def test_no_stage_follows_a_manifest_out_of_its_folder(repository: Path, name: str, row: str) -> None:
    table = repository / TABLE_OF[name] / "manifest.csv"
    table.parent.mkdir(parents=True)
    table.write_text(f"{MANIFEST},crop_side,bytes,sharpness\n{row},1,1,1\n")
    (repository / "evil").write_text("secret")
    one_line(
        runpy.run_path(str(ROOT / f"stages/{name}.py"))["main"], f"{TABLE_OF[name]}/manifest.csv: damaged (image 1: "
    )
    assert [path.name for path in repository.rglob("evil*")] == ["evil"]


COMMANDS = [
    (["check"], "params.yaml"),
    (["check"], "experiments/config.yaml"),
    (["check"], "experiments/character/elf.yaml"),
    (["check"], "experiments/profile/full.yaml"),
    (["check"], "experiments/published/elf.yaml"),
    (["parameters"], "dvc.yaml"),
    (["report", "workspace"], "params.yaml"),
    (["review", "--no-browser", "--port", "0"], "params.yaml"),
    (["credits"], "params.yaml"),
    (["scrape", "elf"], "experiments/sources/web/elf.yaml"),
]


@pytest.mark.parametrize("kind", ["bomb", "deep brackets", "key twice", "Latin-1", "no such day", "a list"])
@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_commands_meet_hostile_files(repository: Path, command: list[str], name: str, kind: str) -> None:
    (repository / name).write_bytes(YAML[kind])
    one_line(lambda: cli.run(*command), "experiments" if name.startswith("experiments") else name)


def test_the_terminal_gets_one_line_without_commands_for_it(tmp_path: Path) -> None:
    name = "a\n\x1b[31mred\x1b]0;title\x07"
    said = f"def main(): raise errors.UserError({(name + 'x' * 5000)!r})"
    script = f"from semireal import errors, stage\n{said}\nstage.run(main)"
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: a\\n\\x1b[31mred\\x1b]0;title\\x07xxx")
    assert done.stderr.endswith("xxx\n")
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 2000


def test_what_is_wrong_with_secrets_is_said_without_them(work_root: Path) -> None:
    path = work_root / "secrets.yaml"
    for content in (
        "flickr: {api-secret: hunter2\n",
        "flickr: {api-secret: hunter2, a: !!int hunter2}",
        "a: {b: 2024-01-01}",
    ):
        path.write_text(content)
        path.chmod(0o600)
        told = one_line(lambda: gallerydl.read_secrets(path), "secrets.yaml")
        assert "hunter2" not in told
        assert "2024" not in told


def test_a_date_in_the_options_of_a_source_is_named(tmp_path: Path) -> None:
    """Gallery-dl gets them as JSON, which has no dates."""
    path = tmp_path / "elf.yaml"
    path.write_text("sources: {a: {url: 'https://x.org', domain: photo, options: {x: {since: 2024-01-01}}}}")
    told = one_line(lambda: source.load_sources(path), "elf.yaml")
    assert "sources.a.options.x.since: found a date, need a text or a number. Put it in quotes" in told
