import json
import runpy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from conftest import ROOT, texture
from semireal import files, images, params
from semireal.errors import UserError
from semireal.evaluation import evaluate, measures
from semireal.evaluation.evaluate import Given
from semireal.metrics import distances, inception, intervals, offline
from semireal.metrics.extractors import Space
from semireal.params.blend import Blend
from semireal.stylegan2 import Config, Generator, load_generator, save_networks
from semireal.stylegan2.networks import build_generator
from semireal.training import sample
from semireal.vision import copies, weights

CPU = torch.device("cpu")
BASE = "base.safetensors"
SETTINGS = measures.Settings(neighbours=3, rounds=200, seed=0)


def pictures(start: int, count: int, size: int = 32) -> images.Pixels:
    return np.stack([texture(n, size, size) for n in range(start, start + count)])


def seen(shown: images.Pixels) -> distances.Features:
    """What comes with the installation sees the whole of pictures."""
    return offline.features(shown, None, CPU)["whole"]


def values_of(sets: measures.FeatureSets) -> dict[str, float]:
    """The measures at psi = 1 against the whole set."""
    found = measures.at_psi(sets, 1.0, SETTINGS)
    return {m.measure: m.value for m in found if m.against in ("dataset", "photo and portrait")}


def sets_of(
    real: distances.Features, fake: distances.Features, domain: list[str], suffix: str = "_whole"
) -> measures.FeatureSets:
    """A training set, all of it trained on, and the images of psi = 1."""
    names = {"kernel": "distance_whole"} if suffix == "_whole" else {}
    space = Space("stand-in", suffix, slice(None), names=names)
    return measures.FeatureSets(space, real, {1.0: fake}, domain, np.ones(len(real), dtype=bool), {}, None)


def test_offline_metrics_rank_sets_sensibly() -> None:
    real, same = pictures(0, 24), pictures(30, 24)
    darker = (same * 0.6).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, same.shape, dtype=np.uint8)
    x, *others = (seen(shown) for shown in (real, same, darker, noise))
    ranked = [values_of(sets_of(x, fake, ["photo"] * 24)) for fake in (x, *others)]
    for key in ("frechet_whole", "distance_whole"):
        values = [found[key] for found in ranked]
        assert values == sorted(values), key
    identical = ranked[0]
    assert identical["frechet_whole"] == pytest.approx(0, abs=1e-6)
    assert identical["distance_whole"] <= 0  # unbiased, and so below 0 for a set against itself
    for key in ("precision_whole", "recall_whole", "coverage_whole", "density_whole"):
        assert identical[key] == 1, key
    assert identical["diversity_whole"] == pytest.approx(1)


