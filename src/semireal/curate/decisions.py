"""What a person decided about single images: `experiments/decisions/<name>.csv`, written by the review page.

One row per image, sorted by id, without a time: the same decisions are the same file, whoever made them when. The
filter stage replays them; ids are those of the crops, made of the content of the raw file, so they stay valid when
a collection grows.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from semireal import manifest, paths, stage, tables
from semireal.errors import UserError
from semireal.files import write_atomic
from semireal.manifest import Row

FOLDER = paths.DECISIONS
COLUMNS = ["id", "decision", "domain", "reason"]
KEEP, REJECT = "keep", "reject"
DECISIONS = ("", KEEP, REJECT)
DOMAINS = ("", "photo", "portrait")
LONGEST_REASON = 200  # characters

STRANGER = "wrong subject"  # the reason by which a rejection says who it is not
ANOTHER = "another character"  # that of the rule of stage filter which learns from these
REJECTED_BY_HAND = "rejected by hand"
KEPT_BY_HAND = "kept by hand"
DOMAIN_BY_HAND = "domain by hand"


@dataclass(frozen=True)
class Decision:
    """What was decided about one image; an empty text leaves that to the rules."""

    decision: str = ""  # keep or reject
    domain: str = ""  # photo or portrait
    reason: str = ""  # a person's words, for keep and reject


NONE = Decision()
Decisions = dict[str, Decision]


def file_of(name: str) -> Path:
    """Where the decisions about a character are; raises UserError for a name that is no file name."""
    if not name or "/" in name or "\0" in name:
        raise UserError(f"name: found {name!r}, need a name without / for {FOLDER}/<name>.csv")
    return FOLDER / f"{name}.csv"


def read(path: Path) -> Decisions:
    """Read the decisions by id; none if there is no file. Raises UserError naming the line that cannot be."""
    try:
        rows = tables.rows(path, COLUMNS)
    except FileNotFoundError:
        return {}
    found: Decisions = {}
    for where, cells in rows:
        _check(cells, found, where)
        found[cells[0]] = Decision(*cells[1:])
    return found


def _check(cells: list[str], before: Decisions, where: str) -> None:
    if not cells[0]:
        raise UserError(f"{where}: found {','.join(cells)!r}, need {','.join(COLUMNS)}")
    if cells[0] in before:
        raise UserError(f"{where}: {cells[0]} is here a second time; keep one of the two lines")
    for value, allowed, column in [(cells[1], DECISIONS, "decision"), (cells[2], DOMAINS, "domain")]:
        if value not in allowed:
            raise UserError(f"{where}: {column}: found {value!r}, need {' or '.join(allowed[1:])} or nothing")


def change(path: Path, ids: Iterable[str], alter: Callable[[str, Decision], Decision]) -> tuple[Decisions, Decisions]:
    """Alter the decisions about `ids` in the file; an empty one takes the row away. Returns the old and the new ones.

    alter: gets an id and what was decided about it, gives what is decided now. The file is written whole or not at
    all, by one process at a time, before this function returns.
    """
    lock = stage.work_root() / "decisions" / f"{path.name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        now = read(path)
        before = {key: now.get(key, NONE) for key in ids}
        after = {key: alter(key, made) for key, made in before.items()}
        now.update(after)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, _text({key: value for key, value in now.items() if value != NONE}).encode())
    return before, after


def _text(decided: Decisions) -> str:
    buffer = io.StringIO()
    lines = csv.writer(buffer, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerows([key, made.decision, made.domain, made.reason] for key, made in sorted(decided.items()))
    return buffer.getvalue()


def apply(row: Row, rule: str, made: Decision) -> Row:
    """The row as the person wants it. `rule` is the reason of the rules to reject it, "" to keep it.

    The verdict of the rules stays in the column `rule`, so that the page can show what they alone would do.
    """
    row = row | {"rule": rule, "note": DOMAIN_BY_HAND if made.domain else "", "domain": made.domain or row["domain"]}
    if made.decision == KEEP:
        return manifest.kept(row, note=KEPT_BY_HAND)
    if made.decision == REJECT:
        return manifest.rejected(row, REJECTED_BY_HAND, note=made.reason)
    return manifest.rejected(row, rule) if rule else manifest.kept(row)


def summary(rows: list[Row], decided: Mapping[str, Decision]) -> dict[str, int]:
    """Count what the decisions changed among the rows of the filter, and those about ids that are not there."""
    made = [(row, decided[row["id"]]) for row in rows if row["id"] in decided]
    return {
        "brought_back": sum(one.decision == KEEP and bool(row["rule"]) for row, one in made),
        "left_out": sum(one.decision == REJECT and not row["rule"] for row, one in made),
        "domain": sum(bool(one.domain) for _, one in made),
        "unknown": len(decided) - len(made),
    }
