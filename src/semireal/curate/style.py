"""What kind of picture a head is: photo, painted portrait, line art or flat anime.

The classifier is a linear one on statistics of the face detector's trunk and on textures. The numbers it has learned
are in style.safetensors beside this file; semireal.classifiers.style makes them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from semireal.images import Pixels
from semireal.vision import weights

STYLES = ("photo", "portrait", "line_art", "anime")
MODEL = Path(__file__).with_name("style.safetensors")

TRUNK_SIZE = 352  # px; a multiple of 32, as the network needs
TEXTURE_SIZES = (256, 128, 64)  # px
CLIP = 4  # standard deviations; what is further out is as unusual as can be, and must not outvote everything else
_TRUNK = tuple(f"onnx_node!Relu_{n}" for n in (4, 11, 17, 24, 31, 38, 41, 47, 53))
_STEPS = (0.5, 1, 2, 4, 8, 16, 32)  # grey levels per px between the bins of the gradient
_RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))

Vector = NDArray[np.float32]


def _centre(size: int) -> slice:
    """The part of a side in which the face lies."""
    return slice(size // 4, size - size // 4)


class Features:
    """Statistics of a square RGB uint8 head that tell styles apart, as two blocks of numbers: trunk and texture.

    Pictures are brought to fixed sizes first, so that what counts is the style and not the file. One belongs to one
    thread.
    """

    def __init__(self) -> None:
        self._net = cv2.dnn.readNetFromONNX(str(weights.find(weights.YUNET)))
        self._layers: Any = None  # memory that those of the next picture go to

    def __call__(self, img: Pixels) -> tuple[Vector, Vector]:
        """Trunk and texture features of an [N, N, 3] image, any N."""
        return self._trunk(img), _texture(img)

    def _trunk(self, img: Pixels) -> Vector:
        """Mean and deviation of each channel of YuNet's layers, over the picture and over its centre, as logarithms.

        A network that knows faces sees them through brush strokes; how strongly its filters answer depends on them.
        """
        self._net.setInput(cv2.dnn.blobFromImage(_scaled(img, TRUNK_SIZE), swapRB=True))
        self._layers = self._net.forward(_TRUNK, self._layers)
        values: list[Vector] = []
        for layer in self._layers:
            whole = layer[0]
            middle = _centre(whole.shape[1])
            for part in (whole, whole[:, middle, middle]):
                values += _moments(part.reshape(len(part), -1))
        return np.asarray(np.log1p(np.concatenate(values)), np.float32)


def _moments(rows: NDArray[np.float32]) -> tuple[Vector, Vector]:
    """Mean and deviation of each row, in one pass over it."""
    count = rows.shape[1]
    mean = rows @ np.full(count, 1 / count, np.float32)
    square = np.vecdot(rows, rows) / np.float32(count)
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def _texture(img: Pixels) -> Vector:
    """Histograms of gradients and of local binary patterns at several scales, of the picture and of its centre."""
    values = []
    for size in TEXTURE_SIZES:
        grey = np.asarray(cv2.cvtColor(_scaled(img, size), cv2.COLOR_RGB2GRAY), np.uint8)
        middle = _centre(size)
        for part in (grey, np.ascontiguousarray(grey[middle, middle])):
            values += [_gradients(part), _patterns(part, 1), _patterns(part, 2)]
    # square roots: differences of small shares count as well
    return np.sqrt(np.concatenate(values)).astype(np.float32)


def _gradients(grey: Pixels) -> NDArray[np.float64]:
    """Shares of the pixels whose gradient lies between two of _STEPS."""
    x, y = (cv2.Sobel(grey, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))  # whole numbers, 8 a grey level
    square = x * x + y * y
    reached = [np.count_nonzero(square >= (8 * step) ** 2) for step in _STEPS]
    return -np.diff([grey.size, *reached, 0]) / grey.size


def _patterns(grey: Pixels, radius: int) -> NDArray[np.float64]:
    """Shares of the uniform, rotation-invariant local binary patterns (Ojala et al. 2002), with a margin of 2 levels.

    Neighbours are the eight at `radius` px in a square; ten bins.
    """
    height, width = grey.shape
    wide = cv2.copyMakeBorder(grey, radius, radius, radius, radius, cv2.BORDER_REFLECT)
    least, code = np.minimum(grey, 254) + np.uint8(1), np.zeros_like(grey)  # nothing is two levels above 254
    for y, x in _RING:
        brighter = wide[radius * (1 + y) :, radius * (1 + x) :][:height, :width] > least
        code += code
        code += brighter
    return np.bincount(_UNIFORM, cv2.calcHist([code], [0], None, [256], [0, 256]).ravel()) / grey.size


def _uniform() -> NDArray[np.intp]:
    """[256]: the bin of each set of brighter neighbours: how many they are, or the last where they are not together."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    changes = (bits != np.roll(bits, 1, axis=1)).sum(1)
    return np.where(changes <= 2, bits.sum(1), len(_RING) + 1).astype(np.intp)


_UNIFORM = _uniform()


def _scaled(img: Pixels, size: int) -> Pixels:
    how = cv2.INTER_AREA if size < img.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(img, (size, size), interpolation=how), np.uint8)


@dataclass(frozen=True)
class Model:
    """Softmax regression on standardised features: mean and scale [D], weight [D, 4] and bias [4] of STYLES."""

    mean: Vector
    scale: Vector
    weight: Vector
    bias: Vector

    def __call__(self, features: Vector) -> NDArray[np.float64]:
        """Probabilities [..., 4] of feature vectors [..., D] (both blocks, one after the other)."""
        logits = standardised(features, self.mean, self.scale) @ self.weight + self.bias
        odds = np.exp(logits - logits.max(-1, keepdims=True))
        return np.asarray(odds / odds.sum(-1, keepdims=True))


def standardised(features: Vector, mean: Vector, scale: Vector) -> NDArray[np.float64]:
    """Features in standard deviations from the mean, clipped to CLIP."""
    return np.clip((features.astype(np.float64) - mean) / scale, -CLIP, CLIP)


def load(path: Path = MODEL) -> Model:
    """Read what semireal.classifiers.style.save wrote."""
    return Model(**{name: values.astype(np.float32) for name, values in load_file(path).items()})


class Classifier:
    """Style of a head; belongs to one thread."""

    def __init__(self) -> None:
        self._features = Features()
        self._model = load()

    def __call__(self, img: Pixels) -> dict[str, float]:
        """Probability of each of STYLES (they add up to 1) of a square RGB uint8 head, hair and all."""
        found = self._model(np.concatenate(self._features(img)))
        return dict(zip(STYLES, found.tolist(), strict=True))
