"""Stage crop: find the faces of the raw collection and cut them out."""

from pathlib import Path

from semireal import params, stage
from semireal.collect import takedowns
from semireal.faces import crop


def main() -> None:
    """data/raw/<collection>, less what is taken down -> data/crops."""
    given = params.load()
    taken_down = takedowns.read(takedowns.FILE)
    with stage.output(Path("data/crops")) as out:
        crop.run(Path("data/raw") / given.collection, out, given.crop, taken_down)


if __name__ == "__main__":
    stage.run(main)
