import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from conftest import ROOT
from semireal import cli
from semireal.errors import UserError
from semireal.images import Pixels
from semireal.stylegan2 import Config, Generator, load_generator, save_networks
from semireal.stylegan2.networks import build_generator
from semireal.training import interpolate, recipe, sample, video
from semireal.training.video import Walk

CONFIG = Config(img_resolution=16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=16)
WALK = Walk(seeds=(1, 5, 9), frames=7, loop=True, space="w", psi=0.9, noise="const", scale=1)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    G = build_generator(CONFIG, seed=0)
    save_networks(tmp_path / "g.safetensors", CONFIG, G.state_dict(), None, {})
    return tmp_path / "g.safetensors"


@pytest.fixture
def generator(network: Path) -> Generator:
    return load_generator(network)


@pytest.fixture
def with_av() -> None:
    pytest.importorskip("av", reason="PyAV is not installed: pip install --require-hashes -r requirements-video.txt")


def frames(G: Generator, walk: Walk) -> Pixels:
    return np.stack(list(video.frames(G, walk)))


def decoded(path: Path) -> tuple[str, Pixels]:
    """The codec and the frames of a video."""
    import av

    with av.open(str(path)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return container.streams.video[0].codec_context.name, np.stack(shown).astype(np.uint8)


@pytest.mark.parametrize("space", ["w", "z"])
@pytest.mark.parametrize("loop", [False, True])
def test_a_walk_visits_the_faces_of_its_seeds(generator: Generator, space: str, loop: bool) -> None:
    walk = dataclasses.replace(WALK, space=space, loop=loop)
    found = frames(generator, walk)
    assert len(found) == len(walk) == (21 if loop else 15)
    for seed, frame in zip(walk.seeds, found[::7], strict=False):
        face = recipe.Recipe("0" * 64, seed, walk.psi, "const", None, None)
        # another batch: one grey level at most
        assert np.abs(recipe.draw(generator, face).astype(int) - frame).max() <= 1


def test_between_faces_are_arcs_of_latents_or_lines_of_styles(generator: Generator) -> None:
    a, b = (sample.latents(range(seed, seed + 1), 8) for seed in (1, 5))
    share = torch.tensor([2 / 7], dtype=torch.float64)
    arc = generator.mapping(interpolate.slerp(a[0], b[0], share), psi=0.9)
    line = generator.mapping(a, psi=0.9).lerp(generator.mapping(b, psi=0.9), 2 / 7)
    for space, expected in {"z": arc, "w": line}.items():
        found = torch.cat(list(video.styles(generator, dataclasses.replace(WALK, space=space))))
        assert torch.allclose(found[2], expected[0], atol=1e-5)


@pytest.mark.parametrize("space", ["w", "z"])
def test_a_loop_closes_without_a_jump(generator: Generator, space: str) -> None:
    found = frames(generator, dataclasses.replace(WALK, space=space)).astype(int)
    steps = np.abs(np.roll(found, -1, axis=0) - found).mean(axis=(1, 2, 3))
    assert 0 < steps[-1] <= steps[:-1].max()


def test_frames_are_the_same_each_time_and_show_all_that_is_said(generator: Generator) -> None:
    changed: list[dict[str, Any]] = [
        {},
        {"seeds": (1, 5, 8)},
        {"frames": 8},
        {"loop": False},
        {"space": "z"},
        {"psi": 0.5},
    ]
    found = [frames(generator, dataclasses.replace(WALK, **change)).tobytes() for change in changed]
    assert len(set(found)) == len(found)
    assert found == [frames(generator, dataclasses.replace(WALK, **change)).tobytes() for change in changed]
    with torch.no_grad():
        for block in generator.synthesis.blocks():
            for layer in block.layers():
                layer.noise_strength.fill_(0.5)
    assert not np.array_equal(frames(generator, WALK), frames(generator, dataclasses.replace(WALK, noise="none")))


def test_enlarged_pixels_are_squares(generator: Generator) -> None:
    large = frames(generator, dataclasses.replace(WALK, scale=3))
    assert large.shape[1:] == (48, 48, 3)
    for y in range(3):
        for x in range(3):
            assert np.array_equal(large[:, y::3, x::3], frames(generator, WALK))


def test_a_gif_has_the_frames(network: Path, generator: Generator, tmp_path: Path) -> None:
    video.run(WALK, network, tmp_path / "new/walk.gif")
    with Image.open(tmp_path / "new/walk.gif") as gif:
        assert (gif.size, gif.info["loop"]) == ((16, 16), 0)
        shown = [
            np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif) if frame.info["duration"] == 40
        ]
    assert len(shown) == 21
    assert np.abs(np.stack(shown).astype(int) - frames(generator, WALK)).mean() < 4  # of 256 colours
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["walk.gif"]


