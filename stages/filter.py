"""Stage filter: leave out what is too poor to train on or of another style."""

from collections.abc import Sequence
from dataclasses import dataclass

from semireal import params, paths, stage
from semireal.curate import decisions, filter
from semireal.manifest import Row
from semireal.params.filter import Filter


@dataclass(frozen=True)
class Given:
    """What it takes of params.yaml."""

    name: str
    filter: Filter


def main() -> None:
    """data/resized and the decisions of a person -> data/filtered."""
    given = params.load(Given)
    decided = decisions.read(decisions.file_of(given.name))
    stage.may_write(paths.FILTERED)
    looked: Sequence[Row] = filter.look(paths.RESIZED)
    # these two with PyTorch, which takes seconds, and is not needed otherwise
    if given.filter.max_marks is not None:
        from semireal.curate import marks

        looked = marks.looked_for(paths.RESIZED, looked, given.filter)
    if given.filter.min_character is not None:
        from semireal.curate import character

        looked = character.recognised(paths.RESIZED, looked, given.filter, decided)
    with stage.output(paths.FILTERED) as out:
        filter.write(paths.RESIZED, out, looked, given.filter, decided)


if __name__ == "__main__":
    stage.run(main)
