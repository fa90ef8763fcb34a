"""How well does the style filter tell photos, painted portraits and line art apart?

    python benchmarks/style.py --faces DIR --json OUT                    the classifier that is shipped
    python benchmarks/style.py --faces DIR --json OUT --cross-validate   taught anew, by grouped cross-validation
    python benchmarks/style.py --faces DIR --rules DIR2                  what each rule rejects, with pictures in DIR2

DIR holds a faces.csv and the pictures that it names (semireal.classifiers.labelled).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from semireal import images
from semireal.classifiers import style as style_training
from semireal.classifiers.style import Table
from semireal.curate import style
from semireal.curate.filter import measures, verdict
from semireal.curate.style import STYLES
from semireal.params import whole
from semireal.params.filter import Filter

ROOT = Path(__file__).resolve().parents[1]
SHEET = 128  # px of a picture on a contact sheet
MOST = 60  # pictures on one


def figures(label: NDArray[np.int64], found: NDArray[np.float64], limits: Filter) -> dict[str, Any]:
    """The figures of a set: labels [N] (places in STYLES) and probabilities [N, 4]."""
    photo, portrait, sketch = (label == n for n in range(3))
    right = np.where(photo, found[:, 0] >= found[:, 1], found[:, 1] > found[:, 0])
    line_art, anime = (
        found[:, STYLES.index(name)] > (1 if limit is None else limit)
        for name, limit in (("line_art", limits.max_line_art), ("anime", limits.max_anime))
    )
    return {
        "photo_portrait_balanced_accuracy": _mean(right, photo) / 2 + _mean(right, portrait) / 2,
        "line_art_rejected": _mean(line_art | anime, sketch),
        "portrait_lost": _mean(line_art | anime, portrait),
        "photo_lost": _mean(line_art | anime, photo),
        "photo_right": _mean(right, photo),
        "portrait_right": _mean(right, portrait),
        "photos": int(photo.sum()),
        "portraits": int(portrait.sum()),
        "sketches": int(sketch.sum()),
    }


def _mean(values: NDArray[np.bool_], where: NDArray[np.bool_]) -> float:
    return round(float(values[where].mean()), 4) if where.any() else float("nan")


def shipped(faces: Path, limits: Filter) -> dict[str, Any]:
    """Figures of the shipped classifier."""
    table = style_training.measured(list(style_training.plain(style_training.real(faces))))
    return figures(table.label, style_training.predictions(table, style.load()), limits)


def validated(table: Table, limits: Filter, repeats: int = 3) -> dict[str, Any]:
    """Mean figures of grouped cross-validation, with different folds, on the real pictures as they are."""
    real = table.plain & (table.origin == "real")
    runs = [
        figures(table.label[real], style_training.cross_validated(table, salt)[real], limits) for salt in range(repeats)
    ]
    return {key: round(float(np.mean([run[key] for run in runs])), 4) for key in runs[0]}


# --- what the rules reject -----------------------------------------------------------------------------------


def rules(faces: Path, out: Path, given: whole.Params) -> None:
    """Table and contact sheets of what the report's rule (file size) rejects and what the other measures reject."""
    classifier = style.Classifier()
    rows = []
    for example in style_training.real(faces):
        img = style_training.finished(example.img)
        size = len(images.encode_jpeg(images.resize(example.img, given.resize.size), given.resize.quality))
        row = {"crop_side": len(example.img), "bytes": size, "domain": "auto"}
        row |= measures(img, row, classifier)
        small = size < given.filter.min_bytes
        rows.append((example, img, small, verdict(row | {"bytes": 1 << 30}, given.filter)))
    table = pd.DataFrame(
        [(STYLES[example.label], small, reason or "passes") for example, _, small, reason in rows],
        columns=["class", "below min_bytes", "other measures"],
    )
    print(pd.crosstab([table["class"], table["below min_bytes"]], table["other measures"]).to_string())
    out.mkdir(parents=True, exist_ok=True)
    for name, small, rejected in (("size_alone", True, False), ("measures_alone", False, True), ("both", True, True)):
        chosen = [img for _, img, s, reason in rows if s == small and bool(reason) == rejected][:MOST]
        if chosen:
            sheet = images.grid(np.stack([images.resize(img, SHEET) for img in chosen]), 10)
            images.save_png(out / f"{name}.png", sheet)
            print(f"{out / name}.png: {len(chosen)} pictures")


def main() -> None:
    """Parse the command line and print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cross-validate", action="store_true")
    parser.add_argument("--rules", type=Path)
    given = parser.parse_args()
    settings = whole.load(ROOT / "params.yaml")
    if given.rules:
        rules(given.faces, given.rules, settings)
        return
    if given.cross_validate:
        result = validated(style_training.taught(given.faces), settings.filter)
    else:
        result = shipped(given.faces, settings.filter)
    text = json.dumps(result, indent=2, sort_keys=True) + "\n"
    print(text, end="")
    if given.json:
        given.json.write_text(text)


if __name__ == "__main__":
    main()
