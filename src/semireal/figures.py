"""Pictures for people as PNG, for machines where `dvc plots` cannot load its scripts.

Curves of the training, the funnel, and from the evaluation the psi sweep and the Frechet distance by size.
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
KERNEL = "snapshot_kernel_r64"


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
    """Plot the losses over the epochs, and below the kernel distance with the best snapshot marked.

    history: one row per epoch; snapshot_kernel_r64 only where it was measured.
    """
    with _saved(path, 7, 6) as figure:
        losses, distance = figure.subplots(2, sharex=True)
        for name, label in LOSSES.items():
            losses.plot(history["epoch"], history[name], label=label)
        losses.set(ylabel="loss")
        losses.legend()
        if KERNEL in history:
            measured = history.dropna(subset=[KERNEL])
            best = measured.nsmallest(1, KERNEL)
            distance.plot(measured["epoch"], measured[KERNEL], marker="o", markersize=3)
            label = f"best: epoch {best['epoch'].item()}"
            distance.plot(best["epoch"], best[KERNEL], "o", color="tab:red", label=label)
            distance.legend()
        distance.set(xlabel="epoch (1000 images)", ylabel=KERNEL)
        for axes in (losses, distance):
            axes.grid(alpha=0.3)


def save_funnel(steps: Sequence[tuple[str, int, Mapping[str, int]]], name: str, path: Path) -> None:
    """Draw what each step left as bars, with the reasons, and below it the yield beside that of the 2022 report.

    steps: name, images left and images lost by reason (negative: brought back), from the raw images on.
    """
    names, left = [step[0] for step in steps], [step[1] for step in steps]
    yields = {f"{name}, here": (left[0], left[-1])}
    if name in REPORT:
        one = REPORT[name]
        yields[f"{one.title}, 2022 report" + (", about" if one.rough else "")] = (one.raw, one.faces)
    with _saved(path, 8, 0.62 * (len(steps) + len(yields)) + 1) as figure:
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


def save_sweep(sweep: pd.DataFrame, path: Path) -> None:
    """Plot quality and variety over psi, and below the kernel distance, of the last extractor in the table.

    sweep: psi_sweep.csv of stage evaluate.
    """
    suffix = "" if "kid" in sweep else "_r64"
    distance_name = "kid" if "kid" in sweep else "kernel_r64"
    labels = {
        "precision": "precision (quality)",
        "recall": "recall (variety)",
        "diversity": "diversity (1: as the dataset)",
    }
    with _saved(path, 7, 6) as figure:
        shares, distance = figure.subplots(2, sharex=True)
        for kind, label in labels.items():
            shares.plot(sweep["psi"], sweep[kind + suffix], marker="o", markersize=3, label=label)
        shares.set(title=f"first {sweep['images'].iloc[0]} seeds", ylim=(-0.03, None))
        shares.legend()
        distance.plot(sweep["psi"], sweep[distance_name], marker="o", markersize=3, color="tab:gray")
        distance.set(xlabel="psi", ylabel=f"{distance_name} (less is better)")
        for axes in (shares, distance):
            axes.grid(alpha=0.3)


def save_sizes(sizes: pd.DataFrame, path: Path) -> None:
    """Plot the Frechet distance over 1 / number of generated images, with the line to endlessly many.

    sizes: fid_by_size.csv of stage evaluate.
    """
    name = "fid" if "fid" in sizes else "frechet_r64"
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
