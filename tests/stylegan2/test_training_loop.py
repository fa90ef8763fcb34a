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

from conftest import ROOT
from semireal import machine
from semireal.errors import UserError
from semireal.params.train import Train
from semireal.pipeline.compose import compose
from semireal.stylegan2 import Config, Generator, Networks, load_generator, load_networks, loss, save_networks, training
from semireal.stylegan2.checkpoint import State, save_state
from semireal.stylegan2.config import network_of, run_key
from semireal.stylegan2.networks import build_discriminator, build_generator
from semireal.stylegan2.order import Groups, next_images, seed_of
from semireal.stylegan2.step import Step, average
from semireal.stylegan2.training import STATE, best_file, train
from tiny import TRAIN

SEED = 3
NETWORK = network_of(TRAIN)


def pictures(count: int = 11) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8))


@pytest.fixture(autouse=True)
def _short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "EPOCH", 26)  # no multiple of the batch
    monkeypatch.setattr(training, "GRID", 5)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """More threads only slow down networks as small as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(workdir: Path, data_key: str = "data", seed: int = SEED, groups: Groups | None = None, **changes: Any) -> bytes:
    """Train and give the bytes of the final state."""
    train(pictures(), dataclasses.replace(TRAIN, **changes), seed, workdir, data_key, groups=groups)
    return (workdir / STATE).read_bytes()


def leaning() -> Groups:
    """Nine of the pictures are of one group, which fills half of a pass."""
    return Groups([np.arange(9), np.arange(9, 11)], [6, 5])


def grids(workdir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((workdir / training.GRIDS).iterdir())}


def test_two_runs_are_equal(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = run(tmp_path / "a")
    torch.manual_seed(2)  # the global generator does not matter
    assert run(tmp_path / "b") == first
    assert grids(tmp_path / "a") == grids(tmp_path / "b")
    assert run(tmp_path / "c", seed=4) != first


def test_groups_decide_what_is_shown(tmp_path: Path) -> None:
    even = Groups([np.arange(11)], [11])
    found = [run(tmp_path / name, groups=one) for name, one in (("a", None), ("b", leaning()), ("c", even))]
    assert len(set(found)) == 3
    assert run(tmp_path / "d", groups=leaning()) == found[1]
    with pytest.raises(UserError, match="other parameters or data"):
        run(tmp_path / "b", epochs=3, groups=even)
    G = load_generator(tmp_path / "b" / STATE)
    assert not torch.equal(G.synthesis.b4.const, load_generator(tmp_path / "a" / STATE).synthesis.b4.const)  # type: ignore[union-attr, arg-type]


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


def test_fewer_epochs_do_not_destroy_the_state_of_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def seen(G: Generator) -> dict[str, float]:
        return {training.CHOOSES: float(G.mapping.w_avg.abs().sum())}

    def some(folder: str, epochs: int) -> bytes:
        given = dataclasses.replace(TRAIN, epochs=epochs)
        train(pictures(), given, SEED, tmp_path / folder, "data", monitor=seen)
        return (tmp_path / folder / STATE).read_bytes()

    for epochs in (4, 2, 1):
        some("a", epochs)
    capsys.readouterr()
    assert some("a", 5) == some("b", 5)
    assert "going on from epoch 4" in capsys.readouterr().err
    best = sorted(path.name for path in (tmp_path / "a").glob("best_*"))
    assert best == sorted(path.name for path in (tmp_path / "b").glob("best_*"))
    assert best


def test_a_part_of_a_mapping_is_not_taken_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for layers in (8, 1):
        start = networks(dataclasses.replace(NETWORK, mapping_layers=layers))
        given = dataclasses.replace(TRAIN, epochs=0)
        state = train(pictures(), given, SEED, tmp_path / str(layers), "data", start=start)
        assert "generator starts with b4, b8; from scratch: mapping; not taken: mapping\n" in capsys.readouterr().err
        assert not state.G.mapping.w_avg.any()


def test_a_run_that_starts_from_a_network_keeps_it_in_the_average(tmp_path: Path) -> None:
    start = networks()
    given = dataclasses.replace(TRAIN, epochs=1, ema_kimg=1000, ema_rampup=0.01)
    state = train(pictures(), given, SEED, tmp_path, "data", start=start)
    const, begun = state.G_ema.synthesis.b4.const, start.generator["synthesis.b4.const"]  # type: ignore[union-attr]
    moved = (state.G.synthesis.b4.const - begun).abs().mean()  # type: ignore[union-attr, operator]
    assert (const - begun).abs().mean() < 0.01 * moved  # type: ignore[operator]


CHILD = """
import sys, time
from pathlib import Path
sys.path[:0] = [sys.argv[2], str(Path(sys.argv[2]).parent)]
import test_training_loop as t
t.training.EPOCH, t.training.GRID = 26, 5
t.training.SAVE_SECONDS = 0
t.torch.set_num_threads(int(sys.argv[3]))
def show(row, G):
    print(row["epoch"], flush=True)
    time.sleep(0.1)
