"""Teach the second look of semireal.faces.detect.Verified: what YuNet is not sure of, a logistic regression.

    python -m semireal.classifiers.verifier --faces DIR

writes src/semireal/faces/verifier.json. Learned from is what YuNet is not sure of in the labelled pictures of DIR, as
they are, mirrored, and at other sizes; `python benchmarks/verifier.py` says how good it is.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from semireal import images, params, stage
from semireal.classifiers import labelled
from semireal.faces import detect
from semireal.files import write_json
from semireal.images import Pixels
from semireal.params.crop import Crop

FEATURES = ["confidence", "animal"]
SIZES = (320, 640, 960)  # px, besides the default: the same faces, seen worse
HIT, APART = 0.4, 0.1  # overlap with the labelled face of what is one, and of what surely is another thing
RIDGE = 1.0
FOLDS = 10
DIGITS = 4  # the last bits of the network's answers differ between machines


@dataclass(frozen=True)
class Given:
    """What it takes of params.yaml."""

    crop: Crop


def candidates(folder: Path, crop: Crop) -> pd.DataFrame:
    """One row per face that YuNet finds, see `row_of`; `plain` = seen as the default detector sees it."""
    verified = detect.Verified(detect.YuNet(crop.score, crop.detect_size))
    finders = {size: detect.YuNet(crop.score, size) for size in sorted({*SIZES, crop.detect_size})}
    table = labelled.read(folder)
    rows = []
    for label in table[(table["has_face"] == 1) | (table["class"] == "noface")].to_dict("records"):
        straight = images.load_rgb(folder / label["path"])
        for img, mirrored in ((straight, False), (np.ascontiguousarray(straight[:, ::-1]), True)):
            left = img.shape[1] - label["x"] - label["w"] if mirrored else label["x"]
            box = (left, label["y"], left + label["w"], label["y"] + label["h"])
            for size, finder in finders.items():
                for face in finder(img):
                    row = row_of(verified, img, face, label | {"box": box})
                    rows.append(row | {"plain": size == crop.detect_size and not mirrored})
    return pd.DataFrame(rows)


def row_of(verified: detect.Verified, img: Pixels, face: detect.Face, label: dict[Any, Any]) -> dict[str, Any]:
    """Columns path, class, group, score, face (1, 0, or NaN = not known) and, if YuNet is not sure, the features.

    Not faces are: what is found in the faceless images, and beside the face of a painted portrait. Photos often
    have further people in the background.
    """
    row = {"path": label["path"], "class": label["class"], "group": str(label["group"]), "score": face.score}
    row |= {"face": np.nan, "confidence": np.nan, "animal": np.nan}
    faceless = label["class"] == "noface"
    overlap = 0.0 if faceless else detect.iou(face.box, label["box"])
    alone = label["class"] == "portrait" and pd.isna(label["note"])
    if overlap >= HIT:
        row["face"] = 1
    elif faceless or (alone and overlap < APART):
        row["face"] = 0
    if face.score < verified.SURE:
        row["confidence"], row["animal"] = verified.features(img, face)
    return row


def learnable(table: pd.DataFrame) -> pd.Series:
    """Which rows have both the features and an answer."""
    return table["face"].notna() & table["animal"].notna()


def fit(table: pd.DataFrame) -> NDArray[np.float64]:
    """Logistic regression with a ridge on the standardised features, by Newton's method; [features + 1], bias last."""
    x, y = table[FEATURES].to_numpy(), table["face"].to_numpy()
    mean, std = x.mean(0), x.std(0)
    z = np.column_stack([(x - mean) / std, np.ones(len(x))])
    ridge = np.diag([*[RIDGE] * x.shape[1], 0])
    w = np.zeros(z.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-z @ w))
        w -= np.linalg.solve((z * (p * (1 - p))[:, None]).T @ z + ridge, z.T @ (p - y) + ridge @ w)
    return np.array([*(w[:-1] / std), w[-1] - (w[:-1] * mean / std).sum()]).round(DIGITS)


def accepted(table: pd.DataFrame, w: NDArray[np.float64]) -> pd.Series:
    """Whether the detector with these weights takes each row for a face."""
    odds = pd.Series(table[FEATURES].to_numpy() @ w[:-1] + w[-1], index=table.index)
    return (table["score"] >= detect.Verified.SURE) | (odds > 0)


def cross_validated(table: pd.DataFrame, seed: int) -> pd.Series:
    """Whether each row is taken for a face by weights that have not seen its group."""
    groups = np.unique(table["group"].to_numpy(str))
    fold = dict(zip(groups, np.random.default_rng(seed).permutation(len(groups)) % FOLDS, strict=True))
    folds = table["group"].map(fold)
    out = pd.Series(False, index=table.index)
    for k in range(FOLDS):
        w = fit(table[learnable(table) & (folds != k)])
        out[folds == k] = accepted(table[folds == k], w)
    return out


def save(w: NDArray[np.float64], path: Path = detect.VERIFIER) -> None:
    """Write the weights as semireal.faces.detect reads them."""
    write_json(path, {"weights": w[:-1].tolist(), "bias": float(w[-1])})


def one_thread() -> None:
    """Compute on one thread: the same sums in the same order."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def main() -> None:
    """Teach the verifier of the face detector, and put it in its place."""
    folder = labelled.asked("semireal.classifiers.verifier", str(main.__doc__))
    one_thread()
    table = candidates(folder, params.load(Given).crop)
    save(fit(table[learnable(table)]))
    stage.say(f"wrote {detect.VERIFIER}. `python benchmarks/verifier.py --faces {folder}` measures it")


if __name__ == "__main__":
    stage.run(main)
