"""Stage scrape: draw one collection of the embedded gallery, e.g. `python stages/scrape.py demo/elf`.

Its sources are in experiments/sources/<collection>.yaml; the images go to data/raw/<collection>. Collections of other
kinds are made by `semireal scrape`, in the same way.
"""

import sys

from semireal import stage
from semireal.collect import scrape
from semireal.errors import UserError


def main() -> None:
    """Collect the sources of the collection named on the command line."""
    if len(sys.argv) != 2:
        raise UserError("scrape: need one argument, the collection, e.g. demo/elf")
    scrape.make(sys.argv[1])


if __name__ == "__main__":
    stage.run(main)
