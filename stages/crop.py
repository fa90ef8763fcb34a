"""Stage crop: find the faces of the raw collection and cut them out."""

from dataclasses import dataclass

from semireal import params, paths, stage
from semireal.collect import takedowns
from semireal.faces import crop
from semireal.params.crop import Crop
from semireal.params.resize import Resize


@dataclass(frozen=True)
class Given:
    """What it takes of params.yaml."""

    collection: str
    crop: Crop
    resize: Resize


def main() -> None:
    """data/raw/<collection>, less what is taken down -> data/crops."""
    given = params.load(Given)
    taken_down = takedowns.read(takedowns.FILE)
    with stage.output(paths.CROPS) as out:
        crop.run(paths.RAW / given.collection, out, given.crop, given.resize, taken_down)


if __name__ == "__main__":
    stage.run(main)
