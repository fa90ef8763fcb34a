"""Markdown: tables, and what others wrote in them."""

import re
from collections.abc import Iterable, Sequence

from semireal.text import line

_MARKUP = re.compile(r"[\\`*\[\]<>&~$]|(?<![^\W_])_|_(?![^\W_])")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, one line per row; a `|` in a cell is not taken for its end."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in lines)


def text(given: str) -> str:
    """Text of others as one line that shows what they wrote: no HTML, no markup, no picture from elsewhere."""
    return _MARKUP.sub(r"\\\g<0>", line(given))


def code(given: str) -> str:
    """A name of others set as code, whatever backticks are in it."""
    name = line(given)
    fence = "`" * (1 + max(map(len, re.findall("`+", name)), default=0))
    space = " " if name.startswith("`") or name.endswith("`") else ""
    return f"{fence}{space}{name}{space}{fence}"
