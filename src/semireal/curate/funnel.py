"""funnel: how many images each step left, and what the last ones picture how often, as numbers and as pictures."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semireal import figures
from semireal.curate import variety
from semireal.curate.decisions import REJECTED_BY_HAND
from semireal.errors import UserError
from semireal.files import write_json

Report = dict[str, Any]  # the report.json of a stage
# what the filter rejects for its size or sharpness; its other rules are about style
PLAIN = {"source too small", "file too small", "blurred", "upscaled", "blocky"}


@dataclass(frozen=True)
class Step:
    """What one step left, and why it left out the others."""

    name: str
    left: int
    lost: dict[str, int]  # reason: images


def run(raw: Path, crops: Path, filtered: Path, dataset: Path, out: Path, name: str) -> None:
    """Read the reports of the stages; write funnel.json, a DVC metric, funnel.png and variety.png to `out`."""
    found = steps(*(_report(folder) for folder in (raw, crops, filtered, dataset)))
    write_json(out / "funnel.json", {step.name: step.left for step in found})
    back = {
        f"{section}.{setting}": count
        for section, folder in (("crop", crops), ("filter", filtered))
        for setting, count in _report(folder).get("milder", {}).items()
    }
    figures.save_funnel([(step.name, step.left, step.lost) for step in found], back, name, out / "funnel.png")
    properties = [(variety.told(key, one), one["images"]) for key, one in _report(dataset)["variety"].items()]
    figures.save_variety(properties, name, out / "variety.png")


def steps(raw: Report, crops: Report, filtered: Report, dataset: Report) -> list[Step]:
    """The steps from raw to de-duplicated; a step of the filter is what its rules alone leave.

    After `face found` the images are crops: with crop.faces = all there may be more of them than raw images.
    """
    rules: dict[str, int] = filtered["rules"]
    plain = {reason: n for reason, n in rules.items() if reason in PLAIN}
    style = {reason: n for reason, n in rules.items() if reason not in PLAIN}
    sharp = filtered["in"] - sum(plain.values())
    by_hand = filtered["by_hand"]
    hand = {REJECTED_BY_HAND: by_hand["left_out"], "brought back by hand": -by_hand["brought_back"]}
    return [
        Step("raw", raw["kept"], {}),
        Step("face found", crops["kept"], crops["rejected"]),
        Step("size and sharpness", sharp, plain),
        Step("style", sharp - sum(style.values()), style),
        Step("decisions", filtered["kept"], hand),
        Step("de-duplicated", dataset["kept"], dataset["rejected"]),
    ]


def _report(folder: Path) -> Report:
    path = folder / "report.json"
    try:
        found: Report = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: not found. Run `dvc repro`") from None
    return found
