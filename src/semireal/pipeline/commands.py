"""Git and DVC, run as programs."""

import signal
import subprocess
import sys
from pathlib import Path

from semireal.errors import UserError


def git(*command: str, root: Path | None = None) -> str:
    """What git prints in the repository at root (None: here); raises UserError with its complaint where it fails."""
    done = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"git {' '.join(command)}: {' '.join(done.stderr.split())}")
    return done.stdout


def dvc(*command: str, show: bool = True, must: bool = True) -> str:
    """Run dvc; returns what it printed, if that is not shown. Raises UserError if it fails and must not.

    It is waited for until it has ended by itself, also after Ctrl-C, which reaches it too and is raised then.
    """
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *command], stdout=None if show else subprocess.PIPE, text=True, check=False
        )
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
    if must and done.returncode:
        raise UserError(f"dvc {' '.join(command)} failed, see above")
    return done.stdout or ""
