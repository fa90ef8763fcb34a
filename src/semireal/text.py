"""Text from outside - names of files, titles, tags - as text that any file takes."""

import os
import unicodedata
from pathlib import PurePath

LONGEST = 2000  # characters
ENDS = 700  # characters of either end of a message that is too long
OLD = "cp1252"  # how names of files that are not UTF-8 were most likely written


def line(given: str) -> str:
    """One line without control characters and halves of surrogates, of at most LONGEST characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in given).split())[:LONGEST]


def folded(given: str) -> str:
    """A name that people write in several ways: spaces, upper and lower case do not count."""
    return " ".join(given.split()).casefold()


def message(given: str) -> str:
    """A message as one line that a terminal may show, with its two ends where it is long.

    What is quoted in it was written by others: line ends and control characters are written as Python does.
    """
    ends = given if len(given) <= 2 * ENDS else f"{given[:ENDS]} ... {given[-ENDS:]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in ends)


def shown(value: object) -> str:
    """A value from a file of others, fit for a message: short, ASCII, on one line."""
    if isinstance(value, str):
        return ascii(value[:100])
    return repr(value)[:50] if value is None or isinstance(value, int | float) else f"a {type(value).__name__}"


def name(path: PurePath) -> str:
    """The name of a file or a path as one line, composed (NFC) and so the same on all systems."""
    raw = os.fsencode(path.as_posix())
    try:
        given = raw.decode()
    except UnicodeDecodeError:
        given = raw.decode(OLD, errors="replace")
    return line(unicodedata.normalize("NFC", given))
