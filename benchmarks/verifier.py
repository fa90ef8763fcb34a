"""How good is the second look of `detect.Verified` on images that it has not seen?

    python benchmarks/verifier.py --faces DIR [--json OUT]

DIR holds faces.csv and its images (semireal.classifiers.labelled). The figures are those of the whole detector on the
images as they are: taught on all of them (as it is shipped), by cross-validation that keeps all images of a person or
character (column group) in one fold, and without the second look. faces, others: what it is taught on.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from semireal.classifiers import labelled, verifier
from semireal.files import write_json
from semireal.params import whole

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 5


def figures(table: pd.DataFrame, taken: pd.Series, counts: pd.Series) -> dict[str, float]:
    """The measures of benchmarks/detect.py; counts: images per class."""
    taken = taken & table["plain"]
    hits = table[taken & (table["face"] == 1)].drop_duplicates("path")["class"].value_counts()
    result = {f"recall_{kind}": float(hits[kind] / counts[kind]) for kind in ("photo", "portrait")}
    false = taken & (table["class"] == "noface")
    return result | {"fp_per_faceless": float(false.sum() / counts["noface"])}


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    verifier.one_thread()
    labels = labelled.read(given.faces)
    counts = labels[(labels["has_face"] == 1) | (labels["class"] == "noface")]["class"].value_counts()
    table = verifier.candidates(given.faces, whole.load(ROOT / "params.yaml").crop)
    part = table[verifier.learnable(table)]
    repeats = [figures(table, verifier.cross_validated(table, seed), counts) for seed in range(REPEATS)]
    result = {
        "faces": int((part["face"] == 1).sum()),
        "others": int((part["face"] == 0).sum()),
        "resubstitution": figures(table, verifier.accepted(table, verifier.fit(part)), counts),
        "cross_validated": pd.DataFrame(repeats).mean().to_dict(),
        "without_verification": figures(table, pd.Series(True, index=table.index), counts),
    }
    print(json.dumps(result, indent=2))
    if given.json:
        write_json(given.json, result)


if __name__ == "__main__":
    main()