def test_of_more_images_than_the_tables_take_all_parts_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows lie together by source; the first ones alone would be those of one."""
    monkeypatch.setattr(intervals, "MAX_IMAGES", 300)
    monkeypatch.setattr(measures, "MAX_IMAGES", 300)
    rng, n, D = np.random.default_rng(0), 300, 8
    real = np.concatenate([rng.normal(size=(n, D)), rng.normal(size=(n, D)) + 1])
    fake = np.concatenate([rng.normal(size=(150, D)), rng.normal(size=(150, D)) + 1])
    sets = sets_of(real, fake, ["photo"] * n + ["portrait"] * n, "_x")
    found = {(m.measure, m.against): m for m in measures.at_psi(sets, 1.0, SETTINGS)}
    distance = found["kernel_x", "dataset"]
    assert abs(distance.value - distances.kernel(real, fake)) < 0.5
    assert distances.kernel(real[:n], fake) > 2
    assert (distance.real_images, distance.generated_images) == (300, 300)  # the number that was used
    assert found["coverage_x", "dataset"].value > 0.6
    assert all(np.isfinite(m.value) for m in found.values())


def test_a_small_domain_behind_many_images_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "MAX_IMAGES", 200)
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(212, 8)), rng.normal(size=(40, 8))
    found = measures.at_psi(sets_of(real, fake, ["photo"] * 200 + ["portrait"] * 12, "_x"), 1.0, SETTINGS)
    assert {m.against for m in found} >= {"photo", "portrait"}
    assert all(np.isfinite(value) for m in found for value in (m.value, m.low, m.high) if value is not None)


def test_what_was_shown_mirrored_is_compared_with_it() -> None:
    rng = np.random.default_rng(0)
    side = 3 * np.eye(8)[0]
    real = rng.normal(size=(200, 8)) + side
    mirrored = real * (1 - 2 * np.eye(8)[0])
    fake = np.concatenate([rng.normal(size=(100, 8)) + side, rng.normal(size=(100, 8)) - side])
    sets = replace(sets_of(real, fake, ["photo"] * 200, "_x"), mirrored=mirrored)
    found = {m.against: m for m in measures.at_psi(sets, 1.0, SETTINGS) if m.measure == "kernel_x"}
    assert found["dataset"].value > 5
    assert abs(found["dataset, also mirrored"].value) < 1
    assert found["dataset, also mirrored"].real_images == 400


def test_an_extrapolation_says_that_few_real_images_stay_in_it() -> None:
    rng = np.random.default_rng(0)
    _, limit = measures.by_size(sets_of(rng.normal(size=(60, 40)), rng.normal(size=(60, 40)), ["photo"] * 60), SETTINGS)
    assert "bias of only 60 real images" in limit.warning


def test_order_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(40, 12)), rng.normal(0.4, 1, (30, 12))
    real[::2] += 1.5
    domain = ["photo", "portrait"] * 20
    order = rng.permutation(40)
    one = values_of(sets_of(real, fake, domain))
    assert 0 < one["blend_whole"] < 1
    other = values_of(sets_of(real[order], fake[::-1], [domain[n] for n in order]))
    assert one == pytest.approx(other, rel=1e-9)


def test_real_faces_rank_and_blend_sensibly(shared: Path) -> None:
    """Two halves of the photos < photos against paintings < photos against noise; and where a held-out set is."""

    def some(kind: str, step: int) -> images.Pixels:
        files = sorted((shared / "faces" / kind).iterdir())[step::4][:30]
        squares = [img[: min(img.shape[:2]), : min(img.shape[:2])] for img in map(images.load_rgb, files)]
        return np.stack([images.resize(img, 64) for img in squares])

    shown = [some("photo", 0), some("photo", 2), some("portrait", 0), some("portrait", 2)]
    noise = np.random.default_rng(0).integers(0, 256, shown[0].shape, dtype=np.uint8)
    photos, new_photos, paintings, new_paintings, noisy = (seen(some_shown) for some_shown in (*shown, noise))
    found = [distances.frechet(photos, y) for y in (new_photos, paintings, noisy)]
    assert found == sorted(found)
    real, domain = np.concatenate([photos, paintings]), ["photo"] * len(photos) + ["portrait"] * len(paintings)
    half = np.concatenate([new_photos[::2], new_paintings[::2]])
    low, middle, high = (
        values_of(sets_of(real, fake, domain))["blend_whole"] for fake in (new_paintings, half, new_photos)
    )
    assert low < 0.25
    assert high > 0.75
    assert middle == pytest.approx(0.5, abs=0.2)


def test_fewer_images_a_larger_frechet_distance() -> None:
    """The bias is sets, and the extrapolation takes most of it away: the truth is 0."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(4000, 20)), rng.normal(size=(400, 20))
    sets = sets_of(real, fake, ["photo"] * 4000, "_g")
    rows, limit = measures.by_size(sets, SETTINGS)
    values = [row["value"] for row in rows]
    assert [row["images"] for row in rows] == sorted(row["images"] for row in rows)
    assert values == sorted(values, reverse=True)
    assert values[-1] == distances.frechet(real, fake)
    assert abs(limit.value) < values[-1] / 3
    floor = {(m.measure, m.against): m for m in measures.perfect(sets, SETTINGS)}
    assert floor["kernel_g", "real halves"].real_images == 2000
    found = floor["kernel_g", "real halves"]
    assert found.spread is not None
    assert abs(found.value) < 3 * found.spread
    # the images are from a perfect generator, so that is what they get
    assert floor["frechet_g", measures.PERFECT].value == pytest.approx(values[-1], rel=0.2)


