"""Which distance should choose the best snapshot? Trains as params.yaml says, and measures every second snapshot.

    python benchmarks/snapshots.py train WORK --data data/dataset
    python benchmarks/snapshots.py measure WORK --data data/dataset --json OUT [--inception WEIGHTS]

Each snapshot is measured twice, with other latents. For each way to choose: the epochs it chose, and how much more of
each distance the chosen snapshot has than the best one has by that distance, in percent, mean of both. A good way
chooses what is near the best by all of them, and the same one twice. WEIGHTS: see benchmarks/measures.py.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from measures import inception_768
from semireal import params
from semireal.images import Pixels
from semireal.metrics import distances, offline, usual
from semireal.stylegan2 import Generator, load_generator, save_networks, training
from semireal.training import dataset, monitor
from semireal.training.sample import draw
from semireal.training.train import Given
from semireal.vision.looks import Band

CPU = torch.device("cpu")
EVERY = 2  # epochs
DRAWS = 2
Table = NDArray[np.float64]  # [draws, snapshots]


def train(work: Path, data: Path) -> None:
    """Train, and keep the averaged generator of every second epoch."""
    given = params.load(Given)
    images, _ = dataset.load(data, given.train.resolution, given.train.photo_ratio, given.seed)
    work.mkdir(parents=True, exist_ok=True)

    def keep(row: training.Row, G: Generator) -> None:
        epoch = int(row["epoch"])
        if epoch % EVERY == 0:
            save_networks(work / f"{epoch:04d}.safetensors", G.config, G.state_dict(), None, {"epochs": epoch})

    training.train(images, given.train, given.seed, work / "state", "snapshots", on_epoch=keep)


def measure(work: Path, data: Path, weights: Path | None) -> tuple[list[int], dict[str, Table]]:
    """The epochs, and by name of the distance the values for each draw and snapshot."""
    given = params.load(Given)
    tensor, rows = dataset.load(data, given.train.resolution, given.train.photo_ratio, given.seed)
    looking = features_of(dataset.band(rows), weights)
    real = looking(tensor.permute(0, 2, 3, 1).numpy()[: monitor.IMAGES])
    files = sorted(work.glob("*.safetensors"))
    values: dict[str, list[list[float]]] = {name: [[] for _ in range(DRAWS)] for name in real}
    for path in files:
        G = load_generator(path)
        for n in range(DRAWS):
            seeds = range(n * monitor.IMAGES, (n + 1) * monitor.IMAGES)
            for name, features in looking(draw(G, seeds, 1.0)).items():
                values[name][n].append(distance(name, real[name], features))
        print(path.name, {name: round(found[-1][-1], 5) for name, found in values.items()}, flush=True)
    return [int(path.stem) for path in files], {name: np.array(found) for name, found in values.items()}


def features_of(band: Band | None, weights: Path | None) -> Callable[[Pixels], dict[str, distances.Features]]:
    """What gives the features of pictures by name: our own, and those of the Inception where there are weights."""
    inception = inception_768(weights) if weights else None

    def looking(pictures: Pixels) -> dict[str, distances.Features]:
        found = offline.features(pictures, band, CPU)
        more = {"Inception 768": inception.compute(pictures, CPU).astype(np.float64)} if inception else {}
        return found | more

    return looking


def distance(name: str, real: distances.Features, drawn: distances.Features) -> float:
    """As a monitor takes it, or KID's kernel."""
    return usual.distance(name, real, drawn) if name in usual.KINDS else distances.kernel(real, drawn)


def choosing(values: dict[str, Table]) -> dict[str, Table]:
    """Ways to choose: name -> what the best snapshot of a draw has least of."""
    count = len(next(iter(values.values()))[0])
    each = [[{name: float(one[n, at]) for name, one in values.items()} for at in range(count)] for n in range(DRAWS)]
    return values | {"together": np.array([[monitor.together(one) for one in row] for row in each])}


def summary(epochs: list[int], values: dict[str, Table]) -> pd.DataFrame:
    """One row per way to choose."""
    rows = []
    for name, least in choosing(values).items():
        chosen = [int(at) for at in least.argmin(axis=1)]
        row: dict[str, object] = {"chooses by": name, "epochs": ", ".join(str(epochs[at]) for at in chosen)}
        worst = 0.0
        for other, table in values.items():
            mean = table.mean(axis=0)
            more = float(np.mean([mean[at] for at in chosen]) / mean.min() - 1)
            row[other] = f"{100 * more:.0f}"
            worst = max(worst, more)
        rows.append(row | {"worst": f"{100 * worst:.0f}"})
    return pd.DataFrame(rows)


def main() -> None:
    """Train or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["train", "measure"])
    parser.add_argument("work", type=Path, help="folder for the snapshots")
    parser.add_argument("--data", type=Path, required=True, help="the dataset")
    parser.add_argument("--inception", type=Path, help="weights")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    if given.step == "train":
        train(given.work, given.data)
        return
    epochs, values = measure(given.work, given.data, given.inception)
    print(summary(epochs, values).to_string(index=False))
    content = {"epochs": epochs} | {name: table.round(6).tolist() for name, table in values.items()}
    given.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
