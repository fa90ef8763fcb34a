"""Kill, stop and starve every stage of dvc.yaml while it runs, and `dvc repro` itself; nothing may be lost.

    python tests/drills/kill.py --kills 30 --seed 0 --out FILE.json [--stage NAME ...]

Each fault is done to a small clone of this repository, at a moment that the seed draws. What has been tried is in
FILE.json after every row of faults: the same command goes on from there. Ends with 1 where something was lost.
"""

import argparse
import compileall
import itertools
import json
import signal
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from drills import faults
from drills.faults import Fault, Undisturbed
from semireal.files import write_json
from tiny import ROOT

ROW = 5  # faults before the command is let through
LAST = 10  # changes of files in which a stage gives its outputs their place
EARLIER = 0.6  # of the duration, where a moment came after the end
VERY_EARLY_S = 0.03  # Python itself is still starting
REPRO = "dvc repro"
Draw = Callable[[Undisturbed, int, np.random.Generator], Iterator[Fault]]  # of a kind, so many and then on and on


def _at_moments(fault: Callable[[float], Fault], early: tuple[float, ...] = ()) -> Draw:
    """Faults spread over the duration; early: seconds after the start for the first ones."""

    def draw(given: Undisturbed, count: int, rng: np.random.Generator) -> Iterator[Fault]:
        yield from map(fault, early)
        yield from (fault(share * given.seconds) for share in faults.moments(rng, max(1, count - len(early))))
        while True:
            yield fault(float(rng.random()) * EARLIER * given.seconds)

    return draw


def _at_changes(given: Undisturbed, count: int, rng: np.random.Generator) -> Iterator[Fault]:
    """Every second one among the last changes of files, the others anywhere."""
    while True:
        yield faults.struck(int(rng.integers(max(0, given.changes - LAST), given.changes)))
        yield faults.struck(int(rng.integers(given.changes)))


def _without_room(given: Undisturbed, count: int, rng: np.random.Generator) -> Iterator[Fault]:
    yield from map(faults.without_room, faults.moments(rng, count))
    while True:
        yield faults.without_room(0)


# how many of `--kills`, and what
KINDS: dict[str, tuple[Callable[[int], int], Draw]] = {
    "kill -9 of the process": (
        lambda kills: kills - kills // 2,
        _at_moments(lambda at: faults.killed(at, group=False)),
    ),
    "kill -9 of its group": (lambda kills: kills // 2, _at_moments(lambda at: faults.killed(at, group=True))),
    "kill -9 at a change of a file": (lambda kills: kills // 3, _at_changes),
    "Ctrl-C": (
        lambda kills: min(5, kills // 2),
        _at_moments(lambda at: faults.ended(at, signal.SIGINT), (VERY_EARLY_S,)),
    ),
    "SIGTERM": (
        lambda kills: min(5, kills // 2),
        _at_moments(lambda at: faults.ended(at, signal.SIGTERM), (VERY_EARLY_S,)),
    ),
    "full disk": (lambda kills: min(3, kills // 3), _without_room),
    "the same twice at once": (lambda kills: 1, lambda *_: itertools.repeat(faults.side_by_side)),
}
# DVC itself is others' work: what counts is that it goes on, and finds what is right
OF_REPRO = {"kill -9 of its group": 4, "the same twice at once": 1}


def run(names: list[str], kills: int, seed: int, file: Path) -> bool:
    """Drill these stages, going on from what is in the file; gives whether nothing was lost."""
    done: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    with tempfile.TemporaryDirectory(prefix="drills-") as folder, faults.disk(Path(folder)) as own_disk:
        try:
            _drill_all(Path(folder) / "repo", names, _counts(kills, own_disk), seed, done, file)
        finally:
            faults.remains()
    return not any(found["lost"] for kinds in done.values() for found in kinds.values())


def _drill_all(
    repo: Path, names: list[str], counts: dict[str, int], seed: int, done: dict[str, Any], file: Path
) -> None:
    """Make a clone, and drill each stage that is named when those before it have been made."""
    repo.mkdir()
    faults.small_clone(repo)
    for code in ("src", "stages"):
        compileall.compile_dir(repo / code, quiet=1)  # or the first run would take longer than the others
    stages = faults.stages_of(repo)
    last = max((number for number, stage in enumerate(stages) if stage.name in names), default=-1)
    for stage in stages[: last + 1]:
        if stage.name in names:
            drill_stage(faults.undisturbed(stage, repo), counts, seed, done, file)
        else:
            faults.make(stage, repo)
    if REPRO in names:
        drill_stage(faults.undisturbed(faults.repro(repo, stages), repo), OF_REPRO, seed, done, file)


def _counts(kills: int, own_disk: bool) -> dict[str, int]:
    """How many faults of each kind."""
    if not own_disk:
        say("full disk: skipped, only root may mount a small file system")
    return {kind: count(kills) for kind, (count, _) in KINDS.items() if own_disk or kind != "full disk"}


def drill_stage(given: Undisturbed, counts: dict[str, int], seed: int, done: dict[str, Any], file: Path) -> None:
    """Do all faults to a stage in mixed rows, writing down after each row what came of it.

    Where something was wrong after a row, all its faults have lost.
    """
    name = given.stage.name
    say(f"{name}: {given.seconds:.1f} s undisturbed, {given.changes} changes of files")
    found = done.setdefault(name, {})
    draws = {}
    for kind, count in counts.items():
        one = found.setdefault(kind, {"drawn": 0, "tried": 0, "survived": 0, "lost": 0, "wrong": []})
        rng = np.random.default_rng([seed, zlib.crc32(f"{name} {kind}".encode())])
        draws[kind] = itertools.islice(KINDS[kind][1](given, count, rng), one["drawn"], None)
    left = [kind for kind, count in counts.items() for _ in range(count - found[kind]["tried"])]
    left = [left[number] for number in np.random.default_rng(seed).permutation(len(left))]
    for number in itertools.count():
        row, left = left[:ROW], left[ROW:]
        if not row:
            break
        tried, wrong = faults.drill(
            given, [next(draws[kind]) for kind in row], replaces=name != REPRO and not number % 2
        )
        for kind in row:
            found[kind]["drawn"] += 1
        for kind in row[: max(tried, bool(wrong))]:
            found[kind]["tried"] += 1
            found[kind]["lost" if wrong else "survived"] += 1
            found[kind]["wrong"] += wrong
        write_json(file, done)
        say(f"  {tried} more, {len(left)} to come" + "".join(f"\n    {line}" for line in wrong))
        # the stage ended before one of them: again, and in the end that is enough
        left += [kind for kind in row[tried:] if found[kind]["drawn"] < 3 * counts[kind] + ROW]
    for kind in counts:
        say(f"  {kind}: " + ", ".join(f"{found[kind][count]} {count}" for count in ("tried", "survived", "lost")))


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="of each stage; the other faults go by it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stage", nargs="+", help=f"names in dvc.yaml, or {REPRO!r}; all without it")
    parser.add_argument("--out", type=Path, required=True, help="what has been tried, to go on from")
    given = parser.parse_args()
    known = [stage.name for stage in faults.stages_of(ROOT)] + [REPRO]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # not without unmounting the disk
    names = given.stage or known
    if set(names) - set(known):
        parser.error(f"--stage: found {sorted(set(names) - set(known))[0]!r}, need some of {', '.join(known)}")
    return 0 if run(names, given.kills, given.seed, given.out) else 1


if __name__ == "__main__":
    sys.exit(main())
