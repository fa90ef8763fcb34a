"""train: StyleGAN2 on the dataset, resumable, with the averaged generator as the result.

On several GPUs of one machine: `torchrun --nproc-per-node=N -m semireal.training.train`, which is what the stage does
where this machine has the setting `processes: N` (see `semireal.machine`). On several machines: docs/scale.md.
"""

import argparse
import dataclasses
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from semireal import code, devices, files, params, parents, paths, stage
from semireal import machine as machines
from semireal.errors import UserError
from semireal.files import write_atomic
from semireal.machine import Machine
from semireal.manifest import Row as Image
from semireal.params.train import Train
from semireal.stylegan2 import Generator, Networks, load_networks, parallel, save_networks, training
from semireal.stylegan2.checkpoint import State, save_state
from semireal.stylegan2.config import deciding
from semireal.stylegan2.order import Groups
from semireal.stylegan2.training import Row
from semireal.training import balance, dataset, start, work
from semireal.training.monitor import Monitor
from semireal.vision import efficientnet, sides
from semireal.vision.looks import Band

NAME = "semireal.training.train"  # of this module, which torchrun starts as __main__
HISTORY = "history.csv"
MACHINE = "machine.json"


@dataclass(frozen=True)
class Given:
    """What the stage takes of params.yaml."""

    seed: int
    train: Train


def run(data: Path, models: Path, out: Path, given: Given) -> None:
    """Train on the selected mixture of `data`; a run that was stopped goes on where it was.

    Writes generator.safetensors (the last averaged generator), best.safetensors (the snapshot that `train.monitor`
    chooses) and checkpoint.safetensors (all that resuming takes) to `models`; grids/, history.csv (one row per epoch),
    report.json and machine.json (what it was made on) to `out`. Under torchrun all processes call this,
    and the first one writes. A run that was stopped, or had fewer epochs, and goes on leaves the same bytes as one in
    a single go.
    """
    machine = machines.load()
    with parallel.joined(devices.kind(machine)) as device:
        machine = dataclasses.replace(machine, processes=parallel.size())
        with parallel.agreed():
            devices.check(machine, given.train.batch, given.train.group)
            _warn(given.train.precision, device)
            networks = start_of(given.train.init)
            images, rows = dataset.load(data, given.train.resolution, given.train.photo_ratio, given.seed)
        data_key = hashlib.sha256(images.numpy().data).hexdigest()
        band = dataset.band(rows)
        groups = groups_of(images, rows, band, given.train, device)
        decides = deciding(given.train, given.seed, data_key, networks, groups) | {"code": code.key_of_modules(NAME)}
        with work.opened(decides, made_on(machine, device), given.train, machine.resume) as (folder, made):
            if given.train.mirror and parallel.rank() == 0:
                _note_sides(images, device)
            monitor = monitor_of(images, band, given.train, device) if parallel.rank() == 0 else _absent
            state = training.train(
                images, given.train, given.seed, folder, data_key, device, machine, networks, monitor, groups=groups
            )
            if parallel.rank() == 0:
                _save(models, folder, state)
                _report(folder, out, state.history, given.train.snapshot_epochs)
                more = {"micro_batch": machine.micro_batch, "precision": given.train.precision}
                files.write_json(out / MACHINE, made | more)


def _warn(precision: str, device: torch.device) -> None:
    """Say so where a CPU is asked for a precision that it can only imitate."""
    if device.type == "cpu" and devices.is_slow_with(precision) and parallel.rank() == 0:
        names = ", ".join(devices.INSTRUCTIONS[precision])
        stage.say(
            f"train: this CPU has no instructions for train.precision = {precision} (none of {names}): expect it to be "
            "many times slower than float32"
        )


def _note_sides(images: torch.Tensor, device: torch.device) -> None:
    """Say so where heads that are to be mirrored have something on one side."""
    beyond = sides.one_sided(efficientnet.load(), images.permute(0, 2, 3, 1).numpy(), device)
    if beyond > sides.SURE:
        stage.say(
            f"train: these heads differ from their mirror images by {beyond:.0f} standard deviations more than by "
            "chance: is there a scar, a patch or a parting on one side? train.mirror: false keeps it there"
        )


