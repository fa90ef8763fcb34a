"""Does the blend position say what people see? Held-out faces as they are, mixed, spoiled, and other pictures.

    python benchmarks/domains.py --faces DIR --size 64 128 --json OUT [--most 24] [--inception WEIGHTS]

Half of the persons and characters are the real images, the others are what a generator might draw: mixtures of photos
and portraits, where the right answer is the share of photos; both spoiled, which must not make photos more than photos
or portraits photos; and pictures that are neither. `before` is the place on the line through the domains alone, not
cut to 0..1; on an untrained VGG (Naeem et al. 2020; at 64 px) it was the metric until now. The other columns are
semireal.metrics.domains. In the end the share of 95 % intervals that hold the truth. DIR: see semireal.classifiers.
"""

import argparse
import io
import itertools
import json
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torchvision.models import vgg16

from semireal import images
from semireal.classifiers.labelled import read
from semireal.images import Pixels
from semireal.metrics import inception
from semireal.metrics.domains import Blend, blend, whitened
from semireal.metrics.intervals import Mask
from semireal.tensors import to_float, to_nchw
from semireal.vision import efficientnet, looks

CPU = torch.device("cpu")
MARGIN = 1.5  # sides of the box
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
SPLITS = 20  # of the persons
OTHERS = 24  # pictures that are no faces, of each kind
ROUNDS, REPEATS = 500, 100
SETS = ((58, 58), (228, 200))  # real and generated images whose intervals are tried
WHOLE = "EfficientNet-Lite0"
UNTRAINED = 64  # px, of the pictures that the VGG is for
Vectors = NDArray[np.float64]
Extract = Callable[[Pixels], Vectors]
Tables = dict[str, list[dict[Hashable, Any]]]
Change = Callable[[Pixels, np.random.Generator], Pixels]


