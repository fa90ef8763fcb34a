"""What the tests of the collector share: definitions, counts, and the collector as a program of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from conftest import ROOT
from semireal import manifest
from semireal.collect import download, gallerydl, scrape
from semireal.collect.health import Patience

HASTY = Patience(minutes=1, first_wait=0.05, longest_wait=0.2, strikes=2, tries=2, silence=3)
Run = Callable[..., pd.DataFrame]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed soon."""
    monkeypatch.setattr(download, "TIMEOUT_S", 0.4)
    monkeypatch.setattr(gallerydl, "TIMEOUT_S", 0.4)


@pytest.fixture
def run(work_root: Path, quick: None) -> Run:
    """Scrape these sources into the same work directory as the time before; returns the manifest."""
    runs = iter(range(100))

    def once(sources: dict[str, Any], patience: Patience = HASTY, accept: tuple[str, ...] = ()) -> pd.DataFrame:
        definition = definition_of(work_root, sources)
        out = work_root / f"out{next(runs)}"
        out.mkdir()
        (work_root / "work").mkdir(exist_ok=True)
        scrape.run(definition, out, work_root / "work", patience, accept)
        return manifest.read(out)

    return once


def definition_of(root: Path, sources: dict[str, Any]) -> Path:
    definition = root / "definition.yaml"
    given = {name: {"domain": "photo"} | source for name, source in sources.items()}
    definition.write_text(yaml.safe_dump({"sources": given}))
    return definition


def reasons(table: pd.DataFrame) -> dict[str, int]:
    return dict(table["reason"].value_counts())


def stored(root: Path) -> list[Path]:
    """Images in the work directory."""
    return [f for f in root.glob("work/*/files/*") if f.suffix == ".png"]


def lists_of(faults: Any) -> int:
    return sum(count for (on, _), count in faults.asked.items() if on == "list")


DRIVER = """
import os, sys
from pathlib import Path
from semireal import stage
from semireal.collect import scrape
from semireal.collect.health import Patience
def main():
    out = Path(sys.argv[1]); out.mkdir()
    patience = Patience(minutes=1, first_wait=0.05, longest_wait=0.2, tries=5)
    scrape.run(Path("definition.yaml"), out, Path("work"), patience)
stage.run(main)
"""


class Scraper:
    """The scraper as a program of its own, in the work directory of the test."""

    def __init__(self, root: Path, sources: dict[str, Any]) -> None:
        self.root, self.runs = root, 0
        (root / "work").mkdir()
        (root / "driver.py").write_text(DRIVER)
        definition_of(root, sources)

    def start(self) -> "subprocess.Popen[str]":
        self.runs += 1
        return subprocess.Popen(
            [sys.executable, "driver.py", f"out{self.runs}"],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def until_stored(root: Path, goal: int, process: "subprocess.Popen[str]") -> None:
    until(lambda: len(stored(root)) >= goal or process.poll() is not None)
