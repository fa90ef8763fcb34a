import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from semireal.errors import UserError
from semireal.stylegan2 import Config, Generator, loss, save_generator, training
from semireal.stylegan2.checkpoint import load_start, save_state
from semireal.stylegan2.networks import build_discriminator, build_generator
from semireal.stylegan2.training import STATE, TrainConfig, train

NETWORK = Config(8, z_dim=4, w_dim=4, mapping_layers=2, channel_base=64, channel_max=8)
CONFIG = TrainConfig(
    NETWORK, epochs=2, batch=4, r1_interval=3, pl_interval=2, grid=5, snapshot_epochs=2, ema_kimg=0.02, seed=3
)


def pictures(count: int = 11) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8))


@pytest.fixture(autouse=True)
def _short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "EPOCH", 26)  # no multiple of the batch


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """More threads only slow down networks as small as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(workdir: Path, data_key: str = "data", **changes: Any) -> bytes:
    """Train and give the bytes of the final state."""
    train(pictures(), dataclasses.replace(CONFIG, **changes), workdir, data_key)
    return (workdir / STATE).read_bytes()


def grids(workdir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((workdir / training.GRIDS).iterdir())}


def test_two_runs_are_equal(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = run(tmp_path / "a")
    torch.manual_seed(2)  # the global generator does not matter
    assert run(tmp_path / "b") == first
    assert grids(tmp_path / "a") == grids(tmp_path / "b")
    assert run(tmp_path / "c", seed=4) != first


def test_more_epochs_later_equal_a_straight_run(tmp_path: Path) -> None:
    for epochs in (1, 2, 5):
        resumed = run(tmp_path / "a", epochs=epochs)
    assert run(tmp_path / "b", epochs=5) == resumed
    assert grids(tmp_path / "a") == grids(tmp_path / "b")
    assert list(grids(tmp_path / "a")) == [
        "fakes_00000.png",
        "fakes_00002.png",
        "fakes_00004.png",
        "reals.png",
    ]


def test_fewer_epochs_than_done_start_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "a", epochs=3)
    assert run(tmp_path / "a", epochs=2) == run(tmp_path / "b", epochs=2)
    assert "starting over" in capsys.readouterr().err


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_training as t
t.training.EPOCH = 26
t.training.SAVE_SECONDS = 0
t.torch.set_num_threads(int(sys.argv[3]))
def show(row, G):
    print(row["epoch"], flush=True)
    time.sleep(0.1)
t.train(t.pictures(), t.dataclasses.replace(t.CONFIG, epochs=1000), Path(sys.argv[1]), "data", on_epoch=show)
"""


def test_killed_and_resumed_equals_a_straight_run(tmp_path: Path) -> None:
    folder, threads = tmp_path / "killed", str(torch.get_num_threads())
    for least in (2, 1):  # killed twice
        command = [sys.executable, "-c", CHILD, str(folder), str(Path(__file__).parent), threads]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
            assert child.stdout is not None
            shown = [int(child.stdout.readline()) for _ in range(least)]
            time.sleep(0.13)  # into the next epoch
            os.kill(child.pid, signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
    assert shown[0] > 2  # the second process went on
    reached = int(load_history(folder)[-1]["epoch"])
    assert run(folder, epochs=reached + 2) == run(tmp_path / "straight", epochs=reached + 2)
    assert grids(folder) == grids(tmp_path / "straight")


def load_history(workdir: Path) -> list[dict[str, float]]:
    data = (workdir / STATE).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    rows: list[dict[str, float]] = json.loads(header["__metadata__"]["semireal"])["history"]
    return rows


def test_history(tmp_path: Path) -> None:
    told: list[dict[str, float]] = []

    def on_epoch(row: dict[str, float], G: Generator) -> None:
        assert G(torch.ones(1, 4)).shape == (1, 3, 8, 8)
        told.append(row)

    state = train(pictures(), CONFIG, tmp_path, "data", on_epoch=on_epoch)
    assert state.history == told == load_history(tmp_path)
    assert [row["epoch"] for row in told] == [1, 2]
    assert [row["kimg"] for row in told] == [0.028, 0.052]
    assert all(math.isfinite(value) for row in told for value in row.values())
    assert set(told[0]) == {"epoch", "kimg", "loss_g", "loss_d", "logits_fake", "logits_real", "r1", "pl"}
    again = train(pictures(), dataclasses.replace(CONFIG, epochs=3), tmp_path, "data", on_epoch=on_epoch)
    assert [row["epoch"] for row in told] == [1, 2, 3]  # only the new one is told
    assert again.history == told


@pytest.mark.parametrize("change", [{"data_key": "other"}, {"lr": 0.001}, {"seed": 9}, {"mirror": False}])
def test_state_of_another_run_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    before = run(tmp_path, epochs=1)
    with pytest.raises(UserError, match="other parameters or data"):
        run(tmp_path, **change)
    assert (tmp_path / STATE).read_bytes() == before


def test_damaged_state_is_refused(tmp_path: Path) -> None:
    data = run(tmp_path, epochs=1)
    (tmp_path / STATE).write_bytes(data[:-1])
    with pytest.raises(UserError, match="damaged"):
        run(tmp_path)


def test_not_a_number_stops_and_keeps_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run(tmp_path, epochs=1)
    monkeypatch.setattr(loss, "g_main", lambda logits: logits.mean() * math.nan)
    with pytest.raises(UserError, match=r"epoch 2: found loss_g"):
        run(tmp_path)
    assert (tmp_path / STATE).read_bytes() == before


def test_interrupted_saving_keeps_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run(tmp_path, epochs=1)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, epochs=2, snapshot_epochs=2)
    assert (tmp_path / STATE).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [training.GRIDS, STATE]
    assert run(tmp_path) == run(tmp_path / "straight")


