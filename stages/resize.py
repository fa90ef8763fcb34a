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
    stage.may_write(paths.RESIZED)
    looked = resize.look(paths.CROPS, params.load(Given).resize)
    with stage.output(paths.RESIZED) as out:
        resize.write(out, looked)


if __name__ == "__main__":
    stage.run(main)
