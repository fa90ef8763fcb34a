"""train: StyleGAN2 on the dataset, resumable, with the averaged generator as the result.

On several GPUs of one machine: `torchrun --nproc-per-node=N -m semireal.training.train`, which is what the stage does
with train.processes = N.
"""

import argparse
import functools
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from semireal import code, files, params, stage
from semireal.errors import UserError
from semireal.files import write_atomic
from semireal.images import Pixels
from semireal.metrics import distances, features
from semireal.params.train import Train
from semireal.stylegan2 import Config, Generator, Networks, load_networks, parallel, save_networks, training
from semireal.stylegan2.augment import GROUPS
from semireal.stylegan2.checkpoint import save_state
from semireal.stylegan2.config import TrainConfig, run_key
from semireal.stylegan2.training import Row
from semireal.tensors import to_uint8
from semireal.training import dataset
from semireal.vision import weights

NAME = "semireal.training.train"  # of this module, which torchrun starts as __main__
HISTORY = "history.csv"
MONITORED = 256  # images that a snapshot is measured with


@dataclass(frozen=True)
class Given:
    """What the stage takes of params.yaml."""

    seed: int
    train: Train


def run(data: Path, models: Path, out: Path, given: Given) -> None:
    """Train on the selected mixture of `data`; a run that was stopped goes on where it was.

    Writes generator.safetensors (the last averaged generator), best.safetensors (the snapshot with the least
    kernel distance) and checkpoint.safetensors (all that resuming takes) to `models`; grids/, history.csv (one row
    per epoch) and report.json to `out`. Under torchrun all processes call this, and the first one writes.
    """
    with parallel.joined(device_of(given.train.device)) as device:
        config = config_of(given.train, given.seed)
        images, _ = dataset.load(data, given.train.resolution, given.train.photo_ratio, given.seed)
        start = start_of(given.train)
        data_key = hashlib.sha256(images.numpy().tobytes()).hexdigest()
        key = files.key_of(run_key(config, data_key, start), code.key_of_modules(NAME))
        with _work(key) as work:
            earlier = any(folder.is_dir() and folder != work for folder in work.parent.iterdir())
            if earlier and not (work / training.STATE).exists() and parallel.rank() == 0:
                stage.say("train: other parameters, data or code than in an earlier run: starting from the beginning")
            monitor = Monitor(images.permute(0, 2, 3, 1).numpy(), device) if parallel.rank() == 0 else _absent
            state = training.train(images, config, work, data_key, device, start, monitor)
            if parallel.rank() == 0:
                models.mkdir(parents=True, exist_ok=True)
                save_state(models / "checkpoint.safetensors", state)
                last = models / "generator.safetensors"
                epochs = len(state.history)
                save_networks(last, config.network, state.G_ema.state_dict(), None, {"epochs": epochs})
                measured = training.best_epoch(state.history) is not None
                best = work / training.BEST if measured else last
                write_atomic(models / "best.safetensors", best.read_bytes())
                _report(work, out, state.history, given.train)


