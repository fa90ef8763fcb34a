"""The short part of the drills, what a drill must see, and that no stage goes without."""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, texture
from drills import faults, fuzz, kill, table
from drills.faults import Stage, Undisturbed
from semireal.errors import UserError

GOOD = """
from pathlib import Path
from semireal import files, stage
def main():
    with stage.output(Path("out")) as out:
        for name in ("a", "b", "c"):
            (out / name).write_text("new")
    files.write_json(Path("out.json"), {"a": 1})
stage.run(main)
"""
HALF = """
from pathlib import Path
out = Path("out")
out.mkdir(exist_ok=True)
for old in out.glob("*"):
    old.is_dir() or old.unlink()
for name in ("a", "b", "c"):
    (out / name).write_text("new")
Path("out.json").write_text("{}")
"""
CHILD = "import subprocess, time; subprocess.Popen(['sleep', '60'], start_new_session=True); time.sleep({wait})\n"
LITTER = "import os\nfrom pathlib import Path\nPath(f'.left-{os.getpid()}').touch()\n"
DEAF = "import signal, sys, time\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(0))\ntime.sleep({wait})\n"


def given(folder: Path, program: str) -> Undisturbed:
    """A stage of this program in a repository of its own."""
    repo = folder / "repo"
    repo.mkdir()
    (repo / "src").symlink_to(ROOT / "src")
    (repo / "x.py").write_text(program)
    return faults.undisturbed(
        Stage("x", [sys.executable, "x.py"], [repo / "out", repo / "out.json"], [repo / ".work"]), repo
    )


def test_a_drill_finds_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    one = given(tmp_path, GOOD)
    assert one.changes > 8
    row = [faults.struck(at) for at in range(one.changes - 8, one.changes)]
    assert faults.drill(one, row, replaces=True) == (8, [])
    assert faults.drill(one, [faults.side_by_side, faults.killed(60, group=True)], replaces=False) == (1, [])


def test_a_drill_sees_half_an_output(tmp_path: Path) -> None:
    done, wrong = faults.drill(given(tmp_path, HALF), [faults.struck(4)], replaces=True)
    assert done == 1
    assert wrong[0] == "out is neither old, nor whole, nor absent"
    assert "out is not as after an undisturbed run" in wrong  # with the folder of the old one


def test_a_drill_sees_a_process_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "GONE_S", 0.2)
    one = given(tmp_path, GOOD)
    (one.repo / "x.py").write_text(CHILD.format(wait=60) + GOOD)
    fault = faults.killed(0.3, group=False)
    assert fault(one) == ["left a process: sleep 60 "]
    assert faults.living() == []  # nor does the drill leave it


def test_a_drill_sees_what_piles_up(tmp_path: Path) -> None:
    one = given(tmp_path, GOOD)
    (one.repo / "x.py").write_text(LITTER + GOOD)
    done, wrong = faults.drill(one, [faults.struck(one.changes)], replaces=False)
    assert done == 1
    assert [line.split("-")[0] for line in wrong] == ["left behind: .left"] * 2


def test_a_drill_sees_an_end_that_looks_like_success(tmp_path: Path) -> None:
    one = given(tmp_path, GOOD)
    (one.repo / "x.py").write_text(DEAF.format(wait=60) + GOOD)
    faults.with_nothing(one.stage)
    (wrong,) = faults.ended(0.5, signal.SIGINT)(one) or [""]
    assert wrong.startswith("SIGINT after 0.50 s: ended with 0")


def test_a_drill_sees_that_a_port_stays_open(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        ours = faults.listening([os.getpid()])
        assert ours
        assert faults.remains() == []
        assert {line.rpartition(" ")[2] for line in faults.remains(ours)} == ours
    assert not faults.remains(ours)


def test_a_stage_outlives_kills_and_a_full_disk(tmp_path: Path, make_dataset: Callable[..., Path]) -> None:
    repo = tmp_path / "repo"
    with faults.disk(tmp_path) as own_disk:
        make_dataset("repo/data/crops", [(texture(n, 200, 200), {}) for n in range(20)])
        for name in ("src", "stages", "dvc.yaml", "params.yaml"):
            (repo / name).symlink_to(ROOT / name)
        stage = next(stage for stage in faults.stages_of(repo) if stage.name == "resize")
        one = faults.undisturbed(stage, repo)
        # what a kill leaves goes with the next run, and makes room
        row = [faults.without_room(0.5)] if own_disk else []
        row += [faults.killed(one.seconds * 0.5, group=False), faults.struck(one.changes - 3)]
        assert faults.drill(one, row, replaces=True) == (len(row), [])


def test_a_fuzz_finds_what_is_planted_and_keeps_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(fuzz, "SECONDS", 0.03)

    def read(path: Path) -> None:
        content = path.read_bytes()
        if b"\xff" in content:
            raise KeyError("planted")
        if b"\0" in content:
            sum(range(10_000_000))
        raise UserError("no")

    found = fuzz.fuzz(fuzz.Reader("x", lambda _: [b"abc" * 9], read), 8, 0)  # so long that a busy machine comes to both
    assert found["survived"] + found["lost"] == found["tried"] > found["survived"] > 0
    causes = {line.partition(": ")[2].split()[0] for line in found["wrong"]}
    assert causes == {"KeyError:", "took"}
    assert all(set(b"\0\xff") & set(file.read_bytes()) for file in (tmp_path / "kept").iterdir())


def test_moments_are_in_all_parts_of_the_duration() -> None:
    found = faults.moments(np.random.default_rng(0), 10)
    assert sorted(int(10 * moment) for moment in found) == list(range(10))
    assert found != sorted(found)


def test_no_stage_goes_without_its_drill() -> None:
    results = json.loads((table.RESULTS / "drills-kill.json").read_text())
    for stage in faults.stages_of(ROOT):
        found = results.get(stage.name, {})
        assert {*found, "full disk"} == set(kill.KINDS), f"run `make drills`: {stage.name} has not been drilled"
        assert all(one["tried"] for one in found.values()), stage.name
        assert not any(one["lost"] for one in found.values()), stage.name
    assert set(results) <= {stage.name for stage in faults.stages_of(ROOT)} | {kill.REPRO}  # none that is no more


def test_the_table_sums_what_was_found_and_is_the_one_of_the_page() -> None:
    some = {"tried": 3, "survived": 2, "lost": 1}
    lines = table.table([{"crop": {"kill": some}, "train": {"kill": some}}, {"page": {"click": some}}]).splitlines()
    assert lines[2:] == ["| kill | 2: crop, train | 6 | 4 | 2 |", "| click | page | 3 | 2 | 1 |"]
    page = table.PAGE.read_text()
    assert table.filled(page, table.table(table.results())) == page
    with pytest.raises(SystemExit, match="Put both lines back"):
        table.filled(page.replace(table.END, ""), "")
