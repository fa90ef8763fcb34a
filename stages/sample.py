"""Stage sample: pictures of the trained generator."""

from pathlib import Path

from semireal import params, stage
from semireal.training import sample


def main() -> None:
    """models/*.safetensors -> results/samples."""
    given = params.load().sample
    with stage.output(Path("results/samples")) as out:
        sample.run(sample.generator_of(Path("models"), given.snapshot), out, given)


if __name__ == "__main__":
    stage.run(main)
