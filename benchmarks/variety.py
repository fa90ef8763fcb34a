"""How often are the colour of hair and the side of the light told rightly, of drawn heads?

    python benchmarks/variety.py [--heads 300] --json OUT

The gallery knows how it lit a head and which colour it gave the hair. Heads of all characters and of anybody, in both
styles, are cut around the box that the drawing knows; landmarks are YuNet's, as in stage crop. The thresholds of
semireal.curate.quality were set on 260 other drawn heads.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from semireal import images
from semireal.collect.gallery import faces
from semireal.collect.gallery.faces import ANYBODY, CHARACTERS, STYLES, draw, face_box
from semireal.collect.gallery.ink import Colour
from semireal.curate import quality
from semireal.faces import detect
from semireal.faces.crop import square

SIDE = 256  # px
MARGIN, LIFT = 0.35, 0.1  # of params.yaml
# the tones that semireal.collect.gallery.faces mixes, and what they are called
TONES = {
    (218, 184, 116): "blond",
    (214, 214, 220): "grey",
    (150, 66, 34): "red",
    (40, 32, 34): "dark",
    (60, 40, 32): "dark",
    (76, 47, 34): "dark",
    (104, 126, 78): "other",
    (168, 128, 76): "brown",
}


def named(tone: Colour) -> str:
    """What the nearest of the tones is called."""
    return TONES[min(TONES, key=lambda one: sum((a - b) ** 2 for a, b in zip(one, tone, strict=True)))]


def main() -> None:
    """Parse the command line, draw, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=300)
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args()
    detector, who = detect.make("yunet", 0.5, 480), (*CHARACTERS, ANYBODY)
    rows = []
    for n in tqdm(range(asked.heads)):
        character, style, seed = who[n % len(who)], STYLES[n // len(who) % len(STYLES)], [11, n]
        plan = faces._plan(character, style, np.random.default_rng(seed))
        picture = draw(character, style, np.random.default_rng(seed))
        box = face_box(character, style, np.random.default_rng(seed))
        x, y, width = square(box, MARGIN, LIFT, (picture.shape[1], picture.shape[0]))
        head = images.resize(picture[y : y + width, x : x + width], SIDE)
        found = detector(head)
        if not found or found[0].landmarks is None:
            continue
        points = found[0].landmarks / SIDE
        light = quality.light(head, points)
        side = light is not None and (light[1] > 0) == (plan.light.key[0] > 0)
        rows.append({"style": style, "hair": named(plan.look.hair), "seen": quality.hair(head, points), "side": side})
    table = pd.DataFrame(rows)
    table["right"] = table["hair"] == table["seen"]
    print(pd.crosstab(table["hair"], table["seen"]))
    report = {
        "heads": len(table),
        "hair": float(table["right"].mean()),
        "hair by style": table.groupby("style")["right"].mean().round(4).to_dict(),
        "hair by colour": table.groupby("hair")["right"].mean().round(4).to_dict(),
        "side of the light": float(table["side"].mean()),
    }
    asked.json.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
