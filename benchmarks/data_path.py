"""What do the stages from crop to dedupe cost, for an image and a core, beside what others do?

    python benchmarks/data_path.py --faces DIR [--peers DIR2] --json OUT [--pictures 48] [--rounds 5]

DIR holds faces.csv (columns path, class, has_face) and its images. PICTURES of those with a face are brought to 1 to 2
megapixels, as JPEGs. Then ROUNDS times, each in turn does all of them on one thread, and its CPU time is taken. The
floor is what any way from a picture to a square of the dataset needs: decoder, detector, scaling, JPEG. DIR2 is a
folder with the installed packages autocrop, cleanvision and imagededup; what is not in it is left out.

Last, stages crop, resize and filter as they are run, on one core and on two: time by the clock, so on a machine without
other work.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image

from semireal import images, manifest
from semireal.curate import filter as filtering
from semireal.curate import quality, resize, style
from semireal.faces import crop, detect, upright
from semireal.manifest import Row
from semireal.params import whole
from semireal.vision import hashes

ROOT = Path(__file__).resolve().parents[1]
MEGAPIXELS = 1.0, 2.0
PEERS = ("autocrop", "cleanvision", "imagededup")
LIBRARIES = ("opencv-python", "pillow", "numpy", "scipy", "torch")
SEVERAL = 3  # copies of each picture in the stages as they are run, so that their start counts for little
RATIOS = {  # what is asked for is at most
    "crop and resize / floor": (("crop", "resize"), "floor", 1.3),
    "crop and resize / autocrop": (("crop", "resize"), "autocrop", 1.0),
    "filter / cleanvision": (("filter",), "cleanvision", 1.0),
    "hash / imagededup": (("hash",), "imagededup", 1.0),
}
Work = Callable[[], None]


def prepare(faces: Path, count: int, out: Path) -> list[Path]:
    """Write so many pictures of 1 to 2 megapixels; photos that have as many already stay in their size."""
    table = pd.read_csv(faces / "faces.csv")
    table = table[table["class"].isin(["photo", "portrait"]) & (table["has_face"] == 1)]
    rng, paths = np.random.default_rng(0), []
    for n, path in enumerate(table["path"].iloc[:: max(len(table) // count, 1)].iloc[:count]):
        img = Image.fromarray(images.load_rgb(faces / path))
        if img.width * img.height < MEGAPIXELS[0] * 1e6:
            zoom = (rng.uniform(*MEGAPIXELS) * 1e6 / (img.width * img.height)) ** 0.5
            img = img.resize((round(img.width * zoom), round(img.height * zoom)), Image.Resampling.LANCZOS)
        paths.append(out / f"{n:03}.jpg")
        img.save(paths[-1], quality=90)
    return paths


class Ours:
    """The stages, picture by picture, and the floor."""

    def __init__(self, pictures: list[Path], out: Path) -> None:
        self.given = whole.load(ROOT / "params.yaml")
        settings = self.given.crop
        self._pictures, self._out = pictures, out
        (out / "images").mkdir(parents=True)
        (out / "resized").mkdir()
        name, every = settings.detector_photo, settings.faces == "all"
        self._detector = detect.make(name, settings.score, settings.detect_size, settings.min_face, every, not every)
        self._up, self._classifier = upright.Upright(), style.Classifier()
        self.crop()
        self.resize()
        self.files = [self._resized(row) for row in self.rows]
        self._finished = [images.load_rgb(path) for path in self.files]
        self._heads = {row["image_id"]: np.array(row["crop_box"].split(), float) for row in self.rows}

    def crop(self) -> None:
        """Stage crop."""
        detector, up, given = self._detector, self._up, self.given
        self.rows: list[Row] = []
        for path in self._pictures:
            row = {"id": path.stem, "domain": "auto", "source": "s"}
            self.rows += crop.crop_image(path, row, detector, up, given.crop, given.resize, self._out / path.stem)
        self.rows = [row for row in self.rows if row["status"] == manifest.KEPT]

    def resize(self) -> None:
        """Stage resize."""
        for row in self.rows:
            self._resized(row).write_bytes(resize.finished(self._out / row["file"], self.given.resize))

    def filter(self) -> None:
        """Stage filter, its measures."""
        for row, path in zip(self.rows, self.files, strict=True):
            filtering.measures(images.load_rgb(path), row, self._classifier)

    def hash(self) -> None:
        """Stage dedupe, its hashes."""
        for path in self.files:
            hashes.of(images.load_rgb(path))

    def detail(self) -> None:
        """Stage dedupe, what it measures besides."""
        for img in self._finished:
            quality.detail(img)

    def floor(self) -> None:
        """What no way from a picture to a square of the dataset can do without."""
        for path in self._pictures:
            img = images.load_rgb(path)
            self._detector(img)
            if path.stem in self._heads:
                x0, y0, x1, y1 = (round(value) for value in self._heads[path.stem])
                head = np.ascontiguousarray(img[max(y0, 0) : y1, max(x0, 0) : x1])
                images.encode_jpeg(images.resize(head, self.given.resize.size), self.given.resize.quality)

    def bytes_of_crops(self) -> float:
        """Bytes of data/crops, of those of the raw pictures."""
        written: int = sum((self._out / row["file"]).stat().st_size for row in self.rows)
        read: int = sum(path.stat().st_size for path in self._pictures)
        return round(written / read, 2)

    def _resized(self, row: Row) -> Path:
        return self._out / "resized" / f"{row['id']}.jpg"


def peers(pictures: list[Path], finished: list[Path]) -> dict[str, Work]:
    """What others do with the raw pictures (autocrop) and the finished ones, as far as it is installed."""
    found: dict[str, Work] = {}
    with contextlib.suppress(ImportError):
        cropper = import_module("autocrop").Cropper(width=512, height=512)

        def autocrop() -> None:
            for path in pictures:
                head = cropper.crop(str(path)).image
                if head is not None:
                    images.encode_jpeg(np.ascontiguousarray(head), 95)

        found["autocrop"] = autocrop
    with contextlib.suppress(ImportError):
        imagelab = import_module("cleanvision.imagelab").Imagelab

        def cleanvision() -> None:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                imagelab(filepaths=[str(path) for path in finished]).find_issues(n_jobs=1, verbose=False)

        found["cleanvision"] = cleanvision
    with contextlib.suppress(ImportError):
        phash = import_module("imagededup.methods").PHash(verbose=False)

        def imagededup() -> None:
            for path in finished:
                phash.encode_image(image_file=str(path))

        found["imagededup"] = imagededup
    return found


def measured(works: dict[str, Work], count: int, rounds: int) -> dict[str, list[float]]:
    """CPU time of each in each round, ms for an image."""
    for work in works.values():
        work()  # the first time is slower
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.process_time()
            work()
            found[name].append(1e3 * (time.process_time() - start) / count)
    return found


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    least, median, most = np.percentile(values, (0, 50, 100)).round(2).tolist()
    return {"median": median, "least": least, "most": most}


def ratios(found: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Ours to others, round by round."""
    result = {}
    for name, (ours, other, most) in RATIOS.items():
        if other in found:
            together = np.sum([found[one] for one in ours], axis=0)
            result[name] = spread((together / np.array(found[other])).tolist()) | {"asked": most}
    return result


