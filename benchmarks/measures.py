"""What do the measures see? Sets of real portraits are spoiled, a little and then more, in the ways that generators do.

    python benchmarks/measures.py --faces DIR --size 64 --json OUT [--inception WEIGHTS] [--sheet PNG]
    python benchmarks/measures.py --dataset data/dataset --size 64 --json OUT

The pictures are cut as in stage crop and divided into halves: one stays as it is, the other is spoiled in each way at
four strengths. For each set of features: the distance of the two, in standard deviations of what it is between halves
that nobody has touched, and the rank correlation of that with the strength. Beside them the share of the spoiled ones
that are called copies of the untouched, in standard errors of that of untouched ones. DIR: see semireal.classifiers.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from tqdm import tqdm

from semireal import images, manifest
from semireal.classifiers.style import folds
from semireal.classifiers.usual import fit, heads, seen
from semireal.evaluation.measures import copied_from
from semireal.faces import detect
from semireal.files import sha256_of
from semireal.images import Pixels
from semireal.metrics import distances, extractors, inception, usual
from semireal.metrics.extractors import Extractor, Space
from semireal.metrics.usual import Usual
from semireal.params import whole
from semireal.pipeline.compose import compose
from semireal.vision import copies, looks

ROOT = Path(__file__).resolve().parents[1]
STRENGTHS = 4
SPLITS = 30  # random halves that nobody has touched
MOST = 400  # pictures
CPU = torch.device("cpu")
Points = NDArray[np.float64]  # [N, 5, 2], in sides of the picture, see detect.Face
Vectors = NDArray[np.float64]


@dataclass(frozen=True)
class Faces:
    """Pictures [N, S, S, 3] uint8, their landmarks, and which are photos."""

    pictures: Pixels
    points: Points
    photo: NDArray[np.bool_]

    def some(self, chosen: NDArray[np.intp]) -> "Faces":
        """Those of the given numbers."""
        return Faces(self.pictures[chosen], self.points[chosen], self.photo[chosen])


# --- ways to spoil: Faces, strength 0 to 3, random numbers -> pictures ----------------------------

Spoil = Callable[[Faces, int, np.random.Generator], Pixels]


def each(change: Callable[[NDArray[np.float32], Points, int, np.random.Generator], NDArray[np.float32]]) -> Spoil:
    """A way that changes each picture for itself."""

    def spoil(faces: Faces, strength: int, rng: np.random.Generator) -> Pixels:
        pairs = zip(faces.pictures, faces.points, strict=True)
        found = [change(img.astype(np.float32), points, strength, rng) for img, points in pairs]
        return np.stack(found).round().clip(0, 255).astype(np.uint8)

    return spoil


def spots(img: NDArray[np.float32], centres: Points, width: float, height: float) -> NDArray[np.float32]:
    """A soft mask [S, S, 1] of ellipses; centres, half axes in sides of the picture."""
    size = img.shape[0]
    v, u = (np.mgrid[:size, :size] + 0.5) / size
    mask = np.zeros((size, size))
    for x, y in centres:
        mask = np.maximum(mask, 1 / (1 + np.exp(8 * (np.hypot((u - x) / width, (v - y) / height) - 1))))
    return mask[:, :, None].astype(np.float32)


def eye_distance(points: Points) -> float:
    """Distance of the eyes, in sides of the picture."""
    return float(np.hypot(*(points[1] - points[0])))


def blurred(img: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian blur; sigma in px of a picture of 64 px."""
    return np.asarray(cv2.GaussianBlur(img, (0, 0), sigma * img.shape[0] / 64), np.float32)


def eyes_dark(img: NDArray[np.float32], points: Points, strength: int, _: np.random.Generator) -> NDArray[np.float32]:
    """Eyes darkened by a quarter, to half, ..."""
    d = eye_distance(points)
    return img * (1 - (0.25, 0.5, 0.75, 0.95)[strength] * spots(img, points[:2], 0.3 * d, 0.2 * d))


