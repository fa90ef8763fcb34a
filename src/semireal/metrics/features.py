"""Feature extractors for the metrics that need no download."""

import functools
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torchvision.models import vgg16

from semireal.images import Pixels
from semireal.metrics.distances import Features
from semireal.tensors import to_float, to_nchw

BATCH = 32


class R64(nn.Module):
    """A VGG16 that was never trained, with 64 outputs (Naeem et al. 2020, "R64").

    Random features compare distributions without the bias of ImageNet and without a download. Values from it are
    comparable among each other only: they are no FID. Input [N, 3, H, W] float in [-1, 1], any size, scaled to
    SIZE px; output [N, 64].
    """

    SIZE = 64
    SEED = 0
    GAIN = 10  # brings the spread of faces (0.02 per feature) to that of Inception's features, readable in a table

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.SEED)
            net = vgg16(weights=None)
            hidden, last = nn.Linear(512 * 7 * 7, 4096), nn.Linear(4096, 64)
            for layer in (hidden, last):
                nn.init.kaiming_normal_(layer.weight)  # keeps the scale of the values through the layers
        self.body = nn.Sequential(net.features, net.avgpool, nn.Flatten(), hidden, nn.ReLU(), last)
        self.eval().requires_grad_(False)

    def forward(self, img: torch.Tensor) -> torch.Tensor:
        """Features [N, 64] of images [N, 3, H, W]."""
        small = nn.functional.interpolate(img, size=(self.SIZE, self.SIZE), mode="bilinear", antialias=True)
        out: torch.Tensor = self.body(small) * self.GAIN
        return out


@functools.cache
def r64() -> R64:
    """The one R64; drawing its 100 million weights takes seconds."""
    return R64()


def extract(net: nn.Module, pictures: Pixels, device: torch.device) -> Features:
    """Features [N, D] float64 of NHWC uint8 images."""
    return np.concatenate(list(_batches(net.to(device), pictures, device)))


@torch.no_grad()
def _batches(net: nn.Module, pictures: Pixels, device: torch.device) -> Iterator[Features]:
    for start in range(0, len(pictures), BATCH):
        batch = to_float(to_nchw(list(pictures[start : start + BATCH])).to(device))
        yield net(batch).double().cpu().numpy()
