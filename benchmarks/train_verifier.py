"""Train the second look of `detect.Verified`, and say how good it is on images that it has not seen.

    python benchmarks/train_verifier.py --faces DIR [--json OUT]

Takes what YuNet is not sure of in the labelled images (DIR holds faces.csv and images), also mirrored and at other
sizes, fits a logistic regression on the two features of `detect.Verified` and writes src/semireal/verifier.json.
Cross-validation keeps all images of a person or character (column group) in one fold; the printed figures are those
of the whole detector on the images as they are.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from semireal import images
from semireal.faces import detect
from semireal.files import write_json
from semireal.images import Pixels
from semireal.params import whole

ROOT = Path(__file__).resolve().parents[1]
FEATURES = ["confidence", "animal"]
SIZES = (320, 640, 960)  # px, besides the default: the same faces, seen worse
HIT, APART = 0.4, 0.1  # overlap with the labelled face of what is one, and of what surely is another thing
RIDGE = 1.0
FOLDS, REPEATS = 10, 5
DIGITS = 4  # the last bits of the network's answers differ between machines


def candidates(folder: Path) -> pd.DataFrame:
    """One row per face that YuNet finds, see `row_of`; `plain` = seen as the default detector sees it."""
    crop = whole.load(ROOT / "params.yaml").crop
    verified = detect.Verified(detect.YuNet(crop.score, crop.detect_size))
    finders = {size: detect.YuNet(crop.score, size) for size in sorted({*SIZES, crop.detect_size})}
    table = pd.read_csv(folder / "faces.csv")
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


def fit(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logistic regression with a ridge on the standardised features, by Newton's method; [features + 1], bias last."""
    mean, std = x.mean(0), x.std(0)
    z = np.column_stack([(x - mean) / std, np.ones(len(x))])
    ridge = np.diag([*[RIDGE] * x.shape[1], 0])
    w = np.zeros(z.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-z @ w))
        w -= np.linalg.solve((z * (p * (1 - p))[:, None]).T @ z + ridge, z.T @ (p - y) + ridge @ w)
    return np.array([*(w[:-1] / std), w[-1] - (w[:-1] * mean / std).sum()])


def accepted(table: pd.DataFrame, w: NDArray[np.float64]) -> pd.Series:
    """Whether the detector with these weights takes each row for a face."""
    odds = pd.Series(table[FEATURES].to_numpy() @ w[:-1] + w[-1], index=table.index)
    return (table["score"] >= detect.Verified.SURE) | (odds > 0)


def cross_validated(table: pd.DataFrame, train: pd.Series, seed: int) -> pd.Series:
    """Whether each row is taken for a face by weights that have not seen its group."""
    groups = np.unique(table["group"].to_numpy(str))
    fold = dict(zip(groups, np.random.default_rng(seed).permutation(len(groups)) % FOLDS, strict=True))
    folds = table["group"].map(fold)
    out = pd.Series(False, index=table.index)
    for k in range(FOLDS):
        part = table[train & (folds != k)]
        w = fit(part[FEATURES].to_numpy(), part["face"].to_numpy())
        out[folds == k] = accepted(table[folds == k], w)
    return out


def figures(table: pd.DataFrame, taken: pd.Series, counts: pd.Series) -> dict[str, float]:
    """The measures of benchmarks/detect.py; counts: images per class."""
    taken = taken & table["plain"]
    hits = table[taken & (table["face"] == 1)].drop_duplicates("path")["class"].value_counts()
    result = {f"recall_{kind}": float(hits[kind] / counts[kind]) for kind in ("photo", "portrait")}
    false = taken & (table["class"] == "noface")
    return result | {"fp_per_faceless": float(false.sum() / counts["noface"])}


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)

    table = candidates(given.faces)
    labels = pd.read_csv(given.faces / "faces.csv")
    counts = labels[(labels["has_face"] == 1) | (labels["class"] == "noface")]["class"].value_counts()
    train = table["face"].notna() & table["animal"].notna()
    part = table[train]
    w = fit(part[FEATURES].to_numpy(), part["face"].to_numpy()).round(DIGITS)
    write_json(detect.VERIFIER, {"weights": w[:-1].tolist(), "bias": float(w[-1])})
    repeats = [figures(table, cross_validated(table, train, seed), counts) for seed in range(REPEATS)]
    result = {
        "faces": int((part["face"] == 1).sum()),
        "others": int((part["face"] == 0).sum()),
        "resubstitution": figures(table, accepted(table, w), counts),
        "cross_validated": pd.DataFrame(repeats).mean().to_dict(),
        "without_verification": figures(table, pd.Series(True, index=table.index), counts),
    }
    print(json.dumps(result, indent=2))
    if given.json:
        write_json(given.json, result)


if __name__ == "__main__":
    main()
