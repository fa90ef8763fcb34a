"""Pictures for people as PNG, for machines where `dvc plots` cannot load its scripts.

Curves of the training, the funnel, the variety of the dataset, and from the evaluation the psi sweep and the Frechet
distance by size.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from semireal.published import REPORT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOSSES = {"loss_g": "generator", "loss_d": "discriminator"}
DISTANCES = ("whole", "layout", "eyes")  # what people see, see semireal.vision.looks


@contextmanager
def _saved(path: Path, width: float, height: float) -> Iterator["Figure"]:
    """Give an empty figure, in inches, that is written as PNG at the end of the block; equal content, equal bytes."""
    # matplotlib is not needed for training, and not installed everywhere
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    yield figure
    figure.savefig(path, dpi=120, metadata={"Software": None})


def save_curves(history: pd.DataFrame, path: Path) -> None:
    """Plot the losses over the epochs, and below the distances of the snapshots with the best one marked.

    history: one row per epoch; snapshot_distance, which chooses, and snapshot_whole and the like only where they were
    measured.
    """
    with _saved(path, 7, 6) as figure:
        losses, distance = figure.subplots(2, sharex=True)
        for name, label in LOSSES.items():
            losses.plot(history["epoch"], history[name], label=label)
        losses.set(ylabel="loss")
        losses.legend()
        if "snapshot_distance" in history:
            measured = history.dropna(subset=["snapshot_distance"])
            for name in (name for name in DISTANCES if f"snapshot_{name}" in measured):
                distance.plot(measured["epoch"], measured[f"snapshot_{name}"], marker="o", markersize=3, label=name)
            best = int(measured.nsmallest(1, "snapshot_distance")["epoch"].item())
            distance.axvline(best, color="tab:red", linestyle=":", label=f"best: epoch {best}")
            distance.legend()
        distance.set(xlabel="epoch (1000 images)", ylabel="distance")
        for axes in (losses, distance):
            axes.grid(alpha=0.3)


def save_funnel(
    steps: Sequence[tuple[str, int, Mapping[str, int]]], back: Mapping[str, int], name: str, path: Path
) -> None:
    """Draw what each step left as bars, with the reasons, and below it the yield beside that of the 2022 report.

    steps: name, images left and images lost by reason (negative: brought back), from the raw images on. back: how many
    images a milder threshold would bring back.
    """
    names, left = [step[0] for step in steps], [step[1] for step in steps]
    yields = {f"{name}, here": (left[0], left[-1])}
    if name in REPORT:
        one = REPORT[name]
        yields[f"{one.title}, 2022 report" + (", about" if one.rough else "")] = (one.raw, one.faces)
    with _saved(path, 8, 0.62 * (len(steps) + len(yields)) + 1 + 0.2 * len(back)) as figure:
        funnel, reported = figure.subplots(2, height_ratios=[len(steps), len(yields)])
        funnel.barh(names, left, color="tab:blue", height=0.62)
        for row, (_, n, lost) in enumerate(steps):
            reasons = sorted((-m, reason) for reason, m in lost.items() if m)
            why = ", ".join(f"{reason} {abs(m)}" for m, reason in reasons)
            label = f"{n}  ({_share(n, left[0]):.0%})" + (f"\n{why}" if why else "")
            funnel.text(n + max(left) * 0.01, row, label, va="center", fontsize=8)
        funnel.set(title=f"{name}: images left after each step", xlim=(0, max(left) * 1.6))
        shares = [_share(after, before) for before, after in yields.values()]
        reported.barh(list(yields), shares, color=["tab:blue", "tab:gray"][: len(yields)], height=0.62)
        for row, (before, after) in enumerate(yields.values()):
            label = f"{before} \N{RIGHTWARDS ARROW} {after}  ({shares[row]:.0%})"
            reported.text(shares[row] + 0.01, row, label, va="center", fontsize=8)
        reported.set(title="share of the raw images that reaches the dataset", xlim=(0, 1.6))
        for axes in (funnel, reported):
            axes.invert_yaxis()
            axes.set_xticks([])
            axes.spines[["top", "right", "bottom"]].set_visible(False)
        if back:
            lines = (f"{setting} would bring back {count}" for setting, count in back.items())
            reported.set_xlabel("\n".join(lines), fontsize=8)


def save_variety(properties: Sequence[tuple[str, Mapping[str, int]]], name: str, path: Path) -> None:
    """Draw for each property how many of the images of the dataset have each of its classes, as one bar.

    properties: a line about it, and images by class.
    """
    with _saved(path, 8, 0.55 * len(properties) + 0.6) as figure:
        axes = figure.subplots()
        for row, (about, images) in enumerate(properties):
            total, start = sum(images.values()), 0.0
            axes.text(0, row - 0.42, about, va="bottom", fontsize=8, parse_math=False)
            for place, (kind, count) in enumerate(images.items()):
                share = _share(count, total)
                axes.barh(row, share, left=start, height=0.5, color=f"C{place}", alpha=0.55, edgecolor="white")
                label = f"{kind} {share:.0%}"
                if len(label) < 105 * share:  # else it is wider than its part
                    axes.text(start + 0.005, row, label, va="center", fontsize=7, parse_math=False)
                start += share
        axes.set_title(f"{name}: what the dataset pictures how often", fontsize=10)
        axes.set(xlim=(0, 1), ylim=(len(properties) - 0.6, -0.85))
        axes.axis("off")


def save_sweep(sweep: pd.DataFrame, psi: float, path: Path) -> None:
    """Plot quality and variety over psi, on Inception features where there are any, and below the distances.

    sweep: psi_sweep.csv of stage evaluate. psi: that of the samples, which is marked.
    """
    suffix = "" if "kid" in sweep else "_whole"
    labels = {
        "precision": "precision (quality)",
        "recall": "recall (variety)",
        "diversity": "diversity (1: as the dataset)",
    }
    with _saved(path, 7, 8 if "kid" in sweep else 6) as figure:
        shares, distance, *kid = figure.subplots(3 if "kid" in sweep else 2, sharex=True)
        for kind, label in labels.items():
            shares.plot(sweep["psi"], sweep[kind + suffix], marker="o", markersize=3, label=label)
        shares.set(title=f"first {sweep['images'].iloc[0]} seeds", ylim=(-0.03, None))
        for name in (name for name in DISTANCES if f"distance_{name}" in sweep):
            distance.plot(sweep["psi"], sweep[f"distance_{name}"], marker="o", markersize=3, label=name)
        distance.set(ylabel="distance (less is better)")
        for axes in kid:
            axes.plot(sweep["psi"], sweep["kid"], marker="o", markersize=3, label="kid")
        for axes in (shares, distance, *kid):
            axes.axvline(psi, color="tab:gray", linestyle=":", label="sample.psi")
            axes.legend()
            axes.grid(alpha=0.3)
        axes.set(xlabel="psi")


def save_sizes(sizes: pd.DataFrame, path: Path) -> None:
    """Plot the Frechet distance over 1 / number of generated images, with the line to endlessly many.

    sizes: fid_by_size.csv of stage evaluate.
    """
    name = "fid" if "fid" in sizes else "frechet_whole"
    inverse = 1 / sizes["images"]
    with _saved(path, 7, 4) as figure:
        axes = figure.subplots()
        axes.errorbar(inverse, sizes[name], yerr=sizes[f"{name}_spread"], fmt="o", capsize=3, label="measured")
        if len(sizes) > 1:
            slope, limit = np.polyfit(inverse, sizes[name], 1)
            line = [limit, limit + slope * inverse.max()]
            axes.plot([0, inverse.max()], line, "--", label=f"extrapolated: {limit:.4g}")
        axes.set_xticks([0, *inverse], ["endless", *sizes["images"]], rotation=45)
        axes.set(xlabel="generated images (scale: 1 / images)", ylabel=name)
        axes.legend()
        axes.grid(alpha=0.3)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
