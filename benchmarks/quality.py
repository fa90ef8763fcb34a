"""What is a face worth after so many minutes? Candidates for the settings of a training, each for the same time.

    python benchmarks/quality.py WORK --data data/dataset --minutes 2 10 [--only transfer noise] [--seeds 3]
        [--inception WEIGHTS] --json OUT

Each candidate of CANDIDATES, which changes the parameters of params.yaml, trains for as long as the longest time. The
minutes are those of one core, all threads of the training together and nothing else: ten minutes on two cores are about
twenty. Its averaged generator is kept after the first epoch that reaches each of the times, measured against the
dataset with SEEN images at psi = 1, and drawn (WORK, to be looked at). Distances are those of semireal.metrics.usual;
beside them, where WEIGHTS are given, the kernel distance on 768 features of the Inception.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from semireal import images, params
from semireal.stylegan2 import Generator, training
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
}


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


def trained(work: Path, data: torch.Tensor, given: Given, minutes: list[float]) -> tuple[Clock, Generator]:
    """Train for the longest of the times; the clock has the averaged generators at all of them."""
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
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--inception", type=Path, help="weights, see benchmarks/measures.py")
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args()
    base = params.load(Given)
    data, rows = dataset.load(asked.data, base.train.resolution, None, base.seed)
    features = features_of(dataset.band(rows), asked.inception)
    pictures = data.permute(0, 2, 3, 1).numpy()
    real = features(pictures[np.sort(np.random.default_rng(0).permutation(len(pictures))[:SEEN])])
    table = []
    for name in asked.only:
        for seed in range(asked.seeds):
            given = Given(seed, dataclasses.replace(base.train, **CANDIDATES[name]))
            folder = asked.work / f"{name.replace(' ', '-')}-{seed}"
            clock, G = trained(folder, data, given, asked.minutes)
            for minutes, (shown, state) in clock.kept.items():
                G.load_state_dict(state)
                drawn = sample.draw(G, range(SEEN), 1.0)
                images.save_png(folder / f"{minutes:g}.png", images.grid(drawn[:GRID], 8))
                found = {key: distance(key, real[key], one) for key, one in features(drawn).items()}
                table.append({"candidate": name, "seed": seed, "minutes": minutes, "images": shown} | found)
                print(json.dumps(table[-1]), flush=True)
    print(pd.DataFrame(table).round(4).to_string(index=False))
    about = {"threads": torch.get_num_threads(), "cores": os.cpu_count(), "torch": torch.__version__}
    asked.json.write_text(json.dumps({"about": about, "rows": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
