"""Pictures inside the page."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from semireal import images, manifest, paths
from semireal.errors import UserError
from semireal.images import Pixels
from semireal.report.experiment import Experiment

WIDEST = 1536  # px; a grid of 512 px samples would be 4096 px and many megabytes
QUALITY = 88
TILE, COLUMNS = 96, 8  # px, of the contact sheets of the training images


def embedded(experiment: Experiment, path: str) -> str:
    """A picture of the results as an address that holds it; empty if there is none."""
    found = _read(experiment, Path(path))
    if found is None:
        return ""
    img = Image.fromarray(found)
    img.thumbnail((WIDEST, WIDEST))
    return _address(img)


def training(experiment: Experiment) -> list[tuple[str, int, str]]:
    """Domain, number of images, and a contact sheet of images from all over the dataset, for each domain."""
    table = experiment.table(paths.DATASET / "manifest.csv", "status", "domain", "file")
    rows = [row for row in table if row["status"] == "kept"]
    found = []
    for domain in sorted({row["domain"] for row in rows}):
        files = [row["file"] for row in rows if row["domain"] == domain]
        count = min(len(files), experiment.given.report.training_images)
        chosen = [files[n * len(files) // count] for n in range(count)]
        found.append((domain, len(files), _sheet(experiment, chosen) if chosen else ""))
    return found


def _sheet(experiment: Experiment, files: list[str]) -> str:
    read = [_read(experiment, paths.DATASET / file) for file in files if manifest.is_inside(file)]
    tiles = [images.resize(img, TILE) for img in read if img is not None]
    return _address(Image.fromarray(images.grid(np.stack(tiles), COLUMNS))) if tiles else ""


def _read(experiment: Experiment, path: Path) -> Pixels | None:
    """A picture of an experiment, which may be of others; None where it is not there, UserError where it is none."""
    data = experiment.files.read(path)
    try:
        return images.decode(data) if data else None
    except images.ImageError as error:
        raise UserError(f"{path}: {error}. Make it anew: dvc repro") from None


def _address(img: Image.Image) -> str:
    buffer = io.BytesIO()
    img.save(buffer, "WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
