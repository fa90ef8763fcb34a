"""Stage blend: which network is sampled and measured."""

import dataclasses
from pathlib import Path

import pytest
import torch

from semireal.errors import UserError
from semireal.files import sha256_of
from semireal.params.blend import Blend
from semireal.stylegan2 import Config, load_networks, save_networks
from semireal.stylegan2.between import blended
from semireal.stylegan2.networks import build_generator
from semireal.training import dial
from semireal.training.blend import Given, Recipe, make, recipe_of

CONFIG = Config(img_resolution=16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=16)


def write(path: Path, tuned: int, config: Config = CONFIG, seed: int = 0) -> Path:
    """A generator of a seed, moved from there by the seed of a fine-tuning."""
    weights = build_generator(config, seed).state_dict()
    rng = torch.Generator().manual_seed(tuned)
    for name, tensor in weights.items():
        if not name.endswith(("noise_const", "resample_filter")):
            tensor.add_(torch.randn(tensor.shape, generator=rng) * 0.2)
    path.parent.mkdir(exist_ok=True)
    save_networks(path, config, weights, None, {"epochs": tuned})
    return path


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stage train leaves, beside the base that it came from; the current folder is theirs."""
    monkeypatch.chdir(tmp_path)
    write(Path("base.safetensors"), 1)
    write(Path("models/generator.safetensors"), 2)
    write(Path("models/best.safetensors"), 3)
    return Path("models")


OUT = Path("models/network.safetensors")


def given(from_: int, amount: float, snapshot: str = "last", base: str = "base.safetensors") -> Given:
    return Given(Blend(base, from_, amount), snapshot)


@pytest.mark.parametrize(("snapshot", "file"), [("last", "generator"), ("best", "best")])
def test_the_whole_of_the_trained_network_is_its_own_bytes(models: Path, snapshot: str, file: str) -> None:
    """Also where there is no base to blend with."""
    Path("noise.init").write_text("from noise")
    make(models, OUT, given(0, 1, snapshot, "noise.init"))
    assert OUT.read_bytes() == (models / f"{file}.safetensors").read_bytes()
    assert recipe_of(OUT) is None


def test_what_is_at_the_name_of_the_model_is_not_written_into(models: Path) -> None:
    """It may be a link to the cache of DVC, and so may what it is copied from."""
    cached = Path("cached")
    cached.write_bytes((models / "generator.safetensors").read_bytes())
    cached.chmod(0o444)
    (models / "generator.safetensors").unlink()
    (models / "generator.safetensors").symlink_to(cached.absolute())
    OUT.symlink_to(cached.absolute())
    make(models, OUT, given(8, 0.5))
    make(models, OUT, given(0, 1))
    assert (OUT.is_symlink(), OUT.stat().st_nlink, cached.stat().st_nlink) == (False, 1, 1)
    assert cached.stat().st_mode & 0o777 == 0o444
    assert OUT.read_bytes() == cached.read_bytes()


@pytest.mark.parametrize(("from_", "amount"), [(0, 0.5), (4, 1.0), (8, 0.25), (16, 0.0)])
def test_the_stage_and_the_command_make_the_same_bytes(models: Path, from_: int, amount: float) -> None:
    make(models, OUT, given(from_, amount, "best"))
    best = models / "best.safetensors"
    dial.run(Path("base.safetensors"), best, Path("other.safetensors"), from_, amount, None)
    assert OUT.read_bytes() == Path("other.safetensors").read_bytes()
    found = load_networks(OUT).generator
    expected = blended(load_networks(Path("base.safetensors")).generator, load_networks(best).generator, from_, amount)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    assert recipe_of(OUT) == Recipe(
        sha256_of(Path("base.safetensors")), sha256_of(models / "best.safetensors"), from_, amount
    )


def test_both_ends_of_all_of_it_are_exact(models: Path) -> None:
    for amount, end in [(0, "base.safetensors"), (1, "models/generator.safetensors")]:
        dial.run(Path("base.safetensors"), models / "generator.safetensors", OUT, 0, amount, None)
        found, expected = load_networks(OUT).generator, load_networks(Path(end)).generator
        assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def test_strangers_are_noted(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(models, OUT, given(8, 0.5))
    assert capsys.readouterr().err == ""
    write(Path("stranger.safetensors"), 1, seed=1)
    make(models, OUT, given(8, 0.5, base="stranger.safetensors"))
    assert "have no common ancestor" in capsys.readouterr().err


def test_mistakes_are_one_line_and_leave_what_is_there(models: Path) -> None:
    Path("noise.init").write_text("from noise")
    write(Path("wide.safetensors"), 1, dataclasses.replace(CONFIG, w_dim=9))
    Path("broken.safetensors").write_bytes(Path("base.safetensors").read_bytes()[:-9])
    OUT.write_text("what was there")
    nothing = "blend.base: noise.init stands for random networks, .*leave blend.from at 0 and blend.amount at 1"
    for one, message in [
        (given(8, 0.5, base="noise.init"), f"^{nothing}$"),
        (given(0, 0.5, base="noise.init"), f"^{nothing}$"),
        (given(8, 0.5, base="none"), "^blend.base: none not found"),
        (given(8, 0.5, base="wide.safetensors"), "^wide.safetensors and models/.*: found w_dim 9 and 8"),
        (given(8, 0.5, base="broken.safetensors"), "^broken.safetensors: missing or damaged"),
        (given(32, 0.5), "^blend.from: found 32, need one of 0, 4, 8, 16$"),
    ]:
        with pytest.raises(UserError, match=message) as error:
            make(models, OUT, one)
        assert str(error.value).isprintable()
    (models / "generator.safetensors").write_bytes(b"half")
    for one in (given(0, 1), given(8, 0.5)):
        with pytest.raises(UserError, match=r"generator\.safetensors: is damaged"):
            make(models, OUT, one)
    assert OUT.read_text() == "what was there"


@pytest.mark.parametrize("extra", [{"base": 1}, [], {"base": "a", "child": "b", "from": "16", "amount": 0.5}, "x"])
def test_a_recipe_that_is_none_is_one_line(models: Path, extra: object) -> None:
    networks = load_networks(models / "best.safetensors")
    save_networks(OUT, networks.config, networks.generator, None, {"blend": extra})
    with pytest.raises(UserError, match=r"^models/network\.safetensors: damaged: blend.*Make or fetch the file again"):
        recipe_of(OUT)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"from_": 12}, "blend.from: found 12, need 0 or a power of two from 4 up"),
        ({"from_": 2}, "blend.from: found 2, need 0"),
        ({"base": ""}, "blend.base: found '', need the path of a file"),
        ({"base": "https://x.org/a.pkl"}, "blend.base: found 'https://x.org/a.pkl', need the path"),
    ],
)
def test_numbers_that_no_network_has(values: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Blend(**{"base": "x", "from_": 8, "amount": 0.5} | values)  # type: ignore[arg-type]
