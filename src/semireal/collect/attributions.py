"""The credits of a dataset: who made each image, where it is from, under which licence. `semireal credits`.

One entry per raw image, also where several faces of it are in the dataset, grouped by artist.
"""

import csv
import html
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from semireal import manifest, params, paths, stage
from semireal.files import write_atomic
from semireal.manifest import Row

OUT = Path("results/attributions")
NOT_KNOWN = "not known"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # with their full-width forms, which Excel takes for the same
TEXTS = ("artist", "title", "licence", "licence_url", "restrictions", "page_url")


@dataclass(frozen=True)
class Given:
    """What the credits take of params.yaml."""

    name: str


@dataclass(frozen=True, order=True)
class Credit:
    """What is known about one image; an empty text is not known."""

    artist: str
    title: str
    licence: str
    licence_url: str
    restrictions: str
    site: str
    page_url: str
    sha256: str


def credits_of(rows: Iterable[Row]) -> list[Credit]:
    """The credits of the images of a manifest, sorted by artist (not known last) and title; each image once."""
    found = {row["sha256"]: _credit(row) for row in rows}
    return sorted(found.values(), key=lambda one: (one.artist == "", one.artist.casefold(), one))


def _credit(row: Row) -> Credit:
    texts = {name: " ".join(str(row.get(name) or "").split()) for name in TEXTS}
    host = urlsplit(_link(texts["page_url"]) or _link(str(row.get("file_url") or ""))).hostname or ""
    return Credit(**texts, site=host.removeprefix("www.") or row["source"], sha256=row["sha256"])


def _link(url: str) -> str:
    """The URL if it is safe to follow, else nothing: it was written by strangers."""
    try:
        return url if urlsplit(url).scheme in ("http", "https") and urlsplit(url).hostname else ""
    except ValueError:
        return ""


def as_csv(found: list[Credit]) -> str:
    """The credits as a table. A text that a spreadsheet would take for a formula gets a ' before it."""
    buffer = io.StringIO()
    lines = csv.writer(buffer, lineterminator="\n")
    lines.writerow(field.name for field in fields(Credit))
    lines.writerows([f"'{cell}" if cell[:1] in FORMULA else cell for cell in astuple(one)] for one in found)
    return buffer.getvalue()


def as_page(found: list[Credit], name: str) -> str:
    """The credits as a web page that needs nothing else, one section per artist."""
    groups: dict[str, list[Credit]] = {}
    for one in found:
        groups.setdefault(one.artist, []).append(one)
    parts = [
        f"<p>{_images(len(found))} by {_number(len(groups.keys() - {''}), 'artist')}"
        f"{', some not known' if '' in groups else ''}.</p>",
        "<div class=counts>",
        _counts("licence", (one.licence for one in found)),
        _counts("site", (one.site for one in found)),
        "</div>",
    ]
    for artist, theirs in groups.items():
        heading = f"{_text(artist or f'Artist {NOT_KNOWN}')} <small>{_images(len(theirs))}</small>"
        parts += [f"<h2>{heading}</h2>", "<ul>", *map(_entry, theirs), "</ul>"]
    return PAGE.format(policy=POLICY, name=_text(name), body="\n".join(parts))


def _entry(one: Credit) -> str:
    title = _linked(one.title or "untitled", one.page_url)
    licence = _linked(one.licence or f"licence {NOT_KNOWN}", one.licence_url)
    restrictions = f" <span>{_text(one.restrictions)}</span>" if one.restrictions else ""
    return f"<li>{title} <span>{licence}</span>{restrictions} <span>{_text(one.site)}</span></li>"


def _linked(text: str, url: str) -> str:
    link = _link(url)
    return f'<a href="{html.escape(link)}" rel="noreferrer">{_text(text)}</a>' if link else _text(text)


def _counts(what: str, values: Iterable[str]) -> str:
    counts = sorted(manifest.count(values).items(), key=lambda item: (-item[1], item[0]))
    cells = "".join(f"<tr><td>{_text(value or NOT_KNOWN)}<td>{n}" for value, n in counts)
    return f"<table><tr><th>{what}<th>images{cells}</table>"


def _images(n: int) -> str:
    return _number(n, "image")


def _number(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _text(text: str) -> str:
    """Text of strangers for HTML: escaped, and isolated so that right-to-left writing does not turn the line around."""
    return f"<bdi>{html.escape(text)}</bdi>" if not text.isascii() else html.escape(text)


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width">
<title>Credits of {name}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
h2 {{ font-size: 1.1rem; margin: 1.5rem 0 .2rem }}
small, span {{ color: color-mix(in srgb, currentcolor 70%, transparent); font-weight: normal }}
small {{ margin-left: .5rem }}
ul {{ margin: 0; padding-left: 1.2rem }}
li, td, h2 {{ overflow-wrap: anywhere }}
span::before {{ content: "\\00b7"; margin-right: .4rem }}
.counts {{ display: flex; flex-wrap: wrap; gap: 1rem 3rem; align-items: start }}
table {{ border-collapse: collapse }}
th, td {{ text-align: left; padding: .1rem 1rem .1rem 0 }}
th {{ border-bottom: 1px solid }}
td:last-child, th:last-child {{ text-align: right; padding-right: 0 }}
</style>
<h1>Credits of {name}</h1>
{body}
</html>
"""


def write(dataset: Path, out: Path, name: str) -> int:
    """Write attributions.csv and attributions.html about the kept images of `dataset`; returns how many there are."""
    found = credits_of(manifest.read_kept(dataset, "source", "sha256"))
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "attributions.csv", as_csv(found).encode(errors="replace"))
    write_atomic(out / "attributions.html", as_page(found, name).encode(errors="replace"))
    return len(found)


def run(dataset: Path | None, out: Path | None) -> None:
    """Write the credits of a folder with a manifest (None: of the dataset of params.yaml) to a folder (None: OUT)."""
    name = params.load(Given).name if dataset is None else str(dataset)
    out = out or OUT
    count = write(dataset or paths.DATASET, out, name)
    stage.say(f"{out}/attributions.html and attributions.csv: {count} images")
