"""What every stage script shares: exit codes, an output that is written whole or not at all, work to resume."""

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from semireal import watch
from semireal.errors import Unfinished, UserError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run(main: Callable[[], None]) -> None:
    """Run a stage; a user's mistake becomes one line and exit code 2, work to go on with 75, Ctrl-C 130.

    Run by DVC, it also ends with 2 where something that decides the result changed meanwhile: DVC looks at code, data
    and parameters when the stage has ended, and would certify what never ran together.
    """
    signal.signal(signal.SIGTERM, _end)
    try:
        with watch.unchanged(watched()):
            main()
    except UserError as error:
        say(f"error: {error}")
        sys.exit(2)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        say(f"error: the disk is full ({error.filename or 'while writing'}). Make room, and run the same command again")
        sys.exit(2)
    except Unfinished as pause:
        say(str(pause))
        sys.exit(os.EX_TEMPFAIL)
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from the last saved state")
        sys.exit(130)


def _end(*_: object) -> None:
    """End as a program that was terminated does, but with everything that it began ended first."""
    sys.exit(128 + signal.SIGTERM)


def watched() -> str | None:
    """The stage that DVC runs, e.g. `train` or `scrape@elf`; None without DVC, and in the processes of torchrun."""
    return None if "RANK" in os.environ else os.environ.get("DVC_STAGE")


def say(text: str) -> None:
    """Tell the person at the terminal."""
    sys.stderr.write(text + "\n")


def work_root() -> Path:
    """The `.work` folder at the root of the repository.

    DVC sets DVC_ROOT, also in queued and temporary runs, to the repository of the user: a run that failed in a
    temporary copy is resumed by the next one.
    """
    return root() / ".work"


def root() -> Path:
    """The repository of the user: this folder, unless DVC runs a copy of it."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


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

    `key` must change with everything that decides the result, except where to stop (see `semireal.code`).
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