groups = t.leaning() if sys.argv[4] == "leaning" else None
given = t.dataclasses.replace(t.TRAIN, epochs=1000)
t.train(t.pictures(), given, t.SEED, Path(sys.argv[1]), "data", on_epoch=show, groups=groups)
"""


@pytest.mark.parametrize("groups", [None, leaning()], ids=["plain", "leaning"])
def test_killed_and_resumed_equals_a_straight_run(tmp_path: Path, groups: Groups | None) -> None:
    folder, threads = tmp_path / "killed", str(torch.get_num_threads())
    for least in (2, 1):  # killed twice
        shares = "leaning" if groups else "plain"
        command = [sys.executable, "-c", CHILD, str(folder), str(Path(__file__).parent), threads, shares]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
            assert child.stdout is not None
            shown = [int(child.stdout.readline()) for _ in range(least)]
            time.sleep(0.13)  # into the next epoch
            os.kill(child.pid, signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
    assert shown[0] > 2  # the second process went on
    reached = int(load_history(folder)[-1]["epoch"])
    straight = run(tmp_path / "straight", epochs=reached + 2, groups=groups)
    assert run(folder, epochs=reached + 2, groups=groups) == straight
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

    state = train(pictures(), TRAIN, SEED, tmp_path, "data", on_epoch=on_epoch)
    assert state.history == told == load_history(tmp_path)
    assert [row["epoch"] for row in told] == [1, 2]
    assert [row["kimg"] for row in told] == [0.028, 0.052]
    assert all(math.isfinite(value) for row in told for value in row.values())
    assert set(told[0]) == {"epoch", "kimg", "loss_g", "loss_d", "logits_fake", "logits_real", "r1", "pl", "ada_p"}
    again = train(pictures(), dataclasses.replace(TRAIN, epochs=3), SEED, tmp_path, "data", on_epoch=on_epoch)
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
    with pytest.raises(
        UserError, match=r"epoch 2: found loss_g.* What epoch 1 had learned is in (\S*state\S*):"
    ) as told:
        run(tmp_path)
    assert (tmp_path / STATE).read_bytes() == before
    assert str(tmp_path / STATE) in str(told.value)
    assert load_networks(tmp_path / STATE).discriminator is not None  # so that another run can start from it


def test_a_full_disk_is_one_line_and_the_last_state_stays(tmp_path: Path) -> None:
    before = run(tmp_path, epochs=1)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) - 1000}, resource.RLIM_INFINITY))\n"
        "from pathlib import Path; import test_training_loop as t\n"
        "from semireal.errors import UserError\n"
        "try: t.run(Path(sys.argv[1]), epochs=2)\n"
        "except UserError as error: print(error)\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert f"{tmp_path / STATE}: cannot be written" in done.stdout
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


def test_every_image_is_shown_once_per_pass_and_some_mirrored(tmp_path: Path) -> None:
    images = torch.zeros(8, 3, 8, 8, dtype=torch.uint8)
    images[..., 0] = torch.arange(1, 9, dtype=torch.uint8)[:, None, None] * 10  # left column names the image
    given = dataclasses.replace(TRAIN, batch=8, mirror=True)
    state = train(images, dataclasses.replace(given, epochs=0), SEED, tmp_path / "a", "data")
    step = Step(state, given, SEED, images)
    sides = []
    for state.nimg in range(0, 160, 8):
        levels = ((step._draw_reals()(step.micro_batches[0]) + 1) * 127.5).round()[:, 0, 0]
        assert sorted(levels.amax(dim=1).tolist()) == [10, 20, 30, 40, 50, 60, 70, 80]
        sides += (levels[:, -1] > 0).tolist()
    assert sum(sides) / len(sides) == pytest.approx(0.5, abs=0.15)
    unmirrored = Step(state, dataclasses.replace(given, mirror=False), SEED, images)
    plain = unmirrored._draw_reals()(unmirrored.micro_batches[0])
    assert (plain[..., -1] == -1).all()


def test_batches_cross_the_end_of_the_data() -> None:
    assert sorted(next_images(0, 3, 12, 5).tolist()) == sorted(
        [*next_images(0, 3, 2, 5), *next_images(0, 5, 5, 5), *next_images(0, 10, 5, 5)]
    )
    assert sorted(next_images(0, 5, 5, 5).tolist()) == [0, 1, 2, 3, 4]


def networks(config: Config = NETWORK, seed: int = 77) -> Networks:
    G, D = build_generator(config, seed), build_discriminator(config, seed + 1)
    G.mapping.w_avg.fill_(0.5)
    return Networks(config, G.state_dict(), D.state_dict())


def equal(found: torch.nn.Module, given: dict[str, Tensor] | None) -> bool:
    assert given is not None
    return all(torch.equal(found.state_dict()[name], value) for name, value in given.items())


def test_transfer_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = networks()
    given = dataclasses.replace(TRAIN, epochs=0)
    state = train(pictures(), given, SEED, tmp_path / "a", "data", start=start)
    assert equal(state.G, start.generator)
    assert equal(state.G_ema, start.generator)
    assert equal(state.D, start.discriminator)
    assert "generator starts with b4, b8, mapping\n" in capsys.readouterr().err
    assert state.key != run_key(given, SEED, "data")
    train(pictures(), TRAIN, SEED, tmp_path / "a", "data", start=start)
    with pytest.raises(UserError, match="other parameters"):
        train(pictures(), TRAIN, SEED, tmp_path / "a", "data")

    # the first grid is of the untouched start
    again = train(pictures(), given, SEED, tmp_path / "b", "data", start=start)
    training._save_fakes(tmp_path / "b", again.G_ema, given.batch, SEED, epoch=99)
    assert grids(tmp_path / "b")["fakes_00000.png"] == grids(tmp_path / "b")["fakes_00099.png"]
    assert grids(tmp_path / "a")["fakes_00000.png"] == grids(tmp_path / "b")["fakes_00000.png"]

    save_state(tmp_path / "state", state)
    save_networks(tmp_path / "generator", NETWORK, start.generator, None, {})
    for name in ("state", "generator"):
        found = load_networks(tmp_path / name)
        assert all(torch.equal(found.generator[key], value) for key, value in start.generator.items())
        assert (found.discriminator is None) == (name == "generator")


def test_transfer_from_another_resolution(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    larger = networks(dataclasses.replace(NETWORK, img_resolution=16))
    state = train(pictures(), dataclasses.replace(TRAIN, epochs=0), SEED, tmp_path / "a", "data", start=larger)
    assert torch.equal(state.G.synthesis.b8.conv0.weight, larger.generator["synthesis.b8.conv0.weight"])  # type: ignore[union-attr, arg-type]
    told = capsys.readouterr().err
    assert "generator starts with b4, b8, mapping; not taken: b16\n" in told
    assert "discriminator starts with b8, b4; from scratch: b8.fromrgb" in told

    smaller = networks()
    given = dataclasses.replace(TRAIN, epochs=0, resolution=16)
    images = pictures().repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    state = train(images, given, SEED, tmp_path / "b", "data", start=smaller)
    assert "generator starts with b4, b8, mapping; from scratch: b16" in capsys.readouterr().err
    assert torch.equal(state.G.synthesis.b8.conv0.weight, smaller.generator["synthesis.b8.conv0.weight"])  # type: ignore[union-attr, arg-type]

    wide = networks(dataclasses.replace(NETWORK, channel_base=128, channel_max=16, w_dim=8, z_dim=8))
    with pytest.raises(UserError, match="no block fits"):
        train(pictures(), TRAIN, SEED, tmp_path / "c", "data", start=wide)


def test_frozen_layers_stay(tmp_path: Path) -> None:
    start = networks()
    state = train(pictures(), dataclasses.replace(TRAIN, freeze_d=3), SEED, tmp_path, "data", start=start)
    assert start.discriminator is not None
    changed = {
        name.rsplit(".", 1)[0]
        for name, value in state.D.state_dict().items()
        if not torch.equal(value, start.discriminator[name])
    }
    assert changed == {"b8.skip", "b4.conv", "b4.fc", "b4.out"}  # fromrgb, conv0 and conv1 are frozen


@pytest.mark.parametrize("micro_batch", [4, 8])
def test_micro_batches_change_nothing_but_rounding(tmp_path: Path, micro_batch: int) -> None:
    given = dataclasses.replace(TRAIN, epochs=1, batch=16, ada_kimg=0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "EPOCH", 160)
        whole = train(pictures(), given, SEED, tmp_path / "whole", "data")
        small = dataclasses.replace(machine.DEFAULT, micro_batch=micro_batch)
        parts = train(pictures(), given, SEED, tmp_path / "parts", "data", machine=small)
    assert parts.key == whole.key
    assert parts.ada == whole.ada
    assert whole.ada.p > 0
    for name, value in whole.G.state_dict().items():
        torch.testing.assert_close(parts.G.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)
    assert parts.history[0] == pytest.approx(whole.history[0], rel=1e-4)


def test_augmentation_follows_the_discriminator(tmp_path: Path) -> None:
    def p(**changes: Any) -> float:
        given = dataclasses.replace(TRAIN, epochs=2, **changes)
        state = train(pictures(), given, SEED, tmp_path / str(changes), "data")
        assert state.history[-1]["ada_p"] == state.ada.p
        return state.ada.p

    assert p(ada_target=None) == 0
    assert p(ada_target=1) == 0  # never that sure
    # 52 images: 3 changes, each by the 16 images since the one before
    assert p(ada_target=-1) == pytest.approx(3 * 16 / 100)
    assert p(ada_target=-1, ada_kimg=0.01) == 1


def measured(distance: float, variety: float = 1) -> dict[str, float]:
    """What a monitor gives at least."""
    return {training.CHOOSES: distance, training.VARIETY: variety}


def test_best_snapshot_is_kept_and_patience_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kernels = {1: 5.0, 2: 3.0, 3: 4.0, 4: 3.5, 5: 1.0}
    seen: list[dict[str, Tensor]] = []

    def monitor(G: Generator) -> dict[str, float]:
        seen.append({name: value.clone() for name, value in G.state_dict().items()})
        return measured(kernels[len(seen)])

    given = dataclasses.replace(TRAIN, epochs=5, snapshot_epochs=1, patience=2)
    state = train(pictures(), given, SEED, tmp_path, "data", monitor=monitor)
    assert [row["snapshot_distance"] for row in state.history] == [5, 3, 4, 3.5]
    assert training.best_epoch(state.history) == 2
    assert equal(load_generator(best_file(tmp_path, 2)), seen[1])
    assert "stopped at epoch 4" in capsys.readouterr().err
    again = train(pictures(), dataclasses.replace(given, patience=3), SEED, tmp_path, "data", monitor=monitor)
    assert training.best_epoch(again.history) == 5  # the same run goes on with more patience
    assert [path.name for path in tmp_path.glob("best*")] == ["best_00005.safetensors"]
    assert equal(load_generator(best_file(tmp_path, 5)), seen[4])


def test_less_patience_than_was_had_starts_over(tmp_path: Path) -> None:
    def monitor(G: Generator) -> dict[str, float]:
        return measured(1)  # the first snapshot is the best

    given = dataclasses.replace(TRAIN, epochs=6, snapshot_epochs=1)
    train(pictures(), given, SEED, tmp_path / "a", "data", monitor=monitor)
    short = dataclasses.replace(given, patience=2)
    for folder in ("a", "b"):
        assert len(train(pictures(), short, SEED, tmp_path / folder, "data", monitor=monitor).history) == 3
    assert (tmp_path / "a" / STATE).read_bytes() == (tmp_path / "b" / STATE).read_bytes()


def test_a_kill_between_best_snapshot_and_state_loses_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer epochs after the kill: the best snapshot is one that the state knows of."""

    def save(path: Path, state: State) -> None:
        if len(state.history) == 2:
            raise KeyboardInterrupt
        save_state(path, state)

    given = dataclasses.replace(TRAIN, epochs=1, snapshot_epochs=1)
    first = train(pictures(), given, SEED, tmp_path / "a", "data", monitor=lambda _: measured(2))
    expected = best_file(tmp_path / "a", 1).read_bytes()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "save_state", save)
        longer = dataclasses.replace(given, epochs=2)
        train(pictures(), longer, SEED, tmp_path / "a", "data", monitor=lambda _: measured(1))
    again = train(pictures(), given, SEED, tmp_path / "a", "data", monitor=lambda _: measured(2))
    assert again.history == first.history
    assert best_file(tmp_path / "a", 1).read_bytes() == expected


