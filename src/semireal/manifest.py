"""The table that goes with each dataset: one row per image, kept or not, with the reason.

Stages read the manifest of the stage before, never its folder. Counts always add up: in = kept + rejected.
"""

import csv
import math
import re
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from semireal import files
from semireal.errors import UserError
from semireal.files import write_json

FILE = "manifest.csv"
KEPT, REJECTED = "kept", "rejected"
DOMAINS = ("photo", "portrait", "auto")  # what an image shows; auto: stage filter measures it
SAME_FILE, NEAR_DUPLICATE = "same file", "near-duplicate"  # the reasons of stages scrape and dedupe ...
OTHER_DOMAIN = ", declared as another domain"  # ... and what is behind them where the two sources do not agree

# Columns in the order in which stages add them; those with # are numbers, all others are texts.
_DECLARED = (
    *("id", "status", "reason", "domain", "file"),
    *("source", "page_url", "file_url", "artist", "title", "licence", "licence_url", "restrictions", "tags"),
    *("posted", "rendition", "ai", "gallery_dl", "sha256", "raw_bytes#"),
    *("image_id", "raw_width#", "raw_height#", "detector", "score#", "others#", "box", "landmarks"),
    *("geometry", "crop_box", "crop_side#", "turned#", "angle#", "edge#", "outside#", "blocks#", "bytes#"),
    *("declared", "style", "p_photo#", "p_portrait#", "p_line_art#", "p_anime#"),
    *("sharpness#", "detail#", "turn#", "tilt#", "light#", "side#", "hair", "marks#", "character#"),
    *("rule", "note", "phash", "fine#", "cluster", "survivor"),
)
COLUMNS = tuple(name.rstrip("#") for name in _DECLARED)
NUMBERS = {name.rstrip("#") for name in _DECLARED if name.endswith("#")}

BASIC = ("id", "status", "reason", "file")  # what no manifest is without
NAME = re.compile(r"[\w-][\w.-]*")
POINTS = {"box": 4, "crop_box": 4, "landmarks": 10}  # texts of so many numbers, or empty
TEXTS = dict.fromkeys(set(COLUMNS) - NUMBERS, object)  # a string type of pandas takes longer to work with
LARGEST = 2_000_000_000  # bytes
LONGEST_LINE = 1_000_000  # bytes; a row has some forty texts of text.LONGEST characters, at the most

Row = dict[str, Any]


def kept(row: Row, **more: Any) -> Row:
    """The row of an image that goes on, with further columns."""
    return row | more | {"status": KEPT, "reason": ""}


def rejected(row: Row, reason: str, **more: Any) -> Row:
    """The row of an image that stays behind."""
    return row | more | {"status": REJECTED, "reason": reason, "file": ""}


