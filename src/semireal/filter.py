"""filter: leave out what is too small, too blurred or too plain to train on."""

import shutil
from pathlib import Path

import cv2

from semireal import images, manifest
from semireal.images import Pixels
from semireal.manifest import Row
from semireal.params import Filter

SHARPNESS_SIZE = 256  # px; sharpness is compared at one size, whatever size the images have


def run(resized: Path, out: Path, params: Filter) -> None:
    """Read `resized`, copy what passes to `out`, with manifest and report."""
    (out / "images").mkdir()

    def one(row: Row) -> Row:
        row = row | {"sharpness": round(sharpness(images.load_rgb(resized / row["file"])), 2)}
        reason = verdict(row, params)
        if reason:
            return manifest.rejected(row, reason)
        shutil.copyfile(resized / row["file"], out / row["file"])
        return manifest.kept(row)

    rows = list(images.each(one, manifest.read_kept(resized), "filter"))
    manifest.save(out, rows, "filter", "Lower filter.min_bytes, filter.min_side or filter.min_sharpness")


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
