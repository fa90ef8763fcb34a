"""Are copies of pictures found, and are other pictures called copies?

    python benchmarks/copies.py --faces DIR --json OUT [--sheet PNG]

DIR holds faces.csv (columns path, has_face, x, y, w, h, group) and its images. The labelled faces are cut with a border
and divided into halves by `group`, the same person or character. semireal.vision.copies.LIMIT was chosen on the first
half; what is printed and written is of the second one, at two sizes, with the perceptual hash of stage dedupe beside:

found: share of the copies in which the reference is named that they were made from, or another of its group, and they
are called copies. false alarms: share of the pictures that are called copies of others, of other groups; a quarter of
the groups at a time is compared with the rest of the half, and with the rest of all faces. --sheet: what is called a
copy, or nearly, each beside the reference laid over it: look whether some are copies after all.
"""

import argparse
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from semireal import images
from semireal.images import Pixels
from semireal.vision import copies, hashes

SIZES = (64, 512)
EACH = 60  # copies of each kind
FOLDS = 4
BORDER = (1.35, 1.7)  # sides of the pictures, in sides of the labelled boxes
BITS = 36  # of the hash; stage dedupe's limit, by default
TILES = 24
SPEED = (500, 1000)  # pictures, references

Rng = np.random.Generator
Index = NDArray[np.intp]
Change = Callable[[Pixels, Pixels, Rng], Pixels]  # picture, another picture -> a copy of the first


def hashes_of(pictures: Pixels) -> hashes.Bits:
    """Perceptual hashes [N, BITS]."""
    return np.stack([hashes.of(img) for img in pictures])


def shaped(
    img: Pixels, mirrored: bool = False, zoom: float = 1, turn: float = 0, shift: tuple[float, float] = (0, 0)
) -> Pixels:
    """Mirrored, zoomed, turned and shifted, by OpenCV's own matrix; what comes in from outside is a reflection."""
    side = img.shape[0]
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), turn, zoom)
    matrix[:, 2] += np.array(shift) * side
    start = np.ascontiguousarray(img[:, ::-1]) if mirrored else img
    flags = cv2.INTER_CUBIC
    warped = cv2.warpAffine(start, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.uint8)


def whole(values: NDArray[np.floating]) -> Pixels:
    """Rounded and clipped."""
    return np.asarray(values.round().clip(0, 255), np.uint8)


def away(rng: Rng, least: float, most: float) -> tuple[float, float]:
    """A shift by so much of the side, in a random direction."""
    far, angle = rng.uniform(least, most), rng.uniform(0, 2 * np.pi)
    return far * np.cos(angle), far * np.sin(angle)


def blurred(img: Pixels, sigma: float) -> Pixels:
    """Gaussian blur; sigma in px of a picture of 64 px."""
    return np.asarray(cv2.GaussianBlur(img, (0, 0), sigma * img.shape[0] / 64), np.uint8)


def mixed(img: Pixels, other: Pixels, _: Rng) -> Pixels:
    """40 % of another picture."""
    return whole(0.6 * img + 0.4 * other)


def quarter(img: Pixels, other: Pixels, rng: Rng) -> Pixels:
    """One of the four quadrants is another's."""
    half = img.shape[0] // 2
    y, x = rng.integers(0, 2, 2) * half
    out = img.copy()
    out[y : y + half, x : x + half] = other[y : y + half, x : x + half]
    return out


def light(img: Pixels, _: Pixels, rng: Rng) -> Pixels:
    """Other contrast, colours and brightness."""
    gains = rng.uniform(0.6, 1.3) * rng.uniform(0.8, 1.2, 3)
    return whole((img - 128.0) * gains + 128 + rng.uniform(-30, 30, 3))


def jpeg(img: Pixels) -> Pixels:
    """JPEG at quality 50."""
    return np.asarray(Image.open(io.BytesIO(images.encode_jpeg(img, 50))))


def much(img: Pixels, other: Pixels, rng: Rng) -> Pixels:
    """A bit of everything but other pictures."""
    moved = shaped(blurred(img, 0.5), True, rng.uniform(1, 1.15), rng.uniform(-8, 8), away(rng, 0, 0.06))
    return jpeg(light(moved, other, rng))


