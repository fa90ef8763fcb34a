"""Fetch a network to start a training from: `semireal fetch URL FILE`, and then train.init: FILE.

A download that was cut off goes on where it was; what has arrived is kept in the cache ($SEMIREAL_CACHE or
~/.cache/semireal). DVC records the hash of the file as that of any other dependency.
"""

import re
import shutil
from pathlib import Path

from semireal import stage
from semireal.errors import UserError
from semireal.files import replacing
from semireal.stylegan2 import load
from semireal.vision import weights


def run(url: str, file: Path, sha256: str | None) -> None:
    """Put what is at the URL into the file; UserError where it cannot be had, or has another hash than sha256."""
    if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", sha256):
        raise UserError(f"--sha256: found {sha256!r}, need 64 hexadecimal digits in lower case")
    found = weights.fetch(url, sha256, load.kind_of)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as partial:
        shutil.copyfile(found, partial)
    stage.say(
        f"{file}: here. So that queued experiments and clones have it, if its licence allows that: dvc add {file}, "
        f"and commit {file}.dvc"
    )
