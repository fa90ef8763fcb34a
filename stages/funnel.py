"""Stage funnel: what became of the raw images."""

from dataclasses import dataclass
from pathlib import Path

from semireal import params, stage
from semireal.curate import funnel


@dataclass(frozen=True)
class Given:
    """What it takes of params.yaml."""

    name: str
    collection: str


def main() -> None:
    """The reports of the stages -> results/funnel."""
    given, data = params.load(Given), Path("data")
    folders = (data / "raw" / given.collection, data / "crops", data / "filtered", data / "dataset")
    with stage.output(Path("results/funnel")) as out:
        funnel.run(*folders, out, given.name)


if __name__ == "__main__":
    stage.run(main)
