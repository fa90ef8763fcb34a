"""Networks that turn images into features, what is measured on them, and a cache of what they gave, keyed by content.

The key of a cached array is a hash of the pixels, the extractor with its weights, and the versions that compute it;
never a path or a name. A changed dataset is another key.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semireal import arrays, code, files, stage
from semireal.images import Pixels
from semireal.metrics import dinov2, distances, inception, offline, usual
from semireal.metrics.distances import Features
from semireal.metrics.intervals import Pairs
from semireal.vision.looks import Band

BLOCK = 128  # pictures that are looked at together; whole batches of every network, so that blocks change nothing


@dataclass(frozen=True)
class Space:
    """Some columns of what an extractor gives, and the metrics on them.

    title: for people. suffix: of the names of all metrics here, "" for those on the features of the field; names: those
    that are called otherwise. columns: which. whole: all metrics are taken here, not the kernel distance alone.
    usual: the kind of features as semireal.metrics.usual knows it, whose distance takes the place of the kernel
    distance; empty for others.
    """

    title: str
    suffix: str
    columns: slice
    whole: bool = True
    usual: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    def name(self, kind: str) -> str:
        """The name of a metric on these features: frechet -> frechet_whole, or fid."""
        return self.names.get(kind, kind + self.suffix)

    def kernel(self, real: Features, generated: Features) -> Pairs:
        """All pairs of images, with the kernel whose distance is measured."""
        if self.usual:
            standard = usual.load()[self.usual]
            return Pairs.of(usual.products, standard(real), standard(generated))
        return Pairs.of(distances.cubic, real.astype(np.float64), generated.astype(np.float64))


@dataclass(frozen=True)
class Extractor:
    """A network that turns images into features.

    settings: everything beside the pixels that decides the features. compute: NHWC uint8 -> [N, D]. spaces: what is
    measured. logits: the columns of class logits, if it has any.
    """

    title: str
    settings: tuple[Any, ...]
    compute: Callable[[Pixels, torch.device], Features]
    spaces: tuple[Space, ...]
    logits: slice | None = None


TITLES = {
    "whole": "the whole (EfficientNet-Lite0, 1280 values)",
    "layout": "the layout (EfficientNet-Lite0, 112 values in 7 x 7 places)",
    "eyes": "the eyes (EfficientNet-Lite0 of a band around them, 1280 values)",
    "colour": "colour (mean and spread of L*a*b*)",
}


def from_the_box(band: Band | None) -> Extractor:
    """What comes with the installation, EfficientNet-Lite0 and colour; band: around the eyes, where faces have them."""
    widths = offline.widths(band)
    ends = np.cumsum(list(widths.values())).tolist()
    columns = (slice(end - width, end) for end, width in zip(ends, widths.values(), strict=True))

    def compute(pictures: Pixels, device: torch.device) -> Features:
        parts = offline.features(pictures, band, device).values()
        return np.concatenate([part.astype(np.float32) for part in parts], axis=1)

    return Extractor(
        "EfficientNet-Lite0 and colour",
        (code.key_of_modules(offline.__name__), dataclasses.astuple(band) if band else None),
        compute,
        tuple(
            Space(TITLES[name], f"_{name}", part, name == "whole", name, {"kernel": f"distance_{name}"})
            for name, part in zip(widths, columns, strict=True)
        ),
    )


def published(path: Path) -> Extractor:
    """The 2015 Inception; path: its weights."""
    pool = slice(0, inception.WIDTH)
    return Extractor(
        "Inception-v3 of 2015",
        (inception.EXTRACTOR, inception.version(), inception.LAYERS, files.sha256_of(path)),
        lambda pictures, device: inception.extract(path, pictures, device),
        (Space("Inception-v3 of 2015, pool3 (2048 values)", "", pool, names={"frechet": "fid", "kernel": "kid"}),),
        slice(inception.WIDTH, None),
    )


def dino(path: Path) -> Extractor:
    """DINOv2 (Stein et al. 2023); path: its weights."""
    names = {"frechet": "fd_dinov2", "kernel": "kd_dinov2"}
    return Extractor(
        dinov2.TITLE,
        (dinov2.EXTRACTOR, code.key_of_modules(dinov2.__name__), files.sha256_of(path)),
        lambda pictures, device: dinov2.extract(path, pictures, device),
        (Space(dinov2.TITLE, "_dinov2", slice(0, dinov2.WIDTH), names=names),),
    )


def cached(extractor: Extractor, pictures: Pixels, device: torch.device) -> Features:
    """Features of the pictures, from `.work/features` if they have been computed before, which is then printed.

    They are mapped, as the pictures may be: neither is in memory as a whole.
    """
    key = files.key_of(digest(pictures), pictures.shape, extractor.settings, torch.__version__, device.type)
    path = stage.work_root() / "features" / f"{key}.npy"
    try:
        known: Features = arrays.load(path)
        os.utime(path)  # semireal.prune keeps what was used last
    except (OSError, ValueError, EOFError):  # not there, or damaged
        pass
    else:
        stage.say(f"{extractor.title} of {len(pictures)} images from the cache, {path.name}")
        return known
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = (np.ascontiguousarray(pictures[part]) for part in distances.slices(len(pictures), BLOCK))
    arrays.save(path, len(pictures), (extractor.compute(block, device) for block in blocks))
    return arrays.load(path)


def digest(pictures: Pixels) -> str:
    """SHA-256 of the pixels as hex digits."""
    found = hashlib.sha256()
    for part in distances.slices(len(pictures), BLOCK):
        found.update(np.ascontiguousarray(pictures[part]).data)
    return found.hexdigest()
