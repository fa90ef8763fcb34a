"""Who does not belong to a set: by itself, and after a few answers of a person who knows.

    python benchmarks/identity.py drawn --data data/dataset --character geralt --json OUT
    python benchmarks/identity.py named --faces DIR --json OUT

drawn: a dataset of the demo that was made without its decisions (empty experiments/decisions/<name>.csv first); the
catalogue of the gallery knows who is an intruder. Ten questions at a time are answered as it says.

named: real faces of which it is labelled who they are (a folder with a faces.csv; `group`). For each person or
character with at least LEAST pictures a set of these and of others of the same class, a third as many, which is drawn
REPEATS times; questions are answered until a third of the set is, two at a time. AUC: of the heads nobody was asked
about (after answers), or of all (before).
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from semireal import images, manifest
from semireal.classifiers import labelled
from semireal.collect.gallery.catalogue import posts
from semireal.curate import character
from semireal.faces.crop import square
from semireal.vision import efficientnet, identity
from semireal.vision.identity import Heads

LEAST, REPEATS = 5, 10
SIDE = 256  # px
MARGIN, LIFT = 0.35, 0.1  # of params.yaml


def session(heads: Heads, belongs: NDArray[np.bool_], at_once: int, limit: int) -> list[dict[str, Any]]:
    """A row before any answer, and one after each round of questions."""
    answers: dict[int, bool] = {}
    rows: list[dict[str, Any]] = [{"answers": 0, "auc": roc_auc_score(belongs, -heads.odd)}]
    learned = None
    while len(answers) < limit:
        asked = identity.to_ask(heads, learned, answers, min(at_once, limit - len(answers)))
        answers |= {number: bool(belongs[number]) for number in asked}
        learned = identity.probabilities(heads, answers)
        score = -heads.odd if learned is None else learned
        kept = np.ones(len(belongs), bool) if learned is None else learned >= 0.5
        kept[list(answers)] = list(answers.values())
        rest = np.array([number not in answers for number in range(len(belongs))])
        both = 0 < belongs[rest].sum() < rest.sum()
        rows.append(
            {
                "answers": len(answers),
                "auc": roc_auc_score(belongs, score),
                "auc of the rest": roc_auc_score(belongs[rest], score[rest]) if both else None,
                "strangers found": int((~belongs[list(answers)]).sum()),
                "purity": float(belongs[kept].mean()),
                "kept of the right": float(kept[belongs].mean()),
            }
        )
    return rows


def drawn(data: Path, name: str) -> list[dict[str, Any]]:
    """A session on a dataset of the demo."""
    kinds = {str(post.id): post.kind for post in posts(name)}
    rows = manifest.read_kept(data, "file_url")
    belongs = np.array([kinds[Path(row["file_url"]).stem] != "intruder" for row in rows])
    known = character.known([data / row["file"] for row in rows], rows, {})
    assert known is not None
    head = {"character": name, "heads": len(rows), "strangers": int((~belongs).sum())}
    return [head | row for row in session(known.heads, belongs, 10, 40)]


def named(folder: Path) -> list[dict[str, Any]]:
    """Sessions on real faces: means over all persons and characters, and the number of these."""
    table = labelled.read(folder)
    table = table[(table["has_face"] == 1) & table["class"].isin(("photo", "portrait"))].reset_index(drop=True)
    net = efficientnet.load()
    seen = [identity.features(net, _head(folder, row)[None])[0] for row in table.to_dict("records")]
    vectors, rng = np.stack(seen), np.random.default_rng(0)
    groups, classes = table["group"].astype(str).to_numpy(), table["class"].to_numpy()
    found = []
    for name in sorted(set(groups)):
        own = np.flatnonzero(groups == name)
        if len(own) < LEAST:
            continue
        others = np.flatnonzero((groups != name) & (classes == classes[own[0]]))
        for _ in range(REPEATS):
            strangers = rng.choice(others, max(round(len(own) / 3), 2), replace=False)
            chosen = np.concatenate([own, strangers])
            heads = identity.compared(vectors[chosen], ["one"] * len(chosen))
            rows = session(heads, np.arange(len(chosen)) < len(own), 2, round(len(chosen) / 3))
            rest = rows[-1]["auc of the rest"]
            after = 1.0 if rest is None else rest  # None: all strangers were found
            found.append({"who": name, "pictures": len(own), "before": rows[0]["auc"], "after": after})
    means: list[Any] = pd.DataFrame(found).groupby("who", as_index=False).mean().to_dict("records")
    return [
        *means,
        {"who": "mean"} | {key: float(np.mean([row[key] for row in means])) for key in means[0] if key != "who"},
    ]


def _head(folder: Path, row: dict[Any, Any]) -> images.Pixels:
    img = images.load_rgb(folder / row["path"])
    box = (row["x"], row["y"], row["x"] + row["w"], row["y"] + row["h"])
    left, top, width = square(box, MARGIN, LIFT, (img.shape[1], img.shape[0]))
    return images.resize(img[top : top + width, left : left + width], SIDE)


def main(given: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["drawn", "named"])
    parser.add_argument("--data", type=Path, help="drawn: the dataset")
    parser.add_argument("--character", default="geralt", help="drawn: whose it is")
    parser.add_argument("--faces", type=Path, help="named: the folder")
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args(given)
    rows = drawn(asked.data, asked.character) if asked.what == "drawn" else named(asked.faces)
    print(pd.DataFrame(rows).round(3).to_string(index=False))
    asked.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