def cores(pictures: list[Path], folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds for an image of the stages as they are run, on one core and on two, and how much faster two are."""
    raw = folder / "raw"
    raw.mkdir()
    rows = []
    for name, path in ((f"{path.stem}x{n}", path) for path in pictures for n in range(SEVERAL)):
        (raw / f"{name}.jpg").symlink_to(path)
        rows.append(manifest.kept({"id": name, "domain": "photo", "source": "s"}, file=f"{name}.jpg"))
    manifest.save(raw, rows, "benchmark", "")
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        return {}
    took: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for count, times in took.items():
            command = [
                sys.executable,
                str(Path(__file__).resolve()),
                "--run-stages",
                str(raw),
                *map(str, available[:count]),
            ]
            with tempfile.TemporaryDirectory() as empty:  # without what is known from the run before, see `.work`
                done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=empty)
            times.append(float(done.stdout) / len(rows))
    return {
        "s_per_image_1_core": spread([1e3 * one for one in took[1]]),
        "s_per_image_2_cores": spread([1e3 * one for one in took[2]]),
        "faster": spread([one / two for one, two in zip(took[1], took[2], strict=True)]),
    }


def run_stages(raw: Path, on: set[int]) -> float:
    """Seconds that crop, resize and filter take on some cores."""
    os.sched_setaffinity(0, on)
    cv2.setNumThreads(len(on))
    given = whole.load(ROOT / "params.yaml")
    with tempfile.TemporaryDirectory() as folder:
        crops, resized, filtered = (Path(folder) / name for name in ("crops", "resized", "filtered"))
        for one in (crops, resized, filtered):
            one.mkdir()
        start = time.perf_counter()
        crop.run(raw, crops, given.crop, given.resize)
        resize.run(crops, resized, given.resize)
        filtering.run(resized, filtered, given.filter)
        return time.perf_counter() - start


def versions(names: list[str]) -> dict[str, str]:
    """Of the packages that took part."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


def main() -> None:
    """Parse the command line, measure and print."""
    if sys.argv[1:2] == ["--run-stages"]:
        print(run_stages(Path(sys.argv[2]), set(map(int, sys.argv[3:]))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--peers", type=Path, help="folder with autocrop, cleanvision and imagededup")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    if asked.peers:
        sys.path.append(str(asked.peers.resolve()))
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pictures").mkdir()
        pictures = prepare(asked.faces, asked.pictures, folder / "pictures")
        ours = Ours(pictures, folder / "ours")
        others = peers(pictures, ours.files)
        works = {one: getattr(ours, one) for one in ("floor", "crop", "resize", "filter", "hash", "detail")} | others
        found = measured(works, len(pictures), asked.rounds)
        result = {
            "pictures": len(pictures),
            "rounds": asked.rounds,
            "cpu_ms_per_image": {one: spread(values) for one, values in found.items()},
            "ratios": ratios(found),
            "bytes_of_crops_to_raw": ours.bytes_of_crops(),
            "cores": cores(pictures, folder, max(asked.rounds // 2, 1)),
            "versions": versions([*LIBRARIES, *others]),
        }
    missing = [one for one in PEERS if one not in others]
    asked.json.write_text(json.dumps(result, indent=1) + "\n")
    for title in ("cpu_ms_per_image", "ratios", "cores"):
        print(f"\n{title}\n{pd.DataFrame(result[title]).T.to_string()}")
    print(f"\nbytes of crops, of those of the raw pictures: {result['bytes_of_crops_to_raw']}")
    print(", ".join(f"{one} {version}" for one, version in result["versions"].items()))
    if missing:
        print(f"not measured, since not installed (--peers): {', '.join(missing)}")


if __name__ == "__main__":
    main()
