"""filter: leave out what is too small, too blurred or too plain to train on, or what a person does not want."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import cv2

from semireal import decisions, images, manifest, stage
from semireal.decisions import Decision
from semireal.images import Pixels
from semireal.manifest import Row
from semireal.params import Filter

SHARPNESS_SIZE = 256  # px; sharpness is compared at one size, whatever size the images have


def run(resized: Path, out: Path, params: Filter, decided: Mapping[str, Decision] | None = None) -> None:
    """Read `resized`, copy what passes to `out`, with manifest and report.

    decided: what a person decided, by id; it wins over the rules.
    """
    decided = decided or {}
    (out / "images").mkdir()

    def one(row: Row) -> Row:
        row = row | {"sharpness": round(sharpness(images.load_rgb(resized / row["file"])), 2)}
        done = decisions.apply(row, verdict(row, params), decided.get(row["id"], decisions.NONE))
        if done["file"]:
            shutil.copyfile(resized / row["file"], out / row["file"])
        return done

    rows = list(images.each(one, manifest.read_kept(resized), "filter"))
    by_hand = decisions.summary(rows, decided)
    if by_hand["unknown"]:
        stage.say(f"filter: {by_hand['unknown']} of {len(decided)} decisions are about images that are not here")
    rules = manifest.count(row["rule"] for row in rows if row["rule"])
    hint = "Lower filter.min_bytes, filter.min_side or filter.min_sharpness"
    manifest.save(out, rows, "filter", hint, rules=rules, by_hand=by_hand)


def verdict(row: Row, params: Filter) -> str:
    """Reason to leave the image out, or "" to keep it."""
    if row["crop_side"] < params.min_side:
        return "source too small"
    if row["bytes"] < params.min_bytes:
        return "file too small"
    if row["sharpness"] < params.min_sharpness:
        return "blurred"
    return ""


def sharpness(img: Pixels) -> float:
    """Variance of the Laplacian of the grey image (Pech-Pacheco et al. 2000), scaled to 256 px; unit grey level^2."""
    grey = cv2.cvtColor(img, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SHARPNESS_SIZE, SHARPNESS_SIZE), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(small, cv2.CV_64F).var())
