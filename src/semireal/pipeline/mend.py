"""A dvc.lock that DVC was killed while writing.

DVC writes it in place, after each stage. With what is then left, `dvc repro` and most other commands end at once.
"""

from pathlib import Path

import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from voluptuous import Invalid

FILE = Path("dvc.lock")


def run(root: Path) -> str:
    """Remove dvc.lock where DVC would refuse it; gives what to tell about it.

    Nothing is lost by that: `dvc repro` finds what has been made in its cache of runs, and writes another one.
    """
    lock = root / FILE
    if not lock.exists():
        return f"{FILE}: there is none; nothing to mend"
    if is_whole(lock):
        return f"{FILE}: whole; nothing to mend"
    lock.unlink()
    return f"{FILE}: was not whole, as DVC leaves it when it is killed while it writes; removed. Run `dvc repro`"


def is_whole(lock: Path) -> bool:
    """Whether DVC can read the file."""
    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(lock.read_bytes()))
    except (yaml.YAMLError, UnicodeDecodeError, Invalid):
        return False
    return True
