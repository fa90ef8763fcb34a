"""Files that are whole or not there, and short names of contents."""

import functools
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semireal.errors import UserError

PARTIAL = ".partial"  # ends the names of what is not whole, which git and DVC ignore


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, which takes the place of `path` when the block ends without an exception.

    What is at `path` is never written into: it may be a link to the cache of DVC. The path is in a folder of its own
    beside it, which also holds what libraries write meanwhile. If we are killed, the next process that writes to the
    same place removes that.
    """
    _sweep(path.parent.absolute())
    aside = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    partial = aside / path.name
    try:
        aside.mkdir(exist_ok=True)
        partial.touch()
        mode = partial.stat().st_mode & 0o777
        yield partial
        partial.chmod(mode)  # safetensors writes for the owner alone
        partial.replace(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@functools.cache  # once: a folder may have many files
def _sweep(folder: Path) -> None:
    """Remove what processes that are no more were writing in a folder."""
    for left in folder.glob(f".*.*{PARTIAL}"):
        writer = left.name.removesuffix(PARTIAL).rpartition(".")[2]
        if writer.isdecimal() and not _is_alive(int(writer)):
            shutil.rmtree(left, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        pass
    return True


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_new(path: Path, data: bytes) -> None:
    """Write a file that nobody reads before it is whole; what has its name may be a link, and is not written into."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def link(source: Path, target: Path) -> None:
    """Give a file, which nobody may write into, a second name; on another disk, or one without links, a copy."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON with sorted keys, for DVC metrics and for people."""
    write_atomic(path, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def key_of(*parts: Any) -> str:
    """Short stable name of a JSON-like value: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def check(path: Path, most: int) -> None:
    """Raise UserError for what is no file to read: a folder, a pipe, a device, more than `most` bytes.

    Raises FileNotFoundError where there is nothing. Whoever opens a pipe waits for somebody to write.
    """
    with told(path):
        seen = path.stat()
    if not stat.S_ISREG(seen.st_mode):
        kind = "a directory" if stat.S_ISDIR(seen.st_mode) else "a pipe or a device"
        raise UserError(f"{path}: Is {kind}, need a file. Move it away, and take the file from git or make it anew")
    if seen.st_size > most:
        raise UserError(f"{path}: {seen.st_size / 1e6:.3g} MB are more than such a file has (at most {most / 1e6:g})")


def read(path: Path, most: int) -> bytes:
    """The content of a file that people edit; raises as `check` does, and UserError where it may not be read."""
    check(path, most)
    with told(path):
        return path.read_bytes()


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the system says about reading a file into a UserError; a missing one stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Let yourself read it, or take it from git") from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
