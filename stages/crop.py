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
    stage.may_write(paths.CROPS)
    looked = crop.look(paths.RAW / given.collection, given.crop, given.resize, taken_down)
    with stage.output(paths.CROPS) as out:
        crop.write(out, looked, given.crop)


if __name__ == "__main__":
    stage.run(main)
