"""Does drawing evenly keep what is rare? Fine-tunes the base of the demo on drawn elves of whom most have black hair.

    python benchmarks/balance.py WORK [--balance null artist cluster] [--seeds 0 1] --json OUT

Of the 240 heads of the set 180 have black hair, and 12 each have one of five other colours, as if one of six artists
drew three quarters of it; half of each are photos. The gallery draws them, by seeds whose colour of hair it knows, and
they are cut around the box that the drawing knows. Generators are measured at psi = 1 against the set, and against 300
heads that no training has seen, 50 of each colour. Precision, recall and coverage (k = 3) are those of the offline
evaluation, on the whole. `recall_rare` is recall of the unseen heads whose hair is not black.

A picture is taken for the colour of the unseen head that is nearest to it; `right` in the JSON: how often that is true
of the unseen heads themselves. `rare` is the share of pictures whose colour is not black, `least` that of the rarest.
`copies`: of these rare pictures, the share that is nearer to a head of the set than to any of as many unseen ones of
the same colour: 0.5 without learning by heart. Every other parameter is that of params.yaml.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from semireal import images, params
from semireal.collect.gallery import faces
from semireal.collect.gallery.faces import STYLES, draw, face_box
from semireal.faces.crop import square
from semireal.images import Pixels
from semireal.manifest import Row
from semireal.metrics import distances, offline, usual
from semireal.metrics.distances import Features
from semireal.params.train import BALANCES
from semireal.stylegan2 import Generator, training
from semireal.training import balance, sample
from semireal.training.train import Given, start_of

CPU = torch.device("cpu")
ELF = "elf"
# the hair of drawn elves, as semireal.collect.gallery.faces mixes it
HAIR = {
    "blond": (218, 184, 116),
    "silver": (214, 214, 220),
    "red": (150, 66, 34),
    "black": (40, 32, 34),
    "green": (104, 126, 78),
    "brown": (168, 128, 76),
}
COMMON = list(HAIR).index("black")
SET = [180 if hair == COMMON else 12 for hair in range(len(HAIR))]  # heads of each colour
UNSEEN = [50] * len(HAIR)
MARGIN, LIFT = 0.35, 0.1  # of params.yaml
EPOCHS = (2, 4)  # that are measured
DRAWN = 512
GRID = 32
NEIGHBOURS = 3
Numbers = NDArray[np.int64]


def heads(counts: Sequence[int], purpose: int, side: int) -> Pixels:
    """Heads with each colour of hair, so many of each, half of them photos; each purpose has others."""
    left = {(hair, style): count // len(STYLES) for hair, count in enumerate(counts) for style in STYLES}
    found: dict[tuple[int, str], list[Pixels]] = {key: [] for key in left}
    tones = np.array(list(HAIR.values()), float)
    with tqdm(total=sum(left.values()), desc=f"heads {purpose}") as bar:
        for n in range(10**9):
            if not any(left.values()):
                break
            style, seed = STYLES[n % len(STYLES)], [purpose, n]
            tone = faces._plan(ELF, style, np.random.default_rng(seed)).look.hair
            key = int(((tones - np.array(tone)) ** 2).sum(axis=1).argmin()), style
            if not left[key]:
                continue
            picture = draw(ELF, style, np.random.default_rng(seed))
            box = face_box(ELF, style, np.random.default_rng(seed))
            x, y, width = square(box, MARGIN, LIFT, (picture.shape[1], picture.shape[0]))
            found[key].append(images.resize(picture[y : y + width, x : x + width], side))
            left[key] -= 1
            bar.update()
    return np.stack([one for group in found.values() for one in group])


def drawn_once(file: Path, counts: Sequence[int], purpose: int, side: int) -> Pixels:
    """The heads of a file, drawn first where it is not there."""
    if not file.exists():
        np.save(file, heads(counts, purpose, side))
    return np.asarray(np.load(file))


def rows_of(counts: Sequence[int]) -> list[Row]:
    """The rows of a manifest for these heads: each colour has an artist."""
    pairs = [
        (hair, style) for hair, count in enumerate(counts) for style in STYLES for _ in range(count // len(STYLES))
    ]
    names = list(HAIR)
    return [{"id": f"{n:04d}", "domain": style, "artist": names[hair]} for n, (hair, style) in enumerate(pairs)]


@dataclasses.dataclass(frozen=True)
class Looked:
    """Features of the whole of heads as the network gives them, the same in units of what is usual, and their hair."""

    whole: Features
    usual: Features
    hair: Numbers

    @classmethod
    def at(cls, pictures: Pixels, hair: Numbers) -> "Looked":
        """Look at NHWC pictures."""
        whole = offline.features(pictures, None, CPU)["whole"]
        return cls(whole, usual.load()["whole"](whole), hair)


def right(unseen: Looked) -> float:
    """Of the unseen heads, the share whose nearest other one has hair of the same colour."""
    table = distances.among(unseen.usual)
    np.fill_diagonal(table, np.inf)
    return float((unseen.hair[table.argmin(axis=1)] == unseen.hair).mean())


def measured(fakes: Pixels, own: Looked, unseen: Looked) -> dict[str, float]:
    """The numbers of a row of the table."""
    drawn = Looked.at(fakes, np.zeros(len(fakes), np.int64))
    found: dict[str, float] = {}
    for name, real in (("set", own), ("even", unseen)):
        found[f"distance_{name}"] = usual.apart(real.usual, drawn.usual)
        precision, recall = distances.precision_recall(real.whole, drawn.whole, NEIGHBOURS)
        coverage = distances.density_coverage(real.whole, drawn.whole, NEIGHBOURS)[1]
        found |= {f"precision_{name}": precision, f"recall_{name}": recall, f"coverage_{name}": coverage}
    balls = distances.balls(drawn.whole, NEIGHBOURS)
    rare = distances.between(unseen.whole[unseen.hair != COMMON], drawn.whole)
    found["recall_rare"] = distances.recall(rare, balls)
    hair = unseen.hair[distances.between(drawn.usual, unseen.usual).argmin(axis=1)]
    shares = np.bincount(hair, minlength=len(HAIR)) / len(hair)
    found |= {f"share_{name}": float(share) for name, share in zip(HAIR, shares, strict=True)}
    found |= {"rare": float(1 - shares[COMMON]), "least": float(shares.min())}
    return found | {"copies": _copies(drawn.usual, hair, own, unseen)}


def _copies(drawn: Features, hair: Numbers, own: Looked, unseen: Looked) -> float:
    nearer: list[bool] = []
    for colour, count in enumerate(SET):
        if colour == COMMON:
            continue
        # both are photos first, then portraits
        others = np.flatnonzero(unseen.hair == colour)
        others = np.concatenate([part[: count // 2] for part in np.split(others, 2)])
        sets = (own.usual[own.hair == colour], unseen.usual[others])
        if (hair == colour).any():
            least = [distances.between(drawn[hair == colour], one).min(axis=1) for one in sets]
            nearer += (least[0] < least[1]).tolist()
    return float(np.mean(nearer)) if nearer else float("nan")


def main() -> None:
    """Parse the command line, draw, train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="a folder for heads, states and grids")
    parser.add_argument("--balance", nargs="+", choices=("null", *BALANCES), default=["null", *BALANCES])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args()
    base = params.load(Given)
    side = base.train.resolution
    asked.work.mkdir(parents=True, exist_ok=True)
    pictures = drawn_once(asked.work / "set.npy", SET, 1, side)
    own, unseen = (
        Looked.at(one, np.repeat(np.arange(len(HAIR)), counts))
        for one, counts in ((pictures, SET), (drawn_once(asked.work / "unseen.npy", UNSEEN, 2, side), UNSEEN))
    )
    data = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
    rows = rows_of(SET)
    start = start_of(base.train.init)
    report: dict[str, Any] = {"torch": torch.__version__, "right": right(unseen), "shown": {}, "rows": []}

    def note(head: dict[str, Any], G: Generator, grid: Path) -> None:
        fakes = sample.draw(G, range(DRAWN), 1.0)
        images.save_png(grid, images.grid(fakes[:GRID], 8))
        report["rows"].append(head | measured(fakes, own, unseen))
        print(json.dumps(report["rows"][-1]), flush=True)
        asked.json.write_text(json.dumps(report, indent=1) + "\n")

    for seed in asked.seeds:
        for how in asked.balance:
            given = dataclasses.replace(base.train, epochs=max(EPOCHS), snapshot_epochs=10**6)
            groups = None if how == "null" else balance.groups(rows, data, how, None, CPU)
            if groups is not None:
                parts = np.bincount(own.hair, groups.times(), len(HAIR)) / len(rows)
                report["shown"][how] = dict(zip(HAIR, parts.round(4).tolist(), strict=True))
            head = {"balance": how, "seed": seed}

            def measure(row: training.Row, G: Generator, head: dict[str, Any] = head) -> None:
                if row["epoch"] in EPOCHS:
                    name = f"{head['balance']}-{head['seed']}-{row['epoch']:g}.png"
                    note(head | {"epochs": int(row["epoch"])}, G, asked.work / name)

            folder = asked.work / f"{how}-{seed}"
            training.train(data, given, seed, folder, "balance", start=start, on_epoch=measure, groups=groups)
    print(pd.DataFrame(report["rows"]).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
