"""Stage resize: bring all crops to one size."""

from pathlib import Path

from semireal import params, stage
from semireal.curate import resize


def main() -> None:
    """data/crops -> data/resized."""
    with stage.output(Path("data/resized")) as out:
        resize.run(Path("data/crops"), out, params.load().resize)


if __name__ == "__main__":
    stage.run(main)
