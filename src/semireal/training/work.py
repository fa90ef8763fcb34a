"""The work folder of a training: which one it goes on in, and who else may.

A folder stands for all that decides the bits: parameters, data and code, and what computes them (device, processes,
threads, versions). With the setting `resume: any` the longest run of the same parameters, data and code is gone on with
whatever made it. What did is then part of the key and of the record: such bits never pass for those of a single go.
"""

import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semireal import files, stage
from semireal.errors import UserError
from semireal.params.train import Train
from semireal.stylegan2 import parallel, training
from semireal.stylegan2.checkpoint import history_of
from semireal.stylegan2.training import STATE, Row

STAGE = "train"
PARTS = "run.json"  # in the folder: what decides the run, by name
BEFORE = "before"  # what made the first epochs, where something else went on

Parts = dict[str, Any]


@contextmanager
def opened(decides: Parts, made: Parts, given: Train, resume: str) -> Iterator[tuple[Path, Parts]]:
    """Give the folder of the training that `decides` names, and what has made it and will; all processes call this.

    made: what computes it now; resume: as in semireal.machine. The first process holds the lock of the folder, and
    alone is to read and write in it. Raises UserError where the processes were given different things, and where the
    folder of another node has more of this training than that of the first process.
    """
    _check_same(decides | made | {"train.epochs": given.epochs, "train.patience": given.patience})
    first = parallel.rank() == 0
    with parallel.agreed():
        if first and resume == "any":
            made = _going_on(decides, made, given)
    parts = decides | made
    key = parallel.tell(files.key_of(parts))
    with stage.work(STAGE, key) if first else nullcontext(stage.work_root() / STAGE / key) as folder:
        if first:
            if not (folder / STATE).exists():
                _say_what_is_new(folder, parts, made)
            files.write_json(folder / PARTS, parts)
        _check_place(folder)
        yield folder, made


def _check_same(parts: Parts) -> None:
    """Refuse to train where some processes would compute something else than the first."""
    first, host = parallel.tell((parts, socket.gethostname()))
    other = _differing(parts, first)
    with parallel.agreed():
        if other:
            raise UserError(
                f"found other {', '.join(other)} than {host}, the first node. Give all nodes the same commit, "
                "params.yaml, data and settings"
            )


def _check_place(folder: Path) -> None:
    """Refuse to go back to an earlier epoch where another node has a later one: the first process may have moved."""
    with parallel.agreed():
        done = len(history_of(folder / STATE)) if (folder / STATE).exists() else 0
    seen = parallel.gather((done, socket.gethostname()))
    most, host = max(seen)
    with parallel.agreed():
        if most > seen[0][0]:
            raise UserError(
                f"train: {folder}: has {most} epochs on {host}, and {seen[0][0]} on {seen[0][1]}, the first node. Put "
                f".work on a disk that both share, or copy that folder to {seen[0][1]}; if they share it, try again"
            )


@dataclass(frozen=True)
class _Run:
    """A training that can be gone on with."""

    folder: Path
    made: Parts
    history: list[Row]

    def last(self) -> Parts:
        """What made its last epochs."""
        return {name: value for name, value in self.made.items() if name != BEFORE}


def _going_on(decides: Parts, made: Parts, given: Train) -> Parts:
    """What has made the longest run of this training, and what will; its folder is then there, with all it needs."""
    runs = _runs_of(decides, given)
    if not runs:
        return made
    run = max(runs, key=lambda run: (len(run.history), run.last() == made, run.folder.name))
    if training.has_ended(run.history, given) or run.last() == made:
        return run.made
    epochs = len(run.history)
    further = made | {BEFORE: [*run.made.get(BEFORE, []), run.last() | {"epochs": epochs}]}
    with stage.work(STAGE, run.folder.name):
        if len(history_of(run.folder / STATE)) == epochs:  # not so where another process has worked there meanwhile
            _copy(run.folder, run.folder.with_name(files.key_of(decides | further)))
            other = ", ".join(_differing(made, run.last()))
            stage.say(f"train: epoch {epochs} was made with other {other}; the result is that of no single go")
            return further
    return _going_on(decides, made, given)


def _runs_of(decides: Parts, given: Train) -> list[_Run]:
    """All saved runs with these parameters, data and code that are not past the end."""
    found = []
    for path in sorted((stage.work_root() / STAGE).glob(f"*/{PARTS}")):
        parts = json.loads(path.read_text())
        if (path.parent / STATE).exists() and decides.items() <= parts.items():
            history = history_of(path.parent / STATE)
            if not training.is_past_the_end(history, given):
                made = {name: value for name, value in parts.items() if name not in decides}
                found.append(_Run(path.parent, made, history))
    return found


def _copy(source: Path, target: Path) -> None:
    """Copy what a run needs to go on elsewhere; the state last, since it tells that all is there."""
    shutil.copytree(source / training.GRIDS, target / training.GRIDS, dirs_exist_ok=True)
    for path in [*sorted(source.glob("best_*.safetensors")), source / STATE]:
        files.write_atomic(target / path.name, path.read_bytes())


def _say_what_is_new(work: Path, parts: Parts, made: Parts) -> None:
    """Tell what differs from the last run that left something to go on from, if there is one."""
    earlier = [path for path in work.parent.glob(f"*/{PARTS}") if path.parent != work]
    if earlier:
        last = max(earlier, key=lambda path: path.stat().st_mtime_ns)
        new = _differing(parts, json.loads(last.read_text()))
        way_out = "" if set(new) - made.keys() else ". To go on with it all the same, set SEMIREAL_RESUME=any"
        stage.say(f"train: not as in the last run: {', '.join(new)}; starting from the beginning{way_out}")


def _differing(one: Parts, other: Parts) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
