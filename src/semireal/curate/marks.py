"""Is something laid over a head: a watermark, a logo, a signature, a caption, a date, a frame?

EfficientNet-Lite0 sees fine strokes in its first layers. What these say about each place of a head goes into a small
network with one hidden layer, and the places that look most like a mark into a logistic regression. The numbers that
both have learned are in marks.safetensors beside this file; semireal.classifiers.marks makes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.numpy import load_file

from semireal import images, manifest, measured, workers
from semireal.curate import filter
from semireal.images import Pixels
from semireal.manifest import Row
from semireal.measured import Image, Job
from semireal.params.filter import Filter
from semireal.tensors import to_nchw
from semireal.vision import efficientnet
from semireal.vision.efficientnet import EfficientNetLite0

MODEL = Path(__file__).with_name("marks.safetensors")
SIZE = 384  # px; strokes are lost in less
GRID = 24  # places in each direction
FINE, MIDDLE, DEEP = 5, 7, 11  # entries of the network's `features` up to the layers at stride 4, 8 and 16
CLIP = 5  # standard deviations
STRONGEST = (1, 4, 12, 36, 100, GRID**2)  # places that count together, from the one most like a mark to all

Vector = NDArray[np.float32]


@torch.inference_mode()
def places(net: EfficientNetLite0, img: Pixels) -> Vector:
    """What three layers see at each place of a square RGB uint8 head, [GRID * GRID, 240], row by row."""
    head = np.asarray(cv2.resize(img, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)
    fine = net.features[:FINE]((to_nchw([head]).float() - efficientnet.MEAN) / efficientnet.SCALE)
    middle = net.features[FINE:MIDDLE](fine)
    pools = (F.adaptive_avg_pool2d, F.adaptive_max_pool2d)
    maps = [pool(layer, GRID) for layer in (fine, middle) for pool in pools]
    found = torch.cat([*maps, net.features[MIDDLE:DEEP](middle)], 1)[0]
    return np.asarray(found.flatten(1).T.numpy(), np.float32)


@dataclass(frozen=True)
class Model:
    """What was learned.

    mean, scale [240]: of the values of a place. hidden [240, H], hidden_bias [H], out [H], out_bias [1]: the network.
    weight [len(STRONGEST)], bias [1]: the regression.
    """

    mean: Vector
    scale: Vector
    hidden: Vector
    hidden_bias: Vector
    out: Vector
    out_bias: Vector
    weight: Vector
    bias: Vector

    def at_places(self, found: Vector) -> Vector:
        """Log odds [N] that a mark is at each place [N, 240]."""
        known = np.clip((found - self.mean) / self.scale, -CLIP, CLIP)
        return np.asarray(np.maximum(known @ self.hidden + self.hidden_bias, 0) @ self.out + self.out_bias, np.float32)

    def __call__(self, found: Vector) -> float:
        """Probability that a head has a mark, by what is seen at its places."""
        odds = strongest(self.at_places(found)) @ self.weight + self.bias
        return float(1 / (1 + np.exp(-odds[0])))


def strongest(odds: Vector) -> Vector:
    """Mean log odds of as many of the places most like a mark as each of STRONGEST says."""
    ranked = np.sort(odds)[::-1]
    return np.array([ranked[:count].mean() for count in STRONGEST], np.float32)


def load(path: Path = MODEL) -> Model:
    """Read what semireal.classifiers.marks.save wrote."""
    return Model(**{name: values.astype(np.float32) for name, values in load_file(path).items()})


class Finder:
    """Probability that a square RGB uint8 head has a mark over it; belongs to one thread."""

    def __init__(self) -> None:
        self._net, self._model = efficientnet.load(), load()

    def __call__(self, img: Pixels) -> float:  # noqa: D102
        return self._model(places(self._net, img))


_finders = workers.Pool(Finder)  # one for each thread


def looked_for(resized: Path, looked: Sequence[Row], params: Filter) -> list[Row]:
    """The rows of stage filter, `marks` in those that its other rules keep: the probability that there are some."""
    rest = [row for row in looked if row["status"] == manifest.KEPT and not filter.verdict(row, params)]
    job = Job("marks", __name__, None, _looked_at)
    found = measured.each(job, [Image(resized / row["file"]) for row in rest])
    shares = {row["id"]: one.value for row, one in zip(rest, found, strict=True) if one is not None}
    return [row | {"marks": shares[row["id"]]} if row["id"] in shares else row for row in looked]


def _looked_at(path: Path, _: None, __: Path) -> tuple[float, Sequence[Path]]:
    """See semireal.measured.Job.work."""
    with _finders.borrowed() as finder:
        return round(finder(images.load_rgb(path)), 4), ()
