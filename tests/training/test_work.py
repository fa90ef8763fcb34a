import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import texture
from semireal.training import monitor, train
from semireal.training.train import Given
from tiny import TRAIN


@pytest.fixture
def run(
    work_root: Path, make_dataset: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, bytes]]:
    """Train for so many epochs on so many threads, as they are counted, and give what is left."""
    data = make_dataset("set", [(texture(n), {"domain": "photo" if n % 2 else "portrait"}) for n in range(9)])
    monkeypatch.setattr(monitor, "IMAGES", 16)

    def make(name: str, epochs: int, threads: int, resume: str = "exact") -> dict[str, bytes]:
        monkeypatch.setenv("SEMIREAL_RESUME", resume)
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        given = Given(seed=0, train=dataclasses.replace(TRAIN, epochs=epochs, batch=48, snapshot_epochs=1))
        train.run(data, work_root / name, work_root / name / "out", given)
        found = sorted((work_root / name).rglob("*"))
        return {str(path.relative_to(work_root / name)): path.read_bytes() for path in found if path.is_file()}

    return make


def made(left: dict[str, bytes]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(left["out/machine.json"])
    return found


@pytest.mark.slow
def test_a_training_goes_on_elsewhere_where_it_is_told_to(
    run: Callable[..., dict[str, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    run("one", epochs=1, threads=4)
    capsys.readouterr()
    other = run("other", epochs=1, threads=3)
    told = capsys.readouterr().err
    assert "not as in the last run: threads; starting from the beginning. To go on" in told
    assert "set SEMIREAL_RESUME=any" in told
    assert made(other)["threads"] == 3

    longer = run("longer", epochs=2, threads=2, resume="any")
    told = capsys.readouterr().err
    assert "train: epoch 1 was made with other threads; the result is that of no single go" in told
    assert "going on from epoch 1\n" in told
    (before,) = made(longer)["before"]
    assert (before["epochs"], made(longer)["threads"]) == (1, 2)
    assert before["threads"] in (3, 4)

    # no further change; then a second one
    assert run("again", epochs=3, threads=2, resume="any").keys() > longer.keys()
    assert "was made with other" not in capsys.readouterr().err
    twice = run("twice", epochs=4, threads=1, resume="any")
    assert [(part["epochs"], part["threads"]) for part in made(twice)["before"]] == [(1, before["threads"]), (3, 2)]

    # what has ended is taken as it is, with its own record
    assert run("taken", epochs=4, threads=7, resume="any") == twice
    # and no run that is not told to goes on from it
    alone = run("alone", epochs=2, threads=2)
    assert "starting from the beginning" in capsys.readouterr().err
    assert "before" not in made(alone)
    # the threads were only said to be others, so the bits are those of a single go
    assert {name: content for name, content in alone.items() if name != "out/machine.json"} == {
        name: content for name, content in longer.items() if name != "out/machine.json"
    }
    # runs past the end do not count
    assert run("short", epochs=2, threads=9, resume="any") == alone