def write(folder: Path, rows: Iterable[Row]) -> pd.DataFrame:
    """Write `manifest.csv`, sorted by id; columns in the order of COLUMNS."""
    table = pd.DataFrame(list(rows))
    unknown = set(table.columns) - set(COLUMNS)
    if unknown:
        raise ValueError(f"columns not declared in semireal.manifest: {sorted(unknown)}")
    table = table.reindex(columns=[name for name in COLUMNS if name in table.columns])
    if not table.empty:
        table = table.sort_values(["id", "file"], kind="stable")
    # all texts in quotes: Python before 3.13 leaves a carriage return outside of them
    table.to_csv(folder / FILE, index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return table


def read(folder: Path, only: Collection[str] = COLUMNS) -> pd.DataFrame:
    """Read the manifest of a dataset; a missing one is the user's to mend, and so is one that no stage has written.

    It may come from elsewhere: no id and no file of a kept image leads out of the dataset. only: what is read of the
    columns besides id, status, reason and file, in the order of the file.
    """
    try:
        files.check(folder / FILE, LARGEST)
        with files.told(folder / FILE):
            _check_lines(folder)
        table = _parsed(folder / FILE, {*BASIC, *only})
    except FileNotFoundError:
        raise UserError(
            f"{folder / FILE}: not found. Run `dvc repro`, or `dvc pull {folder}` if it was shared"
        ) from None
    except (ValueError, csv.Error) as error:  # cells that do not fit the header, no text
        raise damaged(folder, " ".join(str(error).split())) from None
    _check(table, folder)
    return table


def _parsed(path: Path, wanted: Collection[str]) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # a number that is none is told by _check
        return pd.read_csv(
            path,
            dtype=TEXTS,
            na_values={name: [""] for name in NUMBERS},
            keep_default_na=False,
            lineterminator="\n",
            usecols=wanted.__contains__,
        )


def _check_lines(folder: Path) -> None:
    """Raise UserError for another header than ours, or a line that is too long: pandas would take very long for it."""
    with (folder / FILE).open("rb") as file:
        header = b""
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
            header = header or line
            if len(line) == LONGEST_LINE:
                raise damaged(folder, f"line {number} is longer than {LONGEST_LINE / 1e6:g} MB")
    names = next(csv.reader([header.decode("utf-8-sig").rstrip("\n")]), [])
    for name in names:
        if name not in COLUMNS:
            raise damaged(folder, f"line 1: {name[:40]!r} is no column that stages write")
    if len(set(names)) < len(names):
        raise damaged(folder, "line 1: a column is there twice")


def _check(table: pd.DataFrame, folder: Path) -> None:
    """Turn all numbers into such; UserError for a row that says of no image what became of it."""
    if table.empty:
        return
    _need(table, BASIC, folder)
    used = table["status"] == KEPT
    wrong = ~table["status"].isin((KEPT, REJECTED)) | (used & ((table["id"] == "") | (table["file"] == "")))
    if wrong.any():
        number = int(wrong.to_numpy().argmax())
        found = ", ".join(f"{name} {table[name].iloc[number]!r}" for name in ("id", "status", "file"))
        raise damaged(folder, f"image {number + 1} has {found}")
    _refuse(table, used & ~table["id"].map(_is_name), "id", "letters, digits, _, - and .", folder)
    _refuse(table, used & table["id"].where(used).duplicated(), "id", "another one for each image", folder)
    _refuse(table, used & ~table["file"].map(is_inside), "file", "a path inside of the folder", folder)
    for name in NUMBERS & set(table.columns):
        numbers = table[name]
        if not pd.api.types.is_numeric_dtype(numbers) or pd.api.types.is_bool_dtype(numbers):
            numbers = pd.to_numeric(numbers.astype(str), errors="coerce")
        wrong = table[name].notna() & ~numbers.abs().lt(math.inf)
        if wrong.any():  # say what stands there
            table = pd.read_csv(folder / FILE, dtype=str, keep_default_na=False, lineterminator="\n", usecols=[name])
            _refuse(table, wrong, name, "a number", folder)
        table[name] = numbers


def _need(table: pd.DataFrame, names: Iterable[str], folder: Path) -> None:
    for name in names:
        if name not in table.columns:
            raise damaged(folder, f"no column {name}")


def _refuse(table: pd.DataFrame, wrong: "pd.Series[bool]", name: str, need: str, folder: Path) -> None:
    """Raise UserError for the first image that is wrong in the column `name`."""
    if wrong.any():
        number = int(wrong.to_numpy().argmax())
        raise damaged(folder, f"image {number + 1}: {name}: found {table[name].iloc[number][:80]!r}, need {need}")


def _is_name(given: str) -> bool:
    return NAME.fullmatch(given) is not None


def is_inside(given: str) -> bool:
    """Whether the name of a file, which others may have written, leads to nothing outside of the folder."""
    return not given.startswith("/") and ".." not in given.split("/") and "\0" not in given


def _is_points(given: str, count: int) -> bool:
    try:
        found = [float(one) for one in given.split()]
    except ValueError:
        return False
    return len(found) == count and all(map(math.isfinite, found))


def damaged(folder: Path, why: str) -> UserError:
    """The error for a table that cannot be used."""
    return UserError(f"{folder / FILE}: damaged ({why}). Remove {folder} and run `dvc repro`, or `dvc pull {folder}`")


def read_kept(folder: Path, *needed: str) -> list[Row]:
    """Rows of the images that the stage kept, in the order of their ids.

    needed: columns in which all of them must have a value; one that does not, or whose domain or points cannot be,
    raises UserError, as `read` does for others.
    """
    table = read(folder)
    if table.empty:
        return []
    used = table["status"] == KEPT
    if needed:
        _need(table, needed, folder)
        _check_forms(table, used, needed, folder)
    return rows_of(table[used])


def rows_of(table: pd.DataFrame) -> list[Row]:
    """The rows of a table; several times as fast as its `to_dict`, which looks at the type of each cell."""
    columns = [table[name].astype(object).tolist() for name in table]
    return [dict(zip(table.columns, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _check_forms(table: pd.DataFrame, used: "pd.Series[bool]", needed: Iterable[str], folder: Path) -> None:
    for name in needed:
        _refuse(table, used & (table[name].isna() | (table[name] == "")), name, "a value", folder)
    if "domain" in needed:
        _refuse(table, used & ~table["domain"].isin(DOMAINS), "domain", " or ".join(DOMAINS), folder)
    for name, count in POINTS.items():
        if name in table.columns:
            good = table[name].map(lambda given, count=count: not given or _is_points(given, count))
            _refuse(table, used & ~good, name, f"{count} numbers", folder)


def write_report(folder: Path, rows: Iterable[Row], **more: Any) -> None:
    """Write `report.json`, a DVC metric: in, kept and rejected, per reason, domain and source, and `more`."""
    rows = list(rows)
    good = [row for row in rows if row["status"] == KEPT]
    report = {
        "in": len(rows),
        "kept": len(good),
        "rejected": count(row["reason"] for row in rows if row["status"] == REJECTED),
        "domain": count(row["domain"] for row in good),
        "source": count(row["source"] for row in good),
    }
    write_json(folder / "report.json", report | more)


def count(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts


def save(folder: Path, rows: list[Row], stage: str, hint: str, **more: Any) -> None:
    """Write manifest and report (with `more`); refuse an empty dataset with the reasons and a hint what to change."""
    write(folder, rows)
    write_report(folder, rows, **more)
    if not any(row["status"] == KEPT for row in rows):
        reasons = ", ".join(f"{reason} {n}" for reason, n in count(row["reason"] for row in rows).items())
        raise UserError(f"{stage}: none of {len(rows)} images kept ({reasons or 'no input'}). {hint}")