def test_every_image_is_shown_once_per_pass_and_some_mirrored() -> None:
    images = torch.zeros(8, 3, 8, 8, dtype=torch.uint8)
    images[..., 0] = torch.arange(1, 9, dtype=torch.uint8)[:, None, None] * 10  # left column names the image
    config = dataclasses.replace(CONFIG, batch=8, mirror=True)
    rng = torch.Generator().manual_seed(0)
    sides = []
    for turn in range(20):
        levels = ((training._real_batch(images, config, turn * 8, rng) + 1) * 127.5).round()[:, 0, 0]
        assert sorted(levels.amax(dim=1).tolist()) == [10, 20, 30, 40, 50, 60, 70, 80]
        sides += (levels[:, -1] > 0).tolist()
    assert sum(sides) / len(sides) == pytest.approx(0.5, abs=0.15)
    plain = training._real_batch(images, dataclasses.replace(config, mirror=False), 0, rng)
    assert (plain[..., -1] == -1).all()


def test_batches_cross_the_end_of_the_data() -> None:
    config = dataclasses.replace(CONFIG, batch=12, mirror=False)
    batch = training._real_batch(pictures(5), config, 3, torch.Generator())
    assert batch.shape == (12, 3, 8, 8)


def test_transfer_start(tmp_path: Path) -> None:
    G, D = build_generator(NETWORK, 77), build_discriminator(NETWORK, 78)
    G.mapping.w_avg.fill_(0.5)
    config = dataclasses.replace(CONFIG, epochs=0)
    start = (G.state_dict(), D.state_dict())
    state = train(pictures(), config, tmp_path / "a", "data", "cpu", *start)
    for found, given in ((state.G, G), (state.G_ema, G), (state.D, D)):
        assert all(torch.equal(found.state_dict()[name], value) for name, value in given.state_dict().items())
    assert state.key != training.run_key(config, "data")
    train(pictures(), CONFIG, tmp_path / "a", "data", "cpu", *start)
    with pytest.raises(UserError, match="other parameters"):
        train(pictures(), CONFIG, tmp_path / "a", "data")

    save_state(tmp_path / "state", state)
    save_generator(tmp_path / "generator", G, NETWORK, {})
    for name in ("state", "generator"):
        weights, judge = load_start(tmp_path / name)
        assert all(torch.equal(weights[key], value) for key, value in G.state_dict().items())
        assert (judge is None) == (name == "generator")
    del weights["mapping.w_avg"]
    with pytest.raises(UserError, match=r"mapping\.w_avg is missing"):
        train(pictures(), CONFIG, tmp_path / "b", "data", "cpu", weights)


def test_averaged_generator_follows_and_w_avg_moves(tmp_path: Path) -> None:
    state = train(pictures(), CONFIG, tmp_path, "data")
    start = build_generator(NETWORK, training._seed(CONFIG.seed, "generator"))
    first, last, mean = (G.state_dict()["synthesis.b4.const"] for G in (start, state.G, state.G_ema))
    assert 0 < (mean - last).norm() < (first - last).norm()
    assert torch.equal(state.G_ema.mapping.w_avg, state.G.mapping.w_avg)
    assert state.G.mapping.w_avg.abs().sum() > 0
    assert state.pl_mean > 0


def test_regularisers_can_be_off(tmp_path: Path) -> None:
    state = train(pictures(), dataclasses.replace(CONFIG, r1_gamma=0, pl_weight=0), tmp_path, "data")
    assert state.history[-1]["r1"] == state.history[-1]["pl"] == 0
    assert state.opt_g.param_groups[0]["lr"] == CONFIG.lr


def test_lazy_regularisation_corrects_adam(tmp_path: Path) -> None:
    state = train(pictures(), CONFIG, tmp_path, "data")
    group = state.opt_d.param_groups[0]
    assert group["lr"] == pytest.approx(CONFIG.lr * 3 / 4)
    assert group["betas"] == (0, pytest.approx(0.99 ** (3 / 4)))
    # 13 steps, and the extra one every third (0, 3, ... 12)
    assert {int(entry["step"]) for entry in state.opt_d.state.values()} == {13 + 5}
    assert {int(entry["step"]) for entry in state.opt_g.state.values()} == {13 + 7}


def test_learns_one_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "EPOCH", 1600)
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    images[:, 0] = 255
    config = dataclasses.replace(CONFIG, epochs=1, batch=16, r1_interval=16, pl_interval=4, r1_gamma=1, lr=0.005)
    state = train(images, config, tmp_path, "data")
    mean = state.G_ema(torch.randn(64, 4, generator=torch.Generator().manual_seed(0))).mean(dim=[0, 2, 3])
    assert mean[0] > 0.5
    assert (mean[1:] < -0.5).all()


def test_grid_is_a_picture_of_the_right_size(tmp_path: Path) -> None:
    run(tmp_path)
    with Image.open(tmp_path / training.GRIDS / "fakes_00002.png") as img:
        assert img.size == (24, 16)  # 5 images in 3 columns


@pytest.mark.parametrize(
    "change", [{"batch": 6}, {"batch": 0}, {"lr": 0.0}, {"snapshot_epochs": 0}, {"r1_interval": 0}]
)
def test_config_refuses_nonsense(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(change))):
        dataclasses.replace(CONFIG, **change)


def test_wrong_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"need \[N, 3, 8, 8\]"):
        train(torch.zeros(3, 3, 16, 16, dtype=torch.uint8), CONFIG, tmp_path, "data")
