"""Pictures for people: the curves of a training as PNG, for machines where `dvc plots` cannot load its scripts."""

from pathlib import Path

import pandas as pd

LOSSES = {"loss_g": "generator", "loss_d": "discriminator"}
KERNEL = "snapshot_kernel_r64"


def save_curves(history: pd.DataFrame, path: Path) -> None:
    """Plot the losses over the epochs, and below the kernel distance with the best snapshot marked.

    history: one row per epoch; snapshot_kernel_r64 only where it was measured.
    """
    # matplotlib is not needed for training, and not installed everywhere
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), layout="constrained")
    FigureCanvasAgg(figure)
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
    figure.savefig(path, dpi=120, metadata={"Software": None})
