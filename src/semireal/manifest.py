"""The table that goes with each dataset: one row per image, kept or not, with the reason.

Stages read the manifest of the stage before, never its folder. Counts always add up: in = kept + rejected.
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from semireal.errors import UserError
from semireal.files import write_json

FILE = "manifest.csv"
KEPT, REJECTED = "kept", "rejected"
SAME_FILE, NEAR_DUPLICATE = "same file", "near-duplicate"  # the reasons of stages scrape and dedupe ...
OTHER_DOMAIN = ", declared as another domain"  # ... and what is behind them where the two sources do not agree

# Columns in the order in which stages add them; those with # are numbers, all others are texts.
_DECLARED = (
    *("id", "status", "reason", "domain", "file"),
    *("source", "page_url", "file_url", "artist", "title", "licence", "licence_url", "restrictions", "tags"),
    *("posted", "rendition", "gallery_dl", "sha256", "raw_bytes#"),
    *("image_id", "raw_width#", "raw_height#", "detector", "score#", "box", "landmarks"),
    *("geometry", "crop_box", "crop_side#", "turned#", "angle#", "edge#", "outside#", "blocks#", "bytes#"),
    *("declared", "style", "p_photo#", "p_portrait#", "p_line_art#", "p_anime#"),
    *("sharpness#", "detail#", "turn#", "tilt#", "rule", "note", "phash", "fine#", "cluster", "survivor"),
)
COLUMNS = tuple(name.rstrip("#") for name in _DECLARED)
NUMBERS = {name.rstrip("#") for name in _DECLARED if name.endswith("#")}

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


def read(folder: Path) -> pd.DataFrame:
    """Read the manifest of a dataset; a missing one is the user's to mend."""
    try:
        table = pd.read_csv(folder / FILE, dtype=str, keep_default_na=False, lineterminator="\n")
    except FileNotFoundError:
        raise UserError(
            f"{folder / FILE}: not found. Run `dvc repro`, or `dvc pull {folder}` if it was shared"
        ) from None
    except (ValueError, UnicodeDecodeError) as error:  # of pandas: cells that do not fit the header, no text
        raise damaged(folder, " ".join(str(error).split())) from None
    _check(table, folder)
    return table


def _check(table: pd.DataFrame, folder: Path) -> None:
    """Turn the numbers into such; UserError for a row that says of no image what became of it."""
    missing = [name for name in ("id", "status", "reason", "file") if name not in table.columns]
    if missing and not table.empty:
        raise damaged(folder, f"no column {missing[0]}")
    if table.empty:
        return
    used = table["status"] == KEPT
    wrong = ~table["status"].isin((KEPT, REJECTED)) | (used & ((table["id"] == "") | (table["file"] == "")))
    if wrong.any():
        number = int(wrong.to_numpy().argmax())
        found = ", ".join(f"{name} {table[name].iloc[number]!r}" for name in ("id", "status", "file"))
        raise damaged(folder, f"image {number + 1} has {found}")
    for name in NUMBERS & set(table.columns):
        try:
            table[name] = pd.to_numeric(table[name])
        except ValueError as error:
            raise damaged(folder, f"{name}: {error}") from None


def damaged(folder: Path, why: str) -> UserError:
    """The error for a table that cannot be used."""
    return UserError(f"{folder / FILE}: damaged ({why}). Remove {folder} and run `dvc repro`, or `dvc pull {folder}`")


def read_kept(folder: Path) -> list[Row]:
    """Rows of the images that the stage kept, in the order of their ids."""
    table = read(folder)
    rows: list[Row] = table[table["status"] == KEPT].to_dict("records")  # type: ignore[assignment]
    return rows


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
