"""filter: leave out what is too poor, of another style or not wanted, and tell photos from portraits."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semireal import images, manifest, measured, milder, stage, workers
from semireal.collect.source import AUTO
from semireal.curate import decisions, quality, style
from semireal.curate.decisions import Decision
from semireal.images import Pixels
from semireal.manifest import Row
from semireal.measured import Image, Job
from semireal.params.filter import Filter
from semireal.vision import landmarks

# the next value that one would try of each threshold, in shares of it
MILDER = dict.fromkeys(("min_bytes", "min_side", "min_detail", "min_agreement", "min_character"), 0.75) | {
    "min_sharpness": 0.8,
    "max_blocks": 1.25,
    "max_line_art": 1.5,
    "max_anime": 1.5,
    "max_marks": 1.5,
    "max_turn": 1.25,
    "max_tilt": 1.5,
}


# what the measures of an image depend on, beside its pixels
GIVEN = ("domain", "crop_side", "landmarks", "turned", "crop_box", "angle")
_classifiers = workers.Pool(style.Classifier)  # one for each thread


def run(resized: Path, out: Path, params: Filter, decided: Mapping[str, Decision] | None = None) -> None:
    """Read `resized`, copy what passes to `out`, with manifest and report.

    decided: what a person decided, by id; it wins over the rules.
    """
    write(resized, out, look(resized), params, decided or {})


def look(resized: Path) -> list[Row]:
    """The rows of the images with their measures, which no parameter changes."""
    rows = manifest.read_kept(resized, "domain", "source", "crop_side", "bytes")
    asked = [Image(resized / row["file"], {name: row.get(name) for name in GIVEN}) for row in rows]
    found = measured.each(Job("filter", __name__, None, measured_image), asked)
    return [
        manifest.rejected(row, measured.DIED, rule=measured.DIED) if one is None else row | one.value
        for row, one in zip(rows, found, strict=True)
    ]


def measured_image(path: Path, given: Row, _: Path) -> tuple[Row, Sequence[Path]]:
    """The measures of an image; see semireal.measured.Job.work."""
    with _classifiers.borrowed() as classifier:
        return measures(images.load_rgb(path), given, classifier), ()


def write(resized: Path, out: Path, looked: Sequence[Row], params: Filter, decided: Mapping[str, Decision]) -> None:
    """Copy what passes, with manifest and report."""
    (out / "images").mkdir()

    def one(row: Row) -> Row:
        if row["status"] == manifest.REJECTED:
            return row
        done = decisions.apply(row, verdict(row, params), decided.get(row["id"], decisions.NONE))
        if done["file"]:
            shutil.copyfile(resized / row["file"], out / row["file"])
        return done

    rows = [one(row) for row in looked]
    by_hand = decisions.summary(rows, decided)
    if by_hand["unknown"]:
        stage.say(f"filter: {by_hand['unknown']} of {len(decided)} decisions are about images that are not here")
    rules = manifest.count(row["rule"] for row in rows if row["rule"])
    hint = "Look at the reasons, and lower filter.min_... or raise filter.max_..."
    back = milder.brings_back(rows, params, MILDER, verdict)
    milder.say("filter", back, params)
    about = {"rules": rules, "by_hand": by_hand, "domains": domains(rows), "milder": back}
    manifest.save(out, rows, "filter", hint, **about)


def measures(img: Pixels, row: Row, classifier: style.Classifier) -> Row:
    """The columns that this stage adds to the row of a resized image.

    `domain` becomes the measured one where the source is declared `auto`; `declared` keeps what the source said.
    """
    found = classifier(img)
    side = min(int(row["crop_side"]), img.shape[0])
    added: Row = {
        "declared": row["domain"],
        "domain": quality.domain(found) if row["domain"] == AUTO else row["domain"],
        "style": max(found, key=lambda name: found[name]),
        **{f"p_{name}": round(value, 4) for name, value in found.items()},
        "sharpness": round(quality.sharpness(img), 2),
        "detail": round(quality.detail(images.resize(img, side))),
    }
    if row.get("landmarks"):  # not every detector finds them
        points = np.array(row["landmarks"].split(), np.float64).reshape(5, 2)
        turn, tilt = quality.pose(points, row.get("turned") or 0)
        added |= {"turn": round(turn, 3), "tilt": round(tilt, 1)} | lit(img, row)
    return added


def lit(img: Pixels, row: Row) -> Row:
    """The columns about light and hair, where the picture shows enough."""
    places = landmarks.of(row)
    found = quality.light(img, places)
    light = {} if found is None else {"light": round(found[0], 1), "side": round(found[1], 1)}
    return light | {"hair": quality.hair(img, places)}


def verdict(row: Row, params: Filter) -> str:
    """Reason to leave the image out, or "" to keep it.

    What makes the other measures unreliable comes first. The size of the file, which says least, comes after
    these; then what is beside, over and in the picture, of which the last two are asked about heads that pass so far.
    """
    if "p_photo" not in row:
        return str(row["reason"])
    checks = (
        ("source too small", _below(row["crop_side"], params.min_side)),
        ("blurred", _below(row["sharpness"], params.min_sharpness)),
        ("upscaled", _below(row["detail"], params.min_detail)),
        ("blocky", _above(row.get("blocks"), params.max_blocks)),
        ("line art", _above(row["p_line_art"], params.max_line_art)),
        ("flat anime", _above(row["p_anime"], params.max_anime)),
        ("extreme pose", _above(row.get("turn"), params.max_turn) or _above(row.get("tilt"), params.max_tilt)),
        ("other domain than declared", _below(agreement(row), params.min_agreement)),
        ("file too small", _below(row["bytes"], params.min_bytes)),
        ("several faces", _above(row.get("others"), params.max_others)),
        ("marked over", _above(row.get("marks"), params.max_marks)),
        (decisions.ANOTHER, "character" in row and _below(row["character"], params.min_character)),
    )
    return next((reason for reason, failed in checks if failed), "")


def _below(value: float, least: float | None) -> bool:
    return least is not None and value < least


def _above(value: float | None, most: float | None) -> bool:
    return most is not None and value is not None and value > most


def agreement(row: Row) -> float:
    """Probability in [0, 1] that the image, being a photo or a portrait, is what its row says."""
    return float(row[f"p_{row['domain']}"] / max(row["p_photo"] + row["p_portrait"], 1e-9))


def domains(rows: Iterable[Row]) -> dict[str, Any]:
    """For the report: share of photos among the kept images, as declared and as measured, and who disagrees.

    `declared_photo_share` leaves out the images of sources that are declared `auto`; None without others.
    """
    good = [row for row in rows if row["status"] == manifest.KEPT]
    declared = [row for row in good if row["declared"] != AUTO]
    return {
        "auto": len(good) - len(declared),
        "declared_photo_share": _share([row["declared"] == "photo" for row in declared]),
        "measured_photo_share": _share([quality.measured(row) == "photo" for row in good]),
        "disagreements": sum(quality.measured(row) != row["declared"] for row in declared),
    }


def _share(values: list[bool]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None
