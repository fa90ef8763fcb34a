"""How readers refuse files of strangers: in one line that names the file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from semireal.errors import UserError

MOST = 500  # letters of a message beside the path


def refuse(read: Callable[[Path], Any], path: Path, message: str, most: int = MOST) -> None:
    """Read a file that must be refused so."""
    with pytest.raises(UserError, match=message) as error:
        read(path)
    check_line(path, str(error.value), most)


def check_line(path: Path, line: str, most: int = MOST) -> None:
    assert line.startswith(f"{path}: ")
    assert line.isprintable()
    assert len(line) < len(str(path)) + most
