"""Teach semireal.curate.marks: heads with drawn marks and without, a network with one hidden layer, a regression.

    python -m semireal.classifiers.marks --faces DIR

writes src/semireal/curate/marks.safetensors; `python benchmarks/marks.py` says how good it is. The heads are those of
the labelled photos and paintings of DIR; the marks are drawn with the fonts of this machine (drawn_marks), which
decide the result: the more kinds of letters, the better.
"""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from semireal import images, stage, workers
from semireal.classifiers import drawn_marks, labelled, style
from semireal.classifiers.style import Example
from semireal.curate import marks
from semireal.curate.marks import Model, Vector
from semireal.images import Pixels
from semireal.vision import efficientnet

KINDS = tuple(drawn_marks.KINDS)
MARKED, FREE = 8, 1  # of each head: so many with marks, and varied ones without, besides the head itself
SHARE = 0.08  # of a place that a mark covers; of less the network is not asked
PER_HEAD = 60  # places of each kind that are learned from, of a head
HIDDEN, DECAY, PASSES = 64, 1e-3, 25
INNER = 3  # folds, for the regression
LOSS = 0.02  # of clean heads that lie above a probability of one half

# Heads of the folder that a first model found marked by others, which was seen by eye: they teach nothing, and say
# nothing about how good it is. By the first digits of the SHA-256 of their files.
REALLY_MARKED = ("8a1db3e91e92", "5150c17ce4b9", "8bf80a16d7f5", "a5d1b75cc354", "b309ed221467")

Rng = np.random.Generator


@dataclass(frozen=True)
class Seen:
    """What is seen of a head: its places [GRID * GRID, 240] in half precision, and how much of each a mark covers.

    kind: of the mark, "" without. plain: the head as it is. group: of pictures of one person or character.
    """

    found: NDArray[np.float16]
    covered: Vector
    kind: str
    plain: bool
    group: str

    @property
    def marked(self) -> bool:
        """Whether it has one."""
        return bool(self.kind)


def seen(heads: Sequence[Example], fonts: Sequence[Path], count: int = MARKED, free: int = FREE) -> list[Seen]:
    """Each head as it is, varied `free` times, and with `count` marks, one after the other."""

    def some(part: Sequence[Example]) -> list[Seen]:
        net = efficientnet.load()
        return [
            Seen(marks.places(net, img).astype(np.float16), _covered(mask), kind, not number, head.group)
            for head in part
            for number, (img, mask, kind) in enumerate(_made(head, fonts, count, free))
        ]

    parts = workers.each(some, [heads[k : k + 16] for k in range(0, len(heads), 16)], "marks")
    return [one for part in parts for one in part]


def _made(
    head: Example, fonts: Sequence[Path], count: int, free: int
) -> Iterator[tuple[Pixels, drawn_marks.Mask, str]]:
    """The pictures of a head, as stage resize would write them, where their marks are, and of what kind."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(head.name.encode()).digest()[:8]))
    base = images.resize(head.img, style.SIZE)
    nothing = np.zeros(base.shape[:2], bool)
    yield style.finished(base), nothing, ""
    for _ in range(free):
        yield style.finished(style.varied(head.img, rng)), nothing, ""
    for kind in rng.permutation(KINDS)[:count]:
        img, mask = drawn_marks.marked(base, rng, fonts, kind)
        yield style.finished(_elsewhere(img, rng)), mask, str(kind)


def _elsewhere(img: Pixels, rng: Rng) -> Pixels:
    """A marked picture as a site may give it: smaller, compressed. Its mark stays where it is."""
    if rng.random() < 0.4:
        img = images.resize(img, int(rng.integers(200, style.SIZE)))
    return images.decode(images.encode_jpeg(img, int(rng.integers(60, 96)))) if rng.random() < 0.5 else img


def _covered(mask: drawn_marks.Mask) -> Vector:
    side = (marks.GRID, marks.GRID)
    return np.asarray(cv2.resize(mask.astype(np.float32), side, interpolation=cv2.INTER_AREA), np.float32).ravel()


def fit(table: Sequence[Seen]) -> Model:
    """Learn where marks are, then which heads have one; at most LOSS of the clean ones are above one half.

    The second is learned from heads that the network has not seen, as are those that will be asked about.
    """
    fold = style.folds(np.array([one.group for one in table]), salt=1) % INNER
    heads = np.zeros((len(table), len(marks.STRONGEST)))
    for k in range(INNER):
        model = _network([one for one, place in zip(table, fold, strict=True) if place != k])
        for number in np.flatnonzero(fold == k).tolist():
            heads[number] = marks.strongest(model.at_places(table[number].found.astype(np.float32)))
    marked = np.array([one.marked for one in table])
    last = LogisticRegression(class_weight="balanced").fit(heads, marked)
    odds = heads @ last.coef_[0]
    bias = -np.quantile(odds[~marked], 1 - LOSS)
    return replace(_network(table), weight=last.coef_[0].astype(np.float32), bias=np.array([bias], np.float32))


def _network(table: Sequence[Seen]) -> Model:
    """What tells places with a mark from others; its regression knows nothing."""
    rng = np.random.default_rng(0)
    chosen = [_chosen(one, rng) for one in table]
    x = np.concatenate([one.found[where] for one, where in zip(table, chosen, strict=True)]).astype(np.float32)
    y = np.concatenate([one.covered[where] > 0 for one, where in zip(table, chosen, strict=True)])
    mean, scale = x.mean(0), x.std(0) + 1e-6
    learner = MLPClassifier((HIDDEN,), alpha=DECAY, max_iter=PASSES, batch_size=512, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it need not come to rest
        learner.fit(np.clip((x - mean) / scale, -marks.CLIP, marks.CLIP), y)
    (hidden, out), (hidden_bias, out_bias) = learner.coefs_, learner.intercepts_
    nothing = np.zeros(len(marks.STRONGEST)), np.zeros(1)
    parts = (mean, scale, hidden, hidden_bias, out[:, 0], out_bias, *nothing)
    return Model(*(np.asarray(part, np.float32) for part in parts))


def _chosen(one: Seen, rng: Rng) -> NDArray[np.intp]:
    """Places of a head to learn from; not those that a mark just touches."""
    under, free = np.flatnonzero(one.covered > SHARE), np.flatnonzero(one.covered == 0)
    most = PER_HEAD // 3 if one.marked else PER_HEAD
    return np.concatenate([rng.permutation(under)[:PER_HEAD], rng.permutation(free)[:most]])


def heads_of(folder: Path) -> list[Example]:
    """The heads of the labelled photos and paintings of a folder that nobody has put a mark over."""
    return [one for one in style.real(folder) if one.label < 2 and _name(folder / one.name) not in REALLY_MARKED]


def _name(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def save(model: Model, path: Path = marks.MODEL) -> None:
    """Write a model in half precision; the same model gives the same bytes."""
    save_file({name: values.astype(np.float16) for name, values in model.__dict__.items()}, path)


def main() -> None:
    """Teach the finder of marks, and put its model in its place."""
    folder = labelled.asked("semireal.classifiers.marks", str(main.__doc__))
    save(fit(seen(heads_of(folder), drawn_marks.fonts_of())))
    stage.say(f"wrote {marks.MODEL}. `python benchmarks/marks.py --faces {folder}` measures it")


if __name__ == "__main__":
    stage.run(main)
