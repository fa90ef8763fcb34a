"""What every stage script shares: exit codes, an output that is written whole or not at all, work to resume."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from semireal.errors import Unfinished, UserError


def run(main: Callable[[], None]) -> None:
    """Run a stage; a user's mistake becomes one line and exit code 2, work to go on with 75, Ctrl-C 130.

    Whichever stage DVC runs first checks all parameters before it starts.
    """
    try:
        if "DVC_STAGE" in os.environ and "RANK" not in os.environ:  # not again in each process of torchrun
            _check_parameters(os.environ["DVC_STAGE"])
        main()
    except UserError as error:
        say(f"error: {error}")
        sys.exit(2)
    except Unfinished as pause:
        say(str(pause))
        sys.exit(os.EX_TEMPFAIL)
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from the last saved state")
        sys.exit(130)


def _check_parameters(name: str) -> None:
    # params needs this module
    from semireal.pipeline import guards

    for note in guards.before_stage(name, Path()):
        say(f"note: {note}")


def say(text: str) -> None:
    """Tell the person at the terminal."""
    sys.stderr.write(text + "\n")


def work_root() -> Path:
    """The `.work` folder at the root of the repository.

    DVC sets DVC_ROOT, also in queued and temporary runs, to the repository of the user: a run that failed in a
    temporary copy is resumed by the next one.
    """
    return Path(os.environ.get("DVC_ROOT", ".")).resolve() / ".work"


@contextmanager
def output(out: Path) -> Iterator[Path]:
    """Give a new empty folder that takes the place of `out` when the block ends without an exception."""
    scratch = work_root() / "out" / f"{out.name}-{os.getpid()}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        if out.is_dir():
            shutil.rmtree(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def work(stage: str, key: str) -> Iterator[Path]:
    """Give the folder `.work/<stage>/<key>`, kept between runs and held by one process at a time.

    `key` must change with everything that decides the result, except where to stop (see `key_of`).
    """
    folder = work_root() / stage / key
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{stage}: another run is making the same thing; waiting for it")
        lock.acquire()
    try:
        yield folder
    finally:
        lock.release()


def key_of(*parts: Any) -> str:
    """Short stable name of a JSON-like value: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def key_of_code(*paths: Path) -> str:
    """Key of the source text of modules and packages, so that a resumed run never mixes two versions."""
    files = sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py")))
    return key_of([file.read_text() for file in files])


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON with sorted keys, for DVC metrics and for people.

    Never into the file that is there: it may be a link to the cache of DVC.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    partial.replace(path)
