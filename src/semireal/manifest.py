"""The table that goes with each dataset: one row per image, kept or not, with the reason.

Stages read the manifest of the stage before, never its folder. Counts always add up: in = kept + rejected.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from semireal.errors import UserError
from semireal.files import write_json

FILE = "manifest.csv"
KEPT, REJECTED = "kept", "rejected"
NEAR_DUPLICATE = "near-duplicate"  # the reason of stage dedupe

# Columns in the order in which stages add them; everything not in NUMBERS is text.
COLUMNS = (
    *("id", "status", "reason", "domain", "file"),
    *("source", "page_url", "file_url", "artist", "title", "licence", "tags"),
    *("posted", "rendition", "gallery_dl", "sha256", "raw_bytes"),
    *(
        "image_id",
        "raw_width",
        "raw_height",
        "detector",
        "score",
        "box",
        "landmarks",
        "geometry",
        "crop_box",
        "crop_side",
        "angle",
    ),
    "bytes",
    *("declared", "style", "p_photo", "p_portrait", "p_line_art", "p_anime", "sharpness", "detail", "turn", "tilt"),
    *("rule", "note", "phash", "cluster", "survivor"),
)
NUMBERS = {
    *("raw_bytes", "raw_width", "raw_height", "score", "crop_side", "angle", "bytes"),
    *("p_photo", "p_portrait", "p_line_art", "p_anime", "sharpness", "detail", "turn", "tilt"),
}

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
    table.to_csv(folder / FILE, index=False, lineterminator="\n")
    return table


def read(folder: Path) -> pd.DataFrame:
    """Read the manifest of a dataset; a missing one is the user's to mend."""
    try:
        table = pd.read_csv(folder / FILE, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(
            f"{folder / FILE}: not found. Run `dvc repro`, or `dvc pull {folder}` if it was shared"
        ) from None
    for name in NUMBERS & set(table.columns):
        table[name] = pd.to_numeric(table[name])
    return table


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