def eyes_soft(img: NDArray[np.float32], points: Points, strength: int, _: np.random.Generator) -> NDArray[np.float32]:
    """Soft and dark eyes: the defect of small networks."""
    d = eye_distance(points)
    mask = spots(img, points[:2], 0.35 * d, 0.25 * d)
    soft = blurred(img, (0.7, 1.2, 2, 3)[strength]) * (0.9, 0.75, 0.6, 0.45)[strength]
    return img + (soft - img) * mask


def pupils_gone(img: NDArray[np.float32], points: Points, strength: int, _: np.random.Generator) -> NDArray[np.float32]:
    """Pupils fade into what is around them."""
    d = eye_distance(points)
    mask = spots(img, points[:2], 0.12 * d, 0.12 * d)
    around = blurred(img, 2.5)
    return img + (around - img) * mask * (0.5, 1, 1, 1)[strength] * (1, 1, 1.2, 1.4)[strength]


def scar(img: NDArray[np.float32], points: Points, strength: int, side: int) -> NDArray[np.float32]:
    """A line over one cheek; side: 0 the person's right."""
    size, d = img.shape[0], eye_distance(points)
    out = (-1, 1)[side] * 0.15 * d
    start, end = points[side] + (out, -0.35 * d), points[3 + side] + (out, -0.1 * d)
    line = np.zeros((size, size), np.uint8)
    a, b = ((int(x * size * 16), int(y * size * 16)) for x, y in (start, end))
    cv2.line(line, a, b, 255, max(round(size / 64), 1), cv2.LINE_AA, 4)
    mask = line[:, :, None].astype(np.float32) / 255 * (0.35, 0.6, 0.8, 1)[strength]
    return img + np.asarray((np.array([120, 50, 45], np.float32) - img) * mask, np.float32)


def mouth_soft(img: NDArray[np.float32], points: Points, strength: int, _: np.random.Generator) -> NDArray[np.float32]:
    """A mouth without edges."""
    d = eye_distance(points)
    mask = spots(img, points[3:].mean(axis=0, keepdims=True), 0.6 * d, 0.3 * d)
    return img + (blurred(img, (0.7, 1.2, 2, 3)[strength]) - img) * mask


def checkers(img: NDArray[np.float32], _: Points, strength: int, __: np.random.Generator) -> NDArray[np.float32]:
    """The checkerboard of transposed convolutions."""
    v, u = np.mgrid[: img.shape[0], : img.shape[1]]
    pattern = (((v + u) % 2) * 2 - 1)[:, :, None].astype(np.float32)
    return np.asarray(img + (2.5, 5, 10, 20)[strength] * pattern, np.float32)


def smooth_skin(img: NDArray[np.float32], _: Points, strength: int, __: np.random.Generator) -> NDArray[np.float32]:
    """Skin without pores: edges stay, fine structure goes."""
    return np.asarray(cv2.bilateralFilter(img, 0, (12, 25, 50, 90)[strength], 1.5 * img.shape[0] / 64), np.float32)


def colour(img: NDArray[np.float32], _: Points, strength: int, __: np.random.Generator) -> NDArray[np.float32]:
    """Everything a little redder and less blue."""
    return img + np.array([1, 0, -1], np.float32) * (3, 6, 12, 24)[strength]


def blur(img: NDArray[np.float32], _: Points, strength: int, __: np.random.Generator) -> NDArray[np.float32]:
    """The whole picture out of focus."""
    return blurred(img, (0.4, 0.7, 1.2, 2.4)[strength])


