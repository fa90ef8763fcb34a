"""The training set: which images of a dataset are used, and their pixels at the training resolution."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from semireal import manifest
from semireal.errors import UserError
from semireal.manifest import Row
from semireal.training import decoded
from semireal.vision import landmarks, looks
from semireal.vision.looks import Band

LEAST = 2  # images; fewer are no training set


def load(dataset: Path, resolution: int, photo_ratio: float | None, seed: int) -> tuple[torch.Tensor, list[Row]]:
    """Load the selected mixture, in the order of ids.

    Returns uint8 [N, 3, resolution, resolution], which is mapped and can only be read (see
    `semireal.training.decoded`), and the manifest rows. Raises UserError naming all damaged files.
    """
    rows = select(manifest.read_kept(dataset, "domain"), photo_ratio, seed)
    if len(rows) < LEAST:
        raise UserError(f"{dataset}: {len(rows)} images to train on, need {LEAST}. Collect more or filter less")
    return decoded.tensor(decoded.load(dataset, [row["file"] for row in rows], resolution)), rows


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


def band(rows: Sequence[Row]) -> Band | None:
    """The band around the eyes in the pictures of these rows; None where most have no landmarks."""
    found = [eyes(row) for row in rows if row.get("landmarks")]
    return looks.band_of(np.stack(found)) if 2 * len(found) > len(rows) else None


def eyes(row: Row) -> NDArray[np.float64]:
    """The right and the left eye of a picture of the dataset, [2, 2]: x and y in shares of its side."""
    return landmarks.of(row)[:2]


def _pick(rows: list[Row], count: int, seed: int) -> list[Row]:
    return sorted(rows, key=lambda row: hashlib.sha256(f"{seed} {row['id']}".encode()).digest())[:count]
