"""How many of the marks over a head are found, and how many clean heads are lost?

    python benchmarks/marks.py --faces DIR --json OUT [--sheets FOLDER]
    python benchmarks/marks.py --elsewhere DIR --json OUT    the model as it is shipped, on the figures of
                                                             benchmarks/detect_elsewhere.py

Cross-validated: what is asked about a head was learned from others, of other people, with marks in other fonts.
DIR holds a faces.csv and the pictures that it names (semireal.classifiers.labelled). `recall`: share of the marked
heads that are found, of all and of each kind, where 2 or 5 % of the clean ones are lost; `face`: of marks that touch
the middle of the head.
"""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

import detect_elsewhere
from semireal import images
from semireal.classifiers import drawn_marks, marks, style
from semireal.classifiers.marks import Seen
from semireal.curate.marks import GRID, Finder
from semireal.faces import crop, detect
from semireal.files import write_json
from semireal.params import whole

ROOT = Path(__file__).resolve().parents[1]
HALF = 0.5
SMALLEST = 60  # px of a face; smaller heads say more about enlarging
ASKED = 4  # marks over each head, of different kinds
MIDDLE = slice(GRID // 3, GRID - GRID // 3)
SHEET, ACROSS = 160, 10
FEW = 40  # pictures on a sheet


def split(fonts: list[Path]) -> tuple[list[Path], list[Path]]:
    """Two halves with no family in common."""
    families = sorted({path.name[:4].lower() for path in fonts})
    first = set(families[::2])
    return [p for p in fonts if p.name[:4].lower() in first], [p for p in fonts if p.name[:4].lower() not in first]


def cross_validated(taught: list[Seen], asked: list[Seen]) -> NDArray[np.float64]:
    """Probability of each head in `asked`, by a model that saw nothing of its group."""
    fold, of = (style.folds(np.array([one.group for one in some])) for some in (taught, asked))
    found = np.zeros(len(asked))
    for k in range(style.FOLDS):
        model = marks.fit([one for one, place in zip(taught, fold, strict=True) if place != k])
        for number in np.flatnonzero(of == k):
            found[number] = model(asked[number].found.astype(np.float32))
    return found


def figures(asked: list[Seen], found: NDArray[np.float64]) -> dict[str, Any]:
    """The table."""
    marked = np.array([one.marked for one in asked])
    kind = np.array([one.kind for one in asked])
    over = np.array([one.covered.reshape(GRID, GRID)[MIDDLE, MIDDLE].max() > 0 for one in asked])
    result: dict[str, Any] = {"clean": int((~marked).sum()), "marked": int(marked.sum())}
    result["auc"] = round(float(roc_auc_score(marked, found)), 4)
    result["lost_at_one_half"] = round(float((found[~marked] > HALF).mean()), 4)
    result["found_at_one_half"] = round(float((found[marked] > HALF).mean()), 4)
    for loss in (0.02, 0.05):
        hit = found > np.quantile(found[~marked], 1 - loss)
        result[f"recall_at_{loss}"] = {
            "all": round(float(hit[marked].mean()), 4),
            "face": round(float(hit[marked & over].mean()), 4),
            **{one: round(float(hit[kind == one].mean()), 4) for one in marks.KINDS},
        }
    return result


def elsewhere(folder: Path) -> dict[str, Any]:
    """The shipped model on heads of another kind of pictures, each as it is and with one mark."""
    crop_ = whole.load(ROOT / "params.yaml").crop
    find = detect.make(crop_.detector_portrait, crop_.score, crop_.detect_size, largest=True)
    fonts, asked = drawn_marks.fonts_of(), []
    ask = Finder()
    for number, img in enumerate(map(detect_elsewhere.read, detect_elsewhere.people(folder))):
        faces = find(img)
        if faces and faces[0].side >= SMALLEST:
            x, y, side = crop.square(faces[0].box, crop_.margin, crop_.lift, (img.shape[1], img.shape[0]))
            head, kind = (
                images.resize(img[y : y + side, x : x + side], style.SIZE),
                marks.KINDS[number % len(marks.KINDS)],
            )
            over, _ = drawn_marks.marked(head, np.random.default_rng(number), fonts, kind)
            asked.append((kind, *(ask(style.finished(one)) > HALF for one in (head, over))))
    kinds, lost, found = (np.array(column) for column in zip(*asked, strict=True))
    each = {kind: round(float(found[kinds == kind].mean()), 4) for kind in marks.KINDS}
    return {"heads": len(asked), "lost": round(float(lost.mean()), 4), "found": round(float(found.mean()), 4)} | each


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--elsewhere", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--sheets", type=Path)
    given = parser.parse_args()
    if given.elsewhere:
        result = elsewhere(given.elsewhere)
        print(result)
        write_json(given.json, result)
        return
    heads = marks.heads_of(given.faces)
    some, others = split(drawn_marks.fonts_of())
    taught, asked = marks.seen(heads, some), marks.seen(heads, others, ASKED, 0)
    found = cross_validated(taught, asked)
    result = {"heads": len(heads), "fonts": [len(some), len(others)]} | figures(asked, found)
    print(result)
    write_json(given.json, result)
    if given.sheets:
        given.sheets.mkdir(parents=True, exist_ok=True)
        clean = [number for number, one in enumerate(asked) if one.plain]
        worst = sorted(range(len(heads)), key=lambda number: -found[clean[number]])[:FEW]
        tiles = [images.resize(heads[number].img, SHEET) for number in worst]
        rows = [np.concatenate(tiles[k : k + ACROSS], 1) for k in range(0, FEW, ACROSS)]
        cv2.imwrite(str(given.sheets / "clean.png"), np.concatenate(rows)[..., ::-1])
        print([(heads[number].name, round(float(found[clean[number]]), 3)) for number in worst[:16]])


if __name__ == "__main__":
    main()
