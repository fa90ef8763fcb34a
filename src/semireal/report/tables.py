"""The numbers of the report."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from semireal import paths
from semireal.curate import funnel as steps
from semireal.report.experiment import Experiment

# metric -> its name for people, and what is good; the same for the offline features, whose names end in _r64
NAMES = {
    "kid": ("KID", "less is better"),
    "kernel": ("Kernel distance", "less is better"),
    "fid": ("FID", "less is better"),
    "frechet": ("Fr\N{LATIN SMALL LETTER E WITH ACUTE}chet distance", "less is better"),
    "inception_score": ("Inception Score", "more is better"),
    "precision": ("Precision", "share of samples that look like training images"),
    "recall": ("Recall", "share of training images that the samples cover"),
    "density": ("Density", "quality; 1 is that of the training images"),
    "coverage": ("Coverage", "variety; share of training images with a sample nearby"),
    "diversity": ("Diversity", "1: as varied as the training images"),
    "blend": ("Blend", "0: as the portraits, 1: as the photos"),
    "copies": ("Copies", "share of samples with the perceptual hash of a training image"),
    "near_copies": ("Near copies", "share of samples unusually near to a training image"),
    "nearest_distance": ("Distance to the nearest", "1: as between training images"),
    "fid_extrapolated": ("FID, extrapolated", "to endless samples"),
    "frechet_extrapolated": ("Fr\N{LATIN SMALL LETTER E WITH ACUTE}chet distance, extrapolated", "to endless samples"),
    "yield": ("Yield", "share of the raw images that reached the dataset"),
    "face_rate": ("Faces", "share of samples with a face that a detector finds"),
}
OFFLINE = "_r64"
CARDS = ("kid", "fid", "inception_score", "precision", "recall", "blend", "yield", "face_rate")
STAND_INS = {"kid": "kernel", "fid": "frechet"}


@dataclass
class Line:
    """A row of the table of metrics: what was measured, and a cell per experiment (None = not measured)."""

    name: str
    hint: str
    about: str
    main: bool
    cells: list[dict[str, Any] | None] = field(default_factory=list)


def number(value: Any) -> str:
    """Three significant digits, or all of a whole number; a dash for nothing."""
    if value is None or value == "":
        return "\N{EN DASH}"
    value = float(value)
    if value.is_integer() and abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}") if abs(value) < 1000 else f"{value:.0f}"


def named(metric: str) -> tuple[str, str]:
    """Name and hint of a metric; offline features are said so."""
    offline = metric.replace(OFFLINE, "")
    name, hint = NAMES.get(offline, (offline.replace("_", " "), ""))
    return (f"{name} (R64)" if offline != metric else name), hint


def headline(experiment: Experiment) -> list[tuple[str, str, str]]:
    """Name, value and hint of the few numbers of an experiment; offline metrics stand in for the published ones."""
    found = experiment.json(paths.METRICS)
    cards = []
    for metric in CARDS:
        stand_in = STAND_INS.get(metric, metric) + OFFLINE
        key = metric if metric in found else stand_in
        if key in found:
            name, hint = named(key)
            cards.append((name, number(found[key]), hint))
    return cards


def measures(experiments: Sequence[Experiment]) -> list[Line]:
    """The table of all metrics of all experiments; `main` are those of the training mixture at psi = 1."""
    lines: dict[tuple[Any, ...], Line] = {}
    for place, experiment in enumerate(experiments):
        for row in experiment.evaluation.get("measures", []):
            key = (row["measure"], row["against"], row["psi"], row["features"])
            if key not in lines:
                lines[key] = _line(row)
            cells = lines[key].cells
            cells += [None] * (place - len(cells)) + [row]
    for line in lines.values():
        line.cells += [None] * (len(experiments) - len(line.cells))
    return list(lines.values())


def _line(row: dict[str, Any]) -> Line:
    name, hint = named(row["measure"])
    psi = "" if row["psi"] is None else f"\N{GREEK SMALL LETTER PSI} = {row['psi']:g}"
    against = {"dataset": "", "photo": "against the photos", "portrait": "against the portraits"}
    words = against.get(row["against"], row["against"])
    main = row["psi"] == 1 and row["against"] not in ("photo", "portrait")
    return Line(name, hint, ", ".join(filter(None, (words, psi))), main)


def comparable(experiment: Experiment) -> str:
    """Why the published figures of the character are or are not comparable."""
    size, psi = experiment.given.resolution, experiment.given.psi
    if "inception_score" in experiment.json(paths.METRICS):
        same = f" It used \N{GREEK SMALL LETTER PSI} = 0.5 and 512 x 512 px; here the rows with {psi:g} come nearest."
        return "Roughly comparable: the report states neither how many samples it took nor a spread." + same
    return (
        "Not comparable: the report used the Inception network; these numbers are distances in the features of a "
        f"random VGG16 (offline), at {size} x {size} px."
    )


def funnel(experiment: Experiment) -> list[dict[str, Any]]:
    """Steps from raw to de-duplicated: name, left, share of the raw images, and why the others were left out."""
    collection = experiment.given.collection
    folders = (paths.RAW / collection, paths.CROPS, paths.FILTERED, paths.DATASET)
    reports = [experiment.json(folder / "report.json") for folder in folders]
    if not all(reports):
        return []
    found = steps.steps(*reports)
    raw = max(found[0].left, 1)
    most = max(step.left for step in found)
    return [
        {
            "name": step.name,
            "left": step.left,
            "share": step.left / raw,
            "width": step.left / most,
            "lost": [(reason, n) for reason, n in sorted(step.lost.items(), key=lambda r: (-r[1], r[0])) if n],
        }
        for step in found
    ]
