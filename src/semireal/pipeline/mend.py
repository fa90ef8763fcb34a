"""What DVC was killed while writing.

It writes dvc.lock, after each stage, and its list of who reads and writes what (rwlock) in place. With what is then
left of one of them, `dvc repro` and most other commands end at once.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from voluptuous import Invalid


def _lockfile(content: bytes) -> Any:
    return COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(content))


WRITTEN: dict[Path, Callable[[bytes], Any]] = {Path("dvc.lock"): _lockfile, Path(".dvc/tmp/rwlock"): json.loads}


def run(root: Path) -> list[str]:
    """Remove the files that DVC would refuse; gives a line to tell for each.

    Nothing is lost by that: `dvc repro` finds what has been made in its cache of runs, and writes others.
    """
    told = []
    for name, read in WRITTEN.items():
        path = root / name
        if path.exists() and not is_whole(path, read):
            path.unlink()
            told.append(f"{name}: DVC was killed while it wrote it; removed. Run `dvc repro`")
    return told


def is_whole(path: Path, read: Callable[[bytes], Any]) -> bool:
    """Whether DVC can read the file."""
    try:
        read(path.read_bytes())
    except (ValueError, yaml.YAMLError, Invalid):  # UnicodeDecodeError and those of JSON are ValueErrors
        return False
    return True
