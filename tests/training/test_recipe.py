import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from conftest import ROOT
from semireal import cli, images, tensors
from semireal.errors import UserError
from semireal.stylegan2 import Config, Generator, load_generator, save_networks
from semireal.stylegan2.networks import build_generator
from semireal.training import recipe, sample
from semireal.training.recipe import Recipe

CONFIG = Config(img_resolution=32, z_dim=8, w_dim=8, mapping_layers=2, channel_base=256, channel_max=16)
PLAIN = Recipe(network="0" * 64, seed=7, psi=0.6, noise="const", mix_seed=None, mix_from=None)
RECIPES = st.builds(
    dataclasses.replace,
    st.just(PLAIN),
    seed=st.integers(0, 2**53),
    psi=st.floats(-2, 2),
    noise=st.sampled_from(["const", "none"]),
)
WILD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**400, "\ud800", -0.0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def network_of(path: Path, seed: int) -> Path:
    """A file of a generator in which noise and psi show."""
    G = build_generator(CONFIG, seed).requires_grad_(False)
    G.mapping.w_avg.copy_(torch.randn(8, generator=torch.Generator().manual_seed(seed)))
    for block in G.synthesis.blocks():
        for layer in block.layers():
            layer.noise_strength.fill_(0.5)
    save_networks(path, CONFIG, G.state_dict(), None, {})
    return path


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return network_of(tmp_path / "g.safetensors", 0)


@pytest.fixture
def generator(network: Path) -> Generator:
    return load_generator(network)


