"""Is one experiment better than another? Differences of their measures, with intervals.

The intervals tell how much a difference would change with other seeds and other images of the same kind, not how much
with another training run. Two experiments with the same training images share what is random in these; the intervals
take them for independent, and so are rather too wide.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from semireal.evaluation.names import AT_PSI, MAIN
from semireal.metrics.estimates import Estimate, difference
from semireal.report.experiment import Experiment

LEAST = ("kid", "kd_dinov2", "distance_whole", "distance_layout", "distance_eyes")  # distances that tell a winner


@dataclass(frozen=True)
class Difference:
    """How much more the second of two experiments has of a measure, with a 95 % interval."""

    measure: str
    first: Estimate
    second: Estimate
    more: Estimate

    @property
    def seen(self) -> bool:
        """Whether there is a difference at all, as far as these images tell."""
        return self.more.low > 0 or self.more.high < 0


@dataclass(frozen=True)
class Best:
    """The experiment with the least of a distance; clear: whether it differs from every other one."""

    measure: str
    place: int
    clear: bool


def measured(experiment: Experiment) -> dict[str, Estimate]:
    """The measures of an experiment that have an interval, by their names in results/metrics.json."""
    found = {}
    for row in experiment.evaluation.get("measures", []):
        if row["against"] in MAIN and row["low"] is not None:
            one = Estimate(row["value"], row["low"], row["high"])
            if row["psi"] == experiment.given.psi:
                found[row["measure"] + AT_PSI] = one
            if row["psi"] == 1:
                found[row["measure"]] = one
    return found


def between(first: Experiment, second: Experiment) -> list[Difference]:
    """The differences of all measures that both have."""
    a, b = measured(first), measured(second)
    return [Difference(name, a[name], b[name], difference(b[name], a[name])) for name in a if name in b]


def best(experiments: Sequence[Experiment]) -> list[Best]:
    """Who has the least of each distance that all have, of at least two experiments."""
    tables = [measured(one) for one in experiments]
    names = [name + end for name in LEAST for end in ("", AT_PSI)]
    found = []
    for name in (name for name in names if all(name in table for table in tables)):
        values = [table[name] for table in tables]
        place = min(range(len(values)), key=lambda n: values[n].value)
        others = [one for n, one in enumerate(values) if n != place]
        ahead = all(difference(one, values[place], len(others)).low > 0 for one in others)
        found.append(Best(name, place, ahead))
    return found


def same_images(first: Experiment, second: Experiment) -> bool:
    """Whether both were measured against the same training images."""
    return images_of(first) == images_of(second) != ""


def images_of(experiment: Experiment) -> str:
    """What tells the training images of an experiment from others; empty where that was not noted yet."""
    return str(experiment.evaluation.get("protocol", {}).get("training_images", ""))
