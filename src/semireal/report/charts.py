"""Curves as SVG inside the page: they take its colours, light or dark, and stay sharp on any screen."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from semireal import paths
from semireal.figures import DISTANCES
from semireal.report.experiment import Experiment, Table

WIDTH, HEIGHT = 420, 210  # of the drawing's own units; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 34
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """A line of a chart; mark: a point to point out, and what it is."""

    label: str
    points: Points
    mark: tuple[tuple[float, float], str] | None = None


def curves(experiment: Experiment) -> list[Markup]:
    """Losses over the epochs, and the distances of the snapshots with the chosen one marked."""
    history = experiment.table(paths.TRAINING / "history.csv")
    losses = [
        Curve(name, _points(history, "epoch", f"loss_{key}"))
        for key, name in (("g", "generator"), ("d", "discriminator"))
    ]
    seen = [Curve(name, _points(history, "epoch", f"snapshot_{name}")) for name in DISTANCES]
    best = experiment.json(paths.TRAINING / "report.json").get("best_epoch")
    chosen = best if experiment.given.snapshot == "best" else (history[-1]["epoch"] if history else None)
    marks = [point for point in seen[0].points if chosen and point[0] == float(chosen)]
    seen[0] = dataclasses.replace(seen[0], mark=(marks[0], f"used: epoch {chosen}") if marks else None)
    return [
        chart("loss", "epoch (1000 images)", losses),
        chart("distance of the snapshots", "epoch", seen),
    ]


def sweep(experiment: Experiment) -> list[Markup]:
    """Quality against variety over psi, and the distances; the psi of the samples is marked."""
    rows = experiment.table(paths.EVALUATION / "psi_sweep.csv")
    offline = "" if rows and "precision" in rows[0] else "_whole"
    shares = [Curve(name, _points(rows, "psi", name + offline)) for name in ("precision", "recall", "diversity")]
    seen = [Curve(name, _points(rows, "psi", f"distance_{name}")) for name in DISTANCES]
    psi = experiment.given.psi
    for lines in (shares, seen):
        marks = [point for point in lines[0].points if point[0] == psi]
        lines[0] = dataclasses.replace(lines[0], mark=(marks[0], "sample.psi") if marks else None)
    return [
        chart("share, or 1 = as the training images", "\N{GREEK SMALL LETTER PSI}", shares),
        chart("distance", "\N{GREEK SMALL LETTER PSI}", seen),
    ]


def _points(rows: Table, x: str, y: str) -> Points:
    return [(float(row[x]), float(row[y])) for row in rows if row.get(y)]


def chart(y_label: str, x_label: str, lines: Sequence[Curve]) -> Markup:
    """Lines with axes, those without points left out; empty if there is nothing to draw."""
    lines = [line for line in lines if line.points]
    points = [point for line in lines for point in line.points]
    if not points:
        return Markup("")
    x_ticks, y_ticks = (_ticks([point[n] for point in points], n == 1) for n in range(2))

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = (point[0] - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        y = (point[1] - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM)

    parts = [_text(*place((tick, y_ticks[0])), f"{tick:g}", "middle", 14) for tick in x_ticks]
    for tick in y_ticks:
        x, y = place((x_ticks[0], tick))
        rule = Markup('<line class="rule" x1="{}" x2="{}" y1="{y}" y2="{y}"/>')
        parts.append(rule.format(LEFT, WIDTH - RIGHT, y=_n(y)))
        parts.append(_text(x - 5, y + 4, f"{tick:g}", "end"))
    for n, line in enumerate(lines):
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in map(place, line.points))
        parts.append(Markup('<polyline class="s{}" points="{}"/>').format(n, path))
        if line.mark:
            x, y = place(line.mark[0])
            parts.append(Markup('<circle class="mark" cx="{}" cy="{}" r="4"/>').format(_n(x), _n(y)))
            beside = ("end", -8) if x > WIDTH / 2 else ("start", 8)
            parts.append(_text(x + beside[1], y - 8, line.mark[1], beside[0]))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x_label, "middle"))
    key = Markup('<span class="key s{}">{}</span>')
    keys = [key.format(n, line.label) for n, line in enumerate(lines) if line.label]
    drawing = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, y_label, Markup("").join(parts)
    )
    return Markup('<div class="chart"><p>{} {}</p>{}</div>').format(y_label, Markup(" ").join(keys), drawing)


def _ticks(values: list[float], from_zero: bool) -> list[float]:
    low, high = min(values), max(values)
    if from_zero:
        low = min(low, 0.0)
    return list(MaxNLocator(5).tick_values(low, high if high > low else low + 1))


def _text(x: float, y: float, text: str, anchor: str, below: float = 0) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(_n(x), _n(y + below), anchor, text)


def _n(value: float) -> str:
    return f"{value:.1f}"
