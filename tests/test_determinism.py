"""The same commit, data and seed give the same bytes, whatever the machine is like otherwise.

The whole tiny graph, stage by stage, each a process of its own as DVC starts it, in surroundings that differ in many
ways at once; a difference says which stage, and which of its files.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from semireal.files import sha256_of
from tiny import ALL, copy, environment

# Folders are read in another order each time.
SHUFFLE = """
import os, random
_order = random.Random(7)
_listdir, _scandir = os.listdir, os.scandir
def listdir(*given):
    found = _listdir(*given)
    _order.shuffle(found)
    return found
class scandir:
    def __init__(self, *given):
        with _scandir(*given) as entries:
            self._found = list(entries)
        _order.shuffle(self._found)
        self._next = iter(self._found)
    def __iter__(self): return self
    def __next__(self): return next(self._next)
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def close(self): pass
os.listdir, os.scandir = listdir, scandir
"""
PICTURES = ["scrape@geralt", "crop", "resize", "filter", "dedupe", "funnel"]
NETWORKS = ["train", "blend", "sample", "evaluate"]
SHOWN = ["report", "publish"]
OUTS = ("data", "models", "results")


@dataclass(frozen=True)
class Surroundings:
    """What is otherwise than in the run that is compared with; threads do not count for stages without networks."""

    folder: str
    threads: str  # of the stages before the training
    umask: int
    cores: str  # that joblib and the gallery may use, as taskset names them
    variables: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()


ONE = Surroundings(
    "Größe und Maß",
    threads="1",
    umask=0o077,
    cores="0",
    variables={"LC_ALL": "tr_TR.UTF-8", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "1", "PYTHONUTF8": "1"},
)
OTHER = Surroundings(
    "in_ascii",
    threads="2",
    umask=0o000,
    cores="0-1",
    variables={
        "LC_ALL": "POSIX",
        "TZ": "America/Caracas",
        "PYTHONHASHSEED": "random",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONOPTIMIZE": "1",
    },
    without=("HOME", "USER", "LANG"),
)


def run(repo: Path, stages: list[str], around: Surroundings) -> None:
    """Run stages one after the other in the surroundings."""
    (repo / "shuffle").mkdir(exist_ok=True)
    (repo / "shuffle/sitecustomize.py").write_text(SHUFFLE)
    env = {key: value for key, value in environment().items() if key not in around.without}
    env |= around.variables | {"PYTHONPATH": f"{repo / 'shuffle'}:src"}
    for stage in stages:
        name, _, item = stage.partition("@")
        threads = around.threads if stage in PICTURES else "1"
        command = [
            "taskset",
            "-c",
            around.cores,
            sys.executable,
            f"stages/{name}.py",
            *([f"demo/{item}"] if item else []),
        ]
        done = subprocess.run(
            command,
            cwd=repo,
            env=env | {"OMP_NUM_THREADS": threads},
            umask=around.umask,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, f"{stage}: {os.fsdecode(done.stderr)}"


def outs(repo: Path) -> dict[str, str]:
    """Hashes of all that the stages leave."""
    files = (path for out in OUTS for path in (repo / out).rglob("*") if path.is_file() and path.name != ".gitignore")
    return {path.relative_to(repo).as_posix(): sha256_of(path) for path in files}


def other_files(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


@pytest.mark.slow
@pytest.mark.parametrize("around", [ONE, OTHER], ids=lambda around: around.folder)
def test_surroundings_change_no_byte(made: Path, tmp_path: Path, around: Surroundings) -> None:
    repo = copy(made, tmp_path / around.folder)
    before = outs(repo)
    for out in (*OUTS, ".work"):
        shutil.rmtree(repo / out, ignore_errors=True)
    assert len(before) > 60
    run(repo, PICTURES + NETWORKS + SHOWN, around)
    assert other_files(before, outs(repo)) == []


def test_no_stage_is_forgotten() -> None:
    assert sorted([*PICTURES, *NETWORKS, *SHOWN, "code"]) == sorted(ALL)
