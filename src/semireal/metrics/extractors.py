"""Feature extractors by name, and a cache of what they gave, keyed by content.

The key of a cached array is a hash of the pixels, the extractor with its weights, and the versions that compute it;
never a path or a name. A changed dataset is another key.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semireal import code, files, stage
from semireal.files import write_atomic
from semireal.images import Pixels
from semireal.metrics import features, inception
from semireal.metrics.distances import Features

PUBLISHED = {"frechet": "fid", "kernel": "kid"}  # what the field calls these distances on Inception features


@dataclass(frozen=True)
class Extractor:
    """A network that turns images into features.

    title: for people. suffix: of the names of all metrics on these features, "" for the published ones.
    settings: everything beside the pixels that decides the features. compute: NHWC uint8 -> [N, D].
    width: the first so many columns are the features; others are class logits.
    """

    title: str
    suffix: str
    settings: tuple[Any, ...]
    compute: Callable[[Pixels, torch.device], Features]
    width: int

    def name(self, kind: str) -> str:
        """The name of a metric on these features: frechet -> frechet_r64, or fid."""
        return kind + self.suffix if self.suffix else PUBLISHED.get(kind, kind)


def r64() -> Extractor:
    """The offline extractor."""
    return Extractor(
        "R64 (random VGG16, 64 values)",
        "_r64",
        ("R64", code.key_of_modules(features.__name__)),
        lambda pictures, device: features.extract(features.r64(), pictures, device),
        64,
    )


def published(path: Path) -> Extractor:
    """The 2015 Inception; path: its weights."""
    return Extractor(
        "Inception-v3 of 2015, pool3 (2048 values)",
        "",
        (inception.EXTRACTOR, inception.version(), inception.LAYERS, files.sha256_of(path)),
        lambda pictures, device: inception.extract(path, pictures, device),
        inception.WIDTH,
    )


def cached(extractor: Extractor, pictures: Pixels, device: torch.device) -> Features:
    """Features of the pictures, from `.work/features` if they have been computed before, which is then printed."""
    digest = hashlib.sha256(np.ascontiguousarray(pictures).data).hexdigest()
    key = files.key_of(digest, pictures.shape, extractor.settings, torch.__version__, device.type)
    path = stage.work_root() / "features" / f"{key}.npy"
    if path.is_file():
        stage.say(f"evaluate: {extractor.title} of {len(pictures)} images from the cache, {path.name}")
        return np.asarray(np.load(path, allow_pickle=False))
    found = extractor.compute(pictures, device)
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, found, allow_pickle=False)
    write_atomic(path, buffer.getvalue())
    return found
