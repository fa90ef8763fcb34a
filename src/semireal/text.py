"""Text from outside - names of files, titles, tags - as text that any file takes."""

import os
import unicodedata
from pathlib import PurePath

LONGEST = 2000  # characters
OLD = "cp1252"  # how names of files that are not UTF-8 were most likely written


def line(given: str) -> str:
    """One line without control characters and halves of surrogates, of at most LONGEST characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in given).split())[:LONGEST]


def name(path: PurePath) -> str:
    """The name of a file or a path as one line, composed (NFC) and so the same on all systems."""
    raw = os.fsencode(path.as_posix())
    try:
        given = raw.decode()
    except UnicodeDecodeError:
        given = raw.decode(OLD, errors="replace")
    return line(unicodedata.normalize("NFC", given))
