"""publish: what git keeps of the results, so that a clone shows them before it has any data.

Files that DVC caches, copied or made smaller: a few hundred kilobytes at most, since git keeps every version for good.
No training image is among them and nothing that names one, whatever the licences are. What is written to the folder
`out` (results/published):

measures.csv, psi_sweep.csv, fid_by_size.csv   as in results/evaluation, see `semireal.evaluation.evaluate`
history.csv            the training: one row per epoch, floats with DIGITS significant digits
snapshots.csv          those rows of it in which a snapshot was measured; none where none was
funnel.json, crop.json, filter.json, dedupe.json   how many images were left, and why the others were not
train.json             the numbers of the last epoch, and which was the best
grid.jpg, psi_row.jpg, style_mix.jpg   the samples, at most SIDE px wide and high
funnel.png, variety.png, curves.png, psi_sweep_plot.png, fid_by_size_plot.png   the figures, in COLOURS colours

Equal inputs give equal bytes. The stage adds results/metrics.json, the few numbers that experiments are compared by.
"""

import io
import json
from pathlib import Path

import pandas as pd
from PIL import Image

from semireal import files, images, paths
from semireal.errors import UserError
from semireal.images import Pixels

COPIED = {
    **{name: paths.EVALUATION / name for name in ("measures.csv", "psi_sweep.csv", "fid_by_size.csv")},
    "funnel.json": paths.FUNNEL / "funnel.json",
    "crop.json": paths.CROPS / "report.json",
    "filter.json": paths.FILTERED / "report.json",
    "dedupe.json": paths.DATASET / "report.json",
}
FIGURES = (
    paths.FUNNEL / "funnel.png",
    paths.FUNNEL / "variety.png",
    paths.TRAINING / "curves.png",
    paths.EVALUATION / "psi_sweep_plot.png",
    paths.EVALUATION / "fid_by_size_plot.png",
)
PHOTOS = ("grid", "psi_row", "style_mix")  # of the samples
COLOURS = 256
SIDE, QUALITY = 384, 80
DIGITS = 7
MEASURED = "snapshot_distance"  # the column of the history that a measured snapshot has


def run(root: Path, out: Path) -> None:
    """Read the results of the repository at `root`; write to `out` what is listed above.

    Raises UserError where a file is missing, or is no picture.
    """
    for name, source in COPIED.items():
        (out / name).write_bytes(read(root / source))
    for source in FIGURES:
        (out / source.name).write_bytes(_figure(_picture(root / source)))
    for name in PHOTOS:
        (out / f"{name}.jpg").write_bytes(_photo(_picture(root / paths.SAMPLES / f"{name}.png")))
    last, best = (json.loads(read(root / paths.TRAINING / name)) for name in ("metrics.json", "report.json"))
    files.write_json(out / "train.json", last | best)
    history = pd.read_csv(io.BytesIO(read(root / paths.TRAINING / "history.csv")))
    _save(history, out / "history.csv")
    if MEASURED in history:
        _save(history.dropna(subset=[MEASURED]), out / "snapshots.csv")


def read(path: Path) -> bytes:
    """The content of a result; UserError where it is missing."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: not found. Run `dvc repro`") from None


def _save(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, float_format=f"%.{DIGITS}g")


def _picture(path: Path) -> Pixels:
    try:
        return images.decode(read(path))
    except images.ImageError as error:
        raise UserError(f"{path}: {error}. Make it anew: dvc repro") from None


def _figure(drawn: Pixels) -> bytes:
    """A drawing [H, W, 3] uint8 as PNG of few colours, a third of the size."""
    buffer = io.BytesIO()
    Image.fromarray(drawn).quantize(COLOURS).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _photo(img: Pixels) -> bytes:
    """A picture [H, W, 3] uint8 as JPEG, made smaller where it is larger than SIDE."""
    small = Image.fromarray(img)
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