def test_what_is_a_copy_depends_on_how_alike_the_training_images_are() -> None:
    apart, alike = np.linspace(0, 0.3, 101), np.linspace(0, 1, 101)
    assert measures.copied_from(apart) == copies.LIMIT
    assert measures.copied_from(alike) == pytest.approx(0.95)
    found = measures.copying(0.5, np.array([0.2, 0.6, 0.96, 0.94]), alike)
    assert (found.value, found.against) == (0.25, "training images")
    assert "copies in part are missed (limit 0.95)" in found.warning
    among = measures.copying(None, alike, alike)
    assert among.value <= 0.05
    assert (among.against, among.warning) == ("held-out training images", "")
    assert measures.copying(1.0, np.array([0.2, 0.6]), apart).value == 0.5


# --- the stage -----------------------------------------------------------------------------------------------------


class Workspace:
    """A folder as stage evaluate finds it: tiny generator, dataset, samples, funnel and parameters."""

    def __init__(self, root: Path, make_dataset: Callable[..., Path]) -> None:
        self.root, self.make = root, make_dataset
        config = Config(img_resolution=16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=16)
        self.generator = root / "models/network.safetensors"
        self.generator.parent.mkdir()
        save_networks(self.generator, config, build_generator(config, 0).state_dict(), None, {})
        save_networks(root / BASE, config, build_generator(config, 1).state_dict(), None, {})
        (root / "results/samples/images").mkdir(parents=True)
        images.save_png(root / "results/samples/images/seed00000.png", texture(0))
        (root / "results/funnel").mkdir()
        (root / "results/funnel/funnel.json").write_text('{"raw": 50, "de-duplicated": 26}')

    def params(self, **evaluation: Any) -> Given:
        """Those of the repository, tiny, and mirrored."""
        given = params.load(Given, ROOT / "params.yaml")
        small: dict[str, Any] = {"images": 24, "psi_images": 8, "psis": (0.5, 1.0), "resamples": 20} | evaluation
        whole = replace(given, resolution=16, mirror=True, blend=Blend(BASE, 0, 1))
        return replace(whole, evaluate=replace(given.evaluate, **small))

    def run(self, data: Path, given: Given) -> tuple[dict[str, float], Path]:
        """Numbers and folder of an evaluation."""
        out = self.root / f"out{len(list(self.root.glob('out*')))}"
        out.mkdir()
        results = self.root / "results"
        found = evaluate.run(self.generator, data, results / "samples", results / "funnel/funnel.json", out, given)
        return found, out


@pytest.fixture
def workspace(work_root: Path, make_dataset: Callable[..., Path]) -> Workspace:
    return Workspace(work_root, make_dataset)


