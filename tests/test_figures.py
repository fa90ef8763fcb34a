"""What the pictures for people show, read from what was drawn."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from semireal import figures, published

NAN = float("nan")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that would have been saved."""
    found: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: found.append(self))
    return found


def lines(axes: Any) -> dict[str, list[tuple[float, float]]]:
    """Points of each line, by its label."""
    return {line.get_label(): [(float(x), float(y)) for x, y in line.get_xydata()] for line in axes.get_lines()}


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_variety_is_a_bar_a_property_whatever_its_classes_are_called(drawn: list[Any]) -> None:
    properties = [("hair: 2", {"dark": 6, "red": 2}), (r"artist: $\frac$", {r"$\frac{1}": 39, "b": 1})]
    figures.save_variety(properties, "elf", Path("x"))
    (axes,) = drawn[0].axes
    assert [(round(bar.get_x(), 3), round(bar.get_width(), 3)) for bar in axes.patches] == [
        *((0, 0.75), (0.75, 0.25)),
        *((0, 0.975), (0.975, 0.025)),
    ]
    # a class whose part is too small for its name has none
    assert texts(axes) == ["hair: 2", "dark 75%", "red 25%", r"artist: $\frac$", r"$\frac{1} 98%"]
    drawn[0].canvas.draw()  # nothing of it is taken for a formula


def test_curves_show_losses_and_the_best_snapshot(drawn: list[Any]) -> None:
    history = pd.DataFrame(
        {
            "epoch": [1, 2, 3, 4, 5],
            "loss_g": [4.0, 3.0, 2.5, 2.0, 1.5],
            "loss_d": [1.0, 1.1, 1.2, 1.3, 1.4],
            "snapshot_distance": [NAN, 0.9, NAN, 0.4, 0.6],
            "snapshot_whole": [NAN, 0.5, NAN, 0.2, 0.3],
            "snapshot_eyes": [NAN, 0.4, NAN, 0.2, 0.1],
        }
    )
    figures.save_curves(history, Path("x"))
    figures.save_curves(history.iloc[:, :3], Path("x"))
    losses, distance = drawn[0].axes
    assert lines(losses) == {
        "generator": [(1, 4), (2, 3), (3, 2.5), (4, 2), (5, 1.5)],
        "discriminator": [(1, 1), (2, 1.1), (3, 1.2), (4, 1.3), (5, 1.4)],
    }
    assert losses.get_legend() is not None
    assert lines(distance) == {
        "whole": [(2, 0.5), (4, 0.2), (5, 0.3)],
        "eyes": [(2, 0.4), (4, 0.2), (5, 0.1)],
        "best: epoch 4": [(4, 0), (4, 1)],
    }
    assert (distance.get_xlabel(), distance.get_ylabel()) == ("epoch (1000 images)", "distance")
    assert [len(lines(axes)) for axes in drawn[1].axes] == [2, 0]  # not measured


def test_funnel_shows_what_is_left_and_why(drawn: list[Any]) -> None:
    steps = [("raw", 200, {}), ("face found", 150, {"no face": 20, "small": 30}), ("by hand", 160, {"back": -10})]
    figures.save_funnel(steps, {"filter.min_side: 96": 5}, "elf", Path("x"))
    funnel, reported = drawn[0].axes
    assert [label.get_text() for label in funnel.get_yticklabels()] == ["raw", "face found", "by hand"]
    assert [bar.get_width() for bar in funnel.patches] == [200, 150, 160]
    assert texts(funnel) == ["200  (100%)", "150  (75%)\nsmall 30, no face 20", "160  (80%)\nback 10"]
    for bar, text in zip(funnel.patches, funnel.texts, strict=True):
        x, y = text.get_position()
        assert bar.get_width() < x < bar.get_width() + 10
        assert bar.get_y() < y < bar.get_y() + bar.get_height()
    assert funnel.get_title() == "elf: images left after each step"
    here, *others = [bar.get_width() for bar in reported.patches]
    assert here == pytest.approx(160 / 200)
    assert others == pytest.approx([published.REPORT["elf"].faces / published.REPORT["elf"].raw])
    assert texts(reported)[0] == "200 \N{RIGHTWARDS ARROW} 160  (80%)"
    assert reported.patches[0].get_facecolor() != reported.patches[1].get_facecolor()
    for axes in (funnel, reported):
        bottom, top = axes.get_ylim()
        assert bottom > top  # the first step is above


@pytest.mark.parametrize("suffix", ["", "_whole"])
def test_sweep_shows_each_measure_over_psi(drawn: list[Any], suffix: str) -> None:
    psi = np.array([0.3, 0.7, 1.0])
    offline = {"precision_whole": 1 - psi / 9, "recall_whole": psi / 2, "diversity_whole": psi}
    kernels = {"distance_whole": psi**2, "distance_layout": 2 * psi}  # faces without landmarks: nothing of the eyes
    inception = {"precision": psi / 3, "recall": psi / 4, "diversity": psi / 5, "kid": psi / 6}
    table = pd.DataFrame({"psi": psi, "images": 40} | offline | kernels | ({} if suffix else inception))
    figures.save_sweep(table, 0.7, Path("x"))
    shares, distance, *kid = drawn[0].axes
    found = {label.split()[0]: points for label, points in lines(shares).items()}
    for kind in ("precision", "recall", "diversity"):
        assert found[kind] == list(zip(psi, table[kind + suffix], strict=True)), kind
    mark = {"sample.psi": [(0.7, 0), (0.7, 1)]}
    points = {name: list(zip(psi, table[f"distance_{name}"], strict=True)) for name in ("whole", "layout")}
    assert lines(distance) == points | mark
    assert [lines(axes) for axes in kid] == ([] if suffix else [{"kid": list(zip(psi, psi / 6, strict=True))} | mark])
    assert lines(shares)["sample.psi"] == mark["sample.psi"]
    assert shares.get_title() == "first 40 seeds"
    assert drawn[0].axes[-1].get_xlabel() == "psi"


@pytest.mark.parametrize("name", ["fid", "frechet_whole"])
def test_sizes_show_the_line_to_endlessly_many(drawn: list[Any], name: str) -> None:
    images, spread = [10, 20, 50], [0.5, 0.3, 0.1]
    values = [7 + 60 / n for n in images]  # on a line over 1 / images
    figures.save_sizes(pd.DataFrame({"images": images, name: values, f"{name}_spread": spread}), Path("x"))
    (axes,) = drawn[0].axes
    ((points, _, (bars,)),) = axes.containers
    assert [tuple(point) for point in points.get_xydata()] == [(1 / n, v) for n, v in zip(images, values, strict=True)]
    ends = [[low, high] for (_, low), (_, high) in bars.get_segments()]
    np.testing.assert_allclose(ends, [[v - s, v + s] for v, s in zip(values, spread, strict=True)])
    np.testing.assert_allclose(lines(axes)["extrapolated: 7"], [(0, 7), (0.1, 13)], atol=1e-9)
    ticks = dict(zip(axes.get_xticks(), (label.get_text() for label in axes.get_xticklabels()), strict=True))
    assert ticks == {0: "endless", 1 / 10: "10", 1 / 20: "20", 1 / 50: "50"}
    assert axes.get_ylabel() == name


def test_one_size_has_no_line(drawn: list[Any]) -> None:
    figures.save_sizes(pd.DataFrame({"images": [10], "fid": [3.0], "fid_spread": [0.1]}), Path("x"))
    assert not [label for label in lines(drawn[0].axes[0]) if label.startswith("extrapolated")]
