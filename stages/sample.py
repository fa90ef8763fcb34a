"""Stage sample: pictures of the trained generator."""

from pathlib import Path

from semireal import params, sample, stage


def main() -> None:
    """models/generator.safetensors -> results/samples."""
    with stage.output(Path("results/samples")) as out:
        sample.run(Path("models/generator.safetensors"), out, params.load().sample)


if __name__ == "__main__":
    stage.run(main)