def launch(out: Path, processes: int) -> None:
    """Run this module in `processes` processes of this machine, writing to `out` and models."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*torchrun, "-m", "semireal.training.train", "--out", str(out)]
    done = subprocess.run(command, check=False, preexec_fn=partial(parents.end_with, os.getpid()))
    if done.returncode:
        raise UserError(f"train: one of {processes} processes failed; its message is above")


def groups_of(
    images: torch.Tensor, rows: Sequence[Image], band: Band | None, given: Train, device: torch.device
) -> Groups | None:
    """The groups of train.balance, and a word about them; None without."""
    if given.balance is None:
        return None
    found = balance.groups(rows, images, given.balance, band, device)
    if parallel.rank() == 0:
        stage.say(f"train: {balance.told(found, given.balance)}")
    return found


def monitor_of(images: torch.Tensor, band: Band | None, given: Train, device: torch.device) -> Monitor:
    """What measures the snapshots; says so where it cannot look at the eyes."""
    if band is None:
        stage.say("train: nothing is measured of the eyes: the detector gave no landmarks of these faces")
    return Monitor(images.permute(0, 2, 3, 1).numpy(), band, given.monitor == "inception", device)


def _absent(_: Generator) -> dict[str, float]:
    raise AssertionError("only the first process measures")


def start_of(init: str) -> Networks | None:
    """The networks in the file that `train.init` names; None for a start from random ones."""
    path = start.existing(init, Path())
    return None if start.is_noise(path) else load_networks(path)


def made_on(machine: Machine, device: torch.device) -> dict[str, Any]:
    """What decides the bits of a result beside parameters, data and code. Nothing in it names one machine.

    On a CPU the number of threads belongs to it, since they share the sums.
    """
    return {
        "device": device.type,
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "processes": machine.processes,
        "compile": machine.compile,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _save(models: Path, folder: Path, state: State) -> None:
    models.mkdir(parents=True, exist_ok=True)
    save_state(models / "checkpoint.safetensors", state)
    last, epochs = models / "generator.safetensors", len(state.history)
    save_networks(last, state.G_ema.config, state.G_ema.state_dict(), None, {"epochs": epochs})
    best = training.best_epoch(state.history)
    snapshot = last if best is None else training.best_file(folder, best)
    write_atomic(models / "best.safetensors", snapshot.read_bytes())


def _report(folder: Path, out: Path, history: Sequence[Row], snapshot_epochs: int) -> None:
    grids = out / "grids"
    grids.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / training.GRIDS / "reals.png", grids / "reals.png")
    for epoch in [0, *range(snapshot_epochs, len(history) + 1, snapshot_epochs)]:
        shutil.copyfile(folder / training.GRIDS / f"fakes_{epoch:05d}.png", grids / f"fakes_{epoch:05d}.png")
    pd.DataFrame(list(history), columns=training.columns(history)).to_csv(out / HISTORY, index=False)
    report: dict[str, float] = {"epochs": len(history), "ada_p": history[-1]["ada_p"]}
    best = training.best_epoch(history)
    if best is not None:
        report |= {"best_epoch": best, "collapsed_epochs": len(training.collapsed_epochs(history))}
    files.write_json(out / "report.json", report)


def main() -> None:
    """Train as params.yaml says; the command line of `torchrun -m semireal.training.train`."""
    parser = argparse.ArgumentParser(prog="semireal.training.train", description=main.__doc__)
    parser.add_argument("--data", type=Path, default=paths.DATASET, help="the dataset")
    parser.add_argument("--models", type=Path, default=paths.MODELS, help="folder for the networks")
    parser.add_argument("--out", type=Path, default=paths.TRAINING, help="folder for grids and history")
    given = parser.parse_args()
    run(given.data, given.models, given.out, params.load(Given))


if __name__ == "__main__":
    stage.run(main)
