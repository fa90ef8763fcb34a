"""Teach the offline distances what is usual among faces.

    python -m semireal.classifiers.usual --faces DIR

writes src/semireal/metrics/usual.safetensors. Learned from are the heads of the labelled photos and paintings of DIR,
cut as stage crop cuts them, at several sizes; `python benchmarks/measures.py` says what the distances then see.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from semireal import images, params, stage
from semireal.classifiers import labelled
from semireal.faces import crop, detect
from semireal.images import Pixels
from semireal.metrics import offline, usual
from semireal.metrics.distances import Features
from semireal.metrics.usual import Usual
from semireal.params.crop import Crop
from semireal.vision import looks

SIZES = (64, 128, 256)  # px
AXES = 64  # at most; with twice as many less is seen, since the last ones are noise
LEAST_LEFT = 1  # axes that are not shrunk, of a kind that has few


@dataclass(frozen=True)
class Given:
    """What it takes of params.yaml."""

    crop: Crop


@dataclass(frozen=True)
class Head:
    """A head [S, S, 3] uint8, its landmarks [5, 2] in shares of its side, and its line in faces.csv."""

    img: Pixels
    points: NDArray[np.float64]
    photo: bool
    group: str


def heads(folder: Path, given: Crop) -> Iterator[Head]:
    """The heads of all labelled photos and paintings that the detector finds, cut as a box."""
    detector = detect.make(given.detector_photo, given.score, given.detect_size)
    table = labelled.read(folder)
    for row in table[table["class"].isin(["photo", "portrait"]) & (table["has_face"] == 1)].to_dict("records"):
        img = images.load_rgb(folder / row["path"])
        for face in detector(img)[:1]:
            if face.landmarks is None:
                continue
            left, top, side = crop.square(face.box, given.margin, given.lift, (img.shape[1], img.shape[0]))
            points = (face.landmarks.astype(np.float64) - (left, top)) / side
            yield Head(img[top : top + side, left : left + side], points, row["class"] == "photo", str(row["group"]))


def seen(found: list[Head]) -> dict[str, Features]:
    """Features of the heads at all SIZES, by kind."""
    band = looks.band_of(np.stack([head.points[:2] for head in found]))
    parts = [
        offline.features(np.stack([images.resize(head.img, size) for head in found]), band, torch.device("cpu"))
        for size in SIZES
    ]
    return {kind: np.concatenate([part[kind] for part in parts]) for kind in usual.KINDS}


def fit(features: Features) -> Usual:
    """What is usual among features [N, D]: the first axes, shrunk to the standard deviation of the one behind them."""
    mean = features.mean(axis=0)
    _, spread, turn = np.linalg.svd(features - mean, full_matrices=False)
    count = min(AXES, len(spread) - LEAST_LEFT)
    whole = Usual(mean, turn[:count], spread[count] / spread[:count], np.ones(1))
    scale = 1 / np.sqrt(np.mean(whole(features) ** 2, keepdims=True).ravel())
    return Usual(mean, turn[:count], spread[count] / spread[:count], scale)


def save(found: Mapping[str, Usual], path: Path = usual.FILE) -> None:
    """Write what is usual of each kind in half precision; the same content gives the same bytes."""
    tensors = {
        f"{kind}.{part}": np.ascontiguousarray(values, np.float16)
        for kind, one in found.items()
        for part, values in one.__dict__.items()
    }
    save_file(tensors, path)


def main() -> None:
    """Teach the offline distances what is usual among faces, and put that in its place."""
    folder = labelled.asked("semireal.classifiers.usual", str(main.__doc__))
    found = list(heads(folder, params.load(Given).crop))
    save({kind: fit(features) for kind, features in seen(found).items()})
    stage.say(f"{len(found)} heads; wrote {usual.FILE}. `python benchmarks/measures.py --faces {folder}` measures it")


if __name__ == "__main__":
    stage.run(main)
