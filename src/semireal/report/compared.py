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


def _experiments() -> tuple[list[str], list[str]]:
    """The names of the experiments of HEAD, and of those of all other commits."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from scmrepo.exceptions import SCMError

    try:
        with Repo(".") as repo:
            head = repo.scm.get_rev()
            every = repo.experiments.ls(all_commits=True)
    except (DvcException, SCMError) as error:
        raise UserError(f"this repository cannot be read: {' '.join(str(error).split())}") from None
    names = [name for name, _ in every.get(head, [])]
    others = {name for commit, found in every.items() if commit != head for name, _ in found}
    return names, sorted(others - set(names))


def everything() -> list[Experiment]:
    """The workspace, if it has results, and the experiments of HEAD; one of two with equal parameters."""
    names, earlier = _experiments()
    if earlier:
        stage.say(
            f"not shown, since they belong to other commits: {', '.join(earlier)}. Name those that you want to see"
        )
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
