"""Stage resize: bring all crops to one size."""

from dataclasses import dataclass
from pathlib import Path

from semireal import params, stage
from semireal.curate import resize
from semireal.params.resize import Resize


@dataclass(frozen=True)
class Given:
    """What it takes of params.yaml."""

    resize: Resize


def main() -> None:
    """data/crops -> data/resized."""
    with stage.output(Path("data/resized")) as out:
        resize.run(Path("data/crops"), out, params.load(Given).resize)


if __name__ == "__main__":
    stage.run(main)
