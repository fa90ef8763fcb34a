import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import texture
from semireal import figures
from semireal.curate import funnel
from semireal.curate.decisions import Decision
from semireal.curate.filter import run as run_filter
from semireal.errors import UserError
from semireal.params.filter import Filter

RAW = {"in": 12, "kept": 10, "rejected": {"same file": 2}}
CROPS = {"in": 10, "kept": 6, "rejected": {"no face": 3, "face too small": 1}}
LAX = Filter(1000, 100, 0, None, None, None, None, None, None, None, None, None, None)  # file size alone
HAIR = {"classes": 2, "effective": 1.89, "images": {"dark": 2, "red": 1}, "unknown": 0}
DATASET = {"in": 4, "kept": 3, "rejected": {"near-duplicate": 1}, "variety": {"hair": HAIR}}


def filtered(make_dataset: Callable[..., Path], out: Path, decided: dict[str, Decision]) -> funnel.Report:
    """The report of the real filter on six images, two of them with small files."""
    resized = make_dataset(
        "resized", [(texture(n, 128, 128), {"bytes": 10 if n < 2 else 5000}) for n in range(6)], ".jpg"
    )
    out.mkdir(parents=True)
    run_filter(resized, out, LAX, decided)
    report: funnel.Report = json.loads((out / "report.json").read_text())
    return report


def test_each_step_is_the_one_before_less_what_was_lost(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    decided = {
        "0000": Decision("keep"),  # against the rule
        "0001": Decision("reject"),  # with the rule
        "0002": Decision("reject"),
        "0003": Decision("reject"),
        "0004": Decision("keep", "portrait"),
    }
    report = filtered(make_dataset, tmp_path / "filtered", decided)
    report["rules"]["line art"] = 1  # as if a rule about style had rejected one more, and a person had kept it
    report["by_hand"]["brought_back"] += 1
    steps = funnel.steps(RAW, CROPS, report, DATASET | {"in": report["kept"], "kept": report["kept"] - 1})
    assert [(step.name, step.left) for step in steps] == [
        ("raw", 10),
        ("face found", 6),
        ("size and sharpness", 4),
        ("style", 3),
        ("decisions", 3),
        ("de-duplicated", 2),
    ]
    for before, after in itertools.pairwise(steps):
        assert after.left == before.left - sum(after.lost.values()), after.name


def test_picture_and_metric_do_not_depend_on_the_hour(
    make_dataset: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filtered(make_dataset, tmp_path / "filtered", {})
    drawn: list[dict[str, int]] = []
    save = figures.save_funnel

    def watched(steps: Any, back: dict[str, int], name: str, path: Path) -> None:
        drawn.append(back)
        save(steps, back, name, path)

    monkeypatch.setattr(figures, "save_funnel", watched)
    shown: list[Any] = []
    save_variety = figures.save_variety

    def seen(properties: Any, name: str, path: Path) -> None:
        shown.append(properties)
        save_variety(properties, name, path)

    monkeypatch.setattr(figures, "save_variety", seen)
    for name, report in (("raw", RAW), ("crops", CROPS | {"milder": {"min_face: 36": 1}}), ("dataset", DATASET)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report))
    pictures = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        raw, crops, dataset = (tmp_path / stage for stage in ("raw", "crops", "dataset"))
        funnel.run(raw, crops, tmp_path / "filtered", dataset, tmp_path / name, "elf")
        pictures.append([(tmp_path / name / f"{one}.png").read_bytes() for one in ("funnel", "variety")])
        with Image.open(tmp_path / name / "funnel.png") as img:
            assert img.width == 960
    assert pictures[0] == pictures[1]
    assert shown == [[("hair: 2, effective 1.89, largest 67%", {"dark": 2, "red": 1})]] * 2
    assert drawn == [{"crop.min_face: 36": 1}] * 2
    assert json.loads((tmp_path / "one/funnel.json").read_text()) == {
        "raw": 10,
        "face found": 6,
        "size and sharpness": 4,
        "style": 4,
        "decisions": 4,
        "de-duplicated": 3,
    }


def test_a_missing_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none/report.json: not found. Run `dvc repro`"):
        funnel.run(tmp_path / "none", tmp_path, tmp_path, tmp_path, tmp_path, "elf")
