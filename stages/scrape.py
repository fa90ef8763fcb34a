"""Stage scrape: collect one raw collection, e.g. `python stages/scrape.py demo/elf`.

Its sources are in experiments/sources/<collection>.yaml; the images go to data/raw/<collection>.
"""

import sys
from pathlib import Path

from semireal import scrape, stage
from semireal.errors import UserError


def main() -> None:
    """Collect the sources of the collection named on the command line."""
    if len(sys.argv) != 2:
        raise UserError("scrape: need one argument, the collection, e.g. demo/elf")
    collection = sys.argv[1]
    definition = Path("experiments/sources") / f"{collection}.yaml"
    with (
        stage.work("scrape", scrape.work_key(definition)) as work,
        stage.output(Path("data/raw") / collection) as out,
    ):
        scrape.run(definition, out, work)


if __name__ == "__main__":
    stage.run(main)
