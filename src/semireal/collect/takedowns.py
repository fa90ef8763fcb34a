"""Images that must not be used: `experiments/takedowns.csv`, one row per wish of an artist or a site.

The list is applied twice: by scrape, so that a new collection does not have the image, and by crop, so that a
collection that was made before gives it to nobody either.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from semireal import paths, tables, text
from semireal.errors import UserError
from semireal.manifest import Row

FILE = paths.TAKEDOWNS
COLUMNS = ["url", "artist", "sha256", "reason"]
REASON = "taken down"  # in manifests
IMAGE_SUFFIX = re.compile(r"\.(jpe?g|png|webp|gif|avif|bmp|tiff?)$")

Place = tuple[str, ...]  # host and path segments of a URL, and its query where that counts


@dataclass(frozen=True)
class Takedowns:
    """What the list names, ready to compare."""

    places: frozenset[Place] = frozenset()
    artists: frozenset[str] = frozenset()
    sha256: frozenset[str] = frozenset()

    def matches(self, row: Row) -> bool:
        """Whether an image is on the list: by page or file URL, artist, or SHA-256 of the raw file."""
        return (
            text.folded(row.get("artist") or "") in self.artists
            or row.get("sha256") in self.sha256
            or any(self._has(row.get(column) or "") for column in ("page_url", "file_url"))
        )

    def _has(self, url: str) -> bool:
        path, query = _split(url)
        return path + query in self.places or any(path[:n] in self.places for n in range(1, len(path) + 1))


NOTHING = Takedowns()


def read(path: Path) -> Takedowns:
    """Read the list; raises UserError naming the line that cannot be, also if there is no file.

    Each row has a URL, an artist or a SHA-256, one of the three. A URL stands for itself and for all that lies below
    it, so `https://www.deviantart.com/NAME` is everything of an artist there. Scheme, `www.`, fragment, upper and
    lower case do not count; nor does the query of an image file, which is often a token that changes. An artist's
    name counts on all sites.
    """
    try:
        rows = tables.rows(path, COLUMNS)
    except FileNotFoundError:
        raise UserError(f"{path}: not found. Take it from git; an empty list is the line {','.join(COLUMNS)}") from None
    places, artists, hashes = set(), set(), set()
    for where, cells in rows:
        url, artist, sha256 = _checked(cells, where)
        if url:
            places.add(sum(_split(url), ()))
        elif artist:
            artists.add(artist)
        else:
            hashes.add(sha256)
    return Takedowns(frozenset(places), frozenset(artists), frozenset(hashes))


def _checked(cells: list[str], where: str) -> tuple[str, str, str]:
    """URL, artist and SHA-256 of a row, two of them empty."""
    url, artist, sha256 = cells[0].strip(), text.folded(cells[1]), cells[2].strip().lower()
    if sum(map(bool, (url, artist, sha256))) != 1:
        raise UserError(f"{where}: found {','.join(cells)!r}, need one of url, artist and sha256")
    if url and not _split(url)[0]:
        raise UserError(f"{where}: url: found {url!r}, need the address of a page, an image or an artist")
    if sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise UserError(f"{where}: sha256: found {sha256!r}, need 64 hexadecimal digits (column sha256 of a manifest)")
    return url, artist, sha256


def _split(url: str) -> tuple[Place, Place]:
    """Host and path segments, and the query if it counts, of an address with or without scheme."""
    address = re.sub(r"^([a-z][a-z0-9+.-]*://|demo:)", "", url.strip(), flags=re.IGNORECASE).partition("#")[0]
    path, _, query = address.partition("?")
    segments = [unquote(part).strip().casefold() for part in path.split("/") if part.strip()]
    if segments:
        segments[0] = segments[0].removeprefix("www.")
    counts = query and not (segments and IMAGE_SUFFIX.search(segments[-1]))
    return tuple(segments), (f"?{query}",) if counts else ()
