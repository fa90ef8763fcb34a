"""Perceptual hashes: near-copies of a picture are few bits apart, whatever their size, light and compression.

The hash of a picture is imagehash.phash: which coefficients of the cosine transform of the small grey picture are above
their median (https://www.hackerfactor.com/blog/index.php?/archives/432-Looks-Like-It.html). A border, a cut or a turn
changes nearly all of them. So there are hashes of the head too, which lies where the landmarks say, in several views
that stand a little apart, since no detector finds the landmarks of a copy in exactly the same places: of two pictures
any view of the one may be like any of the other. Their bits are the signs of the coefficients, so that the hash of the
mirror image is known: the coefficients of odd functions change their sign.
"""

import functools

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semireal.images import Pixels

SIDE = 16  # coefficients on each axis
BITS = SIDE**2

HEAD_SIDE = 12  # coefficients on each axis of a head: finer ones change with the view
HEAD_BITS = HEAD_SIDE**2
HEAD_SMALL = 32  # px, of the head that is transformed
SEEN = 128  # px, of the picture that it is taken from
# places of the eyes, of the nose and of the corners of the mouth, in halves of the distance of the eyes; x + i y
FACE = np.array([-1 - 0.9j, 1 - 0.9j, 0.1j, -0.8 + 1.1j, 0.8 + 1.1j])
FACE -= FACE.mean()
REACH = 6.0  # side of the head, in the same unit
LEAN = -1.04  # degrees by which the landmarks of a mirror image are turned, halved (YuNet)
SHIFT = 0.03  # of the side
# zoom, turn in degrees, and shifts of the views; any two of them differ otherwise, so many differences are tried
VIEWS = (
    (1.0, 0.0, 0, 0),
    (1.05, 3.0, 1, 0),
    (1.05, -3.0, -1, 0),
    (1 / 1.05, 3.0, 0, 1),
    (1 / 1.05, -3.0, 0, -1),
    (1.0, 4.0, -1, -1),
    (1.0, -4.0, 1, 1),
    (1.0, 0.0, -1, 1),
    (1.0, 0.0, 1, -1),
)

Bits = NDArray[np.bool_]
Words = NDArray[np.uint64]
Points = NDArray[np.float64]  # [5, 2], x and y in shares of the side: eyes, nose, corners of the mouth


def of(img: Pixels) -> Bits:
    """The hash [BITS] of a picture."""
    return np.asarray(imagehash.phash(Image.fromarray(img), hash_size=SIDE).hash.ravel())


def text(bits: Bits) -> str:
    """A hash [BITS] as hexadecimal digits, as imagehash writes it."""
    return np.packbits(bits).tobytes().hex()


def heads(img: Pixels, landmarks: Points | None) -> Bits:
    """Hashes [len(VIEWS), HEAD_BITS] of the head in a square picture; of all of it where no landmarks are known.

    Two pictures show the same where any hash of the one is near any hash of the other, or of its mirror image.
    """
    grey = cv2.resize(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY), (SEEN, SEEN), interpolation=cv2.INTER_AREA)
    centre, side = _head(landmarks)
    return np.stack([_signs(_view(np.asarray(grey, np.uint8), centre, side, view)) for view in VIEWS])


def mirrored(head_hashes: Bits) -> Bits:
    """The hashes [..., HEAD_BITS] of the heads in the mirror image."""
    odd = np.arange(HEAD_BITS) % HEAD_SIDE % 2 == 1
    return np.asarray(head_hashes ^ odd)


def _head(landmarks: Points | None) -> tuple[complex, complex]:
    """Centre and side of the head, as x + i y in shares of the picture; a side that leans is turned.

    The similarity that takes FACE to the landmarks with the least squares: with complex numbers, a quotient.
    """
    if landmarks is not None:
        points = landmarks[:, 0] + 1j * landmarks[:, 1]
        centre = complex(points.mean())
        side = REACH * np.vdot(FACE, points - centre) / np.vdot(FACE, FACE).real
        if abs(side) > 1 / SEEN:
            return centre, complex(side * np.exp(1j * np.deg2rad(LEAN)))
    return 0.5 + 0.5j, 1 + 0j


def _view(
    grey: NDArray[np.uint8], centre: complex, side: complex, view: tuple[float, float, int, int]
) -> NDArray[np.uint8]:
    """The head, a little away from where it was found, [HEAD_SMALL, HEAD_SMALL]."""
    zoom, turn, right, down = view
    step = side * zoom * np.exp(1j * np.deg2rad(turn)) * SEEN / HEAD_SMALL  # px, from one pixel to the next
    first = (centre + side * SHIFT * (right + 1j * down)) * SEEN - (0.5 + 0.5j) - step * (1 + 1j) * (HEAD_SMALL - 1) / 2
    matrix = np.array([[step.real, -step.imag, first.real], [step.imag, step.real, first.imag]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (HEAD_SMALL, HEAD_SMALL)
    return np.asarray(cv2.warpAffine(grey, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _signs(grey: NDArray[np.uint8]) -> Bits:
    """Which low coefficients are above 0, [HEAD_BITS]; the first one, the mean, says nothing."""
    low = _transformed(grey)[:HEAD_SIDE, :HEAD_SIDE]
    low[0, 0] = 0
    return np.asarray(low > 0).ravel()


def packed(bits: Bits) -> Words:
    """Hashes [..., B] as words [..., ceil(B / 64)]; what is left is 0."""
    found = np.packbits(bits, axis=-1)
    return np.pad(found, [(0, 0)] * (bits.ndim - 1) + [(0, -found.shape[-1] % 8)]).view(np.uint64)


def hamming(a: Bits, b: Bits) -> NDArray[np.float64]:
    """Bits that differ between all pairs of hashes [N, B] and [M, B]: [N, M] whole numbers."""
    x, y = a.astype(np.float32), b.astype(np.float32)  # exact up to 2^24, and fast as a product of matrices
    return np.asarray(x.sum(axis=1)[:, None] + y.sum(axis=1)[None, :] - 2 * x @ y.T, dtype=np.float64)


def _transformed(grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The low coefficients [SIDE, SIDE] of the cosine transform (DCT-II) of a square picture, by down and across."""
    waves = _waves(len(grey))
    return np.asarray(waves @ grey.astype(np.float64) @ waves.T)


@functools.cache
def _waves(side: int) -> NDArray[np.float64]:
    return np.asarray(2 * np.cos(np.pi * np.arange(SIDE)[:, None] * (2 * np.arange(side) + 1) / (2 * side)))
