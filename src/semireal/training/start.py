"""The file that a training starts from, train.init, or blends with, blend.base: a network, or words for random ones.

It is always a file, so that DVC sees when it is replaced by another.
"""

from pathlib import Path

from semireal.errors import UserError

NOISE = b"from noise"  # how a file begins that stands for random networks


def existing(init: str, root: Path, key: str = "train.init") -> Path:
    """The path of the file that a parameter names; UserError where it is not there.

    root: of the repository; key: of the parameter.
    """
    path = root / init
    try:
        there = path.is_file()
    except OSError:  # a name that is too long
        there = False
    if not there:
        raise UserError(
            f"{key}: {init} not found. Put a network there (semireal fetch URL {init}), or set "
            "it to experiments/noise.init"
        )
    return path


def is_noise(path: Path, key: str = "train.init") -> bool:
    """Whether the file only stands for random networks; UserError, which names the key, where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(NOISE)) == NOISE
    except OSError as error:
        raise UserError(f"{key}: {path} cannot be read ({error.strerror})") from None
