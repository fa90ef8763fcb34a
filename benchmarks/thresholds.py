"""What do the rules about pictures find, and what do they cost? The limits of crop, filter and dedupe come from here.

    python benchmarks/thresholds.py --faces DIR --json OUT

DIR holds faces.csv (columns path, class, has_face) and its images, photos and paintings with a face. Heads of at least
LEAST px are spoiled, brought to the size of the dataset as stage resize does, and judged by the committed parameters:
the share that each rule rejects. Whole pictures are turned by quarters, and cut through the face, and go through stage
crop. For stage dedupe: how much detail copies show at one size, in terms of their original.
"""

import argparse
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from semireal import images
from semireal.curate import quality
from semireal.faces import blocks, crop, detect, upright
from semireal.images import Pixels
from semireal.params import whole
from semireal.params.whole import Params

ROOT = Path(__file__).resolve().parents[1]
LEAST = 128  # px
EVERY = 2  # of the labelled pictures, one in so many
ORIGINAL = 200  # px, of the heads whose copies are compared


def jpeg(img: Pixels, quality: int) -> Pixels:
    """After JPEG, as most programs write it."""
    data = io.BytesIO()
    Image.fromarray(img).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data))


def scaled(img: Pixels, side: int, how: Image.Resampling) -> Pixels:
    """In another size."""
    return np.asarray(Image.fromarray(img).resize((side, side), how))


def enlarged(img: Pixels, by: int) -> Pixels:
    """Made smaller, and enlarged again without interpolation."""
    small = scaled(img, max(len(img) // by, 8), Image.Resampling.BOX)
    return np.repeat(np.repeat(small, by, axis=0), by, axis=1)


def mosaic(img: Pixels, tiles: int) -> Pixels:
    """So many tiles on each side."""
    return scaled(scaled(img, tiles, Image.Resampling.BOX), len(img), Image.Resampling.NEAREST)


def blurred(img: Pixels, sigma: float) -> Pixels:
    """sigma: px of a picture of 512 px."""
    return np.asarray(cv2.GaussianBlur(img, (0, 0), sigma * len(img) / 512), np.uint8)


WAYS: dict[str, Callable[[Pixels], Pixels]] = {
    "as they are": lambda img: img,
    "at 15 % brightness": lambda img: (img * 0.15).round().astype(np.uint8),
    **{f"blurred by {sigma} px of 512": lambda img, s=sigma: blurred(img, s) for sigma in (2, 3, 4, 6)},  # type: ignore[misc]
    **{f"JPEG at quality {q}": lambda img, q=q: jpeg(img, q) for q in (75, 30, 10, 5)},  # type: ignore[misc]
    "mosaic of 40 tiles": lambda img: mosaic(img, 40),
    "enlarged 2 times": lambda img: enlarged(img, 2),
    "enlarged 3 times, JPEG 85": lambda img: jpeg(enlarged(img, 3), 85),
}


def rules(heads: list[Pixels], given: Params) -> dict[str, dict[str, float]]:
    """By way of spoiling: the share that is blurred, and that is blocky."""
    found = {}
    for way, spoil in tqdm(WAYS.items(), desc="ways"):
        spoiled = [np.ascontiguousarray(spoil(head)) for head in heads]
        soft = [
            quality.sharpness(images.resize(img, given.resize.size)) < given.filter.min_sharpness for img in spoiled
        ]
        assert given.filter.max_blocks is not None
        rough = [blocks.share(img) > given.filter.max_blocks for img in spoiled]
        found[way] = {"blurred": float(np.mean(soft)), "blocky": float(np.mean(rough))}
    return found


def copies(heads: list[Pixels], size: int) -> dict[str, list[float]]:
    """Detail of copies at one size, over that of their original: smallest, median, greatest."""
    lanczos, bicubic = Image.Resampling.LANCZOS, Image.Resampling.BICUBIC
    ratios: dict[str, list[float]] = {"enlarged 2 times": [], "enlarged 3 times": [], "source of 1.5 times": []}
    for head in tqdm([head for head in heads if len(head) >= 1.5 * ORIGINAL], desc="copies"):
        original = scaled(head, ORIGINAL, lanczos)
        fine = quality.detail(images.resize(original, size))
        for by in (2, 3):
            copy = jpeg(scaled(original, by * ORIGINAL, bicubic), 80)
            ratios[f"enlarged {by} times"].append(quality.detail(images.resize(copy, size)) / fine)
        larger = scaled(head, round(1.5 * ORIGINAL), lanczos)
        ratios["source of 1.5 times"].append(quality.detail(images.resize(larger, size)) / fine)
    return {
        name: [round(float(value), 3) for value in np.percentile(found, (0, 50, 100))] for name, found in ratios.items()
    }


def cuts(img: Pixels, face: detect.Face) -> Iterator[tuple[str, Pixels]]:
    """The picture whole, turned, and cut through the face."""
    yield "whole", img
    for quarters in (1, 2, 3):
        yield f"turned by {90 * quarters} degrees", np.rot90(img, quarters)
    assert face.landmarks is not None
    points: NDArray[np.float32] = face.landmarks
    yield "cut in the middle", img[:, max(int(face.centre[0]), 0) :]
    yield "cut at an eye", img[:, max(int(points[0, 0]), 0) :]
    yield "cut at the mouth", img[: int(points[3:, 1].mean())]
    yield "cut at the eyes", img[max(int(points[:2, 1].mean()), 0) :]


def judged(pictures: list[tuple[Pixels, detect.Face]], given: Params) -> dict[str, dict[str, int]]:
    """By kind of picture: how many end for which reason in stage crop, and how many are kept, turned right or wrong."""
    detector, up = (
        detect.make("verified", given.crop.score, given.crop.detect_size, given.crop.min_face),
        upright.Upright(),
    )
    found: dict[str, Counter[str]] = {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.png"
        (Path(folder) / "images").mkdir()
        for img, face in tqdm(pictures, desc="crop"):
            for kind, picture in cuts(img, face):
                Image.fromarray(np.ascontiguousarray(picture)).save(path, compress_level=1)
                (row,) = crop.crop_image(
                    path, {"id": "x"}, detector, up, given.crop, given.resize, path.with_name("head")
                )
                right = 0 if "turned" not in kind else (360 - int(kind.split()[2])) % 360
                kept = "kept" if row.get("turned") == right else "kept, the wrong way up"
                found.setdefault(kind, Counter())[row["reason"] or kept] += 1
    return {kind: dict(sorted(reasons.items())) for kind, reasons in found.items()}


def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args()
    given = whole.load(ROOT / "params.yaml")
    table = pd.read_csv(asked.faces / "faces.csv")
    table = table[table["class"].isin(["photo", "portrait"]) & (table["has_face"] == 1)].iloc[::EVERY]
    detector = detect.make("verified", given.crop.score, given.crop.detect_size)
    pictures = []
    for path in table["path"]:
        img = images.load_rgb(asked.faces / path)
        pictures += [(img, face) for face in detector(img)[:1] if face.side >= LEAST]
    heads = []
    for img, face in pictures:
        left, top, side = crop.square(face.box, given.crop.margin, given.crop.lift, (img.shape[1], img.shape[0]))
        heads.append(np.ascontiguousarray(img[top : top + side, left : left + side]))
    found = {
        "heads": len(heads),
        "share that the rules of filter reject": rules(heads, given),
        "detail of copies, of their original": copies(heads, given.resize.size),
        "pictures in stage crop": judged(pictures, given),
    }
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    asked.json.write_text(text)


if __name__ == "__main__":
    main()
