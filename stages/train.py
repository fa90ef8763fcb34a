"""Stage train: StyleGAN2 on the dataset; loss curves through dvclive."""

from pathlib import Path

from dvclive.live import Live

from semireal import params, report, stage, train


def main() -> None:
    """data/dataset -> models/*.safetensors and results/train."""
    history: list[dict[str, float]] = []
    with stage.output(Path("results/train")) as out:
        train.run(Path("data/dataset"), Path("models"), out / "grids", params.load(), history.append)
        log_curves(history, out)
        report.save_curves(history, out / "curves.png")


def log_curves(history: list[dict[str, float]], out: Path) -> None:
    """Replay the history, so that a resumed run and one in a single go have the same curves."""
    # resume: keep what is in the folder. The rest: no experiment, dvc.yaml or report of its own
    with Live(str(out), resume=True, save_dvc_exp=False, dvcyaml=None, report=None) as live:
        for row in history:
            live.step = int(row["epoch"])
            for name, value in row.items():
                if name != "epoch":
                    live.log_metric(name, value)
            live.make_summary()


if __name__ == "__main__":
    stage.run(main)
