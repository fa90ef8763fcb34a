"""Stage evaluate: measure the generator against the dataset."""

import pandas as pd

from semireal import figures, files, params, paths, stage
from semireal.evaluation import evaluate


def main() -> None:
    """models/network.safetensors, data/dataset, results/* and the base -> results/evaluation."""
    given = params.load(evaluate.Given)
    if given.evaluate.inception is None:
        print("evaluate: evaluate.inception is null, so fid, kid and inception_score are left out")
    funnel = paths.FUNNEL / "funnel.json"
    with stage.output(paths.EVALUATION) as out:
        found = evaluate.run(paths.NETWORK, paths.DATASET, paths.SAMPLES, funnel, out, given)
        figures.save_sweep(pd.read_csv(out / "psi_sweep.csv"), given.psi, out / "psi_sweep_plot.png")
        figures.save_sizes(pd.read_csv(out / "fid_by_size.csv"), out / "fid_by_size_plot.png")
        files.write_json(out / paths.HEADLINE.name, found)


if __name__ == "__main__":
    stage.run(main)
