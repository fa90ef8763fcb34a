"""Stage evaluate: measure the generator against the dataset."""

from pathlib import Path

from semireal import evaluate, params, sample, stage


def main() -> None:
    """models/*.safetensors, data/dataset and results/samples -> results/metrics.json."""
    given = params.load()
    if given.evaluate.inception is None:
        print("evaluate: evaluate.inception is null, so fid, kid and inception_score are left out")
    generator = sample.generator_of(Path("models"), given.sample.snapshot)
    found = evaluate.run(generator, Path("data/dataset"), Path("results/samples"), given)
    stage.write_json(Path("results/metrics.json"), found)


if __name__ == "__main__":
    stage.run(main)
