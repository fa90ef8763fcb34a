from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import texture
from semireal import files
from semireal.images import Pixels
from semireal.metrics import inception, offline
from semireal.metrics.distances import Features
from semireal.stylegan2 import Config, Generator
from semireal.stylegan2.networks import build_generator
from semireal.stylegan2.training import CHOOSES, MEASURES, VARIETY
from semireal.tensors import to_uint8
from semireal.training import monitor
from semireal.training.monitor import Monitor
from semireal.vision import weights
from semireal.vision.looks import Band

CPU = torch.device("cpu")
BAND = Band(0.3, 0.6, 0.2, 0.8)


@pytest.fixture(scope="module")
def generator() -> Generator:
    config = Config(img_resolution=16, z_dim=4, w_dim=4, mapping_layers=2, channel_base=64, channel_max=8)
    return build_generator(config, 0).eval()


def drawn(G: Generator, count: int) -> Pixels:
    """What the generator draws, as real images: with other latents than a monitor's."""
    z = torch.randn([count, G.config.z_dim], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return to_uint8(G(z, noise="const"))


def test_a_perfect_generator_is_near_and_another_is_not(generator: Generator) -> None:
    near = Monitor(drawn(generator, 40), BAND, False, CPU)(generator)
    far = Monitor(np.stack([texture(n, 16, 16) for n in range(40)]), BAND, False, CPU)(generator)
    assert set(near) == set(MEASURES) - {"snapshot_kid"}
    for name in ("whole", "layout", "eyes", "colour"):
        assert abs(near[f"snapshot_{name}"]) < 0.2 * far[f"snapshot_{name}"], name
    assert near[CHOOSES] == pytest.approx(sum(near[f"snapshot_{name}"] for name in ("whole", "layout", "eyes")))
    assert near[VARIETY] == pytest.approx(1, abs=0.2)


def test_eyes_are_left_out_without_a_band(generator: Generator) -> None:
    found = Monitor(drawn(generator, 8), None, False, CPU)(generator)
    assert "snapshot_eyes" not in found
    assert found[CHOOSES] == pytest.approx(found["snapshot_whole"] + found["snapshot_layout"])


def test_of_few_real_images_twice_as_many_are_drawn(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    features = offline.features

    def counting(pictures: Pixels, band: Band | None, device: torch.device) -> dict[str, Features]:
        seen.append(len(pictures))
        return features(pictures, band, device)

    monkeypatch.setattr(offline, "features", counting)
    monkeypatch.setattr(monitor, "IMAGES", 12)
    for count in (5, 20):
        measure = Monitor(drawn(generator, count), None, False, CPU)
        measure(generator)
        measure(generator)  # the real ones are looked at once
    assert seen == [10, 5, 10, 12, 12, 12]


def test_inception_chooses_where_it_is_asked_for(
    generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Inception itself is tried in test_inception.py; here a random projection takes its place."""
    file = tmp_path / "weights.pth"
    file.write_bytes(b"weights")
    monkeypatch.setattr(weights, "INCEPTION", replace(weights.INCEPTION, sha256=files.sha256_of(file)))
    monkeypatch.setenv(inception.ENV, str(file))
    turn = np.random.default_rng(0).normal(size=(16 * 16 * 3, inception.WIDTH + 1008)) / 5000
    monkeypatch.setattr(inception, "extract", lambda path, shown, device: shown.reshape(len(shown), -1) @ turn)
    found = Monitor(np.stack([texture(n, 16, 16) for n in range(20)]), None, True, CPU)(generator)
    assert found[CHOOSES] == found["snapshot_kid"]
    assert "snapshot_whole" in found