def noise(img: NDArray[np.float32], _: Points, strength: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Grain."""
    return img + rng.normal(0, (3, 6, 12, 24)[strength], img.shape).astype(np.float32)


def warp(img: NDArray[np.float32], _: Points, strength: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Melted: places moved by a smooth random field."""
    size = img.shape[0]
    field = cv2.resize(rng.normal(0, 1, (5, 5, 2)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    v, u = np.mgrid[:size, :size].astype(np.float32)
    moved = field * (0.005, 0.01, 0.02, 0.04)[strength] * size
    return np.asarray(
        cv2.remap(img, u + moved[:, :, 0], v + moved[:, :, 1], cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT)
    )


def patches(img: NDArray[np.float32], _: Points, strength: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Parts in wrong places: pairs of squares of a quarter of the side change places."""
    side, out = img.shape[0] // 4, img.copy()
    for _pair in range((1, 2, 4, 8)[strength]):
        (a, b), (c, d) = rng.integers(0, 4, (2, 2)) * side
        first = out[a : a + side, b : b + side].copy()
        out[a : a + side, b : b + side] = out[c : c + side, d : d + side]
        out[c : c + side, d : d + side] = first
    return out


def halves(faces: Faces, strength: int, rng: np.random.Generator) -> Pixels:
    """The lower half of somebody else, in a share of the pictures."""
    n, size = faces.pictures.shape[:2]
    out, other = faces.pictures.copy(), faces.pictures[rng.permutation(n)]
    chosen = rng.permutation(n)[: round(n * (0.25, 0.5, 0.75, 1)[strength])]
    out[chosen, size // 2 :] = other[chosen, size // 2 :]
    return out


def ghost(faces: Faces, strength: int, rng: np.random.Generator) -> Pixels:
    """Somebody else shines through."""
    share = (0.08, 0.16, 0.3, 0.5)[strength]
    mixed = faces.pictures * (1 - share) + faces.pictures[rng.permutation(len(faces.pictures))] * share
    return np.asarray(mixed.round(), np.uint8)


def modes(faces: Faces, strength: int, rng: np.random.Generator) -> Pixels:
    """Some kinds of pictures are never drawn: only those that are most like one of them, again and again."""
    small = np.stack([cv2.resize(img, (8, 8), interpolation=cv2.INTER_AREA) for img in faces.pictures]).astype(float)
    far = ((small - small[rng.integers(len(small))]) ** 2).sum(axis=(1, 2, 3))
    kept = np.argsort(far)[: max(round(len(far) * (0.8, 0.6, 0.4, 0.2)[strength]), 2)]
    return np.asarray(faces.pictures[rng.choice(kept, len(far))])


def photos_more(faces: Faces, strength: int, rng: np.random.Generator) -> Pixels:
    """Another mixture: ever more photos."""
    share = (0.65, 0.75, 0.85, 1)[strength]
    photo, other = np.flatnonzero(faces.photo), np.flatnonzero(~faces.photo)
    n = len(faces.photo)
    count = max(round(n * share), round(n * faces.photo.mean()))
    return np.asarray(faces.pictures[np.concatenate([rng.choice(photo, count), rng.choice(other, n - count)])])


def memorised(training: Pixels, faces: Faces, strength: int, rng: np.random.Generator) -> Pixels:
    """Some are training images, mirrored or not, a little larger and turned."""
    out = faces.pictures.copy()
    for n in rng.permutation(len(out))[: round(len(out) * (0.05, 0.1, 0.25, 0.5)[strength])]:
        form = copies.Form(bool(rng.integers(2)), zoom=rng.uniform(1, 1.1), turn=rng.uniform(-5, 5))
        out[n] = form.apply(training[rng.integers(len(training))])
    return out


def one_cheek(faces: Faces, strength: int) -> Pixels:
    """All with a scar on the same cheek."""
    return each(lambda img, points, s, _: scar(img, points, s, 0))(faces, strength, np.random.default_rng(0))


def either_cheek(faces: Faces, strength: int, rng: np.random.Generator) -> Pixels:
    """All with a scar, on the one or the other cheek."""
    return each(lambda img, points, s, r: scar(img, points, s, int(r.integers(2))))(faces, strength, rng)


WAYS: dict[str, Spoil] = {
    "eyes dark": each(eyes_dark),
    "eyes soft and dark": each(eyes_soft),
    "pupils gone": each(pupils_gone),
    "scar on one cheek": lambda faces, strength, _: one_cheek(faces, strength),
    "scar on either cheek, against one": either_cheek,
    "mouth soft": each(mouth_soft),
    "checkerboard": each(checkers),
    "over-smooth skin": each(smooth_skin),
    "colour shifted": each(colour),
    "blur": each(blur),
    "noise": each(noise),
    "warp": each(warp),
    "patches moved": each(patches),
    "lower halves exchanged": halves,
    "ghosts": ghost,
    "modes dropped": modes,
    "more photos": photos_more,
}
AGAINST = {"scar on either cheek, against one": one_cheek}  # the half that stays is changed too


# --- features -------------------------------------------------------------------------------------


def inception_768(weights: Path) -> Extractor:
    """The features before the last blocks of the Inception of FID, pooled, [N, 768]."""

    def compute(pictures: Pixels, _: torch.device) -> Vectors:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        net = FeatureExtractorInceptionV3(inception.EXTRACTOR, ["768"], feature_extractor_weights_path=str(weights))
        with torch.no_grad():
            parts = torch.split(torch.from_numpy(pictures).permute(0, 3, 1, 2), 32)
            return np.concatenate([net(part)[0].numpy() for part in parts])

    space = Space("Inception 768", "_inception_768", slice(0, 768))
    return Extractor("Inception 768", ("768", inception.version(), sha256_of(weights)), compute, (space,))


def looking(pictures: Pixels, asked: Sequence[Extractor]) -> dict[str, Vectors]:
    """All features of pictures, by the name of the distance on them; those computed before are not again."""
    found: dict[str, Vectors] = {}
    for extractor in asked:
        features = extractors.cached(extractor, pictures, CPU).astype(np.float64)
        found |= {space.name("kernel"): features[:, space.columns] for space in extractor.spaces}
    return found


# --- the table ------------------------------------------------------------------------------------


COPIES = "copies"
Standards = Mapping[str, Usual]  # by kind of features


def measure(faces: Faces, asked: Sequence[Extractor], standards: Standards, seed: int) -> pd.DataFrame:
    """One row per way, strength and set of features: distance in standard deviations of untouched halves."""

    def between(name: str, a: Vectors, b: Vectors) -> float:
        kind = name.removeprefix("distance_")
        if kind in standards:
            return usual.apart(standards[kind](a), standards[kind](b))
        return distances.kernel(a, b)  # of a published network

    def untouched(name: str, vectors: Vectors) -> tuple[float, float]:
        rng = np.random.default_rng(seed)
        orders = [rng.permutation(len(vectors)) for _ in range(SPLITS)]
        found = [between(name, vectors[order[:half]], vectors[order[half : 2 * half]]) for order in orders]
        return float(np.mean(found)), float(np.std(found))

    order = np.random.default_rng(seed).permutation(len(faces.pictures))
    half = len(order) // 2
    first, second = order[:half], order[half : 2 * half]
    training = faces.pictures[first]
    limit = copied_from(copies.find(training, training, held_out=True).score)
    called = copied(faces.pictures[second], training, limit)
    share = (called.sum() + 2) / (half + 4)  # of Agresti and Coull: above 0 where none was called a copy
    real = looking(faces.pictures, asked)
    expected = {name: untouched(name, vectors) for name, vectors in real.items()}
    rows = []
    ways: dict[str, Spoil] = {**WAYS, "training images drawn": partial(memorised, training)}
    for way, spoil in tqdm(ways.items(), desc="ways"):
        for strength in range(STRENGTHS):
            pictures = spoil(faces.some(second), strength, np.random.default_rng(seed))
            spoiled = looking(pictures, asked)
            kept = {name: vectors[first] for name, vectors in real.items()}
            if way in AGAINST:
                kept = looking(AGAINST[way](faces.some(first), strength), asked)
            for name, (mean, spread) in expected.items():
                distance = (between(name, kept[name], spoiled[name]) - mean) / spread
                rows.append({"way": way, "strength": strength, "features": name, "distance": distance})
            more = copied(pictures, training, limit).mean() - called.mean()
            distance = more / np.sqrt(share * (1 - share) / half)
            rows.append({"way": way, "strength": strength, "features": COPIES, "distance": distance})
    return pd.DataFrame(rows)


def copied(pictures: Pixels, training: Pixels, limit: float) -> NDArray[np.bool_]:
    """Which pictures are called copies."""
    return np.asarray(copies.find(pictures, training).score > limit)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Rows: ways; for each set of features the distance at the second strength, and the rank correlation."""
    rows = []
    for way, part in table.groupby("way", sort=False):
        row: dict[str, object] = {"way": way}
        for name, one in part.groupby("features", sort=False):
            rank = spearmanr(one["strength"], one["distance"]).statistic
            row[str(name)] = f"{one['distance'].iloc[1]:.1f} ({rank:.1f})"
        rows.append(row)
    return pd.DataFrame(rows)


# --- the pictures ---------------------------------------------------------------------------------


Found = tuple[Pixels, Points, bool]  # a crop, its landmarks, whether it is a photo


def labelled(folder: Path) -> tuple[list[Found], Standards]:
    """The labelled heads of one half of the persons and characters, and what those of the other half say is usual."""
    every = list(heads(folder, whole.check(compose(ROOT)).crop))
    told = folds(np.array([head.group for head in every])) % 2 == 1
    teachers = [head for head, one in zip(every, told, strict=True) if one]
    return (
        [(head.img, head.points, head.photo) for head, one in zip(every, told, strict=True) if not one],
        {kind: fit(features) for kind, features in seen(teachers).items()},
    )


def of_dataset(folder: Path) -> Iterator[Found]:
    """The pictures of a dataset in which a face is found."""
    detector = detect.YuNet(0.6, 320)
    for row in manifest.read_kept(folder):
        img = images.load_rgb(folder / row["file"])
        for face in detector(img)[:1]:
            assert face.landmarks is not None
            yield img, face.landmarks.astype(np.float64) / img.shape[0], row["domain"] == "photo"


def load(found: list[Found], size: int) -> Faces:
    """At most MOST of the crops, in one size."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(found))[:MOST])
    pictures, points, photo = zip(*(found[n] for n in chosen), strict=True)
    return Faces(np.stack([images.resize(img, size) for img in pictures]), np.stack(points), np.array(photo))


def sheet(faces: Faces) -> Pixels:
    """One picture in all its forms: a row for each way, as it is and at the four strengths."""
    few, rng = faces.some(np.arange(4)), np.random.default_rng(0)
    shown = [
        row for way in WAYS.values() for row in (few.pictures[0], *(way(few, s, rng)[0] for s in range(STRENGTHS)))
    ]
    return images.grid(np.stack(shown), STRENGTHS + 1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--faces", type=Path, help="folder with faces.csv")
    where.add_argument("--dataset", type=Path, help="folder with a manifest, such as data/dataset")
    parser.add_argument("--size", type=int, default=64, help="px")
    parser.add_argument("--inception", type=Path, help="weights; adds a column, and a good deal of time")
    parser.add_argument("--json", type=Path, required=True, help="file for the figures")
    parser.add_argument("--sheet", type=Path, help="PNG with a picture in all its spoiled forms")
    given = parser.parse_args()
    found, standards = (list(of_dataset(given.dataset)), usual.load()) if given.dataset else labelled(given.faces)
    faces = load(found, given.size)
    if given.sheet:
        images.save_png(given.sheet, sheet(faces))
    band = looks.band_of(faces.points[:, :2])
    print(f"{len(faces.pictures)} pictures of {given.size} px, {faces.photo.mean():.0%} photos; {band}", flush=True)
    asked = [extractors.from_the_box(band), *([inception_768(given.inception)] if given.inception else [])]
    table = measure(faces, asked, standards, 0)
    print(summary(table).to_string(index=False))
    content = {"pictures": len(faces.pictures), "size": given.size, "rows": table.round(3).to_dict("records")}
    given.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
