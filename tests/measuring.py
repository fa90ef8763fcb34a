"""What the tests of semireal.measured do to images, in a module that other processes can import."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semireal import files


def letters(told: Path, path: Path, given: Any, stem: Path) -> tuple[Any, Sequence[Path]]:
    """Finds how long a file is, writes it in capitals, and tells that it did.

    b"die..." ends the process, b"once" does so the first time; b"wait" takes long.
    """
    with (told / "done").open("a") as file:
        file.write(f"{path.name}\n")
    content = path.read_bytes()
    if content.startswith(b"die") or (content == b"once" and not (told / "once").exists()):
        (told / "once").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if content == b"wait":
        time.sleep(60)
    if content == b"wrong":
        raise ValueError(path.name)
    file_ = stem.with_suffix(".txt")
    files.write_new(file_, content.upper())
    return {"length": len(content), "given": given}, [file_]