WAYS: dict[str, Change] = {
    "unchanged": lambda img, _, __: img,
    "mirrored": lambda img, _, __: shaped(img, True),
    "shifted 5 to 8 %": lambda img, _, rng: shaped(img, shift=away(rng, 0.05, 0.08)),
    "zoomed 1.05": lambda img, _, __: shaped(img, zoom=1.05),
    "zoomed 1.15": lambda img, _, __: shaped(img, zoom=1.15),
    "zoomed 1/1.15": lambda img, _, __: shaped(img, zoom=1 / 1.15),
    "turned 3": lambda img, _, rng: shaped(img, turn=rng.choice([-3, 3])),
    "turned 10": lambda img, _, rng: shaped(img, turn=rng.choice([-10, 10])),
    "40 % of another mixed in": mixed,
    "a quarter replaced": quarter,
    "mirrored, blurred 1 px, shifted 5 %": lambda img, _, rng: shaped(
        blurred(img, 1), True, shift=away(rng, 0.05, 0.05)
    ),
    "brightness, contrast, colours": light,
    "noise of 10 grey levels": lambda img, _, rng: whole(img + rng.normal(0, 10, img.shape)),
    "JPEG at quality 50": lambda img, _, __: jpeg(img),
    "mirrored, zoomed 1.1, turned 5": lambda img, _, rng: shaped(img, True, 1.1, rng.choice([-5, 5])),
    "mirrored, 40 % mixed in": lambda img, other, rng: mixed(shaped(img, True), other, rng),
    "zoomed 1.1, a quarter replaced": lambda img, other, rng: quarter(shaped(img, zoom=1.1), other, rng),
    "mirrored, all moves, blur, light, JPEG": much,
}


@dataclass(frozen=True)
class Faces:
    """Pictures [N, S, S, 3] uint8, their groups, and the hashes [N, 2, B] of the pictures and their mirror images."""

    pictures: Pixels
    groups: NDArray[np.str_]
    bits: hashes.Bits

    def some(self, chosen: NDArray[np.bool_]) -> "Faces":
        """Those that a mask names."""
        return Faces(self.pictures[chosen], self.groups[chosen], self.bits[chosen])

    def and_(self, other: "Faces") -> "Faces":
        """These and others."""
        pairs = ((self.pictures, other.pictures), (self.groups, other.groups), (self.bits, other.bits))
        return Faces(*(np.concatenate(pair) for pair in pairs))  # type: ignore[arg-type]

    def at(self, size: int) -> "Faces":
        """Scaled, with their hashes."""
        pictures = np.stack([images.resize(img, size) for img in self.pictures])
        bits = np.stack([hashes_of(one) for one in (pictures, pictures[:, :, ::-1])], axis=1)
        return Faces(pictures, self.groups, bits)

    def parts(self, count: int, seed: int) -> list[NDArray[np.bool_]]:
        """Masks of random parts, no group in two of them."""
        names = np.random.default_rng(seed).permutation(np.unique(self.groups))
        return [np.isin(self.groups, names[part::count]) for part in range(count)]


def labelled(folder: Path) -> Faces:
    """All labelled faces, cut with a border and scaled to the largest size."""
    table = pd.read_csv(folder / "faces.csv")
    table = table[table["w"].notna() & (table["has_face"] != 0)]
    rng = np.random.default_rng(0)
    cut = []
    for row in tqdm(table.to_dict("records"), desc="faces"):
        img = images.load_rgb(folder / row["path"])
        side = int(min(row["w"] * rng.uniform(*BORDER), *img.shape[:2]))
        x, y = (
            int(np.clip(row[start] + row[length] / 2 - side / 2, 0, most - side))
            for start, length, most in (("x", "w", img.shape[1]), ("y", "h", img.shape[0]))
        )
        cut.append(images.resize(np.ascontiguousarray(img[y : y + side, x : x + side]), max(SIZES)))
    return Faces(np.stack(cut), table["group"].to_numpy(dtype=str), np.zeros((len(cut), 2, hashes.BITS), bool))


def with_hashes(asked: hashes.Bits, known: Faces) -> tuple[Index, NDArray[np.bool_]]:
    """For each hash [N, B] the nearest reference, mirrored or not, and whether it is called a copy."""
    distance = np.minimum(*(hashes.hamming(asked, known.bits[:, side]) for side in (0, 1)))
    return distance.argmin(axis=1), distance.min(axis=1) <= BITS


