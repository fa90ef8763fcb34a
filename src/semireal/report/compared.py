"""Experiments side by side in one HTML file: `semireal report`."""

from collections.abc import Sequence
from pathlib import Path

from semireal import report, stage
from semireal.errors import UserError
from semireal.report.experiment import Experiment, Files, Revision, Workspace, load

WORKSPACE = "workspace"


def run(names: Sequence[str], out: Path) -> None:
    """Write the page about experiments, branches, tags or `workspace`; about the workspace and all experiments of HEAD
    without names. Raises UserError where one has no results.
    """
    found = [one(name) for name in names] or everything()
    out.parent.mkdir(parents=True, exist_ok=True)
    report.write(out, found)
    stage.say(f"{out}: {', '.join(one.label or one.title for one in found)}")


def _files(name: str) -> Files:
    return Workspace(Path()) if name == WORKSPACE else Revision(Path(), name)


def one(name: str) -> Experiment:
    """An experiment, branch, tag or the workspace; raises UserError where it has no results."""
    return load(_files(name), "" if name == WORKSPACE else name)


def everything() -> list[Experiment]:
    """The workspace, if it has results, and the experiments of HEAD; one of two with equal parameters."""
    from dvc.repo import Repo

    with Repo(".") as repo:
        names = [name for name, _ in repo.experiments.ls().get(repo.scm.get_rev(), [])]
    found: list[Experiment] = []
    for name in [WORKSPACE, *sorted(names)]:
        try:
            other = one(name)
        except UserError as error:  # such as a run that failed
            stage.say(f"left out: {error}")
            continue
        if other.params not in [each.params for each in found]:
            found.append(other)
    if not found:
        raise UserError("no experiment with results. Run `dvc repro` or `dvc exp run` first")
    return found
