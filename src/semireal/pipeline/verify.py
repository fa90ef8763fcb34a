"""Proof that the results can be made again: `semireal verify`.

Makes them anew in a fresh clone with an empty cache, and compares the hashes of all outputs with those in dvc.lock,
stage by stage.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semireal import devices, machine, params, paths, schema, stage
from semireal.errors import UserError
from semireal.params import whole
from semireal.pipeline.commands import git

LOCK = Path("dvc.lock")
SAME, INPUT, DIFFERENT, STATISTICAL = (
    "same",
    "different input",
    "DIFFERENT",
    "only statistically the same (GPU)",
)


@dataclass(frozen=True)
class Row:
    """One output of a stage: its hash as recorded and as made again."""

    stage: str
    out: str
    recorded: str
    again: str
    verdict: str


def run(root: Path) -> None:
    """Make everything anew, print the table; raises UserError if something differs that must not."""
    recorded = locked(root)
    _check(root, recorded)
    with tempfile.TemporaryDirectory(prefix="semireal-verify-") as folder:
        clone = Path(folder) / "clone"
        git("clone", "--quiet", "--no-local", str(root), str(clone), root=root)
        (clone / LOCK).unlink(missing_ok=True)
        if (root / machine.FILE).is_file():  # git does not carry it, and other settings give other bits
            shutil.copyfile(root / machine.FILE, clone / machine.FILE)
        stage.say(f"verify: making everything anew in {clone}")
        repro(clone)
        rows = compare(recorded, locked(clone), on_gpu())
    sys.stdout.write(table(rows) + "\n")
    sys.stdout.flush()  # before the verdict, which goes another way: in a file it would stand first
    bad = [row.stage for row in rows if row.verdict == DIFFERENT]
    if bad:
        raise UserError(
            f"verify: {', '.join(dict.fromkeys(bad))}: the same input gave another result. That is to be expected only "
            "of another kind of machine, other versions, or if dvc.lock was made on a GPU"
        )
    if any(row.verdict != SAME for row in rows):
        stage.say("verify: the same but for what a GPU computes and what follows from it: compare metrics, not hashes")
    else:
        stage.say("verify: all the same")


def locked(root: Path) -> dict[str, dict[str, Any]]:
    """The stages in the lock file of a repository, in the order of the graph; empty if there are none."""
    path = root / LOCK
    return stages_of(schema.load_yaml(path)) if path.is_file() else {}


def stages_of(lock: Any) -> dict[str, dict[str, Any]]:
    """The stages in the content of a lock file."""
    found: dict[str, dict[str, Any]] = lock.get("stages", {})
    return found


def compare(
    recorded: dict[str, dict[str, Any]], again: dict[str, dict[str, Any]], uncertain: tuple[str, ...]
) -> list[Row]:
    """One row per output of `again`, against what was recorded.

    uncertain: the stages that need not give the same bits. A stage whose input differs already is only named so: what
    went wrong is upstream.
    """
    rows = []
    for name, made in again.items():
        known = recorded.get(name, {})
        before = _hashes(known, "outs")
        input_differs = _hashes(known, "deps") != _hashes(made, "deps") or known.get("params") != made.get("params")
        for out, now in _hashes(made, "outs").items():
            then = before.get(out)
            if then == now:
                verdict = SAME
            elif name in uncertain:
                verdict = STATISTICAL
            else:
                verdict = INPUT if input_differs else DIFFERENT
            rows.append(Row(name, out, then[:8] if then else "not recorded", now[:8], verdict))
    return rows


def table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    cells = [("stage", "output", "recorded", "again", "")]
    cells += [(row.stage, row.out, row.recorded, row.again, row.verdict) for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(5)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells)


def on_gpu() -> tuple[str, ...]:
    """The stages that use a GPU on this machine: its sums are in another order at each run."""
    return () if devices.kind(machine.load()) == "cpu" else ("train", "sample", "evaluate")


def repro(clone: Path) -> None:
    """`dvc repro` with nothing of this repository in reach: no environment, no work to resume, no cache."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    env = {key: value for key, value in os.environ.items() if key not in ("DVC_ROOT", "PYTHONPATH")}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--no-run-cache"], cwd=clone, env=env | {"PATH": path}, check=False
    )
    if done.returncode:
        raise UserError("verify: dvc repro failed in the fresh clone, see above: something that it needs is not in git")


def _check(root: Path, recorded: dict[str, Any]) -> None:
    if not (root / ".git").exists():
        raise UserError(f"verify: {root.resolve()} is not the top of a git repository; clone it, do not unpack it")
    changed = [line[3:] for line in git("status", "--porcelain", "--untracked-files=no", root=root).splitlines()]
    changed = [name for name in changed if not _is_made(Path(name))]
    if changed:
        raise UserError(f"verify: {changed[0]} has changes, but what is committed is verified. Commit or stash them")
    collection = whole.load(root / params.FILE).collection
    if not collection.startswith("demo/"):
        raise UserError(f"verify: params.yaml: collection: found {collection}; only demo/... can be collected twice")
    if "evaluate" not in recorded:
        raise UserError("verify: dvc.lock has no results to compare with. Make them first: make repro")


def _is_made(path: Path) -> bool:
    """Whether a file is a result, or says what made it."""
    return path in (LOCK, paths.METRICS, paths.MADE_ON) or paths.PUBLISHED in path.parents


def _hashes(made: dict[str, Any], kind: str) -> dict[str, str]:
    return {entry["path"]: entry.get("md5", "") for entry in made.get(kind, [])}
