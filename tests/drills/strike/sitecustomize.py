"""Python loads this by itself when its folder is on PYTHONPATH: a process that is killed just before it changes a file.

$STRIKE_AT is the number of the change, counted from 0, below the folder in which the process starts; its children are
left alone. The number of changes of a process that lives to its end is written to $STRIKE_COUNT.
"""

import atexit
import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink")
WRITING = os.O_WRONLY | os.O_RDWR


def _install(at: int, count: str | None) -> None:
    top, number, own = os.getcwd(), itertools.count(), os.getpid()  # noqa: PTH109 - pathlib opens more than that

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event not in CHANGES and not (event == "open" and given[2] and given[2] & WRITING):
            return
        path = given[0]
        if not isinstance(path, (str, bytes, os.PathLike)) or os.getpid() != own:
            return
        place = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
        if place.startswith(f"{top}/") and "__pycache__" not in place and next(number) == at:
            os.kill(own, signal.SIGKILL)

    sys.addaudithook(hook)
    if count:
        atexit.register(lambda: Path(count).write_text(str(next(number))))


if "STRIKE_AT" in os.environ:
    _install(int(os.environ.pop("STRIKE_AT")), os.environ.pop("STRIKE_COUNT", None))
