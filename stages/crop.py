"""Stage crop: find the faces of the raw collection and cut them out."""

from pathlib import Path

from semireal import crop, params, stage


def main() -> None:
    """data/raw/<collection> -> data/crops."""
    given = params.load()
    with stage.output(Path("data/crops")) as out:
        crop.run(Path("data/raw") / given.collection, out, given.crop)


if __name__ == "__main__":
    stage.run(main)
