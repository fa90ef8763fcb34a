"""Pictures for people: the loss curves as PNG, for machines where `dvc plots` cannot load its scripts."""

from collections.abc import Sequence
from pathlib import Path

CURVES = ("loss_g", "loss_d")


def save_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """Plot the losses of generator and discriminator over the epochs; `history` has one row per epoch."""
    # matplotlib is not needed for training, and not installed everywhere
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, label in zip(CURVES, ("generator", "discriminator"), strict=True):
        axes.plot([row["epoch"] for row in history], [row[name] for row in history], label=label)
    axes.set(xlabel="epoch (1000 images)", ylabel="loss")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})
