"""Stage resize: bring all crops to one size."""

from dataclasses import dataclass

from semireal import params, paths, stage
from semireal.curate import resize
from semireal.params.resize import Resize


@dataclass(frozen=True)
class Given:
    """What it takes of params.yaml."""

    resize: Resize


def main() -> None:
    """data/crops -> data/resized."""
    with stage.output(paths.RESIZED) as out:
        resize.run(paths.CROPS, out, params.load(Given).resize)


if __name__ == "__main__":
    stage.run(main)