@dataclass(frozen=True)
class Faces:
    """Pictures [N, S, S, 3], which are photos, and the name of the person or character."""

    pictures: Pixels
    photo: Mask
    group: NDArray[np.str_]

    def half(self, seed: int) -> Mask:
        """Which are the real images: all of half of the persons and characters."""
        names = np.unique(self.group)
        return np.isin(self.group, np.random.default_rng(seed).permutation(names)[: len(names) // 2])


# --- what is done to faces ------------------------------------------------------------------------


def clipped(values: NDArray[np.floating]) -> Pixels:
    """As 8-bit pixels."""
    return np.asarray(values.round().clip(0, 255), np.uint8)


def blur(sigma: float) -> Change:
    """Out of focus; sigma in px of a picture of 64 px, as all lengths here."""
    return lambda img, _: np.asarray(cv2.GaussianBlur(img, (0, 0), sigma * len(img) / 64), np.uint8)


def noise(deviation: float) -> Change:
    """Grain."""
    return lambda img, rng: clipped(img + rng.normal(0, deviation, img.shape))


def smaller(times: int) -> Change:
    """Scaled down and up again."""

    def change(img: Pixels, _: np.random.Generator) -> Pixels:
        side = len(img)
        small = cv2.resize(img, (side // times, side // times), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)

    return change


def bilateral(deviation: float, times: int) -> Change:
    """Smooth surfaces between the edges, like paint."""

    def change(img: Pixels, _: np.random.Generator) -> Pixels:
        for _time in range(times):
            img = np.asarray(cv2.bilateralFilter(img, 0, deviation, 2 * len(img) / 64), np.uint8)
        return img

    return change


def jpeg(img: Pixels, _: np.random.Generator) -> Pixels:
    """Compressed at quality 15."""
    buffer = io.BytesIO()
    Image.fromarray(img).save(buffer, "JPEG", quality=15)
    return np.asarray(Image.open(buffer))


def pale(img: Pixels, _: np.random.Generator) -> Pixels:
    """Half of the saturation."""
    grey = cv2.cvtColor(img, cv2.COLOR_RGB2GRAY)[:, :, None].astype(np.float64)
    return clipped((img + grey) / 2)


def filtered(how: Callable[[Pixels, float], NDArray[np.generic]]) -> Change:
    """A filter of OpenCV that is told the scale, px of the picture in one of 64 px."""
    return lambda img, _: np.asarray(how(img, len(img) / 64), np.uint8)


WAYS: dict[str, Change] = {
    "blur 0.7 px": blur(0.7),
    "blur 1.2 px": blur(1.2),
    "blur 2.4 px": blur(2.4),
    "bilateral": bilateral(50, 1),
    "bilateral, twice": bilateral(90, 2),
    "edge-preserving": filtered(lambda img, k: cv2.edgePreservingFilter(img, flags=1, sigma_s=20 * k, sigma_r=0.4)),
    "stylization": filtered(lambda img, k: cv2.stylization(img, sigma_s=20 * k, sigma_r=0.4)),
    "median": filtered(lambda img, k: cv2.medianBlur(img, int(4 * k) | 1)),
    "mean shift": filtered(lambda img, k: cv2.pyrMeanShiftFiltering(img, 3 * k, 25)),
    "noise 12": noise(12),
    "noise 24": noise(24),
    "JPEG 15": jpeg,
    "half the px": smaller(2),
    "a quarter of the px": smaller(4),
    "darker": lambda img, _: clipped(img * 0.6),
    "half the colour": pale,
}

# --- the cases ------------------------------------------------------------------------------------


def each(change: Change, pictures: Pixels) -> Pixels:
    """All pictures changed."""
    return np.stack([change(img, np.random.default_rng(n)) for n, img in enumerate(pictures)])


def some(pictures: Pixels, most: int) -> Pixels:
    """At most so many; not the first ones, as those of a source stand together."""
    return pictures[np.random.default_rng(0).permutation(len(pictures))[:most]]


def mixed(share: float, photos: Vectors, portraits: Vectors) -> Vectors:
    """As many pictures of both as there are for that share of photos."""
    n = int(min(len(photos) / max(share, 1e-9), len(portraits) / max(1 - share, 1e-9)))
    rng = np.random.default_rng(0)
    photos, portraits = rng.permutation(photos), rng.permutation(portraits)
    return np.concatenate([photos[: round(n * share)], portraits[: n - round(n * share)]])


def spoiled(photos: Pixels, portraits: Pixels) -> Iterator[tuple[str, Pixels]]:
    """Photos and portraits in all ways, and two pictures in one."""
    for way, change in WAYS.items():
        yield f"photos, {way}", each(change, photos)
        yield f"portraits, {way}", each(change, portraits)
    n, rng = min(len(photos), len(portraits)), np.random.default_rng(0)
    for name, one, other in (
        ("a photo and a portrait in one", photos, portraits),
        ("two photos in one", photos, photos[rng.permutation(len(photos))]),
        ("two portraits in one", portraits, portraits[rng.permutation(len(portraits))]),
    ):
        yield name, clipped((one[:n].astype(np.float64) + other[:n]) / 2)


def others(folder: Path, size: int) -> Iterator[tuple[str, Pixels]]:
    """What is neither: no faces, line drawings, random patterns."""
    table, rng = read(folder), np.random.default_rng(0)
    for kind in ("noface", "sketch"):
        files = table[table["class"] == kind]["path"].sample(frac=1, random_state=0)[:OTHERS]
        yield kind, np.stack([centre(images.load_rgb(folder / path), size) for path in files])
    grains = [[rng.integers(0, 256, (n, n, 3), dtype=np.uint8) for n in (3, 7, 16, 40)] for _ in range(OTHERS)]
    textures = [np.mean([cv2.resize(grain, (size, size)) for grain in one], axis=0) * 2 - 128 for one in grains]
    yield "textures", clipped(np.stack(textures))
    yield "white noise", rng.integers(0, 256, (OTHERS, size, size, 3), dtype=np.uint8)
    yield (
        "plain colours",
        np.broadcast_to(rng.integers(0, 256, (OTHERS, 1, 1, 3)), (OTHERS, size, size, 3)).astype(np.uint8),
    )


def centre(img: Pixels, size: int) -> Pixels:
    """The largest square in the middle."""
    side = min(img.shape[:2])
    top, left = (img.shape[0] - side) // 2, (img.shape[1] - side) // 2
    return images.resize(img[top : top + side, left : left + side], size)


def load(folder: Path, size: int) -> Faces:
    """All labelled heads, cut around the box."""
    table = read(folder)
    table = table[table["class"].isin(["photo", "portrait"]) & (table["has_face"] == 1)]
    pictures = [head(images.load_rgb(folder / str(path)), *box) for path, *box in table[["path", *"xywh"]].to_numpy()]
    photo, group = (table["class"] == "photo").to_numpy(), table["group"].to_numpy(str)
    return Faces(np.stack([images.resize(img, size) for img in pictures]), photo, group)


def head(img: Pixels, x: float, y: float, w: float, h: float) -> Pixels:
    """The square around a box, moved into the picture."""
    side = int(min(MARGIN * w, *img.shape[:2]))
    top = int(np.clip(y + h / 2 - side / 2, 0, img.shape[0] - side))
    left = int(np.clip(x + w / 2 - side / 2, 0, img.shape[1] - side))
    return img[top : top + side, left : left + side]


# --- the ways to measure --------------------------------------------------------------------------


def untrained() -> Extract:
    """A VGG16 that was never trained, with 64 outputs; for pictures of UNTRAINED px."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = vgg16(weights=None)
        hidden, last = nn.Linear(512 * 7 * 7, 4096), nn.Linear(4096, 64)
        for layer in (hidden, last):
            nn.init.kaiming_normal_(layer.weight)
    body = nn.Sequential(net.features, net.avgpool, nn.Flatten(), hidden, nn.ReLU(), last).eval()

    @torch.no_grad()
    def extract(pictures: Pixels) -> Vectors:
        parts = [body(to_float(to_nchw(list(pictures[n : n + 16])))) for n in range(0, len(pictures), 16)]
        return np.asarray(torch.cat(parts).double().numpy())

    return extract


def whole() -> Extract:
    """What EfficientNet-Lite0 sees anywhere in the picture."""
    net = efficientnet.load()
    return lambda pictures: looks.look(net, pictures, None, CPU).whole


def inception_768(weights: Path) -> Extract:
    """The features before the last blocks of the Inception of FID, pooled."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    net = FeatureExtractorInceptionV3(inception.EXTRACTOR, ["768"], feature_extractor_weights_path=str(weights))

    @torch.no_grad()
    def extract(pictures: Pixels) -> Vectors:
        parts = torch.split(torch.from_numpy(pictures).permute(0, 3, 1, 2), 32)
        return np.concatenate([net(part)[0].double().numpy() for part in parts])

    return extract


def before(real: Vectors, photo: Mask, generated: Vectors) -> float:
    """The place on the line through the means of the domains alone, not cut to 0..1."""
    scaled, drawn = (whitened(real, part) for part in (real, generated))
    p, q, f = scaled[photo], scaled[~photo], drawn.mean(axis=0)
    own = [((one.sum(axis=0) ** 2).sum() - (one**2).sum()) / (len(one) * (len(one) - 1)) for one in (p, q)]
    pq = p.mean(axis=0) @ q.mean(axis=0)
    along = f @ (p.mean(axis=0) - q.mean(axis=0)) - pq + own[1]
    return float(along / (own[0] + own[1] - 2 * pq))


def now(real: Vectors, photo: Mask, generated: Vectors) -> Blend:
    """As in an evaluation."""
    found = blend(real, photo, ~photo, generated, ROUNDS, np.random.default_rng(0))
    assert found is not None
    return found


# --- the tables -----------------------------------------------------------------------------------


def clean(faces: Faces, vectors: Vectors) -> pd.DataFrame:
    """Held-out faces as they are: mean and deviation over SPLITS of the persons, and how often it says neither."""
    rows = []
    for seed in range(SPLITS):
        real = faces.half(seed)
        photos, portraits = (vectors[~real & kind] for kind in (faces.photo, ~faces.photo))
        for share in SHARES:
            asked = vectors[real], faces.photo[real], mixed(share, photos, portraits)
            answer = now(*asked)
            rows.append({"share": share, "before": before(*asked), **asdict(answer)})
    table = pd.DataFrame(rows)
    table["error"] = (table["value"] - table["share"]).abs()
    by = table.groupby("share")
    return by.mean().assign(deviation=by["value"].std(), off_max=by["off"].max()).reset_index()


def spoilt(faces: Faces, cases: list[tuple[str, Pixels]], vectors: Vectors, extract: Extract) -> pd.DataFrame:
    """All other cases, against the real images of the first split."""
    real = faces.half(0)
    rows = []
    for case, pictures in cases:
        asked = vectors[real], faces.photo[real], extract(pictures)
        rows.append({"case": case, "before": before(*asked), **asdict(now(*asked))})
    return pd.DataFrame(rows)


def covered(faces: Faces, vectors: Vectors) -> pd.DataFrame:
    """How often the interval holds the truth, where all images are drawn from the same ones."""
    rng = np.random.default_rng(0)
    domains = vectors[faces.photo], vectors[~faces.photo]

    def drawn(photos: int, portraits: int) -> Vectors:
        numbers = zip(domains, (photos, portraits), strict=True)
        return np.concatenate([x[rng.integers(0, len(x), n)] for x, n in numbers])

    rows = []
    for (real, generated), share in itertools.product(SETS, SHARES):
        photo = np.arange(real) < real // 2
        for _ in range(REPEATS):
            k = int(rng.binomial(generated, share))
            one = now(drawn(real // 2, real - real // 2), photo, drawn(k, generated - k))
            held = one.low <= share <= one.high
            rows.append({"real": real, "generated": generated, "share": share, "held": held, **asdict(one)})
    return pd.DataFrame(rows).groupby(["real", "generated", "share"]).mean().reset_index()


def measure(folder: Path, size: int, most: int, extractors: dict[str, Extract]) -> Tables:
    """All tables of pictures of one size, printed and as rows."""
    faces = load(folder, size)
    photos, portraits = (some(faces.pictures[~faces.half(0) & kind], most) for kind in (faces.photo, ~faces.photo))
    cases = [("photos", photos), ("portraits", portraits), *spoiled(photos, portraits), *others(folder, size)]
    found: Tables = {}
    for name, extract in extractors.items():
        start = time.monotonic()
        vectors = extract(faces.pictures)
        seconds = (time.monotonic() - start) / len(vectors)
        tables = {"clean": clean(faces, vectors), "spoilt": spoilt(faces, cases, vectors, extract)}
        if name == WHOLE:
            tables["intervals"] = covered(faces, vectors)
        for kind, table in tables.items():
            print(f"\n{size} px, {name} ({1000 * seconds:.0f} ms a picture), {kind}")
            print(table.round(2).to_string(index=False), flush=True)
            found[f"{size} px, {name}, {kind}"] = table.round(3).to_dict("records")
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="folder with faces.csv")
    parser.add_argument("--size", type=int, nargs="+", default=[64, 128], help="px")
    parser.add_argument("--most", type=int, default=24, help="pictures of a domain that are spoiled")
    parser.add_argument("--inception", type=Path, help="weights; adds its features, and a good deal of time")
    parser.add_argument("--json", type=Path, required=True, help="file for the figures")
    given = parser.parse_args()
    extractors = {WHOLE: whole()}
    if given.inception:
        extractors["Inception 768"] = inception_768(given.inception)
    content: Tables = {}
    for size in given.size:
        old = {"untrained VGG": untrained()} if size == UNTRAINED else {}
        content |= measure(given.faces, size, given.most, extractors | old)
    given.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
