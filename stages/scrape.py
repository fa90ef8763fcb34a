"""Stage scrape: collect one raw collection, e.g. `python stages/scrape.py demo/elf`.

Its sources are in experiments/sources/<collection>.yaml; the images go to data/raw/<collection>. Two variables of the
environment are for a single run, so they are no parameters: SEMIREAL_SCRAPE_MINUTES, its wall-clock limit (720;
0 = none), and SEMIREAL_SCRAPE_ACCEPT, names of sources (a,b) or `all` that may be incomplete.
"""

import os
import sys
from pathlib import Path

from semireal import stage
from semireal.collect import scrape, takedowns
from semireal.collect.collector import Patience
from semireal.errors import UserError


def main() -> None:
    """Collect the sources of the collection named on the command line."""
    if len(sys.argv) != 2:
        raise UserError("scrape: need one argument, the collection, e.g. demo/elf")
    collection = sys.argv[1]
    definition = Path("experiments/sources") / f"{collection}.yaml"
    accept = tuple(filter(None, os.environ.get("SEMIREAL_SCRAPE_ACCEPT", "").split(",")))
    taken_down = takedowns.read(takedowns.FILE)
    with (
        stage.work("scrape", collection) as work,
        stage.output(Path("data/raw") / collection) as out,
    ):
        scrape.run(definition, out, work, Patience(minutes=minutes()), accept, taken_down)


def minutes() -> float | None:
    """The wall-clock limit that the environment asks for, None for none."""
    given = os.environ.get("SEMIREAL_SCRAPE_MINUTES")
    if not given:
        return Patience().minutes
    try:
        found = float(given)
    except ValueError:
        found = -1
    if not found >= 0:
        raise UserError(f"SEMIREAL_SCRAPE_MINUTES: found {given!r}, need a number of minutes, or 0 for no limit")
    return found or None


if __name__ == "__main__":
    stage.run(main)
