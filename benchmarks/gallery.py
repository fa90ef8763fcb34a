"""What becomes of every post of the demo gallery, against what was drawn?

    python benchmarks/gallery.py --json OUT

Draws the whole gallery of each character and sends it through crop, resize, filter and dedupe with the parameters of
params.yaml. Per character, for each kind of post: how many end for which reason, or kept. A page of HTML in place of an
image (2 per style) is refused by the stage scrape and is not here.
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from semireal import manifest
from semireal.collect.gallery.catalogue import posts, render
from semireal.collect.gallery.faces import CHARACTERS
from semireal.curate import dedupe, resize
from semireal.curate.filter import run as run_filter
from semireal.faces import crop
from semireal.params import whole
from semireal.params.whole import Params

ROOT = Path(__file__).resolve().parents[1]


def judged(character: str, folder: Path, settings: Params) -> pd.DataFrame:
    """Kind and end of every post of a character."""
    raw, crops, resized, filtered, out = folders = [folder / f"{n}" for n in range(5)]
    for one in folders:
        one.mkdir()
    rows = []
    for post in posts(character):
        if post.kind not in ("html", "made"):  # these do not get into a collection
            file = f"{post.id}.{post.extension}"
            (raw / file).write_bytes(render(post))
            rows.append(manifest.kept({"id": str(post.id), "domain": post.style, "source": post.kind}, file=file))
    manifest.save(raw, rows, "benchmark", "")
    crop.run(raw, crops, settings.crop, settings.resize)
    resize.run(crops, resized, settings.resize)
    run_filter(resized, filtered, settings.filter)
    dedupe.run(filtered, out, settings.dedupe)
    ends = {}
    for one in (crops, filtered, out):
        for row in manifest.read(one).to_dict("records"):
            ends[row["image_id"]] = (row["source"], row["reason"] or row["status"])
    return pd.DataFrame(list(ends.values()), columns=["kind", "end"])


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    given = parser.parse_args()
    settings = whole.load(ROOT / "params.yaml")
    result = {}
    for character in CHARACTERS:
        with TemporaryDirectory() as folder:
            found = judged(character, Path(folder), settings)
        print(f"{character}\n{pd.crosstab(found['kind'], found['end']).to_string()}\n")
        result[character] = {
            str(kind): {str(end): int(n) for end, n in group["end"].value_counts().sort_index().items()}
            for kind, group in found.groupby("kind")
        }
    given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
