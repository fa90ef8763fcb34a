"""A blend as a file and as a picture."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from semireal import cli, images
from semireal.errors import UserError
from semireal.params.sample import Sample
from semireal.pipeline import export
from semireal.stylegan2 import Config, load_generator, load_networks, save_networks
from semireal.stylegan2.between import blended
from semireal.stylegan2.networks import build_discriminator, build_generator
from semireal.training import dial, sample

CONFIG = Config(img_resolution=16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=16)


def write(path: Path, config: Config = CONFIG, seed: int = 0, tuned: int | None = None) -> Path:
    """A file of networks; tuned: the seed of a fine-tuning."""
    weights = build_generator(config, seed).state_dict()
    rng = torch.Generator().manual_seed(tuned or 0)
    for name, tensor in weights.items():
        if tuned is not None and not name.endswith(("noise_const", "resample_filter")):
            tensor.add_(torch.randn(tensor.shape, generator=rng) * 0.2)
    save_networks(path, config, weights, build_discriminator(config, seed).state_dict(), {})
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(tmp_path / "base.safetensors")


@pytest.fixture
def child(tmp_path: Path) -> Path:
    return write(tmp_path / "child.safetensors", tuned=1)


def test_the_command_writes_the_blend_and_says_so(
    base: Path, child: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out.safetensors").write_text("an older file")
    cli.run("blend", "base.safetensors", "child.safetensors", "out.safetensors", "--from", "8", "--amount", "0.25")
    out, err = capsys.readouterr()
    way = "base.safetensors below 8x8, from there on 0.25 of the way to child.safetensors"
    assert (out, err) == (f"{tmp_path / 'out.safetensors'}: 16x16 pixels, {way}\n", "")
    found = load_networks(Path("out.safetensors"))
    expected = blended(load_networks(base).generator, load_networks(child).generator, 8, 0.25)
    assert found.config == CONFIG
    assert found.discriminator is None
    assert found.generator.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.generator.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{x}.safetensors" for x in ("base", "child", "out")]


def test_equal_content_gives_equal_bytes_and_the_recipe(base: Path, child: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(base.read_bytes())
    dial.run(base, child, one, 8, 1, None)
    dial.run(moved, child, other, 8, 1.0, None)
    assert one.read_bytes() == other.read_bytes()
    with safe_open(one, "pt") as file:
        extra = json.loads(file.metadata()["semireal"])["extra"]
    hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in (("base", base), ("child", child))}
    assert extra == {"blend": {**hashes, "from": 8, "amount": 1.0}}
    dial.run(base, child, other, 8, 0.5, None)
    assert one.read_bytes() != other.read_bytes()


def test_it_is_a_network_as_any_other(base: Path, child: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    dial.run(base, child, out, 8, 0.5, None)
    (tmp_path / "samples").mkdir()
    sample.run(out, tmp_path / "samples", Sample(snapshot="last", psi=0.5, seeds=2, psi_steps=2, mix_rows=1))
    assert (tmp_path / "samples/style_mix.png").exists()
    export.run(out, tmp_path / "exported.safetensors", "safetensors", tmp_path)
    z = torch.ones(1, CONFIG.z_dim)
    assert torch.equal(load_generator(tmp_path / "exported.safetensors")(z), load_generator(out)(z))
    dial.run(out, child, tmp_path / "further.safetensors", 8, 0.5, None)


def test_the_sheet_shows_seeds_by_amounts(base: Path, child: Path, tmp_path: Path) -> None:
    dial.run(base, child, tmp_path / "out.safetensors", 8, 0.5, tmp_path / "sheet.png")
    sheet = images.load_rgb(tmp_path / "sheet.png")
    side, rows, columns = 16, len(dial.SEEDS), len(dial.AMOUNTS)
    assert sheet.shape == (rows * side, columns * side, 3)
    cells = sheet.reshape(rows, side, columns, side, 3).transpose(2, 0, 1, 3, 4)
    assert np.array_equal(cells[0], sample.draw(load_generator(base), dial.SEEDS, dial.PSI))
    assert np.array_equal(cells[2], sample.draw(load_generator(tmp_path / "out.safetensors"), dial.SEEDS, dial.PSI))
    dial.run(base, child, tmp_path / "end.safetensors", 8, 1, None)
    assert np.array_equal(cells[-1], sample.draw(load_generator(tmp_path / "end.safetensors"), dial.SEEDS, dial.PSI))
    assert not np.array_equal(cells[0], cells[-1])


def test_strangers_are_noted(base: Path, child: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dial.run(base, child, tmp_path / "out.safetensors", 8, 0.5, None)
    assert capsys.readouterr().err == ""
    stranger = write(tmp_path / "stranger.safetensors", seed=1)
    dial.run(base, stranger, tmp_path / "out.safetensors", 8, 0.5, None)
    note = capsys.readouterr().err
    assert note.startswith(f"note: {base} and {stranger} have no common ancestor")
    assert note.count("\n") == 1


def test_mistakes_are_one_line_and_write_nothing(base: Path, child: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.safetensors", dataclasses.replace(CONFIG, w_dim=9))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    out, png = tmp_path / "out.safetensors", tmp_path / "sheet.png"
    (tmp_path / "link.safetensors").symlink_to(base)
    link = tmp_path / "link.safetensors"
    cases: list[tuple[Path, Path, Path, int, float, Path, str]] = [
        (base, other, out, 8, 0.5, png, rf"^{base} and {other}: found w_dim 8 and 9\. Name"),
        (base, child, out, 32, 0.5, png, "^--from: found 32, need one of 0, 4, 8, 16$"),
        (base, child, out, 8, 2, png, "^--amount: found 2, need"),
        (base, child, out.with_suffix(".pkl"), 8, 0.5, png, r"out\.pkl: found the suffix '.pkl', need \.safetensors"),
        (base, child, out, 8, 0.5, png.with_suffix(".jpg"), r"sheet\.jpg: found the suffix '.jpg', need \.png"),
        (base, child, out, 8, 0.5, tmp_path / "no/x.png", "no folder"),
        (base, child, child, 8, 0.5, png, "^.*child.safetensors: is one of the networks to blend"),
        (base, child, link, 8, 0.5, png, "^.*link.safetensors: is one of the networks to blend"),
        (base, tmp_path / "none", out, 8, 0.5, png, "none: missing or damaged"),
    ]
    for a, b, target, first, amount, sheet, message in cases:
        with pytest.raises(UserError, match=message) as error:
            dial.run(a, b, target, first, amount, sheet)
        assert str(error.value).isprintable()
    link.unlink()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