def mixed(count: int, start: int = 0) -> list[tuple[images.Pixels, dict[str, Any]]]:
    """Bright photos and dark portraits in turns."""
    shown = [(texture(n, 32, 32), "photo") for n in range(start, start + count)]
    return [
        (img // 3, {"domain": "portrait"}) if n % 2 else (img, {"domain": kind}) for n, (img, kind) in enumerate(shown)
    ]


def test_run_writes_what_it_promises(workspace: Workspace) -> None:
    found, out = workspace.run(workspace.make("set", mixed(26)), workspace.params())
    measured = {
        *("frechet_whole", "distance_whole", "precision_whole", "recall_whole", "blend_whole", "diversity_whole"),
        *("distance_layout", "distance_colour", "copies", "layout_kept"),
    }
    counted = {"face_rate", "yield", "real_images", "real_photos", "generated_images"}
    assert set(found) == measured | {f"{name}_at_psi" for name in measured} | counted
    assert (found["real_images"], found["real_photos"], found["generated_images"]) == (26, 13, 24)
    assert (found["face_rate"], found["yield"]) == (0, 0.52)
    content = json.loads((out / "evaluation.json").read_text())
    assert content["counts"]["trained_portrait"] == 13
    table = pd.read_csv(out / "measures.csv")
    assert len(table) == len(content["measures"])
    assert set(table["psi"].dropna()) == {0.5, 1.0}
    assert set(table["against"]) >= {
        *("dataset", "photo", "portrait", "training images", "real halves", measures.PERFECT, measures.SHOWN)
    }
    bounded = table.dropna(subset=["low"])
    asked = (table["psi"].notna() | (table["measure"] == "copies")) & ~table["measure"].str.endswith("_extrapolated")
    asked &= table["against"] != measures.SHOWN  # of which half is the other half mirrored
    assert len(bounded) == asked.sum()
    shares = bounded[bounded["measure"].str.startswith(("precision", "recall", "coverage", "copies"))]
    assert len(shares) == 2 * 3 + 3
    assert ((shares["low"] <= shares["value"]) & (shares["value"] <= shares["high"])).all()
    main = table[(table["psi"] == 1) & (table["against"] == "dataset")].set_index("measure")
    assert main.loc["distance_whole", "value"] == found["distance_whole"]
    sweep = pd.read_csv(out / "psi_sweep.csv")
    assert sweep["psi"].tolist() == [0.5, 1]
    kernels = {"distance_whole", "distance_layout", "distance_colour"}
    assert kernels | {"frechet_whole", "precision_whole", "recall_whole", "diversity_whole"} < set(sweep.columns)
    assert "nothing of the eyes: the detector gave no landmarks of these faces" in content["warnings"]
    sizes = pd.read_csv(out / "fid_by_size.csv")
    assert sizes["images"].iloc[-1] == 24
    assert sizes["frechet_whole"].iloc[-1] == found["frechet_whole"]
    nearest = pd.read_csv(out / "nearest.csv", dtype={"id": str, "nearest": str})
    assert nearest["kind"].value_counts().to_dict() == {"generated": 48, "held-out": 26}
    held_out = nearest[nearest["kind"] == "held-out"]
    assert (held_out["id"] != held_out["nearest"]).all()
    assert nearest[nearest["psi"] == 1]["copy"].mean() == pytest.approx(found["copies"], abs=1e-6)
    assert held_out["copy"].mean() <= 0.05
    sizes_px = {f.name: images.load_rgb(f).shape[:2] for f in out.glob("*.png")}
    assert sizes_px == {
        "psi_row.png": (3 * 16, 2 * 16),
        "closest_pairs.png": (2 * 16, 10 * 16),
        "closest_held_out.png": (2 * 16, 10 * 16),
    }


def test_a_changed_dataset_under_the_same_path_gives_new_numbers(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    given = workspace.params()
    data = workspace.make("set", mixed(22))
    first, out = workspace.run(data, given)
    assert "from the cache" not in capsys.readouterr().err
    again, other = workspace.run(data, given)
    assert "EfficientNet-Lite0 and colour of 22 images from the cache" in capsys.readouterr().err
    assert again == first
    for file in out.iterdir():
        assert file.read_bytes() == (other / file.name).read_bytes(), file.name
    for n, (img, _) in enumerate(mixed(22, start=100)):
        images.save_png(data / f"images/{n:04d}.png", img)
    changed, _ = workspace.run(data, given)
    assert changed["distance_whole"] != first["distance_whole"]
    assert changed["frechet_whole"] != first["frechet_whole"]


def test_training_images_among_the_generated_are_reported(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = workspace.make("set", mixed(30))
    given = workspace.params()
    real = evaluate.load_real(data, given).real

    drawn = sample.drawn

    def copying(G: Generator, seeds: range, psi: float) -> Iterator[images.Pixels]:
        for n in seeds:
            yield real[n : n + 1, :, ::-1] if n < 6 else next(drawn(G, range(n, n + 1), psi))

    monkeypatch.setattr(sample, "drawn", copying)
    found, out = workspace.run(data, given)
    assert found["copies"] >= 6 / 24
    rows = pd.read_csv(out / "nearest.csv", dtype=str).head(6)
    assert rows["nearest"].tolist() == [f"{n:04d}" for n in range(6)]
    assert rows["form"].tolist() == ["mirrored"] * 6
    assert rows["copy"].tolist() == ["1"] * 6
    shown = images.load_rgb(out / "closest_pairs.png")
    assert np.array_equal(shown[:16, : 6 * 16], shown[16:, : 6 * 16])  # the mirror images, side by side with themselves


def test_the_layout_is_compared_with_that_of_the_base_seed_by_seed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, G = workspace.params(), load_generator(workspace.generator)
    strangers, _ = evaluate.layout_of(G, given)
    assert [(one.measure, one.against, one.psi) for one in strangers] == [
        ("layout_kept", "base", 1),
        ("layout_kept", "base", 0.5),
    ]
    for one in strangers:
        assert one.generated_images == 24
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high < 0.8
    (workspace.root / BASE).write_bytes(workspace.generator.read_bytes())
    assert [one.value for one in evaluate.layout_of(G, given)[0]] == [1, 1]
    # the fault: seeds of the one that are not those of the other
    drawn = sample.draw
    calls: list[Generator] = []

    def moved(network: Generator, seeds: range, psi: float) -> images.Pixels:
        calls.append(network)
        return drawn(network, range(seeds.start + len(calls) % 2, seeds.stop + len(calls) % 2), psi)

    monkeypatch.setattr(evaluate, "draw", moved)
    (one, _), problems = evaluate.layout_of(G, given)
    assert (abs(one.value) < 0.3, problems, len(calls)) == (True, [], 4)


def test_a_base_that_cannot_be_compared_is_left_out(workspace: Workspace) -> None:
    given, G = workspace.params(), load_generator(workspace.generator)
    (workspace.root / BASE).write_text("from noise")
    assert evaluate.layout_of(G, given) == ([], [])
    config = Config(img_resolution=16, z_dim=9, w_dim=8, mapping_layers=2, channel_base=128, channel_max=16)
    save_networks(workspace.root / BASE, config, build_generator(config, 1).state_dict(), None, {})
    line = "no layout_kept: seeds of base.safetensors and of the network do not compare (z_dim 9 and 8)"
    assert evaluate.layout_of(G, given) == ([], [line])
    (workspace.root / BASE).unlink()
    with pytest.raises(UserError, match=r"^blend\.base: base\.safetensors not found"):
        evaluate.layout_of(G, given)


def test_domains_are_those_of_the_dataset_whatever_was_trained_on(workspace: Workspace) -> None:
    data = workspace.make("set", mixed(40))
    given = workspace.params()
    some = replace(given, photo_ratio=0.8)
    everything, _ = workspace.run(data, given)
    found, out = workspace.run(data, some)
    assert (found["real_images"], found["real_photos"]) == (25, 20)
    assert found["blend_whole"] == everything["blend_whole"]
    assert found["distance_whole"] != everything["distance_whole"]
    assert json.loads((out / "evaluation.json").read_text())["counts"]["portrait"] == 20


def test_a_missing_domain_is_said(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    data = workspace.make("set", [(texture(n), {"domain": "photo" if n else "portrait"}) for n in range(14)])
    found, out = workspace.run(data, workspace.params())
    assert "blend_whole" not in found
    assert "distance_whole" in found
    line = "no blend, and no distance to such a domain: 1 images of domain portrait, need 10"
    assert line in capsys.readouterr().err
    assert line in json.loads((out / "evaluation.json").read_text())["warnings"]
    assert set(pd.read_csv(out / "measures.csv")["against"]) & {"photo", "portrait"} == {"photo"}


def test_too_few_images_for_the_neighbours(workspace: Workspace) -> None:
    data = workspace.make("set", mixed(9))
    with pytest.raises(UserError, match=r"evaluate\.neighbours: found 9, need less than the 9 images"):
        workspace.run(data, workspace.params(neighbours=9, psi_images=24))
    with pytest.raises(UserError, match=r"evaluate\.neighbours: found 8, need less than evaluate\.psi_images = 8"):
        workspace.run(data, workspace.params(neighbours=8))


def test_no_funnel_is_one_clear_line(workspace: Workspace) -> None:
    (workspace.root / "results/funnel/funnel.json").unlink()
    with pytest.raises(UserError, match=r"funnel\.json: not found"):
        workspace.run(workspace.make("set", mixed(9)), workspace.params())


def test_published_names_come_with_the_published_network_only(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Inception itself is tried in test_inception.py; here random projections take its place."""
    file = tmp_path / "weights.pth"
    file.write_bytes(b"weights")
    monkeypatch.setattr(weights, "INCEPTION", replace(weights.INCEPTION, sha256=files.sha256_of(file)))
    turn = np.random.default_rng(0).normal(size=(16 * 16 * 3, inception.WIDTH + 1008)).astype(np.float32) / 5000
    monkeypatch.setattr(inception, "extract", lambda path, shown, device: shown.reshape(len(shown), -1) @ turn)
    data = workspace.make("set", mixed(26))
    found, out = workspace.run(data, workspace.params(inception=str(file)))
    assert {"fid", "kid", "inception_score", "precision", "recall", "blend", "distance_whole"} <= set(found)
    assert {"fid_at_psi", "kid_at_psi", "inception_score_at_psi"} <= set(found)
    swept = {"kid", "fid", "precision", "recall", "diversity", "distance_whole"}
    assert swept < set(pd.read_csv(out / "psi_sweep.csv"))
    assert {"fid", "fid_spread", "frechet_whole"} < set(pd.read_csv(out / "fid_by_size.csv"))
    warnings = json.loads((out / "evaluation.json").read_text())["warnings"]
    assert any(line.startswith("fid: biased upwards: 24 images, fewer than 2048; read kid") for line in warnings)
    with pytest.raises(UserError, match=r"evaluate\.images: found 8, need 10 for the splits"):
        workspace.run(data, workspace.params(inception=str(file), images=8))


def test_stage_writes_its_out(workspace: Workspace) -> None:
    workspace.make("data/dataset", mixed(12))
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["train"]["resolution"] = 16
    content["blend"]["base"] = BASE
    content["evaluate"] |= {"images": 8, "psi_images": 8, "psis": [0.5, 1], "resamples": 20, "neighbours": 2}
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(content))
    runpy.run_path(str(ROOT / "stages/evaluate.py"), run_name="__main__")
    found = json.loads((workspace.root / "results/evaluation/metrics.json").read_text())
    assert found["generated_images"] == 8
    files = {f.name for f in (workspace.root / "results/evaluation").iterdir()}
    assert files == {
        *("evaluation.json", "measures.csv", "psi_sweep.csv", "fid_by_size.csv", "nearest.csv"),
        *("psi_row.png", "closest_pairs.png", "closest_held_out.png"),
        *("psi_sweep_plot.png", "fid_by_size_plot.png", "metrics.json"),
    }


def test_face_rate_counts_faces(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    photos = sorted((shared / "faces" / "photo").iterdir())[:3]
    for n, img in enumerate([*map(images.load_rgb, photos), texture(0, 256, 256)]):
        images.save_png(tmp_path / "images" / f"{n}.png", img)
    assert evaluate.face_rate(tmp_path) == (0.75, [])


def test_no_detector_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = replace(weights.YUNET, url="http://127.0.0.1:9/w", package=None)
    monkeypatch.setattr(weights, "YUNET", missing)
    monkeypatch.setenv("SEMIREAL_CACHE", str(tmp_path))
    rate, problem = evaluate.face_rate(tmp_path)
    assert rate is None
    assert problem[0].startswith("no face_rate: face_detection_yunet")


@pytest.mark.parametrize("suffix", ["_whole", ""])
def test_blocks_change_no_measure(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """Blocks of some images, as those of many thousands are taken; features as they come, mapped float32."""
    rng = np.random.default_rng(0)
    real, fake, mirrored = (rng.normal(size=(n, 12)).astype(np.float32) for n in (80, 60, 53))
    real[::2] += 2
    domain, logits = ["photo", "portrait"] * 40, rng.normal(size=(80, 30)).astype(np.float32)
    for array in (real, fake, mirrored, logits):
        array.flags.writeable = False
    sets = replace(
        sets_of(real, fake, domain, suffix),
        trained=np.arange(80) % 3 > 0,
        mirrored=mirrored,
        logits={} if suffix else {1.0: logits[:60]},
        real_logits=None if suffix else logits,
    )

    def everything() -> list[Any]:
        table = [*measures.at_psi(sets, 1.0, SETTINGS), *measures.perfect(sets, SETTINGS)]
        rows, limit = measures.by_size(sets, SETTINGS)
        numbers = [value for one in [*table, limit] for value in (one.value, one.low, one.high, one.spread)]
        swept = [value for row in measures.sweep(sets, [1.0], 40, 3) for value in row.values()]
        return [value for value in numbers + swept + [row["value"] for row in rows] if value is not None]

    whole = everything()
    monkeypatch.setattr(distances, "ROWS", 17)
    monkeypatch.setattr(distances, "TABLE", 13)
    assert everything() == pytest.approx(whole, rel=1e-9, abs=1e-12)
    assert len(whole) > 40
