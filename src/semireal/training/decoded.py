"""The images of a dataset at the training resolution: decoded once, mapped by every process that uses them.

They are in `.work/images/<key>/images.npy`. The key is of what the files hold and of the code that decodes: a changed
dataset is another array, and one array serves training, evaluation and all experiments on a machine.
"""

import functools
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from semireal import arrays, code, files, images, stage, workers
from semireal.errors import UserError
from semireal.images import Pixels

FILE = "images.npy"


def load(dataset: Path, names: Sequence[str], resolution: int) -> Pixels:
    """The images of these files, mapped: uint8 [N, 3, resolution, resolution]. Who comes first decodes them.

    Raises UserError naming all files that are missing or damaged.
    """
    read = functools.partial(_hash, dataset)
    hashes = list(workers.each(read, names, "read"))
    key = files.key_of(hashes, resolution, code.key_of_modules(__name__))
    folder = stage.work_root() / "images" / key
    found = _known(folder)
    if found is None:
        with stage.work("images", key):
            found = _known(folder)
            if found is None:
                arrays.save(folder / FILE, len(names), _decoded(dataset, names, hashes, resolution))
                found = arrays.load(folder / FILE)
    return found


def tensor(pixels: Pixels) -> torch.Tensor:
    """The same as a tensor, which nobody can write to either."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(pixels)


def _known(folder: Path) -> Pixels | None:
    """What is there already; None where nothing is, or where it is damaged."""
    try:
        found: Pixels = arrays.load(folder / FILE)
        os.utime(folder)  # semireal.prune keeps what was used last
    except (OSError, ValueError, EOFError):
        return None
    return found


def _hash(dataset: Path, name: str) -> str | None:
    try:
        return files.sha256_of(dataset / name)
    except FileNotFoundError:
        return None


def _decoded(dataset: Path, names: Sequence[str], hashes: Sequence[str | None], resolution: int) -> Iterator[Pixels]:
    """The images one by one, [1, 3, resolution, resolution]; at the end UserError if there are bad ones."""
    bad: list[str] = []

    def one(name: str) -> Pixels | None:
        try:
            return images.resize(images.load_rgb(dataset / name), resolution)
        except (images.ImageError, FileNotFoundError):
            return None

    for name, before, img in zip(names, hashes, workers.each(one, names, "load"), strict=True):
        if img is None or _hash(dataset, name) != before:  # else the key would stand for what it is not the key of
            bad.append(name)
        elif not bad:
            yield img.transpose(2, 0, 1)[None]
    if bad:
        raise UserError(f"{dataset}: missing or damaged: {', '.join(sorted(bad))}. Run `dvc checkout --force`")
