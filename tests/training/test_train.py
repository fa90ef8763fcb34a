import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from conftest import texture
from semireal import devices
from semireal.errors import UserError
from semireal.stylegan2 import Networks, load_discriminator, load_generator, load_networks, training
from semireal.training import monitor, train
from semireal.training.train import Given
from tiny import TRAIN


def given(**changes: Any) -> Given:
    """21 steps of an epoch of 1000 images."""
    usual: dict[str, Any] = {"epochs": 1, "batch": 48, "ada_target": -1.0, "ada_kimg": 500.0, "snapshot_epochs": 1}
    return Given(seed=0, train=dataclasses.replace(TRAIN, **(usual | changes)))


@pytest.fixture
def data(make_dataset: Callable[..., Path]) -> Path:
    return make_dataset(
        "set",
        [(texture(n), {"domain": "photo" if n % 2 else "portrait", "artist": "ab"[n > 5]}) for n in range(9)],
    )


@pytest.fixture(autouse=True)
def _here(work_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work folders go to a temporary place, and few images are measured."""
    monkeypatch.setattr(monitor, "IMAGES", 16)


def test_run_writes_networks_and_curves(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models, out = tmp_path / "models", tmp_path / "out"
    train.run(data, models, out, given(epochs=2, ada_kimg=1.0))
    assert sorted(path.name for path in models.iterdir()) == [
        "best.safetensors",
        "checkpoint.safetensors",
        "generator.safetensors",
    ]
    history = pd.read_csv(out / train.HISTORY)
    assert history["epoch"].tolist() == [1, 2]
    for name in ("distance", "whole", "layout", "colour"):
        assert history[f"snapshot_{name}"].notna().all(), name
    assert "snapshot_eyes" not in history  # textures have none
    assert "nothing is measured of the eyes" in capsys.readouterr().err
    assert 0 < history["snapshot_diversity"].iloc[0] < 10
    assert sorted(path.name for path in (out / "grids").iterdir()) == [
        *(f"fakes_{epoch:05d}.png" for epoch in range(3)),
        "reals.png",
    ]
    best = int(history.nsmallest(1, "snapshot_distance")["epoch"].item())
    assert yaml.safe_load((out / "report.json").read_text())["best_epoch"] == best
    for name in ("best", "checkpoint", "generator"):
        G = load_generator(models / f"{name}.safetensors")
        ws = G.mapping(torch.ones(2, 4), psi=0.5)
        assert ws.shape == (2, 4, 4)
        assert G.synthesis(ws, noise="const").shape == (2, 3, 8, 8)
    assert load_discriminator(models / "checkpoint.safetensors")(torch.zeros(4, 3, 8, 8)).shape == (4, 1)
    last = load_generator(models / ("best.safetensors" if best == 2 else "generator.safetensors"))
    assert torch.equal(last.synthesis.b4.const, load_generator(models / "generator.safetensors").synthesis.b4.const)  # type: ignore[union-attr, arg-type]

    capsys.readouterr()
    train.run(data, models, tmp_path / "more", given(epochs=3, ada_kimg=1.0))
    assert "going on from epoch 2" in capsys.readouterr().err
    train.run(data, models, tmp_path / "other", given(epochs=1, ada_kimg=1.0, lr=0.001))
    assert "not as in the last run: train.lr; starting from the beginning" in capsys.readouterr().err


def test_with_balance_it_is_another_run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = given(snapshot_epochs=2)  # nothing is measured
    checkpoints = []
    for balance in (None, "artist", "cluster"):
        train.run(data, tmp_path / "models", tmp_path / "out", given(snapshot_epochs=2, balance=balance))
        checkpoints.append((tmp_path / "models/checkpoint.safetensors").read_bytes())
        told = capsys.readouterr().err
        assert ("train.balance" in told) == (balance is not None)
        assert ("not as in the last run: train.balance; starting from the beginning" in told) == (balance is not None)
    assert len(set(checkpoints)) == 3
    train.run(data, tmp_path / "models", tmp_path / "out", one)
    assert "going on from epoch 1" in capsys.readouterr().err
    assert (tmp_path / "models/checkpoint.safetensors").read_bytes() == checkpoints[0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_the_cpu_imitates_is_said_at_the_start(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    monkeypatch.setenv("SEMIREAL_DEVICE", "cpu")
    for flags, said in (("avx2", precision == "bfloat16"), ("avx2 avx512_bf16", False)):
        (tmp_path / "cpuinfo").write_text(f"flags : fpu {flags}\n")
        monkeypatch.setattr(devices, "CPUINFO", tmp_path / "cpuinfo")
        train.run(data, tmp_path / "models", tmp_path / "out", given(precision=precision))
        lines = [line for line in capsys.readouterr().err.splitlines() if "train.precision" in line]
        assert len(lines) == said
        assert all("bfloat16" in line and "slower than float32" in line for line in lines)


@pytest.mark.parametrize("mirror", [True, False])
def test_something_on_one_side_is_said_before_it_is_mirrored(
    make_dataset: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], mirror: bool
) -> None:
    for name, marked in (("plain", False), ("marked", True)):
        pictures = [texture(n) for n in range(24)]
        for picture in pictures if marked else ():
            picture[16:48, 12:28] = (250, 10, 10)
        data = make_dataset(name, [(picture, {"domain": "photo"}) for picture in pictures])
        train.run(data, tmp_path / "models", tmp_path / "out", given(mirror=mirror))
        said = "train.mirror: false keeps it there" in capsys.readouterr().err
        assert said == (marked and mirror)


@pytest.mark.slow
@pytest.mark.parametrize("balance", [None, "cluster"])
def test_two_processes_follow_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, balance: str | None
) -> None:
    """The same 21 steps, by one process and shared by two: equal up to rounding."""
    one = given(ada_kimg=1.0, snapshot_epochs=2, balance=balance)
    monkeypatch.setenv("SEMIREAL_DEVICE", "cpu")
    train.run(data, tmp_path / "one", tmp_path / "out", one)

    # where the processes of `launch` look: the folder of a checkout
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    (home / "data" / "dataset").symlink_to(data)
    (home / "params.yaml").write_text(yaml.safe_dump(dataclasses.asdict(one)))
    monkeypatch.chdir(home)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("DVC_ROOT", str(home))
    train.launch(home / "out", 2)

    expected = load_networks(tmp_path / "one" / "checkpoint.safetensors")
    found = load_networks(home / "models" / "checkpoint.safetensors")
    start = load_networks_at_start(one)
    for part in ("generator", "discriminator"):
        before, after, shared = (getattr(networks, part) for networks in (start, expected, found))
        for name, value in after.items():
            moved = (value - before[name]).abs().max().item()
            assert (shared[name] - value).abs().max().item() <= 0.01 * moved + 1e-6, name
    rows = [pd.read_csv(folder / train.HISTORY).iloc[0] for folder in (tmp_path / "out", home / "out")]
    pd.testing.assert_series_equal(rows[0], rows[1], rtol=1e-3)
    assert rows[0]["ada_p"] > 0

    (home / "params.yaml").write_text(yaml.safe_dump(dataclasses.asdict(given(batch=4))))
    with pytest.raises(UserError, match="one of 2 processes failed"):
        train.launch(home / "out", 2)


def load_networks_at_start(one: Given) -> Networks:
    state = training.new_state(one.train, one.seed, "", torch.device("cpu"), None)
    return Networks(state.G.config, state.G_ema.state_dict(), state.D.state_dict())


def test_start_from_a_file(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train.run(data, tmp_path / "first", tmp_path / "a", given())
    init = tmp_path / "first" / "checkpoint.safetensors"
    capsys.readouterr()
    train.run(data, tmp_path / "second", tmp_path / "b", given(init=str(init), freeze_d=2))
    told = capsys.readouterr().err
    assert "generator starts with b4, b8, mapping" in told
    assert "not as in the last run: network to start from, train.freeze_d; starting from the beginning" in told
    # the content counts, not the name: a copy elsewhere goes on with the same run
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(init.read_bytes())
    train.run(data, tmp_path / "third", tmp_path / "c", given(init=str(copy), freeze_d=2))
    assert "going on from epoch 1" in capsys.readouterr().err


def test_another_machine_starts_from_the_beginning(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which bits come out depends on what computes them; micro-batches only round otherwise."""
    one = given(snapshot_epochs=2)  # nothing is measured
    train.run(data, tmp_path / "first", tmp_path / "a", one)
    monkeypatch.setenv("SEMIREAL_MICRO_BATCH", "8")
    train.run(data, tmp_path / "first", tmp_path / "b", one)
    assert "going on from epoch 1" in capsys.readouterr().err
    made = json.loads((tmp_path / "b" / train.MACHINE).read_text())
    assert made == json.loads((tmp_path / "a" / train.MACHINE).read_text()) | {"micro_batch": 8}
    threads = torch.get_num_threads()
    assert made["threads"] == threads
    assert (made["device"], made["processes"], made["precision"]) == ("cpu", 1, "float32")
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    train.run(data, tmp_path / "first", tmp_path / "c", one)
    assert "train: not as in the last run: threads; starting from the beginning" in capsys.readouterr().err


def test_command_line_names_the_fault(tmp_path: Path) -> None:
    env = dict(os.environ, DVC_ROOT=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "semireal.training.train"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "error: params.yaml: not found\n"
