"""Free disk without losing results: `semireal clean-cache`.

Of the flags of `dvc gc`, `--workspace` alone deletes the data of all experiments and `--all-branches` that of older
commits; `--cloud` deletes what others have pushed. This is the combination that deletes only what no commit, branch,
tag, or experiment refers to: the leavings of runs that were never committed, and of experiments that were removed.
"""

from pathlib import Path

from semireal import stage
from semireal.errors import UserError
from semireal.pipeline.commands import dvc
from semireal.pipeline.sweep import active, dead

RECORDS = "run"  # a folder in which DVC keeps what it knows of temporary experiments, for good
FLAGS = ("--all-commits", "--all-experiments")


def run(yes: bool) -> None:
    """Delete what nothing refers to from the cache; asks first, unless `yes`.

    Raises UserError if experiments are queued or running, whose data no commit has yet, or if the cache is shared.
    """
    unfinished = sorted(set(active()) - set(dead()))
    if unfinished:
        raise UserError(
            f"clean-cache: {len(unfinished)} experiments are queued or running ({', '.join(unfinished)}); their "
            "data is not committed yet. Wait for them, or end them: dvc queue kill, dvc queue remove --all"
        )
    # `dvc exp run --temp` leaves no other trace than its folder
    temporary = sorted(path for path in Path(".dvc/tmp/exps/standalone").glob("*/") if path.name != RECORDS)
    if temporary:
        raise UserError(
            f"clean-cache: {temporary[0]} is an experiment in a temporary folder that runs, or was killed. "
            "Wait for it; if nothing runs, remove the folder"
        )
    cache = Path(dvc("cache", "dir", show=False).strip()).resolve()
    if not cache.is_relative_to(Path.cwd().resolve()):
        raise UserError(
            f"clean-cache: the cache {cache} is outside of this repository and others may use it. Name them all: "
            f"dvc gc {' '.join(FLAGS)} --projects DIR ..."
        )
    if not yes and not _agreed(f"Delete from {cache} what no commit, branch, tag or experiment refers to? [y/N] "):
        raise UserError("clean-cache: nothing deleted")
    before = _size(cache)
    dvc("gc", *FLAGS, "--force", "--quiet")  # not quiet it warns of each collection that a commit has not made
    after = _size(cache)
    stage.say(f"clean-cache: {(before - after) / 1e6:.1f} MB freed, {after / 1e6:.1f} MB left in {cache}")


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