def test_the_history_has_one_order_of_columns(tmp_path: Path) -> None:
    given = dataclasses.replace(TRAIN, snapshot_epochs=2)
    straight = train(pictures(), given, SEED, tmp_path / "a", "data", monitor=lambda _: measured(1))
    read_again = train(pictures(), given, SEED, tmp_path / "a", "data", monitor=lambda _: measured(1))
    assert list(straight.history[1]) != list(read_again.history[1])  # a file of states sorts its keys
    for state in (straight, read_again):
        assert training.columns(state.history) == [
            *training.COLUMNS[: -len(training.MEASURES)],
            training.CHOOSES,
            training.VARIETY,
        ]
    assert training.columns(straight.history[:1]) == list(training.COLUMNS[: -len(training.MEASURES)])


def test_collapse_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = iter([(5.0, 0.2), (4.0, 0.8), (3.0, 0.1), (2.0, 0.7)])
    given = dataclasses.replace(TRAIN, epochs=4, snapshot_epochs=1)
    state = train(pictures(), given, SEED, tmp_path, "data", monitor=lambda _: measured(*next(values)))
    assert training.collapsed_epochs(state.history) == [3]
    told = [line for line in capsys.readouterr().err.splitlines() if "collapsed" in line]
    assert len(told) == 1
    assert "epoch 3" in told[0]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_trains(tmp_path: Path, precision: str) -> None:
    given = dataclasses.replace(TRAIN, precision=precision, conv_clamp=256)
    state = train(pictures(), given, SEED, tmp_path, "data")
    assert all(value.isfinite().all() for value in state.G_ema.state_dict().values())
    assert state.G.synthesis.b8.dtype == {"bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    assert all(p.dtype == torch.float32 for p in state.G.parameters())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_goes_on_from_a_file_bit_for_bit(tmp_path: Path, precision: str) -> None:
    changes: dict[str, Any] = {"precision": precision, "conv_clamp": 256}
    for epochs in (1, 2, 4):
        resumed = run(tmp_path / "a", epochs=epochs, **changes)
    assert run(tmp_path / "b", epochs=4, **changes) == resumed
    whole = train(pictures(), dataclasses.replace(TRAIN, epochs=4, conv_clamp=256), SEED, tmp_path / "c", "data")
    low = load_generator(tmp_path / "b" / STATE)  # the same, but for rounding that a float32 would not have
    apart = max((p - q).abs().max().item() for p, q in zip(low.parameters(), whole.G_ema.parameters(), strict=True))
    assert apart > 1e-4


def test_features_are_float32_unless_a_parameter_says_otherwise(tmp_path: Path) -> None:
    for channels_last in (True, False):
        given = dataclasses.replace(TRAIN, epochs=0, channels_last=channels_last)
        state = train(pictures(), given, SEED, tmp_path / str(channels_last), "data")
        blocks = [*state.G.synthesis.blocks(), *state.D.blocks()]
        assert {block.dtype for block in blocks} <= {None, torch.float32}
    for profile in ("demo", "full"):
        composed = compose(ROOT, f"profile={profile}")["train"]
        assert composed["precision"] == {"demo": "float32", "full": "float16"}[profile]
    fields = {field.name: field for field in dataclasses.fields(Train)}
    assert fields["precision"].default is dataclasses.MISSING  # it has to be written


def test_averaged_generator_follows_and_w_avg_moves(tmp_path: Path) -> None:
    state = train(pictures(), TRAIN, SEED, tmp_path, "data")
    start = build_generator(NETWORK, seed_of(SEED, "generator"))
    first, last, mean = (G.state_dict()["synthesis.b4.const"] for G in (start, state.G, state.G_ema))
    assert 0 < (mean - last).norm() < (first - last).norm()
    assert torch.equal(state.G_ema.mapping.w_avg, state.G.mapping.w_avg)
    assert state.G.mapping.w_avg.abs().sum() > 0
    assert state.pl_mean > 0


def test_regularisers_can_be_off(tmp_path: Path) -> None:
    state = train(pictures(), dataclasses.replace(TRAIN, r1_gamma=0, pl_weight=0), SEED, tmp_path, "data")
    assert state.history[-1]["r1"] == state.history[-1]["pl"] == 0
    assert state.opt_g.param_groups[0]["lr"] == TRAIN.lr


def test_lazy_regularisation_corrects_adam(tmp_path: Path) -> None:
    state = train(pictures(), TRAIN, SEED, tmp_path, "data")
    group = state.opt_d.param_groups[0]
    assert group["lr"] == pytest.approx(TRAIN.lr * 3 / 4)
    assert group["betas"] == (0, pytest.approx(0.99 ** (3 / 4)))
    # 13 steps, and the extra one every third (0, 3, ... 12)
    assert {int(entry["step"]) for entry in state.opt_d.state.values()} == {13 + 5}
    assert {int(entry["step"]) for entry in state.opt_g.state.values()} == {13 + 7}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_learns_one_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    monkeypatch.setattr(training, "EPOCH", 1600)
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    images[:, 0] = 255
    given = dataclasses.replace(TRAIN, epochs=1, batch=16, r1_interval=16, pl_interval=4, r1_gamma=1, lr=0.005)
    given = dataclasses.replace(given, ada_target=None, precision=precision)  # at p = 1 any colour would do
    state = train(images, given, SEED, tmp_path, "data")
    mean = state.G_ema(torch.randn(64, 4, generator=torch.Generator().manual_seed(0))).mean(dim=[0, 2, 3])
    assert mean[0] > 0.5
    assert (mean[1:] < -0.5).all()


def test_grid_is_a_picture_of_the_right_size(tmp_path: Path) -> None:
    run(tmp_path)
    with Image.open(tmp_path / training.GRIDS / "fakes_00002.png") as img:
        assert img.size == (24, 16)  # 5 images in 3 columns


def test_wrong_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"need \[N, 3, 8, 8\]"):
        train(torch.zeros(3, 3, 16, 16, dtype=torch.uint8), TRAIN, SEED, tmp_path, "data")


def test_half_life_of_the_average_grows_up_to_its_limit() -> None:
    config = dataclasses.replace(TRAIN, ema_kimg=0.02, ema_rampup=0.05)
    # at most 20 images, at most 0.05 of those seen; a batch is 4
    for rampup, seen, half_life in ((0.05, 0, 0), (0.05, 160, 8), (0.05, 400, 20), (0.05, 4000, 20), (None, 0, 20)):
        G, G_ema = build_generator(NETWORK, 0), build_generator(NETWORK, 0)
        for p in G.parameters():
            p.data.fill_(1)
        for p in G_ema.parameters():
            p.data.fill_(0)
        average(G_ema, G, dataclasses.replace(config, ema_rampup=rampup), seen)
        expected = 1 - 0.5 ** (4 / half_life) if half_life else 1
        for name, p in G_ema.named_parameters():
            torch.testing.assert_close(p.data, torch.full_like(p, expected), msg=f"{name}, {rampup}, {seen}")
