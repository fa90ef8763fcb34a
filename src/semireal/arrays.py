"""Arrays on disk: written in parts that are forgotten, read where they are looked at.

A mapped array is the page cache of the machine: all processes that map it share its memory, which the kernel takes back
where others need it. Nobody can write to one; it stays as it was while it is mapped, also where its file is removed.
"""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from semireal import files

Array = NDArray[Any]


def save(path: Path, count: int, parts: Iterable[Array]) -> None:
    """Write an array [count, ...] of one type as .npy, whole or not at all; parts: [n, ...] each, one after another."""
    with files.replacing(path) as partial, partial.open("wb") as file:
        _write(file, count, parts)
        file.flush()
        os.fsync(file.fileno())  # a name that outlives a power cut must not stand for less than it says


def load(path: Path) -> Array:
    """Map the array of a file; raises FileNotFoundError, or ValueError or EOFError where it is no such file."""
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def aside(folder: Path, count: int, parts: Iterable[Array]) -> Array:
    """Write an array as `save` does, and map it; its file in the folder has no name and goes with the array."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        shape, dtype, start = _write(file, count, parts)
        file.flush()
        return np.asarray(np.memmap(file, dtype, "r", start, shape))


def _write(file: BinaryIO, count: int, parts: Iterable[Array]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Write the header of .npy and the parts; returns shape, type, and where the first of them starts."""
    # through the file: a page of a mapping that finds no room on the disk is a signal, not an error
    shape, dtype, start, written = (count,), np.dtype(np.uint8), 0, 0
    for part in parts:
        if not written:
            shape, dtype = (count, *part.shape[1:]), part.dtype
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            start = file.tell()
        if part.shape[1:] != shape[1:] or part.dtype != dtype:
            raise ValueError(f"a part is {part.dtype} {part.shape}, the first one was {dtype} {shape}")
        file.write(np.ascontiguousarray(part).data)
        written += len(part)
    if written != count:
        raise ValueError(f"{written} rows of {count}")
    return shape, dtype, start
