"""What a dataset pictures how often: poses, light, hair, domains, sources, artists, each by its classes.

A generator leans towards whatever is pictured most. How many classes there are says little of that: a set of fourteen
artists of whom one drew nine tenths is nearly one of a single artist. So the effective number goes with it.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from semireal import manifest, text
from semireal.manifest import Row

LISTED = 6  # classes that a summary names, the largest; the others are one number
OTHERS = "others"

Summary = dict[str, Any]


def _by(column: str, *steps: tuple[float, str]) -> Callable[[Row], str]:
    """The class of a number: the first of the steps that it is below."""

    def of(row: Row) -> str:
        value = row.get(column)
        if value is None or not math.isfinite(value):
            return ""
        return next(name for limit, name in steps if value < limit)

    return of


def _text(column: str) -> Callable[[Row], str]:
    return lambda row: text.line(str(row.get(column) or ""))


# of each property, what says which class an image has; "" where that is not known
PROPERTIES: Mapping[str, Callable[[Row], str]] = {
    "domain": _text("domain"),
    "turn": _by("turn", (1 / 3, "towards the viewer"), (2 / 3, "half turned"), (math.inf, "turned")),
    "tilt": _by("tilt", (8, "upright"), (20, "tilted"), (math.inf, "very tilted")),
    "light": _by("light", (40, "dark"), (65, "medium"), (math.inf, "bright")),
    "side light": _by("side", (-5, "from the left"), (5, "even"), (math.inf, "from the right")),
    "hair": _text("hair"),
    "source": _text("source"),
    "artist": _text("artist"),
}


def summary(rows: Iterable[Row]) -> dict[str, Summary]:
    """Of each property of the kept images that is known of any: how many classes, how many images have each.

    classes: how many there are. effective: of how many equal ones they would be worth, see `effective`. images: by
    class, the LISTED largest and, where there are more, all OTHERS. unknown: images of which the class is not known.
    """
    kept = [row for row in rows if row["status"] == manifest.KEPT]
    found = {}
    for name, of in PROPERTIES.items():
        counts = manifest.count(of(row) for row in kept)
        unknown = counts.pop("", 0)
        if counts:
            numbers = {"classes": len(counts), "effective": round(effective(list(counts.values())), 2)}
            found[name] = numbers | {"images": _largest(counts), "unknown": unknown}
    return found


def effective(counts: Sequence[int]) -> float:
    """How many equally frequent classes are as varied: exp of Shannon's entropy, Hill's number of order 1 (Hill 1973).

    counts: images of each class, above 0. From 1, where all images are of one class, to the number of classes.
    """
    total = sum(counts)
    return math.exp(-sum(count / total * math.log(count / total) for count in counts))


def told(name: str, one: Summary) -> str:
    """A summary as a line of text."""
    images: dict[str, int] = one["images"]
    known = sum(images.values())
    largest = max(count for kind, count in images.items() if kind != OTHERS or len(images) == 1)
    classes = f"{name}: {one['classes']}, effective {one['effective']:.3g}, largest {largest / known:.0%}"
    return classes + (f"; not known of {one['unknown']}" if one["unknown"] else "")


def _largest(counts: Mapping[str, int]) -> dict[str, int]:
    """The largest classes, the largest first; of equals in the order of their names."""
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    rest = sum(count for _, count in ordered[LISTED:])
    return dict(ordered[:LISTED]) | ({OTHERS: rest} if rest else {})
