"""Stage filter: leave out what is too poor to train on or of another style."""

from pathlib import Path

from semireal import params, stage
from semireal.curate import decisions, filter


def main() -> None:
    """data/resized and the decisions of a person -> data/filtered."""
    given = params.load()
    decided = decisions.read(decisions.file_of(given.name))
    with stage.output(Path("data/filtered")) as out:
        filter.run(Path("data/resized"), out, given.filter, decided)


if __name__ == "__main__":
    stage.run(main)
