"""What numbers tell of a head: how sharp it is, how much it shows, how it is turned and lit, and its hair.

No network is needed here, so the stages that look at these alone depend on none.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft2

from semireal.images import Pixels

DOMAINS = ("photo", "portrait")
SHARPNESS_SIZE = 256  # px; sharpness is compared at one size, whatever size the images have
DETAIL_SHARE = 0.8  # with more, the blocks of JPEG count as detail
# parts of a head: from the middle of the eyes to the right of the picture and up, in distances between the eyes
FACE = (np.linspace(-0.8, 0.8, 32), np.linspace(-1.1, 0.3, 28))
CROWN = (np.linspace(-0.5, 0.5, 20), np.linspace(1.3, 1.7, 12))  # above the hairline, under the top of the hair
HAIR = ("dark", "grey", "red", "brown", "blond", "other")
Points = NDArray[np.floating]


def domain(probabilities: Mapping[str, float]) -> str:
    """Photo or portrait, whichever is likelier."""
    return max(DOMAINS, key=lambda name: probabilities[name])


def measured(row: Mapping[str, Any]) -> str:
    """Photo or portrait, by the columns that stage filter adds to a manifest."""
    return domain({name: row[f"p_{name}"] for name in DOMAINS})


def sharpness(img: Pixels) -> float:
    """Energy of the Laplacian over that of the gradient, of the grey image scaled to 256 px; a root, without unit.

    Neither light nor contrast changes it, as they do the variance of the Laplacian alone (Pech-Pacheco et al. 2000),
    and noise and the blocks of JPEG, which a little blur removes first, do not make it sharp. 0.55 to 1 for what is
    sharp, 0.25 for what is out of focus by a hundredth of the side; 0 for a plain colour.
    """
    grey = cv2.cvtColor(img, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, (SHARPNESS_SIZE, SHARPNESS_SIZE), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 1)
    x, y = (cv2.Sobel(small, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    laplacian = cv2.Laplacian(small, cv2.CV_32F)
    gradient, bends = (float(np.mean(energy, dtype=np.float64)) for energy in (x**2 + y**2, laplacian**2))
    return math.sqrt(bends / gradient) if gradient > 0 else 0.0


def detail(img: Pixels) -> float:
    """Side in px that would hold the picture's detail: less than its own side if it was enlarged or is soft.

    img: square RGB uint8 in its own resolution. The answer is twice the frequency (waves per side) below which
    DETAIL_SHARE of the energy of the gradient lies: about two thirds of the side for a sharp picture, a fifth for one
    that was enlarged four times. 0 for a plain colour.
    """
    grey = cv2.cvtColor(img, cv2.COLOR_RGB2GRAY).astype(np.float32)
    window, ring, weight = _spectrum(len(grey))
    waves = rfft2((grey - grey.mean()) * window)
    energy = np.bincount(ring, ((waves.real**2 + waves.imag**2) * weight).ravel())[: len(grey) // 2 + 1]
    total = np.cumsum(energy)
    if total[-1] <= 0:
        return 0.0
    return float(2 * np.searchsorted(total, DETAIL_SHARE * total[-1]))


@lru_cache(maxsize=8)  # megabytes each; nearly all pictures of a dataset have one side
def _spectrum(side: int) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.float32]]:
    """For pictures of a side: the window, the whole part of the frequency of each wave that rfft2 gives, and its share
    in the energy of the gradient: the square of the frequency, twice where the wave stands for its opposite as well.
    """
    window = np.hanning(side + 2)[1:-1].astype(np.float32)
    down, across = np.fft.fftfreq(side, 1 / side), np.arange(side // 2 + 1)
    frequency = np.hypot(down[:, None], across)
    twice = np.where((across > 0) & (2 * across != side), 2, 1)
    return window[:, None] * window, frequency.astype(np.intp).ravel(), (twice * frequency**2).astype(np.float32)


def pose(landmarks: NDArray[np.floating], turned: float = 0) -> tuple[float, float]:
    """How far a head is turned and tilted, from five landmarks [5, 2] (see detect.Face).

    turned: degrees clockwise by which it lies in its picture, which stage crop has turned back. turn: 0 = the nose is
    midway between the eyes, 1 = over one of them, more = profile. tilt: of the line through the eyes, in degrees from
    0 to 180.
    """
    right, left, nose = landmarks[:3].astype(np.float64)
    line = left - right
    length = float(np.hypot(*line))
    turn = abs(2 * float((nose - right) @ line) / max(length**2, 1e-9) - 1)
    angle = float(np.degrees(np.arctan2(line[1], line[0]))) - turned
    return turn, abs((angle + 180) % 360 - 180)


def light(img: Pixels, landmarks: Points) -> tuple[float, float] | None:
    """How light a face is, and how much lighter on the right half of the picture than on the left.

    img: square RGB uint8; landmarks: [5, 2], in shares of its side. Both in L* (CIE 1976), 0 to 100, so
    that dark skin is like little light. None where most of the face is outside of the picture.
    """
    found = _part(img, landmarks, FACE)
    if found is None:
        return None
    lightness, inside = found[..., 0], found[..., 3] > 0
    middle = lightness.shape[1] // 2
    halves = [lightness[:, part][inside[:, part]] for part in (slice(middle), slice(middle, None))]
    if not all(len(half) for half in halves):
        return None
    left, right = (float(half.mean()) for half in halves)
    return (left + right) / 2, right - left


def hair(img: Pixels, landmarks: Points) -> str:
    """Which of HAIR is the colour above the forehead, or whatever covers it; "" where the picture ends below.

    img and landmarks as for `light`. By the median in L*a*b* (CIE 1976), and so by the light as well. Tints of green,
    blue and violet are other. benchmarks/variety.py tells how often that is right for drawn heads.
    """
    found = _part(img, landmarks, CROWN)
    if found is None:
        return ""
    lightness, a, b = np.median(found[found[..., 3] > 0][:, :3], axis=0)
    chroma, hue = math.hypot(a, b), math.degrees(math.atan2(b, a))
    if lightness < 28:
        return "dark"
    if chroma < 0.2 * lightness:
        return "grey"
    if not 15 < hue < 102:
        return "other"
    if hue < 58:
        return "red"
    return "blond" if lightness > 64 else "brown"


def _part(img: Pixels, landmarks: Points, part: tuple[NDArray[np.float64], NDArray[np.float64]]) -> Points | None:
    """L*, a*, b*, and 1 where that is inside of the picture, at the places of a part [rows, columns, 4].

    None where half of it is outside, and where the landmarks are of no face. The unit is the distance between the eyes,
    or that from there to the mouth, which is about the same and does not shrink where a head is turned.
    """
    right, left, _, *mouth = landmarks.astype(np.float64) * len(img)
    middle = (right + left) / 2
    down = np.mean(mouth, axis=0) - middle
    length = float(np.hypot(*down))
    unit = max(float(np.hypot(*(left - right))), length)
    if not (length >= 1 and unit < len(img)):  # nan, too
        return None
    down /= length
    across = np.array([down[1], -down[0]])
    x, y = np.meshgrid(*part)
    places = middle + unit * (x[..., None] * across - y[..., None] * down)
    inside = ((places >= 0) & (places <= len(img) - 1)).all(axis=-1)
    if 2 * inside.sum() < inside.size:
        return None
    column, row = np.moveaxis(places.clip(0, len(img) - 1).round().astype(int), -1, 0)
    lab = cv2.cvtColor(img[row, column].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return np.concatenate([lab, inside[..., None]], axis=-1)
