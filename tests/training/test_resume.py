"""What a run that was interrupted or lengthened leaves equals what one in a single go leaves, in every byte."""

import dataclasses
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from conftest import ROOT, texture
from semireal.training import monitor
from tiny import TRAIN

MONITORED = 8  # images are enough
STAGE = ROOT / "stages/train.py"
CHILD = """
import runpy, sys
import torch
from semireal.training import monitor
monitor.IMAGES = int(sys.argv[2])
torch.set_num_threads(1)
runpy.run_path(sys.argv[1])["main"]()
"""

Home = Callable[..., Path]
Bytes = dict[str, bytes]  # of each file


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(monitor, "IMAGES", MONITORED)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def home(tmp_path: Path, make_dataset: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Home:
    """Go to a folder of its own that is as a checkout is, for a training of so many epochs."""
    data = make_dataset(
        "set",
        [(texture(n), {"domain": "photo" if n % 2 else "portrait", "artist": "a" if n < 6 else "b"}) for n in range(9)],
    )

    def make(name: str, epochs: int, balance: str | None = None) -> Path:
        folder = tmp_path / name
        if not folder.exists():
            (folder / "data").mkdir(parents=True)
            (folder / "data" / "dataset").symlink_to(data)
        given = dataclasses.replace(TRAIN, epochs=epochs, batch=40, snapshot_epochs=2, balance=balance)
        (folder / "params.yaml").write_text(yaml.safe_dump({"seed": 3, "train": dataclasses.asdict(given)}))
        monkeypatch.chdir(folder)
        monkeypatch.setenv("DVC_ROOT", str(folder))
        return folder

    return make


def run_stage() -> Bytes:
    """Run the stage, and give all that it leaves."""
    runpy.run_path(str(STAGE))["main"]()
    found = [path for folder in ("models", "results/train") for path in sorted(Path(folder).rglob("*"))]
    return {str(path): path.read_bytes() for path in found if path.is_file()}


@pytest.mark.slow
def test_every_file_is_as_after_a_single_go(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home("straight", 3)
    straight = run_stage()
    assert {Path(name).name for name in straight} >= {
        *("generator.safetensors", "best.safetensors", "checkpoint.safetensors"),
        *("history.csv", "metrics.json", "report.json", "machine.json", "loss_g.tsv", "curves.png", "fakes_00002.png"),
    }

    assert different(run_stage(), straight) == []  # again, with all that there is to resume from

    home("lengthened", 1)
    assert different(run_stage(), straight) != []
    home("lengthened", 3)
    assert different(run_stage(), straight) == []

    kill(home("killed", 3))
    capsys.readouterr()
    assert different(run_stage(), straight) == []
    assert "train: going on from epoch 2\n" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("balance", ["artist", "cluster"])
def test_a_balanced_run_goes_on_exactly_too(home: Home, capsys: pytest.CaptureFixture[str], balance: str) -> None:
    home("straight", 3, balance)
    straight = run_stage()
    kill(home("killed", 3, balance))
    capsys.readouterr()
    assert different(run_stage(), straight) == []
    told = capsys.readouterr().err
    assert "train: going on from epoch 2\n" in told
    assert f" groups by {balance}; the largest has" in told


def different(found: Bytes, expected: Bytes) -> list[str]:
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def kill(folder: Path) -> None:
    """Start the stage in another process and kill it between the saved epoch, the second, and the end."""
    command = [sys.executable, "-c", CHILD, str(STAGE), str(MONITORED)]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.DEVNULL) as child:
        while not list(folder.glob(".work/train/*/state.safetensors")):
            assert child.poll() is None
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert not (folder / "models").exists()
