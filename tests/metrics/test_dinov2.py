import importlib.util
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity
from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2

from conftest import Server, texture
from semireal import files, images
from semireal.errors import UserError
from semireal.images import Pixels
from semireal.metrics import dinov2, distances
from semireal.vision import weights

CPU = torch.device("cpu")
FACTORS = re.compile(r"gamma|norm\d?\.weight")  # parameters that are around 1 in weights of the test
SMALL = ("cls_token", "pos_embed")  # so that it matters what normalizations add to the variance
# of features of `texture(0, 40, 40)` with the weights of `small`, as facebookresearch/dinov2 at commit b8931f7 computes
# them (DinoVisionTransformer, set up as its hub does, of this size), behind torch-fidelity 0.4.0
PUBLISHED = [-0.57705, 0.334739, 0.361079, 0.469635, -2.43555, -0.465417, 0.115913, 0.282867]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a small network of this kind, which stands in for the real one."""
    monkeypatch.setattr(dinov2, "WIDTH", 128)
    monkeypatch.setattr(dinov2, "DEPTH", 2)
    monkeypatch.setattr(dinov2, "HEADS", 2)
    shapes = {name: value.shape for name, value in dinov2.DinoV2(128, 2, 2).state_dict().items()}
    rng = np.random.default_rng(0)
    state = {
        name: torch.from_numpy(
            rng.normal(1 if FACTORS.search(name) else 0, 0.02 if name in SMALL else 0.2, shape)
        ).float()
        for name, shape in sorted((shapes | {"mask_token": torch.Size([1, 128])}).items())
    }
    path = tmp_path / "small.pth"
    torch.save(state, path)
    return path


@pytest.fixture
def pinned(small: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as if they were the real ones."""
    server.content = small.read_bytes()
    url = f"http://127.0.0.1:{server.server_port}/w.pth"
    monkeypatch.setattr(weights, "DINOV2", replace(weights.DINOV2, sha256=files.sha256_of(small), url=url))
    monkeypatch.setenv("SEMIREAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(dinov2.ENV, raising=False)
    return small


def textures(start: int, count: int) -> Pixels:
    return np.stack([texture(n, 40, 40) for n in range(start, start + count)])


def test_network_is_the_published_one(small: Path) -> None:
    features = dinov2.extract(small, texture(0, 40, 40)[None], CPU)
    assert features.shape == (1, 128)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[0, ::16], PUBLISHED, rtol=1e-4, atol=1e-5)


def test_large_network_has_the_published_parameters() -> None:
    with torch.device("meta"):
        state = dinov2.DinoV2(dinov2.WIDTH, dinov2.DEPTH, dinov2.HEADS).state_dict()
    assert sum(value.numel() for value in state.values()) + dinov2.WIDTH == 304368640  # with the token of masks
    assert state["pos_embed"].shape == (1, 1370, 1024)
    assert state["blocks.23.attn.qkv.weight"].shape == (3072, 1024)


def test_equal_to_torch_fidelity(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Distances of folders as torch-fidelity computes them; of its network only the download is replaced."""
    sets = {"real": textures(0, 12), "fake": textures(12, 12) // 2}
    for name, pictures in sets.items():
        (tmp_path / name).mkdir()
        for n, img in enumerate(pictures):
            images.save_png(tmp_path / name / f"{n:03}.png", img)
    monkeypatch.setattr(torch.hub, "load", lambda *_: dinov2._network(small))
    own = torch_fidelity.calculate_metrics(
        input1=str(tmp_path / "fake"),
        input2=str(tmp_path / "real"),
        feature_extractor=dinov2.EXTRACTOR,
        fid=True,
        kid=True,
        kid_subsets=2,
        kid_subset_size=12,  # all
        cuda=False,
        cache=False,
        verbose=False,
    )
    x, y = (dinov2.extract(small, sets[name], CPU).astype(np.float64) for name in ("real", "fake"))
    assert distances.frechet(x, y) == pytest.approx(own["frechet_inception_distance"], rel=1e-6)
    assert distances.kernel(x, y) == pytest.approx(own["kernel_inception_distance_mean"], rel=1e-5)  # in float32
    assert distances.frechet(x, y) > 0.1
    assert distances.kernel(x, y) > 0.01


@pytest.mark.parametrize("side", [30, 224, 300])
def test_pictures_are_prepared_as_torch_fidelity_does(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "load", lambda *_: torch.nn.Identity())
    x = torch.from_numpy(texture(0, side, side + 10)).permute(2, 0, 1)[None].contiguous()
    (own,) = FeatureExtractorDinoV2(dinov2.EXTRACTOR, ["dinov2"])(x)
    assert own.shape == (1, 3, dinov2.SIDE, dinov2.SIDE)
    torch.testing.assert_close(dinov2._seen(x), own)


def test_size_of_the_batches_does_not_matter(small: Path) -> None:
    pictures = textures(0, 7)
    whole = dinov2.extract(small, pictures, CPU)
    np.testing.assert_allclose(dinov2.extract(small, pictures, CPU, batch=3), whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(dinov2.extract(small, pictures, CPU), whole)


def test_null_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dinov2.ENV, "/no/such/file")
    assert dinov2.find(None) is None


def test_path_of_the_weights(pinned: Path, tmp_path: Path) -> None:
    assert dinov2.find(str(pinned)) == pinned
    with pytest.raises(UserError, match=r"^evaluate\.dinov2: .*none not found\. Download http.*$"):
        dinov2.find(str(tmp_path / "none"))


def test_download(pinned: Path, server: Server, tmp_path: Path) -> None:
    server.drops = 1
    path = dinov2.find("download")
    assert path == tmp_path / "cache" / weights.DINOV2.name
    assert path.read_bytes() == pinned.read_bytes()
    assert dinov2.find("download") == path
    assert len(server.starts) == 2


def test_variable_of_the_environment(pinned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dinov2.ENV, str(pinned))
    assert dinov2.find("download") == pinned
    monkeypatch.setenv(dinov2.ENV, str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"^\$SEMIREAL_DINOV2: .*none not found"):
        dinov2.find("download")


def test_other_weights_are_refused(small: Path) -> None:
    problem = rf"^evaluate\.dinov2: {small} has SHA-256 [0-9a-f]+, need d5383ea8f4877b2472eb973e0fd72d557c7da5.*\)$"
    with pytest.raises(UserError, match=problem):
        dinov2.find(str(small))


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_weights_is_never_run(zipped: bool, tmp_path: Path) -> None:
    path, marker = tmp_path / "w.pth", tmp_path / "ran"
    torch.save({"mask_token": Harmful(marker)}, path, _use_new_zipfile_serialization=zipped)
    torch.load(path, weights_only=False)
    assert marker.exists()  # it would run
    marker.unlink()
    with pytest.raises(UserError, match=r"evaluate\.dinov2: .* has SHA-256"):
        dinov2.find(str(path))
    with pytest.raises(pickle.UnpicklingError):  # not even if it had the hash
        dinov2.extract(path, textures(0, 1), CPU)
    assert not marker.exists()


def test_without_torch_fidelity(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch_fidelity" else known(name))
    assert dinov2.find(None) is None
    with pytest.raises(UserError, match=r"evaluate\.dinov2: torch-fidelity is not installed"):
        dinov2.find("download")
