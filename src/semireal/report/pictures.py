"""Pictures inside the page."""

import base64
import io

import numpy as np
from PIL import Image

from semireal import images, manifest, paths
from semireal.report.experiment import Experiment

WIDEST = 1536  # px; a grid of 512 px samples would be 4096 px and many megabytes
QUALITY = 88
TILE, COLUMNS = 96, 8  # px, of the contact sheets of the training images


def embedded(experiment: Experiment, path: str) -> str:
    """A picture of the results as an address that holds it; empty if there is none."""
    data = experiment.files.read(path)
    if data is None:
        return ""
    img = Image.open(io.BytesIO(data)).convert("RGB")
    img.thumbnail((WIDEST, WIDEST))
    return _address(img)


def training(experiment: Experiment) -> list[tuple[str, int, str]]:
    """Domain, number of images, and a contact sheet of images from all over the dataset, for each domain."""
    rows = [row for row in experiment.table(paths.DATASET / "manifest.csv") if row["status"] == "kept"]
    found = []
    for domain in sorted({row["domain"] for row in rows}):
        files = [row["file"] for row in rows if row["domain"] == domain]
        count = min(len(files), experiment.given.report.training_images)
        chosen = [files[n * len(files) // count] for n in range(count)]
        found.append((domain, len(files), _sheet(experiment, chosen) if chosen else ""))
    return found


def _sheet(experiment: Experiment, files: list[str]) -> str:
    read = [experiment.files.read(paths.DATASET / file) for file in files if manifest.is_inside(file)]
    tiles = [images.resize(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), TILE) for data in read if data]
    return _address(Image.fromarray(images.grid(np.stack(tiles), COLUMNS))) if tiles else ""


def _address(img: Image.Image) -> str:
    buffer = io.BytesIO()
    img.save(buffer, "WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
