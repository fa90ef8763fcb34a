"""Does drawing evenly keep what is rare? Fine-tunes the base of the demo on drawn elves of whom most have black hair.

    python benchmarks/balance.py WORK [--balance null artist cluster] [--seeds 0] --json OUT

Of the 240 heads of the set 180 have black hair, and 12 each have one of five other colours, as if one of six artists
drew three quarters of it; half of each are photos. The gallery draws them, by seeds whose colour of hair it knows, and
they are cut around the box that the drawing knows. Generators are measured after 4000 images at psi = 1, 512 pictures
of each, against the set, and against 300 heads that no training has seen, 50 of each colour.

Precision, recall and coverage (k = 3) are taken in three spaces: `whole`, the features of the offline evaluation;
`hair`, mean L*a*b* of a strip of hair in the middle above the forehead; `told`, the five directions of the whole that
tell the colours of the unseen heads apart best (linear discriminants of 40 principal components), where what all drawn
pictures lack counts for little. `_rare` are those of the unseen heads whose hair is not black. `distance` is that of
semireal.metrics.usual.

A picture is taken for the colour of the unseen head whose hair is nearest; `right` in the JSON: how often that is true
of the unseen heads themselves. `copies`: of the pictures that are taken for a rare colour, the share that is nearer, on
the whole, to a head of the set than to any of as many unseen ones of that colour: 0.5 without learning by heart. Every
other parameter is that of params.yaml. OUT keeps the rows of earlier calls, and WORK what was trained.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
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
from semireal.stylegan2 import training
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
STRIP = (1 / 16, 11 / 64, 11 / 32, 21 / 32)  # of the side of a head: rows, columns
COMPONENTS = 40
EPOCHS = 4
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


class Spaces:
    """What the spaces are, from the unseen heads and their hair; each gives features of NHWC pictures, by name."""

    def __init__(self, unseen: Pixels, hair: Numbers) -> None:
        whole = self._whole(unseen)
        self.told = make_pipeline(
            PCA(COMPONENTS, random_state=0), LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
        ).fit(whole, hair)

    def __call__(self, pictures: Pixels) -> dict[str, Features]:
        """Features of the pictures, [N, D] each."""
        whole = self._whole(pictures)
        top, bottom, left, right = (round(edge * pictures.shape[1]) for edge in STRIP)
        strips = (img[top:bottom, left:right].astype(np.float32) / 255 for img in pictures)
        hair = np.stack([cv2.cvtColor(one, cv2.COLOR_RGB2LAB).mean(axis=(0, 1)) for one in strips])
        return {"whole": whole, "hair": hair, "told": self.told.transform(whole)}

    @staticmethod
    def _whole(pictures: Pixels) -> Features:
        return usual.load()["whole"](offline.features(pictures, None, CPU)["whole"])


def right(unseen: dict[str, Features], hair: Numbers) -> float:
    """Of the unseen heads, the share whose nearest other one has hair of the same colour."""
    table = distances.among(unseen["hair"])
    np.fill_diagonal(table, np.inf)
    return float((hair[table.argmin(axis=1)] == hair).mean())


def measured(
    drawn: dict[str, Features], own: dict[str, Features], unseen: dict[str, Features], hair: Numbers
) -> dict[str, float]:
    """The numbers of a row of the table; hair: of the unseen heads."""
    found: dict[str, float] = {}
    rare = hair != COMMON
    for name, real in (("set", own), ("even", unseen)):
        found[f"distance_{name}"] = usual.apart(real["whole"], drawn["whole"])
        for space, x in drawn.items():
            precision, recall = distances.precision_recall(real[space], x, NEIGHBOURS)
            coverage = distances.density_coverage(real[space], x, NEIGHBOURS)[1]
            values = {"precision": precision, "recall": recall, "coverage": coverage}
            found |= {f"{kind}_{space}_{name}": value for kind, value in values.items()}
    for space, x in drawn.items():
        cross = distances.between(unseen[space], x)[rare]
        found[f"recall_{space}_rare"] = distances.recall(cross, distances.balls(x, NEIGHBOURS))
        found[f"coverage_{space}_rare"] = distances.coverage(cross, distances.balls(unseen[space], NEIGHBOURS)[rare])
    seen = hair[distances.between(drawn["hair"], unseen["hair"]).argmin(axis=1)]
    shares = np.bincount(seen, minlength=len(HAIR)) / len(seen)
    found |= {f"share_{name}": float(share) for name, share in zip(HAIR, shares, strict=True)}
    return found | {"copies": copies(drawn["whole"], seen, own["whole"], unseen["whole"])}


def copies(drawn: Features, seen: Numbers, own: Features, unseen: Features) -> float:
    """Of the pictures with rare hair, the share that is nearer to a head of the set than to as many unseen ones."""
    nearer: list[bool] = []
    of_set, of_unseen = (np.repeat(np.arange(len(HAIR)), counts) for counts in (SET, UNSEEN))
    for colour in set(seen.tolist()) - {COMMON}:
        half = SET[colour] // 2
        photos, portraits = np.split(np.flatnonzero(of_unseen == colour), 2)
        others = unseen[np.concatenate([photos[:half], portraits[:half]])]
        least = [distances.between(drawn[seen == colour], one).min(axis=1) for one in (own[of_set == colour], others)]
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
    held_out, hair = drawn_once(asked.work / "unseen.npy", UNSEEN, 2, side), np.repeat(np.arange(len(HAIR)), UNSEEN)
    spaces = Spaces(held_out, hair)
    own, unseen = spaces(pictures), spaces(held_out)
    data = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
    rows, start = rows_of(SET), start_of(base.train.init)
    empty: dict[str, Any] = {"shown": {}, "rows": {}}
    report = json.loads(asked.json.read_text()) if asked.json.exists() else empty
    report |= {"torch": torch.__version__, "right": right(unseen, hair)}
    # what a generator that draws the set itself would get
    perfect = measured(own, own, unseen, hair)
    report["rows"]["the set itself"] = {key: perfect[key] for key in perfect if key.endswith(("_even", "_rare"))}
    for seed in asked.seeds:
        for how in asked.balance:
            given = dataclasses.replace(base.train, epochs=EPOCHS, snapshot_epochs=10**6)
            groups = None if how == "null" else balance.groups(rows, data, how, None, CPU)
            if groups is not None:
                parts = np.bincount(np.repeat(np.arange(len(HAIR)), SET), groups.times(), len(HAIR)) / len(rows)
                report["shown"][how] = dict(zip(HAIR, parts.round(4).tolist(), strict=True))
                print(balance.told(groups, how))
            folder = asked.work / f"{how}-{seed}"
            state = training.train(data, given, seed, folder, "balance", start=start, groups=groups)
            fakes = sample.draw(state.G_ema, range(DRAWN), 1.0)
            images.save_png(asked.work / f"{how}-{seed}.png", images.grid(fakes[:GRID], 8))
            report["rows"][f"{how}, seed {seed}"] = measured(spaces(fakes), own, unseen, hair)
            asked.json.write_text(json.dumps(report, indent=1) + "\n")
    print(pd.DataFrame(report["rows"]).round(3).to_string())


if __name__ == "__main__":
    main()
