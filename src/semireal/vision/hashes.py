"""Perceptual hashes: near-copies of a picture are few bits apart, whatever their size, light and compression.

The hash is imagehash.phash: which coefficients of the cosine transform of the small grey picture are above their median
(https://www.hackerfactor.com/blog/index.php?/archives/432-Looks-Like-It.html).
"""

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semireal.images import Pixels

SIDE = 16  # coefficients on each axis
BITS = SIDE**2

Bits = NDArray[np.bool_]


def of(img: Pixels) -> Bits:
    """The hash [BITS] of a picture."""
    return np.asarray(imagehash.phash(Image.fromarray(img), hash_size=SIDE).hash.ravel())


def text(bits: Bits) -> str:
    """A hash [BITS] as hexadecimal digits, as imagehash writes it."""
    return np.packbits(bits).tobytes().hex()


def hamming(a: Bits, b: Bits) -> NDArray[np.float64]:
    """Bits that differ between all pairs of hashes [N, B] and [M, B]: [N, M] whole numbers."""
    x, y = a.astype(np.float32), b.astype(np.float32)  # exact up to 2^24, and fast as a product of matrices
    return np.asarray(x.sum(axis=1)[:, None] + y.sum(axis=1)[None, :] - 2 * x @ y.T, dtype=np.float64)
