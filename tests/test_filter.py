import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from conftest import texture
from semireal import decisions, manifest
from semireal import filter as filter_
from semireal.decisions import Decision
from semireal.params import Filter

PARAMS = Filter(min_bytes=1000, min_side=100, min_sharpness=20)
GOOD = {"crop_side": 200, "bytes": 5000, "sharpness": 50.0}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"crop_side": 99}, "source too small"),
        ({"bytes": 999}, "file too small"),
        ({"sharpness": 19.9}, "blurred"),
        ({"crop_side": 100, "bytes": 1000, "sharpness": 20}, ""),
    ],
)
def test_verdict(change: dict[str, Any], reason: str) -> None:
    assert filter_.verdict(GOOD | change, PARAMS) == reason


def test_blur_lowers_sharpness_and_size_does_not_matter_much() -> None:
    img = texture(0, 512, 512)
    noisy = np.clip(img.astype(int) + np.random.default_rng(0).integers(-30, 30, img.shape), 0, 255).astype(np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(noisy, (0, 0), 4), dtype=np.uint8)
    assert filter_.sharpness(blurred) < filter_.sharpness(noisy) / 5
    assert filter_.sharpness(np.full((64, 64, 3), 77, np.uint8)) == 0


def test_counts_and_copies(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    flat = np.full((256, 256, 3), 128, np.uint8)
    resized = make_dataset(
        "resized",
        [
            (texture(0, 256, 256), {"bytes": 5000}),
            (texture(1, 256, 256), {"bytes": 10}),
            (flat, {"bytes": 5000}),
            (texture(2, 256, 256), {"bytes": 5000, "crop_side": 50}),
        ],
        ".jpg",
    )
    out = tmp_path / "out"
    out.mkdir()
    filter_.run(resized, out, PARAMS)
    report = json.loads((out / "report.json").read_text())
    assert report["rejected"] == {"file too small": 1, "blurred": 1, "source too small": 1}
    assert (report["in"], report["kept"]) == (4, 1)
    (row,) = manifest.read_kept(out)
    assert (out / row["file"]).read_bytes() == (resized / "images/0000.jpg").read_bytes()
    assert [f.name for f in (out / "images").iterdir()] == ["0000.jpg"]


def test_decisions_win_over_the_rules_and_are_counted(
    make_dataset: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, poor = {"bytes": 5000}, {"bytes": 10}
    resized = make_dataset("resized", [(texture(n, 256, 256), poor if n in (1, 3) else good) for n in range(6)], ".jpg")
    decided = {
        "0000": Decision("reject", "", "a sketch"),
        "0001": Decision("keep"),
        "0002": Decision("", "portrait"),
        "0003": Decision("reject", "portrait"),
        "0004": Decision("keep", "portrait", "fine"),
        "gone": Decision("keep"),
    }
    out = tmp_path / "out"
    out.mkdir()
    filter_.run(resized, out, PARAMS, decided)
    rows = manifest.read(out).set_index("id")
    assert rows[["status", "reason", "domain", "rule", "note"]].to_dict("split")["data"] == [
        ["rejected", "rejected by hand", "photo", "", "a sketch"],
        ["kept", "", "photo", "file too small", "kept by hand"],
        ["kept", "", "portrait", "", "domain by hand"],
        ["rejected", "rejected by hand", "portrait", "file too small", ""],
        ["kept", "", "portrait", "", "kept by hand"],
        ["kept", "", "photo", "", ""],
    ]
    assert {f.stem for f in (out / "images").iterdir()} == {"0001", "0002", "0004", "0005"}
    report = json.loads((out / "report.json").read_text())
    assert report["by_hand"] == {"brought_back": 1, "left_out": 1, "domain": 3, "unknown": 1}
    assert report["rules"] == {"file too small": 2}
    assert report["domain"] == {"photo": 2, "portrait": 2}
    assert (report["in"], report["kept"], report["rejected"]) == (6, 4, {"rejected by hand": 2})
    assert "1 of 6 decisions are about images that are not here" in capsys.readouterr().err


def test_without_decisions_the_rules_decide(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    resized = make_dataset("resized", [(texture(n, 256, 256), {"bytes": 5000 * n}) for n in range(2)], ".jpg")
    for name, decided in (("a", None), ("b", {"0000": decisions.NONE})):
        (tmp_path / name).mkdir()
        filter_.run(resized, tmp_path / name, PARAMS, decided)
    assert (tmp_path / "a/manifest.csv").read_text() == (tmp_path / "b/manifest.csv").read_text()
    assert manifest.read(tmp_path / "a")["reason"].tolist() == ["file too small", ""]
