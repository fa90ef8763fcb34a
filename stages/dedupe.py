"""Stage dedupe: of near-duplicates keep one."""

from dataclasses import dataclass

from semireal import params, paths, stage
from semireal.curate import dedupe
from semireal.params.dedupe import Dedupe


@dataclass(frozen=True)
class Given:
    """What it takes of params.yaml."""

    dedupe: Dedupe


def main() -> None:
    """data/filtered -> data/dataset."""
    given = params.load(Given)
    stage.may_write(paths.DATASET)
    looked = dedupe.look(paths.FILTERED)
    with stage.output(paths.DATASET) as out:
        dedupe.write(paths.FILTERED, out, looked, given.dedupe)


if __name__ == "__main__":
    stage.run(main)
