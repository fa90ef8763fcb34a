"""Stage report: the experiment in one HTML file."""

from pathlib import Path

from semireal import paths, report, stage
from semireal.report.experiment import Workspace, load


def main() -> None:
    """Everything before -> results/report.html."""
    report.write(paths.REPORT, [load(Workspace(Path()))])


if __name__ == "__main__":
    stage.run(main)
