"""Stage publish: what git keeps of the results."""

from pathlib import Path

from semireal import files, paths, stage
from semireal.evaluation import publish


def main() -> None:
    """results/* and the reports of the data -> results/metrics.json and results/published."""
    with stage.output(paths.PUBLISHED) as out:
        publish.run(Path(), out)
    files.write_atomic(paths.METRICS, publish.read(paths.HEADLINE))


if __name__ == "__main__":
    stage.run(main)
