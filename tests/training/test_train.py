import dataclasses
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from conftest import ROOT, Server, texture
from semireal import params
from semireal.errors import UserError
from semireal.stylegan2 import Networks, load_discriminator, load_generator, load_networks, training
from semireal.training import train
from semireal.training.train import Given

TINY = {
    "epochs": 1,
    "resolution": 8,
    "z_dim": 4,
    "w_dim": 4,
    "mapping_layers": 2,
    "channel_base": 64,
    "channel_max": 8,
    "batch": 48,  # 21 steps in 1000 images
    "pl_weight": 2.0,
    "style_mixing": 0.9,
    "ada_target": -1.0,
    "snapshot_epochs": 1,
    "device": "cpu",
}


def given(**changes: object) -> Given:
    base = params.load(Given, ROOT / "params.yaml")
    return dataclasses.replace(base, train=dataclasses.replace(base.train, **(TINY | changes)))  # type: ignore[arg-type]


@pytest.fixture
def data(make_dataset: Callable[..., Path]) -> Path:
    return make_dataset("set", [(texture(n), {"domain": "photo" if n % 2 else "portrait"}) for n in range(9)])


@pytest.fixture(autouse=True)
def _here(work_root: Path) -> None:
    """Work folders go to a temporary place."""


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
    assert history["snapshot_kernel_r64"].notna().all()
    assert 0 < history["snapshot_diversity_r64"].iloc[0] < 10
    assert sorted(path.name for path in (out / "grids").iterdir()) == [
        *(f"fakes_{epoch:05d}.png" for epoch in range(3)),
        "reals.png",
    ]
    best = int(history.nsmallest(1, "snapshot_kernel_r64")["epoch"].item())
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
    assert "starting from the beginning" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_follow_one(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same 21 steps, by one process and shared by two: equal up to rounding."""
    one = given(ada_kimg=1.0, snapshot_epochs=2)
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
    config = train.config_of(one.train, one.seed)
    state = training.new_state(config, "", torch.device("cpu"), None)
    return Networks(config.network, state.G_ema.state_dict(), state.D.state_dict())


def test_start_from_a_file(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train.run(data, tmp_path / "first", tmp_path / "a", given())
    init = tmp_path / "first" / "checkpoint.safetensors"
    capsys.readouterr()
    train.run(data, tmp_path / "second", tmp_path / "b", given(init=str(init), freeze_d=2))
    assert "generator starts with b4, b8, mapping" in capsys.readouterr().err

    digest = hashlib.sha256(init.read_bytes()).hexdigest()
    assert train.start_of(given(init=str(init), init_sha256=digest).train) is not None
    with pytest.raises(UserError, match="another SHA-256"):
        train.start_of(given(init=str(init), init_sha256="0" * 64).train)
    with pytest.raises(UserError, match=r"train\.init: .*absent.* not found"):
        train.start_of(given(init=str(tmp_path / "absent.pkl")).train)


def test_start_from_a_url(data: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMIREAL_CACHE", str(tmp_path / "cache"))
    train.run(data, tmp_path / "first", tmp_path / "a", given(snapshot_epochs=2))
    server.content = (tmp_path / "first" / "generator.safetensors").read_bytes()
    server.drops = 1
    digest = hashlib.sha256(server.content).hexdigest()
    url = f"http://127.0.0.1:{server.server_port}/start.safetensors"
    found = train.start_of(given(init=url, init_sha256=digest).train)
    assert found is not None
    assert found.config.img_resolution == 8
    assert len(server.starts) == 2
    assert server.starts[1] > 0  # continued
    with pytest.raises(UserError, match=r"start\.safetensors: cannot be had"):
        train.start_of(given(init=url, init_sha256="0" * 64).train)


def test_full_profile_names_a_start_by_url() -> None:
    full = yaml.safe_load((ROOT / "experiments/profile/full.yaml").read_text())["train"]
    assert full["init"].startswith("https://")
    assert full["init"].endswith(".pkl")


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
