"""What is a face worth after so many minutes? Candidates for the settings of a training, each for the same time.

    python benchmarks/quality.py WORK --data data/dataset --minutes 2 10 [--only transfer noise] [--seeds 3]
        [--inception WEIGHTS] --json OUT

Each candidate of CANDIDATES, which changes the parameters of params.yaml, trains for as long as the longest time. The
minutes are those of one core, all threads of the training together and nothing else: ten minutes on two cores are about
twenty. Its averaged generator is kept after the first epoch that reaches each of the times, measured against the
dataset with SEEN images at psi = 1, and drawn (WORK, to be looked at). Distances are those of semireal.metrics.usual;
beside them, where WEIGHTS are given, the kernel distance on 768 features of the Inception. The rows stand in
OUT as soon as they are measured.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from semireal import images, params
from semireal.stylegan2 import Generator, loss, training
from semireal.stylegan2.step import Part, Step, update
from semireal.training import dataset, sample
from semireal.training.train import Given, start_of
from snapshots import distance, features_of

CPU = torch.device("cpu")
SEEN = 256
GRID = 32
# what the public implementation chooses by itself for a set and a batch ("auto": stylegan2-ada-pytorch, train.py)
PUBLIC = {"init": "experiments/noise.init", "batch": 16, "lr": 0.0025, "pl_weight": 2.0, "style_mixing": 0.9}
NOISE = {"init": "experiments/noise.init", "ema_rampup": 0.1}
CANDIDATES: dict[str, dict[str, Any]] = {
    "as committed": {},
    "from noise": NOISE,
    "public settings": PUBLIC | {"ema_kimg": 5.0, "ema_rampup": 0.05, "ada_target": 0.6, "ada_kimg": 500.0},
    "freeze-D 6": {"freeze_d": 6},
    "weaker R1": {"r1_gamma": 0.5},
    "faster": {"lr": 0.004},
    "ADA 0.6": {"ada_target": 0.6, "ada_kimg": 100.0},
    "bfloat16": {"precision": "bfloat16", "conv_clamp": 256.0},
    "relativistic": {},
    "relativistic, from noise": NOISE,
}


class Relativistic(Step):
    """The pairing loss with R1 and R2 of R3GAN (arXiv:2501.05441), both as often as R1 here."""

    def _generator_adversarial(self) -> None:
        latents, real = self._draw_latents(self.given.batch), self._draw_reals()
        total = torch.zeros([])
        for part in self.micro_batches:
            fake, _ = self._generate(latents[part.index], self.synthesis)
            value = F.softplus(self.D(real(part)) - self.D(fake)).mean() * (len(part) / self.given.batch)
            torch.autograd.backward(value)
            total += value.detach()
        update(self.state.opt_g)
        self.seen["loss_g"].append(total)

    def _discriminator_adversarial(self, real: Callable[[Part], torch.Tensor]) -> None:
        latents = self._draw_latents(self.given.batch)
        totals = torch.zeros(3)
        for part in self.micro_batches:
            share = len(part) / self.given.batch
            with torch.no_grad():
                fake, _ = self._generate(latents[part.index], self.synthesis)
            fakes, reals = self.D(fake), self.D(real(part))
            value = F.softplus(fakes - reals).mean() * share
            torch.autograd.backward(value)
            totals += torch.stack([value, fakes.mean() * share, reals.mean() * share]).detach()
        update(self.state.opt_d)
        for name, total in zip(("loss_d", "logits_fake", "logits_real"), totals, strict=True):
            self.seen[name].append(total)

    def _discriminator_r1(self, real: Callable[[Part], torch.Tensor]) -> None:
        given, latents = self.given, self._draw_latents(self.given.batch)
        total = torch.zeros([])
        for part in self.micro_batches:
            with torch.no_grad():
                fake, _ = self._generate(latents[part.index], self.synthesis)
            for shown in (real(part), fake):
                shown.requires_grad_(True)
                penalty = loss.r1_penalty(self.state.D(shown), shown).sum() / given.batch
                torch.autograd.backward(penalty * (given.r1_gamma / 2 * given.r1_interval))
                total += penalty.detach()
        update(self.state.opt_d)
        self.seen["r1"].append(total)


class OverError(Exception):
    """The time of a candidate is up."""


class Clock:
    """Counts the seconds that cores spend on a training, and keeps generators at certain of them."""

    def __init__(self, minutes: list[float]) -> None:
        self.minutes, self.spent, self.begun = sorted(minutes), 0.0, time.process_time()
        self.kept: dict[float, tuple[int, dict[str, torch.Tensor]]] = {}

    def __call__(self, row: training.Row, G: Generator) -> None:
        """After an epoch."""
        self.spent += time.process_time() - self.begun
        for minutes in self.minutes:
            if self.spent >= 60 * minutes and minutes not in self.kept:
                state = {name: value.clone() for name, value in G.state_dict().items()}
                self.kept[minutes] = round(1000 * row["kimg"]), state
        if len(self.kept) == len(self.minutes):
            raise OverError
        self.begun = time.process_time()


def trained(
    work: Path, data: torch.Tensor, given: Given, minutes: list[float], way: type[Step]
) -> tuple[Clock, Generator]:
    """Train for the longest of the times; the clock has the averaged generators at all of them."""
    training.Step = way  # type: ignore[attr-defined]
    clock = Clock(minutes)
    settings = dataclasses.replace(given.train, epochs=10**6, snapshot_epochs=10**6)
    work.mkdir(parents=True)
    with contextlib.suppress(OverError):
        training.train(data, settings, given.seed, work, "quality", start=start_of(settings.init), on_epoch=clock)
    return clock, training.new_state(settings, given.seed, "quality", CPU, None).G_ema


def main() -> None:
    """Parse the command line, train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="a folder for what is trained, which must not be there")
    parser.add_argument("--data", type=Path, required=True, help="the dataset")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2.0, 10.0])
    parser.add_argument("--only", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--inception", type=Path, help="weights, see benchmarks/measures.py")
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args()
    base = params.load(Given)
    data, rows = dataset.load(asked.data, base.train.resolution, None, base.seed)
    about = {"threads": torch.get_num_threads(), "cores": os.cpu_count(), "torch": torch.__version__}
    features = features_of(dataset.band(rows), asked.inception)
    pictures = data.permute(0, 2, 3, 1).numpy()
    real = features(pictures[np.sort(np.random.default_rng(0).permutation(len(pictures))[:SEEN])])
    table = []
    for name in asked.only:
        for seed in asked.seeds:
            given = Given(seed, dataclasses.replace(base.train, **CANDIDATES[name]))
            folder = asked.work / f"{name.replace(' ', '-')}-{seed}"
            way = Relativistic if name.startswith("relativistic") else Step
            clock, G = trained(folder, data, given, asked.minutes, way)
            for minutes, (shown, state) in clock.kept.items():
                G.load_state_dict(state)
                drawn = sample.draw(G, range(SEEN), 1.0)
                images.save_png(folder / f"{minutes:g}.png", images.grid(drawn[:GRID], 8))
                found = {key: distance(key, real[key], one) for key, one in features(drawn).items()}
                table.append({"candidate": name, "seed": seed, "minutes": minutes, "images": shown} | found)
                print(json.dumps(table[-1]), flush=True)
                asked.json.write_text(json.dumps({"about": about, "rows": table}, indent=1) + "\n")
    print(pd.DataFrame(table).round(4).to_string(index=False))


if __name__ == "__main__":
    main()
