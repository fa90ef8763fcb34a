"""What is in a file decides how it is read, whatever its name is."""

import pickle
from pathlib import Path

import pytest
import torch

from semireal.errors import UserError
from semireal.stylegan2 import load_discriminator, load_generator, load_networks, save_networks
from semireal.stylegan2.networks import Config, build_discriminator, build_generator

SMALL = Config(8, z_dim=4, w_dim=4, mapping_layers=2, channel_base=64, channel_max=8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    G, D = build_generator(SMALL, 0), build_discriminator(SMALL, 0)
    save_networks(tmp_path / "g.safetensors", SMALL, G.state_dict(), D.state_dict(), {})
    return tmp_path / "g.safetensors"


@pytest.mark.parametrize("name", ["g.pkl", "content", "G.SAFETENSORS"])
def test_the_name_does_not_matter(file: Path, name: str) -> None:
    file.rename(file.with_name(name))
    assert load_networks(file.with_name(name)).config == SMALL
    (file.with_name(name)).write_bytes(pickle.dumps({"G_ema": None, "D": None}, protocol=4))
    with pytest.raises(UserError, match="has no G_ema"):
        load_networks(file.with_name(name))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!doctype html><p>Sign in", "is a web page"),
        (b"", "is damaged"),
        (b"GIF89a", "is damaged"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "net.pkl").write_bytes(content)
    with pytest.raises(UserError, match=rf"net\.pkl: {message}\. Need a \.safetensors"):
        load_networks(tmp_path / "net.pkl")


def test_a_checkpoint_of_pytorch_is_named(tmp_path: Path) -> None:
    torch.save({"g_ema": {"style.1.weight": torch.zeros(4, 4)}}, tmp_path / "stylegan2-ffhq.pt")
    with pytest.raises(UserError, match=r"is a PyTorch checkpoint .*\. Need a \.safetensors"):
        load_networks(tmp_path / "stylegan2-ffhq.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused(file: Path, value: float) -> None:
    weights = build_generator(SMALL, 0).state_dict()
    weights["synthesis.b8.conv1.weight"][0, 0, 0, 0] = value
    save_networks(file, SMALL, weights, None, {})
    with pytest.raises(UserError, match=r"G_ema\.synthesis\.b8\.conv1\.weight is not finite"):
        load_generator(file)


def test_a_discriminator_says_how_many_images_it_takes(file: Path) -> None:
    D = load_discriminator(file)
    for count in (1, 2, 3, 4, 8):
        assert D(torch.zeros(count, 3, 8, 8)).shape == (count, 1)
    for count in (5, 6):
        with pytest.raises(UserError, match=f"found {count} images, need a multiple of 4"):
            D(torch.zeros(count, 3, 8, 8))
