"""What the thresholds cost: how many images a milder value would bring back, for who wants more of them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from semireal import stage
from semireal.manifest import Row

P = TypeVar("P")
LEAST = 0.02  # of the images; what brings back fewer is not mentioned


def settings(params: P, steps: Mapping[str, float]) -> dict[str, P]:
    """By name and value, e.g. `min_side: 96`: the parameters with one of them multiplied by its step; null stays."""
    found = {}
    for key, step in steps.items():
        value = getattr(params, key)
        if value:
            new = round(value * step) if isinstance(value, int) else round(value * step, 3)
            found[f"{key}: {new}"] = dataclasses.replace(params, **{key: new})  # type: ignore[type-var]
    return found


def brings_back(
    rows: Sequence[Row], params: P, steps: Mapping[str, float], verdict: Callable[[Row, P], str]
) -> dict[str, int]:
    """How many of the rows that `verdict` rejects each of the milder settings would keep; those alone that do so.

    verdict: reason to reject a row, "" for none.
    """
    lost = [row for row in rows if verdict(row, params)]
    counts = {name: sum(not verdict(row, one) for row in lost) for name, one in settings(params, steps).items()}
    return {name: count for name, count in counts.items() if count >= max(LEAST * len(rows), 1)}


def say(section: str, counts: Mapping[str, int], params: object) -> None:
    """Tell the person at the terminal."""
    for name, count in counts.items():
        key = name.partition(":")[0]
        stage.say(f"{section}: {section}.{name} instead of {getattr(params, key)} would bring back {count} images")
