"""`python -m semireal.report`: experiments side by side in one HTML file."""

import argparse
from pathlib import Path

from semireal import report, stage
from semireal.errors import UserError
from semireal.report.experiment import Experiment, Files, Revision, Workspace, load

WORKSPACE = "workspace"


def main() -> None:
    """Write the page about the named experiments, or about the workspace and all experiments made from it."""
    parser = argparse.ArgumentParser(prog="python -m semireal.report", description="Show experiments side by side.")
    parser.add_argument(
        "experiments",
        nargs="*",
        metavar="EXPERIMENT",
        help=f"experiments, branches or tags, or `{WORKSPACE}` (default: {WORKSPACE} and all experiments of HEAD)",
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="default: %(default)s")
    given = parser.parse_args()
    found = [load(_files(name), "" if name == WORKSPACE else name) for name in given.experiments] or _all(Path())
    report.write(given.out, found)
    stage.say(f"{given.out}: {', '.join(one.label or one.title for one in found)}")


def _files(name: str) -> Files:
    return Workspace(Path()) if name == WORKSPACE else Revision(Path(), name)


def _all(root: Path) -> list[Experiment]:
    """The workspace, if it has results, and the experiments of HEAD; one of two with equal parameters."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        names = [name for name, _ in repo.experiments.ls().get(repo.scm.get_rev(), [])]
    found: list[Experiment] = []
    for name in [WORKSPACE, *sorted(names)]:
        try:
            one = load(_files(name), "" if name == WORKSPACE else name)
        except UserError as error:  # such as a run that failed
            stage.say(f"left out: {error}")
            continue
        if one.params not in [other.params for other in found]:
            found.append(one)
    if not found:
        raise UserError("no experiment with results. Run `dvc repro` or `dvc exp run` first")
    return found


if __name__ == "__main__":
    stage.run(main)
