"""Stage funnel: what became of the raw images."""

from dataclasses import dataclass

from semireal import params, paths, stage
from semireal.curate import funnel


@dataclass(frozen=True)
class Given:
    """What it takes of params.yaml."""

    name: str
    collection: str


def main() -> None:
    """The reports of the stages -> results/funnel."""
    given = params.load(Given)
    folders = (paths.RAW / given.collection, paths.CROPS, paths.FILTERED, paths.DATASET)
    with stage.output(paths.FUNNEL) as out:
        funnel.run(*folders, out, given.name)


if __name__ == "__main__":
    stage.run(main)
