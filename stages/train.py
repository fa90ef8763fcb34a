"""Stage train: StyleGAN2 on the dataset; loss curves through dvclive."""

from pathlib import Path

import pandas as pd
from dvclive.live import Live

from semireal import devices, figures, machine, params, paths, stage
from semireal.training import train


def main() -> None:
    """data/dataset -> models/*.safetensors and results/train."""
    given = params.load(train.Given)
    here = machine.load()
    devices.check(here, given.train.batch, given.train.group)
    stage.may_write(paths.MODELS)  # now, and not when the training has ended
    with stage.output(paths.TRAINING) as out:
        if here.processes > 1:
            train.launch(out, here.processes)
        else:
            train.run(paths.DATASET, paths.MODELS, out, given)
        history = pd.read_csv(out / train.HISTORY)
        log_curves(history, out)
        figures.save_curves(history, out / "curves.png")


def log_curves(history: pd.DataFrame, out: Path) -> None:
    """Replay the history, so that a resumed run and one in a single go have the same curves."""
    # resume: keep what is in the folder. The rest: no experiment, dvc.yaml or report of its own
    with Live(str(out), resume=True, save_dvc_exp=False, dvcyaml=None, report=None) as live:
        for _, row in history.iterrows():
            live.step = int(row["epoch"])
            for name, value in row.drop("epoch").dropna().items():
                live.log_metric(str(name), float(value))
            live.make_summary()


if __name__ == "__main__":
    stage.run(main)
