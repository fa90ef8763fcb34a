"""What the page shows: each image with the last stage that had it, why it stayed behind, and a file to look at."""

import math
from collections.abc import Collection as Names
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from semireal import manifest, params, paths
from semireal.curate.decisions import REJECTED_BY_HAND
from semireal.files import key_of
from semireal.manifest import Row

CHAIN = (paths.CROPS, paths.RESIZED, paths.FILTERED, paths.DATASET)
TEXTS = ("id", "status", "reason", "domain", "source", "note", "title", "artist", "page_url", "cluster")
READ = {*TEXTS, *manifest.NUMBERS, "image_id", "survivor", "rule"}
CODED = ("status", "rules", "domain", "source", "note")  # what the page counts and filters all images by


@dataclass(frozen=True)
class Given:
    """What the page takes of params.yaml."""

    name: str
    collection: str


@dataclass(frozen=True)
class Item:
    """One image: its row in the last stage that had it, and its newest file, if any."""

    row: Row  # with `rules`: why the rules alone reject it, "" if they keep it
    path: Path | None
    stage: str
    cropped: bool  # the filter sees it, so a decision about it counts

    def public(self) -> dict[str, Any]:
        """What the page is told: texts and numbers of the row, and a key that changes with the file."""
        found = {name: self.row[name] for name in TEXTS if self.row[name]}
        found |= {name: self.row[name] for name in sorted(manifest.NUMBERS) if not math.isnan(self.row[name])}
        key = ""
        if self.path is not None:
            seen = self.path.stat()
            key = key_of(str(self.path), seen.st_mtime_ns, seen.st_size)
        return found | {"rules": self.row["rules"], "stage": self.stage, "cropped": self.cropped, "key": key}


class Images(Mapping[str, Item]):
    """The images in the order of their ids. An item is put together, and its file looked for, when it is asked for.

    So many images take little time and memory: a table of their last rows, and where each stage has its files.
    """

    def __init__(self, table: pd.DataFrame, files: Mapping[Path, Mapping[str, str]]) -> None:
        """table: last rows, by id, and in `stage` the place of theirs in CHAIN. files: of raw and CHAIN; each by id."""
        self.columns = {
            name: table[name].to_numpy(float if name in manifest.NUMBERS else object) for name in table.columns
        }
        self.places = {key: place for place, key in enumerate(self.columns["id"])}
        self._files = files

    def __getitem__(self, key: str) -> Item:
        place = self.places[key]
        row = {name: column[place] for name, column in self.columns.items()}
        ids = [row["image_id"], *[key] * len(CHAIN)]  # that of the raw image is another one
        places = list(zip(self._files, ids, strict=False))[: row["stage"] + 2]
        there = (_file(folder, self._files[folder].get(name, "")) for folder, name in reversed(places))
        return Item(row, next(filter(None, there), None), CHAIN[row["stage"]].name, self.is_cropped(place))

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, key: object) -> bool:  # that of Mapping would look for the files
        return key in self.places

    def is_cropped(self, place: int) -> bool:
        """See Item."""
        return bool(self.columns["stage"][place] > 0 or self.columns["status"][place] == manifest.KEPT)


@dataclass(frozen=True)
class Collection:
    """The images up to a stage, by id, and whose they are."""

    name: str  # of the character
    items: Images

    @cached_property
    def numbers(self) -> list[str]:
        """The numeric columns that the images have, to sort and to filter by."""
        return [name for name in sorted(manifest.NUMBERS) if not np.isnan(self.items.columns[name]).all()]

    @cached_property
    def compact(self) -> dict[str, Any]:
        """What the page is told of all images: ids, and what it counts, filters and sorts by, as numbers for texts.

        groups: for each image the place of the first one of its near-duplicates, its own if it has none.
        """
        columns = self.items.columns
        ids = columns["id"]
        codes = {name: pd.factorize(columns[name]) for name in CODED}
        return {
            "ids": ids.tolist(),
            **{name: {"codes": found.tolist(), "texts": texts.tolist()} for name, (found, texts) in codes.items()},
            "groups": np.searchsorted(ids, np.where(columns["cluster"] == "", ids, columns["cluster"])).tolist(),
            "cropped": [self.items.is_cropped(place) for place in range(len(ids))],
        }

    def number(self, name: str) -> list[float | None]:
        """A numeric column of all images, None for those that do not have it; raises KeyError for no such column."""
        found: list[float] = self.items.columns[{one: one for one in self.numbers}[name]].tolist()
        return [None if math.isnan(value) else value for value in found]


def load(last: Path) -> Collection:
    """Read the manifests of the stages up to `last`; raises UserError if its own is missing.

    Earlier stages may be missing (only the dataset was pulled); their rejected images are then missing too.
    """
    given = params.load(Given)
    raw = paths.RAW / given.collection
    chain = CHAIN[: CHAIN.index(last) + 1]
    tables = {folder: _table(folder, folder == last, READ) for folder in chain}
    files = {folder: _files(table) for folder, table in ({raw: _table(raw, False, ())} | tables).items()}
    later: set[str] = set()
    rows = []
    for folder, table in reversed(tables.items()):
        last_ones = table[~table["id"].isin(later)].drop_duplicates("id", keep="last")
        later.update(last_ones["id"])
        rows.append(last_ones.assign(stage=CHAIN.index(folder)))
    table = pd.concat(rows, ignore_index=True).sort_values("id")
    return Collection(given.name, Images(table.assign(rules=_rules(table)), files))


def stamp(last: Path) -> tuple[Any, ...]:
    """What is another one as soon as `load` would read something else."""
    given = params.load(Given)
    seen = [path.stat() if path.is_file() else None for path in _manifests(last, given)]
    return given, [one and (one.st_ino, one.st_mtime_ns, one.st_size) for one in seen]


def _manifests(last: Path, given: Given) -> list[Path]:
    return [one / manifest.FILE for one in (paths.RAW / given.collection, *CHAIN[: CHAIN.index(last) + 1])]


def _table(folder: Path, needed: bool, columns: Names[str]) -> pd.DataFrame:
    """The manifest of a stage with these columns, texts that it does not have empty; without rows if there is none."""
    there = needed or (folder / manifest.FILE).is_file()
    table = manifest.read(folder, columns) if there else pd.DataFrame()
    table = table.reindex(columns=[*manifest.BASIC, *sorted({*columns} - {*manifest.BASIC})]).astype(object)
    texts = [name for name in table.columns if name not in manifest.NUMBERS]
    return table.assign(**{name: table[name].fillna("") for name in texts})


def _files(table: pd.DataFrame) -> dict[str, str]:
    named = table[table["file"] != ""]
    return dict(zip(named["id"], named["file"], strict=True))


def _rules(table: pd.DataFrame) -> NDArray[np.object_]:
    """Why the rules alone reject each image, "" if they keep it."""
    twin = (table["cluster"] != "") & (table["survivor"] != table["id"])
    left_out = (table["status"] == manifest.REJECTED) & (table["reason"] != REJECTED_BY_HAND)
    return np.select([twin, left_out], [manifest.NEAR_DUPLICATE, table["reason"]], table["rule"])


def _file(folder: Path, name: str) -> Path | None:
    """A file, if it is there and in the folder: a manifest that came with a pull is not to be trusted."""
    if not name or not manifest.is_inside(name):
        return None
    path = folder / name
    try:
        return path if path.is_file() else None
    except OSError:  # a name that no file can have
        return None
