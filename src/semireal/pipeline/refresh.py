"""Collect a frozen collection anew, or go on with it: `make scrape CHARACTER=elf`.

A collection from live sites is frozen, so that DVC never scrapes it by itself. `dvc unfreeze` cannot change a stage
with a matrix, and `dvc repro --force` on a frozen stage does not run it but writes wrong hashes into data/dvc.lock and
into the run-cache. So this is the one safe way: unfreeze in the file, run that stage alone, freeze.
"""

import argparse
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from semireal import stage
from semireal.collect import source
from semireal.errors import UserError
from semireal.files import write_atomic

PIPELINE = Path("data/dvc.yaml")
LOCK = Path("data/dvc.lock")
RAW = Path("data/raw")
FROZEN, THAWED = "    frozen: true\n", "    frozen: false\n"


def run(collection: str) -> None:
    """Run the stage of a frozen collection, e.g. web/elf, and say what to do with the result.

    Raises UserError, with everything as it was before, if the collection is not known, the tree has changes, or the
    stage fails; the files fetched by then are in `.work`, and the same command goes on.
    """
    kind, _, name = collection.partition("/")
    stage.work_root().mkdir(exist_ok=True)
    lock = FileLock(stage.work_root() / "refresh.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError("scrape: another `make scrape` is running here. Wait for it, or stop it") from None
    with lock:
        committed = _git("show", f"HEAD:{PIPELINE}")
        _check_known(committed, kind, name)
        source.load_sources(Path(f"experiments/sources/{collection}.yaml"))
        _refuse_changes(committed)
        before = _images(kind, name)
        with _thawed(committed, kind):
            failed = _dvc("repro", "--force", "--single-item", f"{PIPELINE}:scrape_{kind}@{name}")
        if failed:
            if before:
                _dvc("checkout", "--quiet", str(RAW / collection))  # dvc has removed what was there
            raise UserError(f"scrape: {collection} is not complete, see above. The same command goes on from there")
        _say_what_next(collection, before, _images(kind, name))


def _check_known(pipeline: str, kind: str, name: str) -> None:
    """Raise UserError unless data/dvc.yaml has this frozen collection."""
    stages = yaml.safe_load(pipeline)["stages"]
    known = sorted(
        f"{key.removeprefix('scrape_')}/{one}"
        for key, given in stages.items()
        if given.get("frozen")
        for one in given.get("matrix", {}).get("name", [])
    )
    if f"{kind}/{name}" not in known:
        raise UserError(f"scrape: {PIPELINE} has no frozen collection {kind}/{name}; it has {', '.join(known)}")


def _thaw(pipeline: str, kind: str) -> str:
    """The text of data/dvc.yaml with one stage not frozen; nothing else in it changes."""
    head, start, rest = pipeline.partition(f"\n  scrape_{kind}:\n")
    body = re.match(r"(?:    .*\n|\s*\n)*", rest)
    if body is None or FROZEN not in body[0]:
        raise UserError(f"{PIPELINE}: scrape_{kind}: need the line `{FROZEN.strip()}`")
    return head + start + rest.replace(FROZEN, THAWED, 1)


@contextmanager
def _thawed(committed: str, kind: str) -> Iterator[None]:
    write_atomic(PIPELINE, _thaw(committed, kind).encode())
    try:
        yield
    finally:
        write_atomic(PIPELINE, committed.encode())


def _refuse_changes(committed: str) -> None:
    """Raise UserError unless everything is committed, so that the collection belongs to one commit.

    A run that was killed leaves its stage not frozen; that is put right.
    """
    stages = yaml.safe_load(committed)["stages"]
    kinds = [key.removeprefix("scrape_") for key, given in stages.items() if given.get("frozen")]
    if PIPELINE.read_text() in [_thaw(committed, kind) for kind in kinds]:
        write_atomic(PIPELINE, committed.encode())
    changed = _git("status", "--porcelain").splitlines()
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UserError(f"scrape: not committed: {changed[0][3:]}{more}. Commit or stash it (see git status) first")


def _git(*command: str) -> str:
    done = subprocess.run(["git", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"scrape: git {' '.join(command)}: {' '.join(done.stderr.split())}")
    return done.stdout


def _dvc(*command: str) -> int:
    """Run dvc and wait until it has ended by itself, also after Ctrl-C, which reaches it too."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run([sys.executable, "-m", "dvc", *command], check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def _images(kind: str, name: str) -> int:
    """How many images data/dvc.lock has of the collection; 0 if there is none yet."""
    if not LOCK.is_file():
        return 0
    locked = yaml.safe_load(LOCK.read_text())["stages"].get(f"scrape_{kind}@{name}")
    return int(locked["outs"][0]["nfiles"]) - 2 if locked else 0  # less manifest and report


def _say_what_next(collection: str, before: int, now: int) -> None:
    folder = RAW / collection
    stage.say(f"\n{folder}: {now} images, before: {before}")
    if now < before:
        stage.say(f"Fewer than before! To stay with those: git checkout {LOCK} && dvc checkout {folder}")
    stage.say(
        "To keep and share it:\n"
        f"  git add {LOCK} && git commit -m 'Collect {collection}'\n"
        f"  dvc push {folder} && git push\n"
        "Once it is committed, the same command collects more."
    )


def main() -> None:
    """Refresh the collection named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m semireal.pipeline.refresh", description=__doc__)
    parser.add_argument("collection", help="kind and name, e.g. web/elf")
    run(parser.parse_args().collection)


if __name__ == "__main__":
    stage.run(main)
