"""What every stage script shares: exit codes, an output that is written whole or not at all, work to resume."""

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

from filelock import Timeout

from semireal import prune, text, watch
from semireal.errors import Unfinished, UserError
from semireal.files import PARTIAL

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
IN_THE_WAY = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST)  # a file where a folder has to be, or a folder for a file


def run(main: Callable[[], None]) -> None:
    """Run a stage; a user's mistake becomes one line and exit code 2, work to go on with 75, Ctrl-C 130.

    Run by DVC, it also ends with 2 where something that decides the result changed meanwhile: DVC looks at code, data
    and parameters when the stage has ended, and would certify what never ran together.
    """
    signal.signal(signal.SIGTERM, _end)
    try:
        with watch.unchanged(watched()):
            main()
        if watched():
            _prune()
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        told = about(error)
        if told is None:
            raise
        _fail(told)
    except Unfinished as pause:
        say(str(pause))
        sys.exit(os.EX_TEMPFAIL)
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from the last saved state")
        sys.exit(130)


def _prune() -> None:
    """Free what does not stay in `.work`; where that fails, the stage is none the worse."""
    try:
        for line in prune.run(work_root()):
            say(line)
    except OSError as error:
        say(f".work: what is not needed any more stays ({error})")


def _fail(why: str) -> NoReturn:
    say(f"error: {text.message(why)}")
    sys.exit(2)


def about(error: OSError) -> str | None:
    """What to say about an error of the system that the user can mend; None for any other."""
    named = None if error.filename is None else Path(os.fsdecode(error.filename))
    if error.errno in NO_SPACE:
        return f"the disk is full ({named or 'while writing'}). Make room, and run the same command again"
    if named and error.errno in CLOSED:
        return closed(named, os.strerror(error.errno))
    if named and error.errno in IN_THE_WAY:
        return f"{named}: {error.strerror}. Move what is in the way, and run the same command again"
    return None


def closed(path: Path, why: str) -> str:
    """What to say about a path that may not be read or written: it names what keeps it closed."""
    there = next((one for one in (path, *path.parents) if os.path.lexists(one)), path)
    return f"{there}: {why}. Let yourself read and write there, and run the same command again; nothing is lost"


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
    """Give a new empty folder that takes the place of `out` when the block ends without an exception.

    However a process ends, `out` is then the old one, the whole new one, or absent: between two renames. One process at
    a time makes it, and removes first what a killed one left beside it. Raises UserError, before any work is done,
    where `out` could not be replaced.
    """
    may_write(out)
    with _held(Path(".work/out") / str(out).replace(os.sep, "-"), str(out)):
        aside = out.with_name(f".{out.name}{PARTIAL}")  # on the same disk
        shutil.rmtree(aside, ignore_errors=True)
        new = aside / "new"
        new.mkdir(parents=True)
        try:
            yield new
            may_write(out)
            _put(new, out, aside / "old")
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def may_write(out: Path) -> None:
    """Raise UserError where a folder cannot be replaced, with all that is in it."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: Not a directory. Move what is in the way, and run the same command again")
    above = next(one for one in out.absolute().parents if one.exists())
    folders = [out, *(Path(place, name) for place, names, _ in os.walk(out) for name in names)] if out.is_dir() else []
    for folder in (above, *folders):
        if not os.access(folder, os.W_OK | os.X_OK):
            read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
            raise UserError(closed(folder, os.strerror(errno.EROFS if read_only else errno.EACCES)))


def _put(new: Path, out: Path, old: Path) -> None:
    """Move a folder to its place, and to `old` what was there; that comes back where the new one cannot be moved."""
    if os.path.lexists(out):
        out.rename(old)
    try:
        new.rename(out)
    except BaseException:
        if os.path.lexists(old):
            old.rename(out)
        raise


@contextmanager
def work(stage: str, key: str) -> Iterator[Path]:
    """Give the folder `.work/<stage>/<key>`, kept between runs and held by one process at a time.

    `key` must change with everything that decides the result, except where to stop (see `semireal.code`).
    """
    folder = work_root() / stage / key
    with _held(folder, stage):
        folder.mkdir(parents=True, exist_ok=True)  # only now: who had the lock may have removed it
        yield folder


@contextmanager
def _held(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of a folder, waiting for whoever has it; the kernel takes it from a process that is killed."""
    with ExitStack() as stack:
        try:
            stack.enter_context(prune.held(folder, timeout=0))
        except Timeout:
            say(f"{what}: another run is making the same thing; waiting for it")
            stack.enter_context(prune.held(folder))
        yield
