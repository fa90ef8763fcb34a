"""How many faces do the detectors find, how many do they imagine, and how fast are they?

    python benchmarks/detect.py --faces DIR --json OUT [--sheets FOLDER]

DIR holds faces.csv (columns path, class, has_face, x, y, w, h) and its images. For the default detector of
params.yaml and, under `others`, for each other one:

recall_photo, recall_portrait: share of the images with one clearly visible face in which a box overlaps the labelled
one by IOU. fp_per_faceless: faces found per image of class noface. img_per_s: on one thread, without reading files.
"""

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from semireal import images
from semireal.faces import detect
from semireal.images import Pixels
from semireal.params import whole

IOU = 0.4
ROOT = Path(__file__).resolve().parents[1]
TILE = 224  # px, of the contact sheets
COLUMNS = 8
# name -> detector, least score, px; YuNet as it was the default before, with and without verification
OTHERS = {
    "yunet at 0.8, 640 px": ("yunet", 0.8, 640),
    "yunet at 0.8, 480 px": ("yunet", 0.8, 480),
    "yunet at 0.5, 480 px": ("yunet", 0.5, 480),
    "haar": ("haar", 0.5, 640),
    "animeface": ("animeface", 0.5, 640),
    "haar+animeface": ("haar+animeface", 0.5, 640),
}


@dataclass
class Found:
    """What a detector did: hits per class, false positives per faceless image, seconds per image, its errors."""

    hits: dict[str, list[bool]] = field(default_factory=lambda: {"photo": [], "portrait": []})
    false: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    misses: list[Pixels] = field(default_factory=list)
    alarms: list[Pixels] = field(default_factory=list)

    def numbers(self) -> dict[str, float]:
        """The figures of the table."""
        return {
            "recall_photo": float(np.mean(self.hits["photo"])),
            "recall_portrait": float(np.mean(self.hits["portrait"])),
            "fp_per_faceless": float(np.mean(self.false)),
            "img_per_s": len(self.seconds) / sum(self.seconds),
        }


def labelled(folder: Path) -> list[dict[str, Any]]:
    """Rows of faces.csv that count: photos and portraits with a face, and images without any."""
    table = pd.read_csv(folder / "faces.csv")
    good = table["class"].isin(["photo", "portrait"]) & (table["has_face"] == 1)
    rows: list[dict[str, Any]] = table[good | ((table["class"] == "noface") & (table["has_face"] == 0))].to_dict(
        "records"
    )  # type: ignore[assignment]
    return rows


def box_of(label: dict[str, Any]) -> detect.Box:
    """The labelled box of a row."""
    return label["x"], label["y"], label["x"] + label["w"], label["y"] + label["h"]


def look(found: Found, detector: detect.Detector, img: Pixels, label: dict[str, Any]) -> None:
    """Let a detector look at one image, and add the outcome."""
    start = time.perf_counter()
    faces = detector(img)
    found.seconds.append(time.perf_counter() - start)
    kind = label["class"]
    if kind == "noface":
        found.false.append(len(faces))
        found.alarms += [tile(img, face.box, f"{face.score:.2f}") for face in faces]
        return
    hit = any(detect.iou(face.box, box_of(label)) >= IOU for face in faces)
    found.hits[kind].append(hit)
    if not hit:
        found.misses.append(tile(img, box_of(label), kind))


def tile(img: Pixels, box: detect.Box, text: str) -> Pixels:
    """Small picture of a box and its surroundings."""
    face = detect.Face(box, 1, None)
    cut = images.cut(img, face.centre, max(round(2 * face.side), 1), 0, cv2.BORDER_CONSTANT)
    small = np.array(images.resize(cut, TILE))  # a copy that may be drawn on
    quarter = TILE // 4
    cv2.rectangle(small, (quarter, quarter), (3 * quarter, 3 * quarter), (0, 255, 0))
    cv2.putText(small, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 0, 0))
    return small


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--sheets", type=Path, help="folder for pictures of the default detector's errors")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)

    crop = whole.load(ROOT / "params.yaml").crop
    default = {
        kind: detect.make(name, crop.score, crop.detect_size)
        for kind, name in (("photo", crop.detector_photo), ("portrait", crop.detector_portrait))
    }
    default["noface"] = default["portrait"]
    others = {name: detect.make(*how) for name, how in OTHERS.items()}
    found = {name: Found() for name in ("default", *others)}
    for detector in (*default.values(), *others.values()):
        detector(np.zeros((480, 480, 3), np.uint8))  # the first call is slower
    for label in labelled(given.faces):
        img = images.load_rgb(given.faces / label["path"])
        for name, detector in {"default": default[label["class"]], **others}.items():
            look(found[name], detector, img, label)
    result: dict[str, Any] = found["default"].numbers()
    result["others"] = {name: found[name].numbers() for name in others}
    given.json.write_text(json.dumps(result, indent=2) + "\n")
    print(pd.DataFrame({name: one.numbers() for name, one in found.items()}).T.round(4).to_string())
    if given.sheets:
        given.sheets.mkdir(parents=True, exist_ok=True)
        for name, tiles in (("misses", found["default"].misses), ("false", found["default"].alarms)):
            if tiles:
                images.save_png(given.sheets / f"{name}.png", images.grid(np.stack(tiles), COLUMNS))


if __name__ == "__main__":
    main()
