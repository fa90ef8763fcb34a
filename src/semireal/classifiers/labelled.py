"""The folder of labelled pictures that the classifiers learn from."""

import argparse
from pathlib import Path

import pandas as pd

from semireal.errors import UserError


def read(folder: Path) -> pd.DataFrame:
    """The table faces.csv of a folder, one row per picture.

    Columns: path, class (photo, portrait, sketch or noface), has_face (0 or 1), x, y, w, h (box of the face in px),
    note, group (of pictures of one person or character). Raises UserError if there is none.
    """
    try:
        return pd.read_csv(folder / "faces.csv")
    except FileNotFoundError:
        raise UserError(f"{folder / 'faces.csv'}: not found. Give a folder with labelled faces") from None


def asked(program: str, about: str) -> Path:
    """The folder that the command line of a program names."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=about)
    parser.add_argument("--faces", type=Path, required=True, help="folder with a faces.csv and the pictures it names")
    folder: Path = parser.parse_args().faces
    return folder
