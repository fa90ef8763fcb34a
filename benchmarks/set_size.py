"""Which settings for how many images? Fine-tunes the base of the demo on 58, 200 and 1212 heads of a drawn elf.

    python benchmarks/set_size.py WORK --data data/dataset [--sizes 58 200 1212] [--only NAME ...] --json OUT

The sizes are those of the three sets of the 2022 report. Half of each set are photos. The heads are drawn by the
gallery, cut around the box that the drawing knows, and seen in a finished dataset (--data) are only the eyes' places.
Since heads can be drawn without end, a generator is measured against heads that no training has seen: distances of
semireal.metrics.usual at psi = 1, and coverage (k = 3) of the whole. `copies` is the share of its pictures that are
nearer to a head of the set (to one of its first 600) than to any of as many unseen ones: 0.5 without learning by heart.
Each candidate of CANDIDATES changes the parameters of params.yaml, which has to be that of the elf.
"""

import argparse
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from semireal import images, params
from semireal.collect.gallery.faces import STYLES, draw, face_box
from semireal.faces.crop import square
from semireal.images import Pixels
from semireal.metrics import distances, usual
from semireal.params.crop import Crop
from semireal.stylegan2 import Generator, training
from semireal.training import dataset, sample
from semireal.training.train import Given, start_of
from snapshots import distance, features_of

ELF = "elf"
SIZES = (58, 200, 1212)
EPOCHS = (1, 2, 4)
UNSEEN = 600  # heads that no training sees
SEEN = 512  # of them
GRID = 32
CANDIDATES: dict[str, dict[str, Any]] = {
    "as committed": {},
    "freeze-D 6": {"freeze_d": 6},
    "ADA 0.6": {"ada_target": 0.6, "ada_kimg": 100.0},
    "R1 6": {"r1_gamma": 6.0},
    "no mirror": {"mirror": False},
    "from noise": {"init": "experiments/noise.init", "ema_rampup": 0.1},
}


@dataclass(frozen=True)
class Cut:
    """What of params.yaml says how heads are cut."""

    crop: Crop


def heads(count: int, purpose: int, side: int, cut: Crop) -> Pixels:
    """Heads of the elf in both styles in turn, [count, side, side, 3]; each purpose has others."""
    found = np.empty((count, side, side, 3), np.uint8)
    for n in tqdm(range(count), desc=f"heads {purpose}"):
        style = STYLES[n % len(STYLES)]
        picture = draw(ELF, style, np.random.default_rng([purpose, n]))
        box = face_box(ELF, style, np.random.default_rng([purpose, n]))
        left, top, width = square(box, cut.margin, cut.lift, (picture.shape[1], picture.shape[0]))
        found[n] = images.resize(picture[top : top + width, left : left + width], side)
    return found


def drawn_once(file: Path, *of: Any) -> Pixels:
    """The heads of a file, drawn first where it is not there."""
    if not file.exists():
        np.save(file, heads(*of))
    return np.asarray(np.load(file))


def nearer(fakes: distances.Features, own: distances.Features, others: distances.Features) -> float:
    """Share of the pictures that are nearer to one of their own training than to one of as many others."""
    least = [distances.between(fakes, one[: min(len(own), len(others))]).min(axis=1) for one in (own, others)]
    return float((least[0] < least[1]).mean())


def main() -> None:
    """Parse the command line, draw, train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="a folder for heads and grids")
    parser.add_argument("--data", type=Path, required=True, help="a dataset of the elf, for the places of the eyes")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--only", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args()
    base, cut = params.load(Given), params.load(Cut).crop
    asked.work.mkdir(parents=True, exist_ok=True)
    side = base.train.resolution
    pool = drawn_once(asked.work / "set.npy", max(SIZES), 1, side, cut)
    unseen = drawn_once(asked.work / "unseen.npy", UNSEEN, 2, side, cut)
    band = dataset.band(dataset.load(asked.data, side, None, base.seed)[1])
    features = features_of(band, None)
    real, own = features(unseen), features(pool)
    seen = {key: one[:SEEN] for key, one in real.items()}
    table = []
    for size in asked.sizes:
        for name in asked.only:
            given = dataclasses.replace(base.train, epochs=max(EPOCHS), snapshot_epochs=10**6, **CANDIDATES[name])
            folder = asked.work / f"{size}-{name.replace(' ', '-')}"
            folder.mkdir()

            def measure(row: training.Row, G: Generator, size: int = size, name: str = name, to: Path = folder) -> None:
                if row["epoch"] not in EPOCHS:
                    return
                fakes = sample.draw(G, range(SEEN), 1.0)
                images.save_png(to / f"{row['epoch']}.png", images.grid(fakes[:GRID], 8))
                looked = features(fakes)
                whole = [usual.load()["whole"](one["whole"]) for one in (real, own, looked)]
                found = {key: distance(key, one, looked[key]) for key, one in seen.items()}
                _, coverage = distances.density_coverage(whole[0][:SEEN], whole[2], 3)
                copies = nearer(whole[2], whole[1][:size], whole[0][:size])
                head = {"images": size, "candidate": name, "epochs": int(row["epoch"])}
                table.append(head | found | {"coverage": coverage, "copies": copies})
                print(json.dumps(table[-1]), flush=True)
                asked.json.write_text(json.dumps({"torch": torch.__version__, "rows": table}, indent=1) + "\n")

            data = torch.from_numpy(pool[:size]).permute(0, 3, 1, 2).contiguous()
            training.train(data, given, base.seed, folder, "size", start=start_of(given.init), on_epoch=measure)
    print(pd.DataFrame(table).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