@pytest.mark.parametrize("more", [[], ["--noise", "none"], ["--mix-seed", "9", "--mix-from", "16"]])
def test_a_recipe_makes_the_same_bytes_again(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    """As typed, from below the repository: with the paths of there."""
    monkeypatch.chdir(ROOT / "docs")
    face, again = tmp_path / "new/face.png", tmp_path / "again.png"
    cli.run("sample", "--seed", "7", "--psi", "0.6", *more, "--network", str(network), "--out", str(face))
    assert sorted(path.name for path in face.parent.iterdir()) == ["face.json", "face.png"]
    cli.run("sample", "--recipe", str(face.with_suffix(".json")), "--network", str(network), "--out", str(again))
    assert again.read_bytes() == face.read_bytes()
    assert not again.with_suffix(".json").exists()


def test_the_picture_is_that_of_the_stage(generator: Generator) -> None:
    expected = sample.draw(generator, range(7, 8), 0.6)[0]
    assert np.array_equal(recipe.draw(generator, PLAIN), expected)


def test_everything_that_a_recipe_says_shows(generator: Generator) -> None:
    changed: list[dict[str, Any]] = [
        {"seed": 8},
        {"psi": 0.5},
        {"noise": "none"},
        {"mix_seed": 9, "mix_from": 16},
        {"mix_seed": 9, "mix_from": 32},
    ]
    drawn = [recipe.draw(generator, dataclasses.replace(PLAIN, **change)).tobytes() for change in [{}, *changed]]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("resolution", [8, 16, 32])
def test_fine_layers_come_from_the_other_seed(generator: Generator, resolution: int) -> None:
    """Features of coarser blocks are those of the seed, and the first others are those of that resolution."""
    seen: dict[str, list[torch.Tensor]] = {}
    for name, block in generator.synthesis.named_children():
        block.register_forward_hook(lambda _, __, out, name=name: seen.setdefault(name, []).append(out[0]))
    mixed = dataclasses.replace(PLAIN, mix_seed=9, mix_from=resolution)
    recipe.draw(generator, PLAIN)
    picture = recipe.draw(generator, mixed)
    same = [int(name[1:]) for name, (plain, other) in seen.items() if torch.equal(plain, other)]
    assert same == [one for one in CONFIG.block_resolutions() if one < resolution]
    coarse, fine = (generator.mapping(sample.latents(range(seed, seed + 1), 8), psi=0.6)[0] for seed in (7, 9))
    first = {8: 1, 16: 3, 32: 5}[resolution]
    by_hand = torch.cat([coarse[:first], fine[first:]])[None]
    assert np.array_equal(tensors.to_uint8(generator.synthesis(by_hand, noise="const"))[0], picture)


def test_mixing_a_seed_with_itself_is_itself(generator: Generator) -> None:
    itself = dataclasses.replace(PLAIN, mix_seed=PLAIN.seed, mix_from=16)
    assert np.array_equal(recipe.draw(generator, itself), recipe.draw(generator, PLAIN))


def test_another_network_is_refused_in_one_line(network: Path, tmp_path: Path) -> None:
    beside = recipe.new(dataclasses.replace(PLAIN, network=recipe.hash_of(network)), network, tmp_path / "face.png")
    other = network_of(tmp_path / "other.safetensors", 1)
    with pytest.raises(UserError, match=r"other\.safetensors: another network than the recipe's .*--network$"):
        recipe.again(recipe.read(beside), other, tmp_path / "again.png")
    assert not (tmp_path / "again.png").exists()


def test_what_cannot_be_is_named(network: Path, tmp_path: Path, generator: Generator) -> None:
    with pytest.raises(UserError, match=r"^mix_from: found 24, need one of 8, 16, 32$"):
        recipe.draw(generator, dataclasses.replace(PLAIN, mix_seed=9, mix_from=24))
    with pytest.raises(UserError, match="need both, or neither"):
        dataclasses.replace(PLAIN, mix_from=16)
    with pytest.raises(UserError, match="psi: found nan"):
        dataclasses.replace(PLAIN, psi=float("nan"))
    with pytest.raises(UserError, match=r"ends in \.png"):
        recipe.new(PLAIN, network, tmp_path / "face.jpg")
    with pytest.raises(UserError, match="missing"):
        recipe.hash_of(tmp_path / "no.safetensors")
    with pytest.raises(UserError, match="not found"):
        recipe.read(tmp_path / "no.json")
    with pytest.raises(UserError, match="Is a directory"):
        recipe.read(tmp_path)


def test_recipe_and_other_settings_exclude_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    out = str(tmp_path / "x.png")
    with pytest.raises(UserError, match="--recipe says all of it: leave out --mix-from"):
        cli.run("sample", "--recipe", "face.json", "--mix-from", "8", "--out", out)
    with pytest.raises(UserError, match="need --seed or --recipe"):
        cli.run("sample", "--psi", "0.5", "--out", out)


def one_line(error: UserError, path: Path) -> None:
    assert str(error).startswith(f"{path}: ")
    assert "\n" not in str(error)
    assert "params.yaml" not in str(error)  # which is what else is read so
    assert len(str(error)) < 1000


def taken(content: bytes) -> Recipe | None:
    """The recipe of a file of this content; None where it is refused, in one line that names the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wild.json"
        path.write_bytes(content)
        try:
            return recipe.read(path)
        except UserError as error:
            one_line(error, path)
            return None


@given(RECIPES)
def test_what_was_written_is_read(given_: Recipe) -> None:
    assert taken(json.dumps(dataclasses.asdict(given_)).encode()) == given_


@given(WILD)
@example({})
@example([dataclasses.asdict(PLAIN)])
def test_no_other_json_is_a_recipe(content: Any) -> None:
    assert taken(json.dumps(content).encode()) is None


@given(st.sampled_from([field.name for field in dataclasses.fields(Recipe)]), WILD)
def test_a_wild_value_is_refused_or_makes_sense(name: str, value: Any) -> None:
    found = taken(json.dumps(dataclasses.asdict(PLAIN) | {name: value}).encode())
    if found is not None:
        assert (type(found.seed), type(found.psi)) == (int, float)
        assert 0 <= found.seed <= 2**53
        assert -2 <= found.psi <= 2
        assert found.noise in ("const", "none")
        assert (found.network, found.mix_seed, found.mix_from) == (PLAIN.network, None, None)


@given(st.text(min_size=1, max_size=8).filter(lambda name: name not in dataclasses.asdict(PLAIN)), WILD)
def test_an_unknown_value_is_refused(name: str, value: Any) -> None:
    assert taken(json.dumps(dataclasses.asdict(PLAIN) | {name: value}).encode()) is None


@given(st.binary(max_size=50))
@example(b"\xff")
@example(b"[" * 5000)
@example(b" " * 20_000)
@example(b'{"seed": 1, "seed": 2}')
def test_no_bytes_of_another_kind_are_a_recipe(content: bytes) -> None:
    assert taken(content) is None


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Recipe)])
def test_a_missing_value_is_named(name: str, tmp_path: Path) -> None:
    given_ = dataclasses.asdict(PLAIN)
    del given_[name]
    (tmp_path / "x.json").write_text(json.dumps(given_))
    with pytest.raises(UserError, match=f"{name}: missing parameter"):
        recipe.read(tmp_path / "x.json")


def test_the_file_is_the_picture(network: Path, tmp_path: Path, generator: Generator) -> None:
    recipe.new(dataclasses.replace(PLAIN, network=recipe.hash_of(network)), network, tmp_path / "face.png")
    assert np.array_equal(images.load_rgb(tmp_path / "face.png"), recipe.draw(generator, PLAIN))
