"""The training set in memory: which images of a dataset are used, and their pixels at the training resolution."""

import hashlib
from pathlib import Path

import torch

from semireal import images, manifest, tensors, workers
from semireal.errors import UserError
from semireal.manifest import Row

LEAST = 2  # images; fewer are no training set


def load(dataset: Path, resolution: int, photo_ratio: float | None, seed: int) -> tuple[torch.Tensor, list[Row]]:
    """Load the selected mixture, in the order of ids.

    Returns uint8 [N, 3, resolution, resolution] and the manifest rows. Raises UserError naming all damaged files.
    """
    rows = select(manifest.read_kept(dataset), photo_ratio, seed)
    if len(rows) < LEAST:
        raise UserError(f"{dataset}: {len(rows)} images to train on, need {LEAST}. Collect more or filter less")
    bad: list[str] = []

    def one(row: Row) -> images.Pixels | None:
        try:
            return images.resize(images.load_rgb(dataset / row["file"]), resolution)
        except (images.ImageError, FileNotFoundError):
            bad.append(row["file"])
            return None

    pixels = [img for img in workers.each(one, rows, "load") if img is not None]
    if bad:
        raise UserError(f"{dataset}: missing or damaged: {', '.join(sorted(bad))}. Run `dvc checkout --force`")
    return tensors.to_nchw(pixels), rows


def select(rows: list[Row], photo_ratio: float | None, seed: int) -> list[Row]:
    """The largest subset in which `photo_ratio` of the images are photos; None = all rows.

    Which images of the richer domain are left out is decided by a hash of seed and id, so that adding one image
    does not reshuffle the others.
    """
    if photo_ratio is None:
        return rows
    photos = [row for row in rows if row["domain"] == "photo"]
    portraits = [row for row in rows if row["domain"] == "portrait"]
    if (photo_ratio > 0 and not photos) or (photo_ratio < 1 and not portraits):
        raise UserError(
            f"train.photo_ratio: found {photo_ratio} for {len(photos)} photos and {len(portraits)} portraits, "
            "need images of both domains. Add a source, or set it to null"
        )
    shares = [(photos, photo_ratio), (portraits, 1 - photo_ratio)]
    total = min(len(group) / share for group, share in shares if share > 0)
    chosen = [row for group, share in shares for row in _pick(group, round(total * share), seed)]
    return sorted(chosen, key=lambda row: str(row["id"]))


def _pick(rows: list[Row], count: int, seed: int) -> list[Row]:
    return sorted(rows, key=lambda row: hashlib.sha256(f"{seed} {row['id']}".encode()).digest())[:count]
