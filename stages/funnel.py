"""Stage funnel: what became of the raw images."""

from pathlib import Path

from semireal import params, stage
from semireal.curate import funnel


def main() -> None:
    """The reports of the stages -> results/funnel."""
    given = params.load()
    data = Path("data")
    with stage.output(Path("results/funnel")) as out:
        funnel.run(
            data / "raw" / given.collection, data / "crops", data / "filtered", data / "dataset", out, given.name
        )


if __name__ == "__main__":
    stage.run(main)