def launch(out: Path, processes: int) -> None:
    """Run this module in `processes` processes of this machine, writing to `out` and models."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run([*torchrun, "-m", "semireal.training.train", "--out", str(out)], check=False)
    if done.returncode:
        raise UserError(f"train: one of {processes} processes failed; its message is above")


class Monitor:
    """Measures snapshots against a fixed set of real images, with R64 features.

    pictures: NHWC uint8.
    """

    def __init__(self, pictures: Pixels, device: torch.device) -> None:
        self.pictures = pictures
        self.device = device

    @functools.cached_property
    def real(self) -> distances.Features:
        """Features of the real images."""
        chosen = np.random.default_rng(0).permutation(len(self.pictures))[:MONITORED]
        return features.extract(features.r64(), self.pictures[np.sort(chosen)], self.device)

    @torch.no_grad()
    def __call__(self, G: Generator) -> tuple[float, float]:
        """Kernel distance of MONITORED images at psi = 1, and their variety relative to that of the real ones."""
        z = torch.randn([MONITORED, G.config.z_dim], generator=torch.Generator().manual_seed(0)).to(self.device)
        drawn = np.concatenate([to_uint8(G(part, noise="const")) for part in torch.split(z, features.BATCH)])
        fake = features.extract(features.r64(), drawn, self.device)
        variety = distances.mean_distance(fake) / max(distances.mean_distance(self.real), 1e-12)
        return distances.kernel(self.real, fake), variety


def _absent(_: Generator) -> tuple[float, float]:
    raise AssertionError("only the first process measures")


def config_of(given: Train, seed: int) -> TrainConfig:
    """The training run that the parameters describe."""
    network = Config(
        z_dim=given.z_dim,
        w_dim=given.w_dim,
        img_resolution=given.resolution,
        mapping_layers=given.mapping_layers,
        channel_base=given.channel_base,
        channel_max=given.channel_max,
        conv_clamp=given.conv_clamp,
    )
    return TrainConfig(
        network=network,
        epochs=given.epochs,
        batch=given.batch,
        micro_batch=given.micro_batch,
        lr=given.lr,
        r1_gamma=given.r1_gamma,
        r1_interval=given.r1_interval,
        pl_weight=given.pl_weight,
        pl_interval=given.pl_interval,
        ema_kimg=given.ema_kimg,
        ema_rampup=given.ema_rampup,
        style_mixing_prob=given.style_mixing,
        mirror=given.mirror,
        ada_target=given.ada_target,
        ada_kimg=given.ada_kimg,
        ada_groups=tuple(GROUPS)[: len(given.ada_transforms)],  # b, bg and bgc, in this order
        ada_rotate90=given.ada_rotate90,
        freeze_d=given.freeze_d,
        precision=given.precision,
        low_precision_res=given.low_precision_res,
        channels_last=given.channels_last,
        tf32=given.tf32,
        compile=given.compile,
        snapshot_epochs=given.snapshot_epochs,
        patience=given.patience,
        seed=seed,
    )


def start_of(given: Train) -> Networks | None:
    """The networks that `train.init` names, fetched if it is a URL; None from scratch."""
    if given.init is None:
        return None
    if given.init.startswith(("http://", "https://")):
        return load_networks(weights.fetch(given.init, given.init_sha256))
    path = Path(given.init)
    if not path.is_file():
        raise UserError(f"train.init: {path} not found. Put a network there, give a URL, or set it to null")
    if given.init_sha256 and files.sha256_of(path) != given.init_sha256:
        raise UserError(f"train.init: {path} has another SHA-256 than train.init_sha256. Correct one of them")
    return load_networks(path)


def device_of(wanted: str) -> str:
    """The kind of device that `train.device` means here."""
    cuda = torch.cuda.is_available()
    if wanted == "cuda" and not cuda:
        raise UserError("train.device: found cuda, but there is no usable GPU here. Set it to auto or cpu")
    return "cuda" if cuda and wanted != "cpu" else "cpu"


@contextmanager
def _work(key: str) -> Iterator[Path]:
    """The work folder of the run, locked by the first process for all of them."""
    if parallel.rank() == 0:
        with stage.work("train", key) as folder:
            parallel.wait()
            yield folder
    else:
        parallel.wait()
        yield stage.work_root() / "train" / key


def _report(work: Path, out: Path, history: Sequence[Row], given: Train) -> None:
    grids = out / "grids"
    grids.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(work / training.GRIDS / "reals.png", grids / "reals.png")
    for epoch in [0, *range(given.snapshot_epochs, len(history) + 1, given.snapshot_epochs)]:
        shutil.copyfile(work / training.GRIDS / f"fakes_{epoch:05d}.png", grids / f"fakes_{epoch:05d}.png")
    pd.DataFrame(list(history)).to_csv(out / HISTORY, index=False)
    report: dict[str, float] = {"epochs": len(history), "ada_p": history[-1]["ada_p"]}
    best = training.best_epoch(history)
    if best is not None:
        report |= {"best_epoch": best, "collapsed_epochs": len(training.collapsed_epochs(history))}
    files.write_json(out / "report.json", report)


def main() -> None:
    """Train as params.yaml says; the command line of `torchrun -m semireal.training.train`."""
    parser = argparse.ArgumentParser(prog="semireal.training.train", description=main.__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/dataset"), help="the dataset")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder for the networks")
    parser.add_argument("--out", type=Path, default=Path("results/train"), help="folder for grids and history")
    given = parser.parse_args()
    run(given.data, given.models, given.out, params.load(Given))


if __name__ == "__main__":
    stage.run(main)
