"""Teach semireal.curate.style: examples, their variations, softmax regression, grouped cross-validation.

    python -m semireal.classifiers.style --faces DIR

writes src/semireal/curate/style.safetensors; `python benchmarks/style.py` says how good it is.
Photos, portraits and line art are real and labelled (a folder with a faces.csv); flat anime comes from the demo
gallery. Of line art and anime there are few, so more is made of the photos and portraits with classic filters, for
training alone.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.optimize import minimize

from semireal import images, stage, workers
from semireal.classifiers import labelled
from semireal.collect.gallery.catalogue import posts, render
from semireal.collect.gallery.faces import CHARACTERS
from semireal.curate import style
from semireal.curate.style import STYLES, Model, Vector
from semireal.faces import crop
from semireal.faces.detect import Box, YuNet
from semireal.images import Pixels

# as the stages crop and resize do by default
MARGIN, LIFT = 0.45, 0.12
SIZE, QUALITY = 512, 95
FACE_SCORE, FACE_SIZE = 0.6, 640  # of the detector where no box is labelled

GALLERY_SEED = 1  # not that of the demo, on which the filter is tested
GALLERY_POSTS = {"good": 8, "sketch": 4, "anime": 4}  # of each character and style
VARIATIONS = 2  # of each picture besides itself
L2 = (60.0, 17.0)  # of trunk and texture; by cross-validation, flat around these
FOLDS = 5
# How much the pictures of each origin weigh within their class. Drawn ones are many alike.
WEIGHTS = {"real": 1.0, "derived": 0.3, "gallery": 0.1}

Rng = np.random.Generator


@dataclass(frozen=True)
class Example:
    """A square head.

    label: place in STYLES. group: what must not be in two folds. origin: a key of WEIGHTS. plain: as it is, without
    variation.
    """

    img: Pixels
    label: int
    group: str
    origin: str = "real"
    name: str = ""
    plain: bool = True


@dataclass(frozen=True)
class Table:
    """Features of examples: trunk and texture blocks [N, D], label, group, origin, plain and name [N]."""

    trunk: Vector
    texture: Vector
    label: NDArray[np.int64]
    group: NDArray[np.str_]
    origin: NDArray[np.str_]
    plain: NDArray[np.bool_]
    name: NDArray[np.str_]

    def blocks(self) -> tuple[Vector, Vector]:
        """The two blocks of features."""
        return self.trunk, self.texture

    def at(self, where: NDArray[np.bool_]) -> "Table":
        """The rows where the mask is true."""
        return Table(**{name: values[where] for name, values in self.__dict__.items()})


# --- examples ----------------------------------------------------------------------------------------------


def real(folder: Path) -> list[Example]:
    """The heads of a folder with labelled pictures; UserError if it has none."""
    table = labelled.read(folder)
    labels = {"photo": 0, "portrait": 1, "sketch": 2}
    detector = YuNet(FACE_SCORE, FACE_SIZE)
    found = []
    for row in table.to_dict("records"):
        boxed = row["has_face"] == 1
        if row["class"] not in labels or not (boxed or row["class"] == "sketch"):
            continue
        img = images.load_rgb(folder / row["path"])
        box = (row["x"], row["y"], row["x"] + row["w"], row["y"] + row["h"]) if boxed else _face(detector, img)
        found.append(Example(_head(img, box), labels[row["class"]], str(row["group"]), name=row["path"]))
    return found


def drawn(seed: int = GALLERY_SEED) -> list[Example]:
    """Heads of the demo gallery: good ones, sketches and anime."""
    detector = YuNet(FACE_SCORE, FACE_SIZE)
    found = []
    for character in CHARACTERS:
        left = {(look, kind): n for look in ("photo", "portrait") for kind, n in GALLERY_POSTS.items()}
        for post in posts(character, seed):
            if post.encoding != "jpeg" or left.get((post.style, post.kind), 0) <= 0:
                continue
            left[post.style, post.kind] -= 1
            label = {"sketch": 2, "anime": 3}.get(post.kind, STYLES.index(post.style))
            img = images.decode(render(post))
            group = f"gallery {seed} {character}"
            found.append(Example(_head(img, _face(detector, img)), label, group, "gallery", f"{group} {post.id}"))
    return found


def _face(detector: YuNet, img: Pixels) -> Box | None:
    faces = detector(img)
    return faces[0].box if faces else None


def _head(img: Pixels, box: Box | None) -> Pixels:
    """The square that the pipeline cuts out; without a box the middle of the picture."""
    if box is None:
        return middle(img)
    x, y, side = crop.square(box, MARGIN, LIFT, (img.shape[1], img.shape[0]))
    return img[y : y + side, x : x + side]


def middle(img: Pixels) -> Pixels:
    """The largest square in the middle of a picture."""
    height, width = img.shape[:2]
    side = min(height, width)
    x, y = (width - side) // 2, (height - side) // 2
    return img[y : y + side, x : x + side]


def finished(img: Pixels) -> Pixels:
    """What the stage resize makes of a crop."""
    return images.decode(images.encode_jpeg(images.resize(img, SIZE), QUALITY))


# --- variations --------------------------------------------------------------------------------------------


def _pixels(values: NDArray[np.floating]) -> Pixels:
    return np.asarray(values.clip(0, 255), np.uint8)


def varied(img: Pixels, rng: Rng) -> Pixels:
    """The picture as another site might have it: cut otherwise, smaller, compressed, graded, mirrored.

    This takes away what distinguishes files rather than styles.
    """
    side = img.shape[0]
    cut = int(side * rng.uniform(0.85, 1))
    x, y = rng.integers(0, side - cut + 1, 2)
    img = img[y : y + cut, x : x + cut]
    smaller = int(np.exp(rng.uniform(np.log(64), np.log(400))))
    if smaller < cut:
        img = images.resize(img, smaller)
    if rng.random() < 0.7:
        img = images.decode(images.encode_jpeg(img, int(rng.integers(40, 98))))
    light = (img / 255) ** rng.uniform(0.8, 1.25) * rng.uniform(0.9, 1.1) * rng.uniform(0.92, 1.07, 3)
    img = _pixels(255 * light)
    return np.ascontiguousarray(img[:, ::-1]) if rng.random() < 0.5 else img


def _lines(grey: NDArray[np.float32], sigma: float, weight: float, level: float, slope: float) -> NDArray[np.float32]:
    """XDoG (Winnemoeller 2011): 1 = paper, 0 = ink, on grey in [0, 1]."""
    thin, thick = (cv2.GaussianBlur(grey, (0, 0), s) for s in (sigma, 1.6 * sigma))
    sharp = thin + weight * (thin - thick)
    return np.asarray(np.where(sharp >= level, 1, 1 + np.tanh(slope * (sharp - level))).clip(0, 1), np.float32)


def sketched(img: Pixels, rng: Rng) -> Pixels:
    """Line art from a picture: pen, pencil or adaptive threshold, on white or tinted paper, some with pale colours."""
    img = images.resize(img, int(rng.integers(256, 513)))
    plain_grey = cv2.cvtColor(img, cv2.COLOR_RGB2GRAY)
    grey = np.asarray(cv2.createCLAHE(2.0, (4, 4)).apply(plain_grey) / 255, np.float32)  # lines in the dark, too
    unit = len(img) / 512
    way = rng.integers(4)
    ink: NDArray[np.floating]
    if way == 0:  # pen, with solid blacks
        ink = _lines(
            grey, unit * rng.uniform(0.8, 2.0), rng.uniform(10, 30), rng.uniform(0.25, 0.6), rng.uniform(5, 40)
        )
    elif way == 1:  # pen, outlines alone
        flat = cv2.GaussianBlur(grey, (0, 0), unit * 1.2)
        edge = np.asarray(flat, np.float32) - cv2.GaussianBlur(flat, (0, 0), unit * rng.uniform(2.5, 5))
        ink = (1 + edge * rng.uniform(6, 14) + 0.1).clip(0, 1)
    elif way == 2:  # pencil: dodge and burn
        blurred = cv2.GaussianBlur(1 - grey, (0, 0), unit * rng.uniform(4, 14))
        ink = (grey / np.maximum(1 - blurred, 0.05)).clip(0, 1) ** rng.uniform(1, 4)
    else:
        block = 2 * int(unit * rng.uniform(5, 12)) + 3
        smooth = cv2.GaussianBlur((grey * 255).astype(np.uint8), (0, 0), max(0.5, unit * rng.uniform(1, 2.5)))
        hard = cv2.adaptiveThreshold(
            smooth, 255, cv2.ADAPTIVE_THRESH_GAUSSIAN_C, cv2.THRESH_BINARY, block, rng.uniform(3, 8)
        )
        ink = np.asarray(cv2.GaussianBlur(hard, (0, 0), max(0.4, unit * 0.7)) / 255)
    paper = np.ones(3) if rng.random() < 0.6 else rng.uniform(0.85, 1, 3)
    page = np.broadcast_to(paper, img.shape)
    if rng.random() < 0.25:  # pale, flat colour under the lines
        tint = cv2.medianBlur(img, 2 * int(8 * unit) + 1) / 255
        page = page * (1 - rng.uniform(0.1, 0.35) * (1 - tint))
    pen = rng.uniform(0, 0.3) * np.ones(3) + rng.uniform(0, 0.08, 3)
    drawn = page * ink[..., None] + pen * (1 - ink[..., None])
    drawn = drawn + rng.normal(0, rng.uniform(0, 0.02), grey.shape)[..., None]
    return _pixels(255 * drawn)


def cel_shaded(img: Pixels, rng: Rng) -> Pixels:
    """Flat colours, few and strong, with dark outlines."""
    img = images.resize(img, int(rng.integers(192, 385)))
    unit = len(img) / 512
    smooth = img
    for _ in range(2):
        smooth = np.asarray(cv2.bilateralFilter(smooth, 9, 60, 7), np.uint8)
    smooth = np.asarray(cv2.medianBlur(smooth, 2 * int(7 * unit) + 1), np.uint8)
    few = images.resize(smooth, 64).reshape(-1, 3).astype(np.float32)
    cv2.setRNGSeed(int(rng.integers(1 << 30)))  # of the start of k-means
    stop = (cv2.TERM_CRITERIA_MAX_ITER, 15, 0)
    _, _, palette = cv2.kmeans(few, int(rng.integers(5, 10)), np.empty(0), stop, 1, cv2.KMEANS_PP_CENTERS)
    distance = ((smooth[..., None, :].astype(np.float32) - palette) ** 2).sum(-1)
    flat = palette[distance.argmin(-1)]
    flat = np.asarray(cv2.medianBlur(flat.clip(0, 255).astype(np.uint8), 2 * int(4 * unit) + 1), np.float32)
    middle = flat.mean(-1, keepdims=True)
    flat = (middle + (flat - middle) * rng.uniform(1.1, 1.8)) * rng.uniform(1, 1.25)
    grey = cv2.cvtColor(smooth, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    edge = grey - cv2.GaussianBlur(grey, (0, 0), unit * rng.uniform(2, 4))
    ink = (1 + edge * rng.uniform(6, 16) + 0.12).clip(0, 1)
    return _pixels(flat * ink[..., None])


def expanded(examples: Sequence[Example]) -> list[tuple[Example, Callable[[], Pixels]]]:
    """Each example as it is and varied, and what is derived from the real ones; with a function that makes it."""
    makers: dict[str, Callable[[Pixels, Rng], Pixels]] = {"line_art": sketched, "anime": cel_shaded}
    jobs: list[tuple[Example, Callable[[], Pixels]]] = []

    def add(example: Example, *steps: Callable[[Pixels, Rng], Pixels]) -> None:
        seed = int.from_bytes(hashlib.sha256(f"{example.name} {len(jobs)}".encode()).digest()[:8])

        def make() -> Pixels:
            rng = np.random.default_rng(seed)
            img = example.img
            for step in steps:
                img = step(img, rng)
            return finished(img)

        jobs.append((example, make))

    for example in examples:
        add(example)
        for _ in range(VARIATIONS):
            add(replace(example, plain=False), varied)
        if example.origin == "real" and STYLES[example.label] in ("photo", "portrait"):
            for kind, maker in makers.items():
                derived = replace(example, label=STYLES.index(kind), origin="derived", plain=False)
                add(derived, maker, *[varied] * (len(jobs) % 2))
    return jobs


def measured(jobs: Sequence[tuple[Example, Callable[[], Pixels]]]) -> Table:
    """Features of all jobs, on all cores."""

    def some(part: Sequence[tuple[Example, Callable[[], Pixels]]]) -> list[tuple[Vector, Vector]]:
        features = style.Features()
        return [features(make()) for _, make in part]

    parts = workers.each(some, [jobs[k : k + 32] for k in range(0, len(jobs), 32)], "style")
    trunk, texture = zip(*(pair for part in parts for pair in part), strict=True)
    examples = [example for example, _ in jobs]
    return Table(
        np.stack(trunk),
        np.stack(texture),
        np.array([example.label for example in examples]),
        np.array([example.group for example in examples]),
        np.array([example.origin for example in examples]),
        np.array([example.plain for example in examples]),
        np.array([example.name for example in examples]),
    )


# --- regression --------------------------------------------------------------------------------------------


def fit(table: Table) -> Model:
    """Softmax regression; one per block of features, their logits averaged, which is again one linear model."""
    share = _weights(table)
    means, scales, weights_, biases = [], [], [], []
    for block, l2 in zip(table.blocks(), L2, strict=True):
        mean, scale = block.mean(0), block.std(0) + 1e-6
        weight, bias = _regress(style.standardised(block, mean, scale), table.label, share, l2)
        means.append(mean)
        scales.append(scale)
        weights_.append(weight / 2)
        biases.append(bias / 2)
    parts = (np.concatenate(means), np.concatenate(scales), np.concatenate(weights_), np.sum(biases, axis=0))
    return Model(*(part.astype(np.float32) for part in parts))


def _weights(table: Table) -> NDArray[np.float64]:
    """Weight of each row: each class weighs as half of the real pictures, origins within a class as WEIGHTS says."""
    share = np.zeros(len(table.label))
    for label in range(len(STYLES)):
        for origin, weight in WEIGHTS.items():
            here = (table.label == label) & (table.origin == origin)
            share[here] = weight / max(here.sum(), 1)
        share[table.label == label] /= max(share[table.label == label].sum(), 1e-9)
    return np.asarray(share * (table.plain & (table.origin == "real")).sum() / 2)


def _regress(
    x: NDArray[np.float64], label: NDArray[np.int64], share: NDArray[np.float64], l2: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight [D, K] and bias [K] that minimise the weighted cross-entropy + l2 / 2 * weight^2, by L-BFGS."""
    size, kinds = x.shape[1], len(STYLES)
    target = np.eye(kinds)[label]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weight, bias = flat[: size * kinds].reshape(size, kinds), flat[size * kinds :]
        logits = x @ weight + bias
        logits -= logits.max(1, keepdims=True)
        log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        slope = share[:, None] * (np.exp(log) - target)
        value = -float((share * (log * target).sum(1)).sum()) + l2 / 2 * float((weight**2).sum())
        return value, np.concatenate([(x.T @ slope + l2 * weight).ravel(), slope.sum(0)])

    found = minimize(loss, np.zeros((size + 1) * kinds), jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    return found[: size * kinds].reshape(size, kinds), found[size * kinds :]


def folds(groups: NDArray[np.str_], salt: int = 0) -> NDArray[np.int64]:
    """Fold of each row, decided by a hash of its group."""
    return np.array(
        [int.from_bytes(hashlib.sha256(f"{salt} {group}".encode()).digest()[:4]) % FOLDS for group in groups]
    )


def cross_validated(table: Table, salt: int = 0) -> NDArray[np.float64]:
    """Probabilities [N, 4] of every row by a model that saw nothing of the row's group."""
    fold = folds(table.group, salt)
    found = np.zeros((len(table.label), len(STYLES)))
    for k in range(FOLDS):
        model = fit(table.at(fold != k))
        found[fold == k] = model(np.concatenate(table.at(fold == k).blocks(), axis=1))
    return found


def save(model: Model, path: Path = style.MODEL) -> None:
    """Write a model in half precision; the same model gives the same bytes."""
    save_file({name: values.astype(np.float16) for name, values in model.__dict__.items()}, path)


def predictions(table: Table, model: Model) -> NDArray[np.float64]:
    """Probabilities [N, 4] of all rows."""
    return model(np.concatenate(table.blocks(), axis=1))


def plain(examples: Sequence[Example]) -> Iterator[tuple[Example, Callable[[], Pixels]]]:
    """The examples as they are, as jobs of `measured`."""
    for example in examples:
        yield example, lambda img=example.img: finished(img)  # type: ignore[misc]


def taught(folder: Path) -> Table:
    """Features of all that is learned from: the pictures of the folder and of the gallery, and their variations."""
    return measured(expanded(real(folder) + drawn()))


def main() -> None:
    """Teach the style filter, and put its model in its place."""
    folder = labelled.asked("semireal.classifiers.style", str(main.__doc__))
    save(fit(taught(folder)))
    stage.say(f"wrote {style.MODEL}. `python benchmarks/style.py --faces {folder}` measures it")


if __name__ == "__main__":
    stage.run(main)
