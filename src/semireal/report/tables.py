"""The numbers of the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from semireal import paths
from semireal.curate import funnel as steps
from semireal.curate import variety as varied
from semireal.report.experiment import Experiment

# metric -> its name for people, and what is good; the same on other features, whose names have an ending
NAMES = {
    "kid": ("KID", "less is better"),
    "distance": ("Distance", "less is better; 0: as the training images"),
    "fid": ("FID", "less is better"),
    "frechet": ("Fr\N{LATIN SMALL LETTER E WITH ACUTE}chet distance", "less is better"),
    "inception_score": ("Inception Score", "more is better"),
    "precision": ("Precision", "share of samples that look like training images"),
    "recall": ("Recall", "share of training images that the samples cover"),
    "density": ("Density", "quality; 1 is that of the training images"),
    "coverage": ("Coverage", "variety; share of training images with a sample nearby"),
    "diversity": ("Diversity", "1: as varied as the training images"),
    "blend": ("Blend", "0: as the portraits, 1: as the photos"),
    "layout_kept": ("Layout kept", "1: a seed is laid out as by the base, 0: no more like that than other seeds"),
    "fd_dinov2": ("FD (DINOv2)", "less is better"),
    "kd_dinov2": ("KD (DINOv2)", "less is better"),
    "copies": ("Copies", "share of samples that are a training image, mirrored, turned, cut or mixed"),
    "fid_extrapolated": ("FID, extrapolated", "to endless samples"),
    "frechet_extrapolated": ("Fr\N{LATIN SMALL LETTER E WITH ACUTE}chet distance, extrapolated", "to endless samples"),
    "yield": ("Yield", "share of the raw images that reached the dataset"),
    "face_rate": ("Faces", "share of samples with a face that a detector finds"),
}
FEATURES = {"whole": "the whole", "layout": "the layout", "eyes": "the eyes", "colour": "colour", "dinov2": "DINOv2"}
OFFLINE = "_whole"
CARDS = (
    *("kid", "distance_eyes", "distance_layout", "fid", "inception_score", "precision", "recall", "blend"),
    *("layout_kept", "copies", "yield", "face_rate"),
)
PAIRS = 10  # as in closest_pairs.png
STAND_INS = {"kid": "distance", "fid": "frechet"}
AGAINST = {
    "dataset": "",
    "photo": "against the photos",
    "portrait": "against the portraits",
    "dataset, also mirrored": "against the training images and their mirror images",
    "base": "against the base, seed by seed",
    "real halves": "of two halves of the training images",
    "a perfect generator": "of a perfect generator of as many images",
}


@dataclass(frozen=True)
class Column:
    """A column of the table of metrics: an experiment at a psi. place: of the experiment among all."""

    place: int
    psi: float


@dataclass(frozen=True)
class Line:
    """A row of the table of metrics: what was measured, and a cell per column (None = not measured).

    main: against the training mixture.
    """

    name: str
    hint: str
    about: str
    main: bool
    cells: list[dict[str, Any] | None]


def number(value: Any) -> str:
    """Three significant digits, or all of a whole number; a dash for nothing."""
    if value is None or value == "":
        return "\N{EN DASH}"
    value = float(value)
    if value.is_integer() and abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}") if abs(value) < 1000 else f"{value:.0f}"


def named(metric: str) -> tuple[str, str]:
    """Name and hint of a metric, with the features that it is taken on."""
    if metric in NAMES:
        return NAMES[metric]
    for ending, features in FEATURES.items():
        if f"_{ending}" in metric:
            name, hint = named(metric.replace(f"_{ending}", ""))
            return f"{name}: {features}", hint
    return metric.replace("_", " "), ""


def headline(experiment: Experiment) -> list[tuple[str, str, str]]:
    """Name, value and hint of the few numbers of an experiment; offline metrics stand in for the published ones."""
    found = experiment.json(paths.HEADLINE)
    cards = []
    for metric in CARDS:
        stand_in = STAND_INS.get(metric, metric) + OFFLINE
        key = metric if metric in found else stand_in
        if key in found:
            name, hint = named(key)
            cards.append((name, number(found[key]), hint))
    return cards


def columns(experiments: Sequence[Experiment]) -> list[Column]:
    """Each experiment at psi = 1 (the practice of the field) and at the psi of its samples."""
    return [
        Column(place, psi)
        for place, one in enumerate(experiments)
        for psi in dict.fromkeys((1.0, float(one.given.psi)))
    ]


def measures(experiments: Sequence[Experiment]) -> list[Line]:
    """The table of all metrics of all experiments; what no psi decides stands at psi = 1."""
    head = columns(experiments)
    lines: dict[tuple[str, str, str], dict[Column, dict[str, Any]]] = {}
    for place, experiment in enumerate(experiments):
        for row in experiment.evaluation.get("measures", []):
            at = Column(place, 1.0 if row["psi"] is None else float(row["psi"]))
            lines.setdefault((row["measure"], row["against"], row["features"]), {})[at] = row
    return [
        Line(
            *named(measure),
            AGAINST.get(against, against),
            against not in ("photo", "portrait"),
            [found.get(at) for at in head],
        )
        for (measure, against, _), found in lines.items()
    ]


def pairs(experiment: Experiment) -> list[str]:
    """What was found between the pictures of closest_pairs.png: how alike they are, and how one was turned."""
    rows = [row for row in experiment.table(paths.EVALUATION / "nearest.csv") if row["psi"] and float(row["psi"]) == 1]
    best = sorted(rows, key=lambda row: -float(row["score"]))[:PAIRS]
    return [
        ", ".join(
            filter(None, (f"seed {row['seed']}: {float(row['score']):.2f}", row["form"], "copy" * int(row["copy"])))
        )
        for row in best
    ]


def comparable(experiment: Experiment) -> str:
    """Why the published figures of the character are or are not comparable."""
    size, psi = experiment.given.resolution, experiment.given.psi
    if "inception_score" in experiment.json(paths.HEADLINE):
        same = f" It used \N{GREEK SMALL LETTER PSI} = 0.5 and 512 x 512 px; here the rows with {psi:g} come nearest."
        return "Roughly comparable: the report states neither how many samples it took nor a spread." + same
    return (
        "Not comparable: the report used the Inception network; these numbers are distances in the features of another "
        f"(EfficientNet-Lite0, offline), at {size} x {size} px."
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


def variety(experiment: Experiment) -> list[dict[str, Any]]:
    """Of each property of the dataset: a line about it, and its classes with their images and share, the largest first.

    Empty for an experiment without such a summary.
    """
    found = experiment.json(paths.DATASET / "report.json").get("variety", {})
    return [
        {
            "about": varied.told(name, one),
            "classes": [(kind, n, n / sum(one["images"].values())) for kind, n in one["images"].items()],
        }
        for name, one in found.items()
    ]
