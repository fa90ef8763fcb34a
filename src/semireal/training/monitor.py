"""How good a snapshot is: what the training asks at every one of them, and what chooses the best.

The whole, the layout and the eyes choose together; benchmarks/snapshots.py compares that with each of them alone.
"""

import functools
from collections.abc import Mapping

import numpy as np
import torch

from semireal.images import Pixels
from semireal.metrics import distances, inception, offline, usual
from semireal.metrics.distances import Features
from semireal.stylegan2 import Generator
from semireal.stylegan2.training import CHOOSES, VARIETY
from semireal.tensors import to_uint8
from semireal.vision.looks import Band

IMAGES = 256  # that a snapshot is measured with, at most, and as many real ones; of few real ones twice their number
BATCH = 32
KID = "kid"


class Monitor:
    """Measures snapshots against a fixed set of real images, at psi = 1 and the training resolution.

    pictures: NHWC uint8. band: around the eyes, None where faces have no landmarks. kid: choose by the kernel distance
    on the published Inception, whose weights must be to be had, and not by what comes with the installation.
    """

    def __init__(self, pictures: Pixels, band: Band | None, kid: bool, device: torch.device) -> None:
        chosen = np.random.default_rng(0).permutation(len(pictures))[:IMAGES]
        self.pictures, self.band, self.device = pictures[np.sort(chosen)], band, device
        self.inception = inception.find("download") if kid else None

    @functools.cached_property
    def real(self) -> dict[str, Features]:
        """Features of the real images, by name."""
        return self._features(self.pictures)

    @torch.no_grad()
    def __call__(self, G: Generator) -> dict[str, float]:
        """The distances of some images, what chooses of them, and their variety relative to the real ones."""
        count = min(IMAGES, 2 * len(self.pictures))
        z = torch.randn([count, G.config.z_dim], generator=torch.Generator().manual_seed(0)).to(self.device)
        drawn = np.concatenate([to_uint8(G(part, noise="const")) for part in torch.split(z, BATCH)])
        found = self._features(drawn)
        values = {name: _distance(name, real, found[name]) for name, real in self.real.items()}
        variety = distances.relative(
            distances.mean_distance(found["whole"]), distances.mean_distance(self.real["whole"])
        )
        chooses = values[KID] if self.inception else together(values)
        return {CHOOSES: chooses, VARIETY: float(variety)} | {f"snapshot_{name}": one for name, one in values.items()}

    def _features(self, pictures: Pixels) -> dict[str, Features]:
        found = offline.features(pictures, self.band, self.device)
        if self.inception:
            pool = inception.extract(self.inception, pictures, self.device)[:, : inception.WIDTH]
            found[KID] = pool.astype(np.float64)
        return found


def together(values: Mapping[str, float]) -> float:
    """What chooses among snapshots by what people see: the sum of the distances of the whole, the layout and the eyes.

    They are in one unit (semireal.metrics.usual). That the sum chooses better than one of them has not been shown: in
    benchmarks/snapshots.py all choose the same.
    """
    return sum(values[name] for name in ("whole", "layout", "eyes") if name in values)


def _distance(name: str, real: Features, drawn: Features) -> float:
    return distances.kernel(real, drawn) if name == KID else usual.distance(name, real, drawn)