def found(faces: Faces, others: Pixels) -> pd.DataFrame:
    """For each way the shares of copies that are found."""
    rows = []
    for name, change in tqdm(WAYS.items(), desc="ways"):
        rng = np.random.default_rng(0)
        chosen = rng.permutation(len(faces.pictures))[:EACH]
        made = np.stack([change(faces.pictures[one], others[rng.integers(len(others))], rng) for one in chosen])
        match = copies.find(made, faces.pictures)
        near, same = with_hashes(hashes_of(made), faces)
        right = faces.groups[match.index] == faces.groups[chosen]
        by_hash = (faces.groups[near] == faces.groups[chosen]) & same
        shares = {"found": (right & (match.score >= copies.LIMIT)).mean(), "hash": by_hash.mean()}
        rows.append({"way": name, **shares, "score of 10 %": np.quantile(match.score, 0.1)})
    return pd.DataFrame(rows).set_index("way")


@dataclass(frozen=True)
class Innocent:
    """Pictures against others: scores, whether the hash calls them copies, and pairs to look at with their scores."""

    score: NDArray[np.float64]
    by_hash: NDArray[np.bool_]
    pairs: list[Pixels]

    def numbers(self) -> dict[str, float]:
        """Shares of false alarms, and what few scores are above."""
        return {
            "pictures": len(self.score),
            "false alarms": float((self.score >= copies.LIMIT).mean()),
            "false alarms of the hash": float(self.by_hash.mean()),
            "score of 95 %": float(np.quantile(self.score, 0.95)),
            "score of 99 %": float(np.quantile(self.score, 0.99)),
        }


def innocent(faces: Faces, more: Faces) -> Innocent:
    """All faces, those of a fold against those of the other folds and `more`."""
    scores, by_hash, pairs = [], [], []
    for part in faces.parts(FOLDS, 1):
        asked, known = faces.some(part), faces.some(~part).and_(more)
        match = copies.find(asked.pictures, known.pictures)
        scores.append(match.score)
        by_hash.append(with_hashes(asked.bits[:, 0], known)[1])
        for img, place, form in zip(asked.pictures, match.index, match.form, strict=True):
            laid = form.apply(known.pictures[place])
            pairs.append(np.concatenate([images.resize(one, 128) for one in (img, laid)], axis=1))
    return Innocent(np.concatenate(scores), np.concatenate(by_hash), pairs)


def sheet(seen: Innocent) -> Pixels:
    """The pairs with the highest scores."""
    tiles = []
    for place in np.argsort(-seen.score, kind="stable")[:TILES]:
        tile = np.array(seen.pairs[place])
        cv2.putText(tile, f"{seen.score[place]:.2f}", (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 0, 0))
        tiles.append(tile)
    side = np.stack([np.pad(tile, ((0, 4), (0, 4), (0, 0))) for tile in tiles])
    return images.grid(side, 4)


def seconds(pictures: Pixels) -> float:
    """Time for SPEED pictures and references."""
    some, known = (np.resize(pictures, (count, *pictures.shape[1:])) for count in SPEED)
    start = time.perf_counter()
    copies.find(some, known)
    return time.perf_counter() - start


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--sheet", type=Path)
    given = parser.parse_args()
    cv2.setNumThreads(1)

    large = labelled(given.faces)
    result: dict[str, object] = {"limit": copies.LIMIT}
    for size in SIZES:
        faces = large.at(size)
        first, second = faces.parts(2, 0)
        chosen_on, reported = faces.some(first), faces.some(second)
        table = found(reported, chosen_on.pictures)
        nobody = faces.some(np.zeros(len(faces.groups), bool))
        seen = {
            "half the limit was chosen on": innocent(chosen_on, nobody),
            "other half": innocent(reported, nobody),
            "other half, against all": innocent(reported, chosen_on),
        }
        alarms = pd.DataFrame({name: one.numbers() for name, one in seen.items()}).T
        print(f"\n{size} px, {len(reported.pictures)} references\n{table.round(3)}\n{alarms.round(3).to_string()}")
        result[f"{size} px"] = {"found": table.to_dict("index"), "innocent": alarms.to_dict("index")}
        if given.sheet and size == max(SIZES):
            images.save_png(given.sheet, np.concatenate([sheet(one) for one in seen.values()]))
        if size == min(SIZES):
            result[f"seconds for {SPEED[0]} against {SPEED[1]} at {size} px"] = seconds(faces.pictures)
    given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
