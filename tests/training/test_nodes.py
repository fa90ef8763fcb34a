"""One training on several nodes that share no disk; gloo on loopback stands for the network between them."""

import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import texture
from nodes import agent, ended, free_port
from semireal import params
from semireal.training import train
from tiny import TRAIN

MODULE = ("-m", "semireal.training.train")
LOST = "another process of this training has ended; its own message says why"

Home = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path, make_dataset: Callable[..., Path]) -> Home:
    """A folder of its own that is as a checkout is."""
    data = make_dataset("set", [(texture(n), {"domain": "photo" if n % 2 else "portrait"}) for n in range(9)])

    def make(name: str, **changes: Any) -> Path:
        folder = tmp_path / name
        (folder / "data").mkdir(parents=True, exist_ok=True)
        if not (folder / "data/dataset").exists():
            (folder / "data/dataset").symlink_to(data)
        given = dataclasses.replace(TRAIN, **({"epochs": 2, "batch": 80, "snapshot_epochs": 1} | changes))
        (folder / "params.yaml").write_text(yaml.safe_dump({"seed": 3, "train": dataclasses.asdict(given)}))
        return folder

    return make


def left_in(home: Path) -> dict[str, bytes]:
    """All that a training leaves."""
    found = [path for folder in ("models", "results/train") for path in sorted((home / folder).rglob("*"))]
    return {str(path.relative_to(home)): path.read_bytes() for path in found if path.is_file()}


def errors(told: str) -> list[str]:
    return [line for line in told.splitlines() if line.startswith("error: ")]


def running(word: str) -> list[int]:
    """The processes that have this in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if word.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # somebody else's, or gone
            continue
    return found


@pytest.mark.slow
def test_two_nodes_of_which_one_is_killed_go_on(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = home("straight")
    monkeypatch.setenv("SEMIREAL_DEVICE", "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(straight)
        patch.setenv("DVC_ROOT", str(straight))
        patch.setenv("OMP_NUM_THREADS", "1")
        train.launch(Path("results/train"), 2)
    expected = left_in(straight)
    assert len(expected) == 10

    homes = [home("first"), home("second")]
    port = free_port()
    first, second = (agent(one, port, *MODULE) for one in homes)
    while not list(homes[0].glob(".work/train/*/state.safetensors")):
        assert first.poll() is second.poll() is None
        time.sleep(0.01)
    os.kill(second.pid, signal.SIGKILL)
    (code, told), _ = ended([first, second])
    assert code == 1
    assert told.count(LOST) == 1
    assert "Traceback" not in told.partition(LOST)[0]  # torchrun has the last word
    assert running(f"DVC_ROOT={homes[1]}") == []  # the kernel has ended what the agent began

    port = free_port()
    again = ended([agent(one, port, *MODULE) for one in homes])
    assert [code for code, _ in again] == [0, 0]
    assert "train: going on from epoch 1\n" in again[0][1]
    assert left_in(homes[0]) == expected
    assert left_in(homes[1]) == {}
    assert not (homes[1] / ".work/train").exists()

    # what remains for the stage, on one process: to take what is there
    monkeypatch.chdir(homes[0])
    monkeypatch.setenv("DVC_ROOT", str(homes[0]))
    monkeypatch.setenv("SEMIREAL_RESUME", "any")
    train.run(Path("data/dataset"), Path("taken/models"), Path("taken/results/train"), params.load(train.Given))
    assert left_in(homes[0] / "taken") == expected
    assert json.loads(expected["results/train/machine.json"])["processes"] == 2

    # a first process that finds less than another node has would start over
    (homes[0] / ".work/train").rename(homes[1] / ".work/train")
    monkeypatch.setenv("SEMIREAL_RESUME", "exact")
    port = free_port()
    moved = ended([agent(one, port, *MODULE) for one in homes])
    assert [code for code, _ in moved] == [1, 1]
    host = os.uname().nodename
    assert [line for _, told in moved for line in errors(told)] == [
        f"error: train: {next((homes[0] / '.work/train').glob('*[!k]'))}: has 2 epochs on {host}, and 0 on {host}, the "
        f"first node. Put .work on a disk that both share, or copy that folder to {host}; if they share it, try again"
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("parameters", "error: {host}: found other train.epochs, train.lr than {host}, the first node. Give all"),
        ("no data", "error: {host}: data/dataset"),
    ],
)
def test_a_node_that_was_given_something_else_ends_all_with_one_line(home: Home, fault: str, message: str) -> None:
    homes = [home("first"), home("second", **({"lr": 0.001, "epochs": 3} if fault == "parameters" else {}))]
    if fault == "no data":
        (homes[1] / "data/dataset").unlink()
    port = free_port()
    found = ended([agent(one, port, *MODULE) for one in homes])
    assert [code for code, _ in found] == [1, 1]
    lines = [line for _, told in found for line in errors(told)]
    assert len(lines) == 1
    assert lines[0].startswith(message.format(host=os.uname().nodename))
    assert not list(homes[0].glob(".work/train/*/*"))
