"""Stage filter: leave out what is too poor to train on."""

from pathlib import Path

from semireal import filter, params, stage


def main() -> None:
    """data/resized -> data/filtered."""
    with stage.output(Path("data/filtered")) as out:
        filter.run(Path("data/resized"), out, params.load().filter)


if __name__ == "__main__":
    stage.run(main)
