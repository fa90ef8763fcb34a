"""Values with their intervals, and differences of them; for those who read numbers and compute none."""

from typing import NamedTuple

import numpy as np
from scipy.stats import norm


class Estimate(NamedTuple):
    """Value of a metric and its 95 % interval; low and high are nan where there are too few images to tell."""

    value: float
    low: float
    high: float


def difference(a: Estimate, b: Estimate, comparisons: int = 1) -> Estimate:
    """a - b of two independent estimates, with its 95 % interval.

    Square-and-add of the distances from the values to their bounds (Newcombe 1998, method 10; Zou and Donner 2008).
    comparisons: how many such differences are looked at together; all of their intervals at once hold the truth in
    95 % of repetitions (Bonferroni). Estimates that share their real images are not independent; as these move both
    the same way, the interval is then too wide, not too narrow.
    """
    wider = float(norm.ppf(1 - 0.025 / comparisons) / norm.ppf(0.975))
    value = a.value - b.value
    below = wider * float(np.hypot(a.value - a.low, b.high - b.value))
    above = wider * float(np.hypot(a.high - a.value, b.value - b.low))
    return Estimate(value, value - below, value + above)
