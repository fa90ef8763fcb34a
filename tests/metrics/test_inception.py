import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_fidelity import fidelity
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from conftest import texture
from semireal import files, images
from semireal.errors import UserError
from semireal.evaluation import measures
from semireal.metrics import distances, inception
from semireal.metrics.extractors import Space, published
from semireal.vision import weights

CPU = torch.device("cpu")


class Untrained(FeatureExtractorInceptionV3):  # type: ignore[misc]
    """torch-fidelity's Inception as it is before its weights are loaded."""

    def load_state_dict(self, state: object) -> None:
        pass


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the right shape that stand in for the real ones, which are not here."""
    folder = tmp_path_factory.mktemp("inception")
    torch.save({}, folder / "nothing")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Untrained("net", ["2048"], feature_extractor_weights_path=str(folder / "nothing"))
    path = folder / weights.INCEPTION.name
    torch.save(net.state_dict(), path)
    return path


def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    """What torch-fidelity's own command prints."""
    monkeypatch.setattr(sys, "argv", ["fidelity", *arguments])
    capsys.readouterr()
    fidelity.main()
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.slow
def test_equal_to_torch_fidelitys_command(
    random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = {}
    for name, start, count in (("real", 0, 10), ("fake", 10, 12)):
        sets[name] = np.stack([texture(n, 32, 32) // (1 + n % 3) for n in range(start, start + count)])
        (tmp_path / name).mkdir()
        for n, img in enumerate(sets[name]):
            images.save_png(tmp_path / name / f"{n:03}.png", img)
    folders = ["--input1", str(tmp_path / "fake"), "--input2", str(tmp_path / "real")]
    how = ["--feature-extractor", inception.EXTRACTOR, "--feature-extractor-weights-path", str(random_weights)]
    kid = ["--kid-subset-size", str(inception.subset_size(10, 12)), "--prc-neighborhood", "3"]
    own = command(
        capsys,
        monkeypatch,
        *folders,
        *how,
        *kid,
        "--isc",
        "--fid",
        "--kid",
        "--prc",
        "--cpu",
        "--json",
        "--silent",
        "--no-cache",
    )
    extractor = published(random_weights)
    real, fake = (extractor.compute(sets[name], CPU) for name in ("real", "fake"))
    x, y, logits = real[:, : inception.WIDTH], fake[:, : inception.WIDTH], fake[:, inception.WIDTH :]
    assert logits.shape == (12, 1008)
    precision, recall = inception.precision_recall(x, y, 3)
    found = {
        "frechet_inception_distance": distances.frechet(x.astype(np.float64), y.astype(np.float64)),
        "kernel_inception_distance_mean": inception.kid(x, y)[0],
        "kernel_inception_distance_std": inception.kid(x, y)[1],
        "inception_score_mean": inception.score(logits)[0],
        "inception_score_std": inception.score(logits)[1],
        "precision": precision,
        "recall": recall,
    }
    assert own["frechet_inception_distance"] > 0
    for name, value in found.items():
        assert value == pytest.approx(own[name], rel=1e-6, abs=1e-9), name
    # neither the order of the images nor the size of the batches matters
    turned = inception.extract(random_weights, sets["fake"][::-1], CPU, batch=7)[::-1, : inception.WIDTH]
    assert distances.frechet(x.astype(np.float64), turned.astype(np.float64)) == pytest.approx(
        found["frechet_inception_distance"], rel=1e-4
    )


@pytest.mark.slow
def test_real_features_rank_sets(shared: Path) -> None:
    """Two halves of the photos < photos against portraits < photos against noise."""
    path = shared / "weights" / "inception-v3-768.pth"

    def some(kind: str, start: int, count: int) -> images.Pixels:
        files = sorted((shared / "faces" / kind).iterdir())[start::4][:count]
        squares = [img[: min(img.shape[:2]), : min(img.shape[:2])] for img in map(images.load_rgb, files)]
        return np.stack([images.resize(img, 128) for img in squares])

    photos, others, portraits = some("photo", 0, 20), some("photo", 2, 20), some("portrait", 0, 20)
    noise = np.random.default_rng(0).integers(0, 256, photos.shape, dtype=np.uint8)
    base, *rest = (
        inception.extract(path, shown, CPU, ("768",)).astype(np.float64) for shown in (photos, others, portraits, noise)
    )
    for distance in (distances.frechet, distances.kernel):
        found = [distance(base, features) for features in rest]
        assert found == sorted(found), distance.__name__


def test_subsets_of_kid() -> None:
    assert inception.subset_size(5000, 1000) == 1000
    assert inception.subset_size(999, 5000) == 499
    assert inception.subset_size(4, 3) == 2


def test_null_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(inception.ENV, "/no/such/file")
    assert inception.find(None) is None


def test_where_the_weights_may_be(random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = replace(weights.INCEPTION, sha256=files.sha256_of(random_weights), url="http://127.0.0.1:9/w")
    monkeypatch.setattr(weights, "INCEPTION", pinned)
    monkeypatch.setenv("SEMIREAL_CACHE", str(tmp_path))
    assert inception.find(str(random_weights)) == random_weights
    with pytest.raises(UserError, match=f"Put the file at {tmp_path}"):
        inception.find("download")
    monkeypatch.setenv(inception.ENV, str(random_weights))
    assert inception.find("download") == random_weights
    monkeypatch.setenv(inception.ENV, str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"\$SEMIREAL_INCEPTION: .*none not found"):
        inception.find("download")


def test_without_torch_fidelity(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch_fidelity" else known(name))
    assert inception.find(None) is None
    with pytest.raises(UserError, match=r"evaluate\.inception: torch-fidelity is not installed"):
        inception.find("download")


def test_fid_of_few_images_is_marked_as_biased(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    real, fake = (rng.normal(size=(n, 5)) for n in (30, 40))
    space = Space("stand-in", "", slice(None), names={"frechet": "fid", "kernel": "kid"})
    logits = rng.normal(size=(40, 1008))
    domain = ["photo"] * 15 + ["portrait"] * 15
    sets = measures.FeatureSets(space, real, {1.0: fake}, domain, np.ones(30, dtype=bool), {1.0: logits}, None)
    table = measures.at_psi(sets, 1.0, measures.Settings(3, 50, 0))
    names = [m.measure for m in table if m.against == "dataset"]
    assert names.index("kid") < names.index("fid")
    by_name = {m.measure: m for m in table if m.against in ("dataset", "")}
    assert "30 images, fewer than 2048; read kid" in by_name["fid"].warning
    assert by_name["kid"].settings == "mean of 100 subsets of 15"
    score = by_name["inception_score"]
    assert score.low is not None
    assert score.high is not None
    assert score.low < score.value < score.high
