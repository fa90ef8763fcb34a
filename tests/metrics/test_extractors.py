from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import texture
from semireal import images
from semireal.metrics import extractors
from semireal.metrics.distances import Features
from semireal.metrics.extractors import Extractor

CPU = torch.device("cpu")


def pictures(start: int, count: int) -> images.Pixels:
    return np.stack([texture(n, 32, 32) for n in range(start, start + count)])


def counting(calls: list[int], version: str = "1") -> Extractor:
    """Mean colours, and how often they were computed."""

    def compute(shown: images.Pixels, _: torch.device) -> Features:
        calls.append(len(shown))
        return np.asarray(shown.mean(axis=(1, 2)))

    return Extractor("means", "_m", ("means", version), compute, 3)


def test_cache_goes_by_content(work_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[int] = []
    first = extractors.cached(counting(calls), pictures(0, 4), CPU)
    assert "cache" not in capsys.readouterr().err
    assert np.array_equal(extractors.cached(counting(calls), pictures(0, 4).copy(), CPU), first)
    assert "means of 4 images from the cache" in capsys.readouterr().err
    assert calls == [4]
    changed = pictures(0, 4)
    changed[2, 5, 5, 0] ^= 1  # one bit
    assert not np.array_equal(extractors.cached(counting(calls), changed, CPU), first)
    extractors.cached(counting(calls), pictures(0, 4)[::-1], CPU)  # another order
    extractors.cached(counting(calls, "2"), pictures(0, 4), CPU)  # other weights
    assert calls == [4, 4, 4, 4]


def test_names_say_what_the_features_are() -> None:
    offline = extractors.r64()
    assert [offline.name(kind) for kind in ("frechet", "kernel", "blend")] == ["frechet_r64", "kernel_r64", "blend_r64"]
    public = Extractor("", "", (), lambda shown, device: np.zeros((len(shown), 1)), 1)
    assert [public.name(kind) for kind in ("frechet", "kernel", "precision")] == ["fid", "kid", "precision"]