@pytest.mark.usefixtures("with_av")
@pytest.mark.parametrize(("codec", "name"), [("libx264", "h264"), ("mpeg4", "mpeg4")])
@pytest.mark.parametrize("scale", [1, 4])
def test_an_mp4_is_decoded_again(
    network: Path,
    generator: Generator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    codec: str,
    name: str,
    scale: int,
) -> None:
    import av

    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    monkeypatch.setattr(video, "CODECS", {codec: video.CODECS[codec]})
    walk = dataclasses.replace(WALK, scale=scale)
    video.run(walk, network, tmp_path / "walk.mp4")
    found, shown = decoded(tmp_path / "walk.mp4")
    assert (found, shown.shape) == (name, (21, 16 * scale, 16 * scale, 3))
    error = np.abs(shown.astype(int) - frames(generator, walk)).mean()
    other = np.abs(shown[::-1].astype(int) - frames(generator, walk)).mean()
    assert error < 0.5 * other


@pytest.mark.usefixtures("with_av")
def test_an_mp4_has_true_colours(tmp_path: Path) -> None:
    colours = [(200, 30, 40), (30, 200, 40), (20, 40, 220), (255, 255, 255), (0, 0, 0)]
    video.write_mp4(tmp_path / "flat.mp4", [np.full((64, 64, 3), colour, np.uint8) for colour in colours])
    shown = decoded(tmp_path / "flat.mp4")[1]
    assert np.abs(shown.astype(int) - np.array(colours)[:, None, None]).max() <= 4


@pytest.mark.usefixtures("with_av")
def test_an_mp4_has_the_same_bytes_each_time(generator: Generator, tmp_path: Path) -> None:
    """With its tree of macroblocks, x264 looks at memory that nobody wrote, of pictures as small as these."""
    shown = frames(generator, dataclasses.replace(WALK, scale=4, frames=10))
    written = set()
    for n in range(8):
        np.full(10**6 * (n + 1), n, np.uint8)  # other memory
        video.write_mp4(tmp_path / "walk.mp4", shown)
        written.add((tmp_path / "walk.mp4").read_bytes())
    assert len(written) == 1


def test_without_pyav_the_command_that_installs_it_is_named(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install --require-hashes -r requirements-video\.txt; or take \.gif$"):
        video.run(WALK, network, tmp_path / "walk.mp4")
    video.run(WALK, network, tmp_path / "walk.gif")


def test_a_failure_leaves_the_old_video(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "walk.gif").write_bytes(b"old")

    def failing(path: Path, shown: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setitem(video.WRITERS, ".gif", failing)
    with pytest.raises(KeyboardInterrupt):
        video.run(WALK, network, tmp_path / "walk.gif")
    assert (tmp_path / "walk.gif").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.safetensors", "walk.gif"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "1,5", "--out", "walk.avi"], r"--out: found .*walk\.avi, need a name that ends in \.mp4 or \.gif"),
        (["--seeds", "1", "--out", "walk.gif"], "seeds: found 1, need at least 2"),
        (["--seeds", "1,x", "--out", "walk.gif"], "'--seeds': found '1,x', need whole numbers, such as 1,5,9"),
        (["--seeds", "1,-2", "--out", "walk.gif"], "seeds: found -2, need a whole number from 0"),
        (["--seeds", "1,2", "--psi", "nan", "--out", "walk.gif"], "psi: found nan"),
        (["--seeds", "1,2", "--frames", "0", "--out", "walk.gif"], "frames: found 0"),
        (["--seeds", "1,2", "--scale", "65", "--out", "walk.gif"], "scale: found 65"),
        (["--seeds", "1,2", "--in", "x", "--out", "walk.gif"], "'x' is not one of 'w', 'z'"),
    ],
)
def test_a_mistake_is_named(network: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=message):
        cli.run("video", "--network", str(network), *arguments)
    assert not list(ROOT.glob("walk.*"))


def test_what_players_do_not_show_is_refused(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "LARGEST", 40)
    with pytest.raises(UserError, match="scale: found 3, need at most 2: 32 px a side"):
        video.run(dataclasses.replace(WALK, scale=3), network, tmp_path / "walk.gif")


def test_as_typed(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "docs")
    arguments = ["--seeds", "1,5", "--frames", "4", "--loop", "--in", "z", "--scale", "2", "--network", str(network)]
    cli.run("video", *arguments, "--out", str(tmp_path / "a.gif"))
    cli.run("video", *arguments, "--out", str(tmp_path / "b.gif"))
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.size == (32, 32)
        assert len(list(ImageSequence.Iterator(gif))) == 8
