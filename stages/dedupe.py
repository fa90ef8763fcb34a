"""Stage dedupe: of near-duplicates keep one."""

from pathlib import Path

from semireal import params, stage
from semireal.curate import dedupe


def main() -> None:
    """data/filtered -> data/dataset."""
    with stage.output(Path("data/dataset")) as out:
        dedupe.run(Path("data/filtered"), out, params.load().dedupe)


if __name__ == "__main__":
    stage.run(main)
