"""What people see of a portrait, as three sets of features of one network: the whole, the layout, the eyes.

EfficientNet-Lite0, which knows ImageNet. The whole is what it sees anywhere in the picture; the layout is what it sees
where, from a layer in the middle; the eyes are the whole of a band around them, enlarged. benchmarks/measures.py tells
what they can and cannot see.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torchvision.transforms.v2.functional import resized_crop

from semireal.images import Pixels
from semireal.tensors import to_nchw
from semireal.vision import efficientnet
from semireal.vision.efficientnet import EfficientNetLite0

MIDDLE = 11  # entries of the network's `features` up to the layer of the layout: 112 channels at stride 16
GRID = 7  # its places in each direction
WHOLE, LAYOUT, EYES = 1280, 112 * GRID**2, 1280  # values
BAND = (168, 336)  # px, height and width of the band as the network sees it; at two thirds of that it sees half as much
BATCH = 16
# of the band, in distances between the eyes: its width, and how far it reaches above and below them
WIDTH, ABOVE, BELOW = 2.9, 0.75, 0.7
FACE = (0.16, 0.84)  # of the side of a head, both ways: the face, with little of the hair


@dataclass(frozen=True)
class Band:
    """A part of a picture, in shares of its height and width: rows top to bottom, columns left to right."""

    top: float
    bottom: float
    left: float
    right: float


@dataclass(frozen=True)
class Looks:
    """Features of N pictures: whole [N, WHOLE], layout [N, LAYOUT], eyes [N, EYES], or None without a band."""

    whole: NDArray[np.float64]
    layout: NDArray[np.float64]
    eyes: NDArray[np.float64] | None


def band_of(eyes: NDArray[np.floating]) -> Band:
    """The band around the eyes of a set of pictures.

    eyes: [N, 2, 2], for each picture the right and the left eye, x and y in shares of its side. One band serves all,
    real and generated: it is around the median place, so pictures must have been cut alike.
    """
    x, y = np.median(eyes.mean(axis=1), axis=0)
    distance = float(np.median(np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=1)))
    rows, columns = (y - ABOVE * distance, y + BELOW * distance), (x - WIDTH / 2 * distance, x + WIDTH / 2 * distance)
    return Band(*(float(min(max(edge, 0), 1)) for edge in (*rows, *columns)))


def face_of(heads: Pixels) -> Pixels:
    """The middle of NHWC heads, where the face is."""
    first, end = (round(edge * heads.shape[1]) for edge in FACE)
    return np.ascontiguousarray(heads[:, first:end, first:end])


def look(net: EfficientNetLite0, pictures: Pixels, band: Band | None, device: torch.device) -> Looks:
    """Features of NHWC uint8 pictures of any size."""
    found = list(_batches(net.to(device), pictures, band, device))
    whole, layout, eyes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Looks(whole, layout, eyes if band else None)


@torch.no_grad()
def _batches(
    net: EfficientNetLite0, pictures: Pixels, band: Band | None, device: torch.device
) -> Iterator[tuple[NDArray[np.float64], ...]]:
    for start in range(0, len(pictures), BATCH):
        x = to_nchw(list(pictures[start : start + BATCH])).to(device).float()
        middle = net.features[:MIDDLE](_part(x, Band(0, 1, 0, 1), efficientnet.SIZE, efficientnet.SIZE))
        whole = net.features[MIDDLE:](middle).mean((2, 3))
        layout = F.adaptive_avg_pool2d(middle, GRID).flatten(1)
        eyes = net.features(_part(x, band, *BAND)).mean((2, 3)) if band else whole[:, :0]
        yield tuple(part.double().cpu().numpy() for part in (whole, layout, eyes))


def _part(x: torch.Tensor, band: Band, height: int, width: int) -> torch.Tensor:
    """A part of pictures [N, 3, H, W] of 0..255 as the network takes it, [N, 3, height, width].

    Small pictures are enlarged, or the network misses fine patterns.
    """
    rows, columns = x.shape[2:]
    top, bottom = (round(edge * rows) for edge in (band.top, band.bottom))
    left, right = (round(edge * columns) for edge in (band.left, band.right))
    at = top, left, max(bottom - top, 1), max(right - left, 1)
    cut: torch.Tensor = resized_crop(x, *at, [height, width], antialias=True)
    return (cut - efficientnet.MEAN) / efficientnet.SCALE
