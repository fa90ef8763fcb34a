from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from conftest import ROOT, texture
from semireal import evaluate, features, images, params, weights
from semireal.errors import UserError
from semireal.stylegan2 import Config, save_networks
from semireal.stylegan2.networks import build_generator

CPU = torch.device("cpu")


def pictures(start: int, count: int, size: int = 32) -> images.Pixels:
    return np.stack([texture(n, size, size) for n in range(start, start + count)])


@pytest.fixture(scope="module")
def net() -> features.R64:
    return features.R64()


def test_r64_is_the_same_net_each_time(net: features.R64) -> None:
    state = torch.random.get_rng_state()
    other = features.R64()
    assert torch.equal(torch.random.get_rng_state(), state)
    x = pictures(0, 3)
    assert np.array_equal(features.extract(net, x, CPU), features.extract(other, x, CPU))
    assert features.extract(net, x, CPU).shape == (3, 64)


def test_features_do_not_depend_on_the_batch(net: features.R64) -> None:
    x = pictures(0, 40)
    whole = features.extract(net, x, CPU)
    assert np.allclose(whole[35:36], features.extract(net, x[35:36], CPU), rtol=1e-4, atol=1e-4)


def test_offline_metrics_rank_sets_sensibly() -> None:
    real, same = pictures(0, 30), pictures(30, 30)
    darker = (same * 0.6).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, same.shape, dtype=np.uint8)
    ranked = [evaluate.offline(real, fake, 3) for fake in (real, same, darker, noise)]
    for key in ("frechet_r64", "kernel_r64"):
        values = [found[key] for found in ranked]
        assert values == sorted(values), key
    assert ranked[0]["precision_r64"] == ranked[0]["recall_r64"] == 1
    assert ranked[0]["frechet_r64"] == pytest.approx(0, abs=1e-6)


def test_real_faces_rank_sensibly(shared: Path) -> None:
    """Two halves of the photos < photos against paintings < photos against noise."""

    def some(kind: str, step: int) -> images.Pixels:
        files = sorted((shared / "faces" / kind).iterdir())[step::4][:30]
        squares = [img[: min(img.shape[:2]), : min(img.shape[:2])] for img in map(images.load_rgb, files)]
        return np.stack([images.resize(img, 64) for img in squares])

    photos, others, paintings = some("photo", 0), some("photo", 2), some("portrait", 0)
    noise = np.random.default_rng(0).integers(0, 256, photos.shape, dtype=np.uint8)
    distances = [evaluate.offline(photos, fake, 3)["frechet_r64"] for fake in (others, paintings, noise)]
    assert distances == sorted(distances)


def test_run_reports_what_was_compared(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    data = make_dataset("set", [(texture(n), {"domain": "photo" if n % 3 else "portrait"}) for n in range(9)])
    config = Config(img_resolution=16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=16)
    save_networks(tmp_path / "g.safetensors", config, build_generator(config, 0).state_dict(), None, {})
    (tmp_path / "samples/images").mkdir(parents=True)
    images.save_png(tmp_path / "samples/images/seed00000.png", texture(0))
    given = params.load(ROOT / "params.yaml")
    given = replace(given, train=replace(given.train, resolution=16), evaluate=replace(given.evaluate, images=12))
    found = evaluate.run(tmp_path / "g.safetensors", data, tmp_path / "samples", given)
    assert (found["real_images"], found["real_photos"], found["generated_images"]) == (9, 6, 12)
    assert found["face_rate"] == 0
    half = replace(given, train=replace(given.train, photo_ratio=0.5))
    assert evaluate.run(tmp_path / "g.safetensors", data, tmp_path / "samples", half)["real_images"] == 6
    many = replace(given, evaluate=replace(given.evaluate, neighbours=9))
    with pytest.raises(UserError, match=r"evaluate\.neighbours: found 9, need less than the 9 images"):
        evaluate.run(tmp_path / "g.safetensors", data, tmp_path / "samples", many)


def test_face_rate_counts_faces(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    photos = sorted((shared / "faces" / "photo").iterdir())[:3]
    for n, img in enumerate([*map(images.load_rgb, photos), texture(0, 256, 256)]):
        images.save_png(tmp_path / "images" / f"{n}.png", img)
    assert evaluate.face_rate(tmp_path) == 0.75


class Untrained(FeatureExtractorInceptionV3):  # type: ignore[misc]
    """torch-fidelity's Inception as it is before its weights are loaded."""

    def load_state_dict(self, state: object) -> None:
        pass


@pytest.mark.slow
def test_published_metrics_through_torch_fidelity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of the right shape stand in for the real ones, which are not here; the code path is the real one."""
    from torch_fidelity import calculate_metrics

    path = tmp_path / weights.INCEPTION.name
    torch.save({}, tmp_path / "nothing")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Untrained("net", ["2048"], feature_extractor_weights_path=str(tmp_path / "nothing"))
    torch.save(net.state_dict(), path)
    monkeypatch.setattr(weights, "INCEPTION", replace(weights.INCEPTION, sha256=weights.sha256_of(path)))
    given = evaluate._inception(str(path))
    assert given == path
    real, fake = pictures(0, 12), pictures(12, 12)
    found = evaluate.published(real, fake, given)
    assert set(found) == {"fid", "kid", "inception_score"}
    for name, pics in (("real", real), ("fake", fake)):
        (tmp_path / name).mkdir()
        for n, img in enumerate(pics):
            images.save_png(tmp_path / name / f"{n:03}.png", img)
    own = calculate_metrics(
        input1=str(tmp_path / "fake"),
        input2=str(tmp_path / "real"),
        fid=True,
        isc=True,
        kid=True,
        kid_subset_size=12,
        feature_extractor_weights_path=str(path),
        cuda=False,
        cache=False,
        verbose=False,
    )
    assert found["fid"] == pytest.approx(own["frechet_inception_distance"], rel=1e-6)
    assert found["kid"] == pytest.approx(own["kernel_inception_distance_mean"], rel=1e-6)
    assert found["inception_score"] == pytest.approx(own["inception_score_mean"], rel=1e-6)
