"""CSV files that people edit, by hand or in a spreadsheet: whatever is wrong is one line that says where."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from semireal import files
from semireal.errors import UserError

LARGEST = 50_000_000  # bytes; a million rows
SHOWN = 100  # characters of a row in a message


def rows(path: Path, columns: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The rows below the header, each with where it is (`list.csv: line 3`), to begin a message with.

    A byte order mark and empty lines do not count. Raises FileNotFoundError, and UserError for another encoding,
    another header, more or fewer cells than columns, quotes that do not end, or what is no file to read.
    """
    data = files.read(path, LARGEST)
    names = ",".join(columns)
    found = []
    lines = csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline=""), strict=True)
    try:
        if next(lines, None) != list(columns):
            raise UserError(f"{path}: line 1 must be {names}")
        for cells in lines:
            where = f"{path}: line {lines.line_num}"
            if cells and len(cells) != len(columns):
                raise UserError(f"{where}: found {','.join(cells)[:SHOWN]!r}, need {names}")
            if cells:
                found.append((where, cells))
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text. Save it as UTF-8, or take an older version from git") from None
    except csv.Error as error:
        raise UserError(f"{path}: line {lines.line_num}: {error}") from None
    return found
