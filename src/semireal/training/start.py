"""The file that a training starts from, train.init: a network, or a few words that stand for random ones.

It is always a file, so that DVC sees when it is replaced by another.
"""

from pathlib import Path

from semireal.errors import UserError

NOISE = b"from noise"  # how a file begins that stands for random networks


def existing(init: str, root: Path) -> Path:
    """The path of the file that `train.init` names; UserError where it is not there. root: of the repository."""
    path = root / init
    try:
        there = path.is_file()
    except OSError:  # a name that is too long
        there = False
    if not there:
        raise UserError(
            f"train.init: {init} not found. Put a network there (semireal fetch URL {init}), or set "
            "it to experiments/noise.init"
        )
    return path


def is_noise(path: Path) -> bool:
    """Whether the file only says that a training starts from random networks; UserError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(NOISE)) == NOISE
    except OSError as error:
        raise UserError(f"train.init: {path} cannot be read ({error.strerror})") from None
