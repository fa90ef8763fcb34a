import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import texture
from semireal import images
from semireal.metrics import dinov2, extractors, inception, offline
from semireal.metrics.distances import Features
from semireal.metrics.extractors import Extractor, Space
from semireal.vision import looks
from semireal.vision.looks import Band

CPU = torch.device("cpu")
BAND = Band(0.3, 0.6, 0.2, 0.8)


def pictures(start: int, count: int) -> images.Pixels:
    return np.stack([texture(n, 32, 32) for n in range(start, start + count)])


def counting(calls: list[int], version: str = "1") -> Extractor:
    """Mean colours, and how often they were computed."""

    def compute(shown: images.Pixels, _: torch.device) -> Features:
        calls.append(len(shown))
        return np.asarray(shown.mean(axis=(1, 2)))

    return Extractor("means", ("means", version), compute, (Space("means", "_m", slice(0, 3)),))


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


@pytest.mark.parametrize("left", [0, 5, 100, -1])
def test_a_damaged_file_of_the_cache_is_made_anew(work_root: Path, left: int) -> None:
    calls: list[int] = []
    first = extractors.cached(counting(calls), pictures(0, 4), CPU).copy()  # and not the file that is cut off
    (path,) = (work_root / ".work/features").glob("*.npy")
    whole = path.read_bytes()
    path.write_bytes(whole[:left])
    assert np.array_equal(extractors.cached(counting(calls), pictures(0, 4), CPU), first)
    assert path.read_bytes() == whole
    assert calls == [4, 4]


def test_names_say_what_the_features_are(tmp_path: Path) -> None:
    kinds = ("frechet", "kernel", "precision")
    whole, layout, eyes, colour = extractors.from_the_box(BAND).spaces
    assert [whole.name(kind) for kind in kinds] == ["frechet_whole", "distance_whole", "precision_whole"]
    assert [space.name("kernel") for space in (layout, eyes, colour)] == [
        *("distance_layout", "distance_eyes", "distance_colour")
    ]
    (tmp_path / "w").write_bytes(b"weights")
    published, dino = (make(tmp_path / "w").spaces[0] for make in (extractors.published, extractors.dino))
    assert [published.name(kind) for kind in kinds] == ["fid", "kid", "precision"]
    assert [dino.name(kind) for kind in kinds] == ["fd_dinov2", "kd_dinov2", "precision_dinov2"]


def test_columns_are_those_of_the_features() -> None:
    for band in (BAND, None):
        extractor = extractors.from_the_box(band)
        found, parts = extractor.compute(pictures(0, 2), CPU), offline.features(pictures(0, 2), band, CPU)
        assert len(extractor.spaces) == len(parts) == (4 if band else 3)
        for space, (name, part) in zip(extractor.spaces, parts.items(), strict=True):
            assert space.suffix == f"_{name}"
            assert np.array_equal(found[:, space.columns], part.astype(np.float32)), name
        assert found.shape[1] == sum(part.shape[1] for part in parts.values())


def test_another_band_is_another_cache() -> None:
    moved = dataclasses.replace(BAND, top=BAND.top + 0.01)
    settings = [extractors.from_the_box(band).settings for band in (BAND, moved, None)]
    assert len(set(settings)) == 3


def test_colour_by_hand() -> None:
    grey, red = np.full((1, 4, 4, 3), 119, np.uint8), np.zeros((1, 4, 4, 3), np.uint8)
    red[..., 0] = 255
    found = offline.colour(np.concatenate([grey, red]))
    assert found.shape == (2, offline.COLOURS)
    assert found[0, 1:] == pytest.approx(0, abs=0.05)  # neither red nor blue, and all of one lightness
    # sRGB red is L* = 53.2, a* = 80.1, b* = 67.2; 8 bits hold L* * 255 / 100, a* + 128, b* + 128
    assert found[1, :3] * offline.UNIT == pytest.approx([53.2 * 2.55 - 128, 80.1, 67.2], abs=1)


def test_blocks_of_pictures_have_the_features_of_all(work_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = pictures(0, 2 * looks.BATCH + 3)
    extractor = extractors.from_the_box(BAND)
    monkeypatch.setattr(extractors, "BLOCK", looks.BATCH)
    found = extractors.cached(extractor, shown[:, :, ::-1], CPU)
    assert np.array_equal(found, extractor.compute(np.ascontiguousarray(shown[:, :, ::-1]), CPU))
    assert extractors.digest(shown) == hashlib.sha256(shown.tobytes()).hexdigest()


def test_a_block_is_whole_batches() -> None:
    assert [extractors.BLOCK % batch for batch in (looks.BATCH, inception.BATCH, dinov2.BATCH)] == [0, 0, 0]
