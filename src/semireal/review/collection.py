"""What the page shows: each image with the last stage that had it, why it stayed behind, and a file to look at."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semireal import manifest, params, paths
from semireal.curate.decisions import REJECTED_BY_HAND
from semireal.files import key_of
from semireal.manifest import Row

CHAIN = (paths.CROPS, paths.RESIZED, paths.FILTERED, paths.DATASET)
TEXTS = ("id", "status", "reason", "domain", "source", "note", "title", "artist", "page_url", "cluster")


@dataclass(frozen=True)
class Given:
    """What the page takes of params.yaml."""

    name: str
    collection: str


@dataclass(frozen=True)
class Item:
    """One image: its row in the last stage that had it, and its newest file, if any."""

    row: Row
    path: Path | None
    stage: str
    cropped: bool  # the filter sees it, so a decision about it counts

    @property
    def rules(self) -> str:
        """Why the rules alone reject it, "" if they keep it."""
        row = self.row
        if row.get("cluster") and row["survivor"] != row["id"]:
            return manifest.NEAR_DUPLICATE
        if row["status"] == manifest.REJECTED and row["reason"] != REJECTED_BY_HAND:
            return str(row["reason"])
        return str(row.get("rule", ""))

    def public(self) -> dict[str, Any]:
        """What the page is told: texts and numbers of the row, and a key that changes with the file."""
        found = {name: self.row[name] for name in TEXTS if self.row.get(name)}
        found |= {name: self.row[name] for name in sorted(manifest.NUMBERS) if _known(self.row.get(name))}
        key = ""
        if self.path is not None:
            seen = self.path.stat()
            key = key_of(str(self.path), seen.st_mtime_ns, seen.st_size)
        return found | {"rules": self.rules, "stage": self.stage, "cropped": self.cropped, "key": key}


def _known(number: float | None) -> bool:
    return number is not None and not math.isnan(number)


@dataclass(frozen=True)
class Collection:
    """The images up to a stage, by id, and whose they are."""

    name: str  # of the character
    items: dict[str, Item]

    @property
    def numbers(self) -> list[str]:
        """The numeric columns that the images have, to sort and to filter by."""
        return [name for name in sorted(manifest.NUMBERS) if any(_known(i.row.get(name)) for i in self.items.values())]


def load(last: Path) -> Collection:
    """Read the manifests of the stages up to `last`; raises UserError if its own is missing.

    Earlier stages may be missing (only the dataset was pulled); their rejected images are then missing too.
    """
    given = params.load(Given)
    manifest.read(last)
    raw = paths.RAW / given.collection
    found = {row["id"]: _file(raw, row) for row in _rows(raw)}
    items: dict[str, Item] = {}
    for folder in CHAIN[: CHAIN.index(last) + 1]:
        for row in _rows(folder):
            before = items.get(row["id"])
            older = before.path if before else found.get(row.get("image_id", ""))
            cropped = folder != CHAIN[0] or row["status"] == manifest.KEPT
            items[row["id"]] = Item(row, _file(folder, row) or older, folder.name, cropped)
    return Collection(given.name, dict(sorted(items.items())))


def _rows(folder: Path) -> list[Row]:
    if not (folder / manifest.FILE).is_file():
        return []
    rows: list[Row] = manifest.read(folder).to_dict("records")  # type: ignore[assignment]
    return rows


def _file(folder: Path, row: Row) -> Path | None:
    """The file of a row, if it is there and in the folder: a manifest that came with a pull is not to be trusted."""
    if not row["file"] or not manifest.is_inside(row["file"]):
        return None
    path = folder / row["file"]
    try:
        return path if path.is_file() else None
    except OSError:  # a name that no file can have
        return None
