from pathlib import Path

import numpy as np
import pytest
import torch

from semireal import images, tensors
from semireal.params.sample import Sample
from semireal.stylegan2 import Config, Generator, save_networks
from semireal.stylegan2.networks import build_generator
from semireal.training import sample

CONFIG = Config(img_resolution=16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=16)
PARAMS = Sample(snapshot="last", psi=0.5, seeds=5, psi_steps=3, mix_rows=2)


@pytest.fixture
def generator() -> Generator:
    G = build_generator(CONFIG, seed=0).eval().requires_grad_(False)
    G.mapping.w_avg.copy_(torch.randn(8, generator=torch.Generator().manual_seed(1)))
    return G


def test_run_writes_all_pictures(generator: Generator, tmp_path: Path) -> None:
    save_networks(tmp_path / "g.safetensors", CONFIG, generator.state_dict(), None, {})
    out = tmp_path / "out"
    out.mkdir()
    sample.run(tmp_path / "g.safetensors", out, PARAMS)
    sizes = {f.name: images.load_rgb(f).shape for f in out.rglob("*.png")}
    assert sizes == {f"seed{n:05d}.png": (16, 16, 3) for n in range(5)} | {
        "grid.png": (16, 8 * 16, 3),
        "psi_row.png": (3 * 16, 3 * 16, 3),
        "style_mix.png": (3 * 16, 3 * 16, 3),
    }
    first = images.load_rgb(out / "images/seed00003.png")
    assert np.array_equal(first, images.load_rgb(out / "grid.png")[:, 3 * 16 : 4 * 16])


def test_an_image_depends_on_its_seed_alone(generator: Generator) -> None:
    many = sample.draw(generator, range(20), 0.7)
    for seed in (0, 7, 19):
        # the sums of a convolution are ordered differently in another batch: one grey level at most
        alone = sample.draw(generator, range(seed, seed + 1), 0.7)[0]
        assert np.abs(alone.astype(int) - many[seed]).max() <= 1


def test_psi_0_is_the_average_face(generator: Generator) -> None:
    average = sample.draw(generator, range(3), 0.0)
    assert np.array_equal(average[0], average[1])
    row = sample.psi_row(generator, 3)
    assert np.array_equal(row[:16, :16], average[0])
    assert np.array_equal(row[16:32, 32:48], sample.draw(generator, range(3), 1.0)[1])


def test_style_mix_takes_coarse_layers_from_the_row(generator: Generator) -> None:
    """With layers from both: mixing a latent with itself would be itself, so compare with the definition."""
    mixed = sample.style_mix(generator, 2, 1.0)
    ws = generator.mapping(sample.latents(range(4), 8))
    expected = ws[2:3].clone()
    expected[:, : ws.shape[1] // 2] = ws[1, : ws.shape[1] // 2]
    picture = tensors.to_uint8(generator.synthesis(expected, noise="const"))[0]
    cell = mixed[2 * 16 :, 16 : 2 * 16]
    assert np.abs(cell.astype(int) - picture).max() <= 1
    source = tensors.to_uint8(generator.synthesis(ws[1:2], noise="const"))[0]
    assert np.abs(mixed[2 * 16 :, :16].astype(int) - source).max() <= 1
