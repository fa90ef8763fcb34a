"""Exported generators against the original, and what their cards say."""

import dataclasses
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml

from conftest import ROOT
from semireal import paths
from semireal.errors import UserError
from semireal.files import sha256_of
from semireal.pipeline import export
from semireal.stylegan2 import Config, Generator, load_generator, save_networks
from semireal.stylegan2.networks import build_generator
from semireal.training import dial
from tiny import STAGES, clone, copy, shell

SMALL = Config(img_resolution=16, z_dim=8, w_dim=12, mapping_layers=2, channel_base=128, channel_max=16)
CLAMPED = dataclasses.replace(SMALL, img_resolution=8, conv_clamp=0.5)
SUFFIXES = {"safetensors": ".safetensors", "onnx": ".onnx", "torchscript": ".pt"}
Draw = Callable[[torch.Tensor, float], torch.Tensor]


def make(path: Path, config: Config = SMALL, seed: int = 0) -> Generator:
    """Write a generator with random weights, none of them zero."""
    G = build_generator(config, seed).eval().requires_grad_(False)
    rng = torch.Generator().manual_seed(seed)
    G.mapping.w_avg.copy_(torch.randn(config.w_dim, generator=rng))
    for block in G.synthesis.blocks():
        for layer in block.layers():
            layer.noise_strength.fill_(0.3)
            layer.bias.copy_(torch.randn(layer.bias.shape, generator=rng) * 0.1)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_networks(path, config, G.state_dict(), None, {})
    return G


@pytest.fixture(scope="module", params=[SMALL, CLAMPED], ids=["small", "clamped"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Generator, Path]:
    """A generator, and the folder with all its exports."""
    folder = tmp_path_factory.mktemp("exports")
    G = make(folder / "models/generator.safetensors", request.param)
    for kind, suffix in SUFFIXES.items():
        export.run(folder / "models/generator.safetensors", folder / f"g{suffix}", kind, folder)
    return G, folder


def open_onnx(path: Path) -> Draw:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def draw(z: torch.Tensor, psi: float) -> torch.Tensor:
        (images,) = session.run(["images"], {"z": z.numpy(), "psi": np.array(psi, np.float32)})
        return torch.from_numpy(images)

    return draw


def open_torchscript(path: Path) -> Draw:
    module = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
    return lambda z, psi: module(z, torch.tensor(psi))


def open_safetensors(path: Path) -> Draw:
    G = load_generator(path)
    return lambda z, psi: G(z, psi).clamp(-1, 1)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", SUFFIXES)
def test_draws_what_the_original_draws(exported: tuple[Generator, Path], kind: str) -> None:
    G, folder = exported
    openers = {"onnx": open_onnx, "torchscript": open_torchscript, "safetensors": open_safetensors}
    draw = openers[kind](folder / f"g{SUFFIXES[kind]}")
    for count, psi in [(1, 0.7), (2, 1.0), (5, 0.0), (3, -0.5), (3, 1.7)]:
        z = torch.randn([count, G.config.z_dim], generator=torch.Generator().manual_seed(count))
        raw = G(z, psi)
        found = draw(z, psi)
        assert found.dtype == torch.float32
        assert (found - raw.clamp(-1, 1)).abs().max() < 1e-3 * min(1, float(raw.std()))
    assert found.abs().max() == min(1, float(raw.abs().max()))
    assert (raw.abs().max() > 1) == (G.config == SMALL)  # there the clamp had something to do


@pytest.mark.parametrize("exported", [SMALL], indirect=True, ids=["small"])
@pytest.mark.parametrize("kind", SUFFIXES)
def test_equal_weights_are_equal_files_without_a_trace_of_this_machine(
    exported: tuple[Generator, Path], tmp_path: Path, kind: str
) -> None:
    _, folder = exported
    first, second = folder / f"g{SUFFIXES[kind]}", tmp_path / "elsewhere" / f"other{SUFFIXES[kind]}"
    card = export.run(folder / "models/generator.safetensors", second, kind, folder)
    if kind != "torchscript":  # it numbers its classes on through a process: equal only from two new ones
        assert first.read_bytes() == second.read_bytes()
    assert sorted(f.name for f in second.parent.iterdir()) == sorted([second.name, card.name])  # nothing half done
    assert second.stat().st_mode == card.stat().st_mode
    parts = [second.read_bytes()]
    if kind == "torchscript":
        with zipfile.ZipFile(second) as archive:
            parts = [archive.read(name) for name in archive.namelist()]
    assert not any(str(ROOT).encode() in part or b"site-packages" in part for part in parts)


def test_older_runtimes_and_other_devices_can_read_it(exported: tuple[Generator, Path]) -> None:
    _, folder = exported
    assert onnx.load(folder / "g.onnx").ir_version == 8  # onnxruntime 1.15 of 2023 has read it
    graph = torch.jit.load(str(folder / "g.pt")).inlined_graph  # type: ignore[no-untyped-call]
    fixed = [
        use.user.kind()
        for node in graph.nodes()
        if node.kind() == "prim::Constant" and str(node.output().type()) == "Device"
        for use in node.output().uses()
    ]
    assert not fixed


def test_onnx_says_what_goes_in_and_out(exported: tuple[Generator, Path]) -> None:
    G, folder = exported
    model = onnx.load(folder / "g.onnx")
    shapes = {
        one.name: [dim.dim_param or dim.dim_value for dim in one.type.tensor_type.shape.dim]
        for one in [*model.graph.input, *model.graph.output]
    }
    side = G.config.img_resolution
    assert shapes == {"z": ["batch", 8], "psi": [], "images": ["batch", 3, side, side]}
    (note,) = model.metadata_props
    assert Config(**json.loads(note.value)) == G.config


def test_no_gradient_changes_no_filter() -> None:
    """Without gradients, as in an export, filters are plain convolutions: the same numbers."""
    x = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    f = export.Drawing(build_generator(SMALL, 0)).G.synthesis.blocks()[0].resample_filter
    from semireal.stylegan2 import ops

    for padding, stride in [(1, 1), (2, 1), (1, 2)]:
        with torch.no_grad():
            plain = ops.filter2d(x, f, padding, stride)
        assert torch.equal(plain, ops.filter2d(x, f, padding, stride))


def test_unknown_origin_is_said(exported: tuple[Generator, Path]) -> None:
    _, folder = exported
    text = (folder / "g.onnx.md").read_text()
    assert "Not known: the `dvc.lock` of the repository has no such generator" in text
    assert "## Metrics" not in text


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    make(tmp_path / "models/generator.safetensors")
    with pytest.raises(UserError, match=r"--out: found x\.pt, need a name that ends in \.onnx for --format onnx"):
        export.run(tmp_path / "models/generator.safetensors", Path("x.pt"), "onnx", tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["models"]
    own = tmp_path / "models/generator.safetensors"
    with pytest.raises(UserError, match="is the generator itself"):
        export.run(own, own, "safetensors", tmp_path)
    with pytest.raises(UserError, match=r"none\.safetensors: missing or damaged"):
        export.run(tmp_path / "none.safetensors", tmp_path / "x.onnx", "onnx", tmp_path)


def test_a_failed_export_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(generator: Path, G: Generator, out: Path) -> None:
        out.write_text("half of it")
        raise OSError("disk full")

    make(tmp_path / "models/generator.safetensors")
    out = tmp_path / "g.onnx"
    out.write_text("old")
    monkeypatch.setitem(export.FORMATS, "onnx", (".onnx", broken))
    with pytest.raises(OSError, match="disk full"):
        export.run(tmp_path / "models/generator.safetensors", out, "onnx", tmp_path)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["g.onnx", "models"]
    assert out.read_text() == "old"


MANIFEST = """\
id,status,reason,domain,file,source,artist,licence
a,kept,,photo,images/a.jpg,photos,eva,CC0-1.0
b,kept,,photo,images/b.jpg,photos,eva,CC-BY-4.0
c,kept,,portrait,images/c.jpg,paintings,noa,
d,rejected,near-duplicate,photo,,photos,ida,CC-BY-NC-4.0
"""
OUTS = {
    "data/raw/demo/geralt/report.json": "{}",
    "data/crops/report.json": "{}",
    "data/resized/report.json": "{}",
    "data/filtered/report.json": "{}",
    "data/dataset/report.json": "{}",
    "data/dataset/manifest.csv": MANIFEST,
    "results/funnel/funnel.json": "{}",
    "results/train/report.json": "{}",
    "results/samples/report.json": "{}",
    "results/evaluation/evaluation.json": "{}",
    "results/report.html": "",
    "results/metrics.json": "{}",
    "results/published/train.json": "{}",
    "results/evaluation/metrics.json": '{"distance_whole": 0.123456, "face_rate": 1.0}',
    "models/checkpoint.safetensors": "state",
}
THREE_LINES = """\
import torch
from semireal.stylegan2 import load_generator
images = load_generator("generator.safetensors")(torch.randn(4, 8), psi=0.5)
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which all stages count as run, with two versions of the generator, pushed.

    Beside it: `origin.git`, a bare git remote, and `store`, a DVC remote.
    """
    top = tmp_path_factory.mktemp("registry")
    repo = clone(top / "repo")
    shell(top, "git", "init", "-q", "--bare", "-b", "main", "origin.git")
    shell(repo, "git", "remote", "add", "origin", str(top / "origin.git"))
    shell(repo, "dvc", "remote", "add", "--local", "-d", "store", str(top / "store"))
    for file, text in OUTS.items():
        (repo / file).parent.mkdir(parents=True, exist_ok=True)
        (repo / file).write_text(text)
    (repo / "code").mkdir()
    for stage in [*STAGES, "scrape"]:
        (repo / f"code/{stage}.txt").write_text("as if run")
    for seed, version in enumerate(["v1.0.0", "v1.1.0"]):
        make(repo / "models/generator.safetensors", seed=seed)
        make(repo / "models/best.safetensors", seed=seed + 10)
        (repo / "models/network.safetensors").write_bytes((repo / "models/generator.safetensors").read_bytes())
        targets = (
            ["code", "scrape@geralt"] if seed == 0 else ["train", "blend", "sample", "evaluate", "report", "publish"]
        )
        stages = STAGES if seed == 0 else []
        shell(repo, "dvc", "commit", "--force", *targets, *stages)
        shell(repo, "git", "add", "-A")
        shell(repo, "git", "commit", "-q", "-m", version)
        shell(repo, "gto", "register", "generator", "--version", version)
        shell(repo, "dvc", "push", "-q", "models/generator.safetensors")
    shell(repo, "git", "push", "-q", "origin", "main", "--tags")
    return repo


def test_card_tells_data_licences_metrics_and_parameters(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = published / "exports/generator.safetensors"
    text = export.run(published / "models/generator.safetensors", out, "safetensors", published).read_text()
    lock = (published / "dvc.lock").read_text()
    (data_hash,) = set(re.findall(r"path: data/dataset\n.*\n +md5: (\w+\.dir)", lock))
    for line in [
        "# geralt: StyleGAN2 generator, 16 x 16",
        f"| data/dataset | `{data_hash}` |",
        "3 images of 2 named artists; `data/dataset/manifest.csv` names each with its page.",
        "| paintings | portrait | not stated by the source | 1 |",
        "| photos | photo | CC-BY-4.0 | 1 |",
        "| photos | photo | CC0-1.0 | 1 |",
        "| distance_whole | 0.12346 |",
        "| `train.epochs` | 1 |",
        "| `filter.min_agreement` | null |",
        "| `seed` | 0 |",
        "| z_dim | 8 |",
    ]:
        assert line in text.splitlines(), line
    assert "| data/raw/demo/geralt | `" in text
    assert "NC" not in text  # the rejected image has no part in it
    assert "started from" not in text  # but from noise
    assert "`drawn`" not in text  # stage code looks at it, and nothing in the network comes from it
    code = text.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(out.parent)
    names: dict[str, torch.Tensor] = {}
    exec(code, names)
    assert names["images"].shape == (4, 3, 16, 16)


def test_card_names_the_network_that_the_training_started_from(published: Path, tmp_path: Path) -> None:
    lock = published / "dvc.lock"
    before = lock.read_text()
    lock.write_text(before.replace("experiments/noise.init", "start/faces.pkl"))
    try:
        card = export.run(
            published / "models/generator.safetensors", tmp_path / "g.safetensors", "safetensors", published
        )
    finally:
        lock.write_text(before)
    text = card.read_text()
    assert "The training started from `start/faces.pkl`, whose licence holds as well." in text
    assert re.search(r"^\| start/faces\.pkl \| `\w{32}` \|$", text, re.MULTILINE)


def test_card_of_the_other_snapshot_has_no_metrics(published: Path, tmp_path: Path) -> None:
    card = export.run(published / "models/best.safetensors", tmp_path / "b.safetensors", "safetensors", published)
    assert "Not measured: the stage evaluate did not run on this network (best snapshot)." in card.read_text()


@pytest.fixture
def mixed(published: Path, tmp_path: Path) -> Path:
    """The same repository after the stage has blended the trained network with a base."""
    repo = copy(published, tmp_path / "mixed")
    make(repo / "start.safetensors", seed=20)
    params = yaml.safe_load((repo / "params.yaml").read_text())
    params["blend"] = {"base": "start.safetensors", "from": 8, "amount": 0.25}
    params["sample"]["snapshot"] = "best"
    (repo / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    dial.run(repo / "start.safetensors", repo / "models/best.safetensors", repo / paths.NETWORK, 8, 0.25, None)
    shell(repo, "dvc", "commit", "--force", "blend", "sample", "evaluate", "report", "publish")
    return repo


def test_card_of_a_blend_names_both_networks_and_whose_data(mixed: Path, tmp_path: Path) -> None:
    network, out = mixed / paths.NETWORK, tmp_path / "blend.safetensors"
    text = export.run(network, out, "safetensors", mixed).read_text()
    base, child = (sha256_of(mixed / name) for name in ("start.safetensors", "models/best.safetensors"))
    for line in [
        f"| base | `{base}` (SHA-256) |",
        f"| trained on from it | `{child}` (SHA-256) |",
        "| from | 8 |",
        "| amount | 0.25 |",
        "This network was not trained: it lies between two, from 8 x 8 on 0.25 of the way from the base to the other. "
        "The base is `start.safetensors`, the other one the best snapshot below. It is made of the data of both, and "
        "both licences hold for it.",
        "3 images of 2 named artists; `data/dataset/manifest.csv` names each with its page.",
        "| distance_whole | 0.12346 |",
        "| `blend.amount` | 0.25 |",
    ]:
        assert line in text.splitlines(), line
    assert re.search(r"^\| start\.safetensors \| `\w{32}` \|$", text, re.MULTILINE)
    assert "Not known" not in text
    # the snapshot that it was made of was not measured
    other = export.run(mixed / "models/best.safetensors", tmp_path / "b.safetensors", "safetensors", mixed).read_text()
    assert "Not measured" in other
    assert "## Blend" not in other
    # elsewhere the file itself still says what it is, and nothing of whose data
    elsewhere = export.run(out, tmp_path / "again.safetensors", "safetensors", tmp_path).read_text()
    assert f"| base | `{base}` (SHA-256) |" in elsewhere
    assert "The licences of both hold for it." in elsewhere
    assert "Not known: the `dvc.lock` of the repository has no such generator" in elsewhere


def test_card_of_a_blend_of_an_earlier_training_tells_no_data(mixed: Path, tmp_path: Path) -> None:
    """The stage train ran again, and blend not yet: what dvc.lock knows of the data is about another network."""
    make(mixed / "models/best.safetensors", seed=30)
    shell(mixed, "dvc", "commit", "--force", "train")
    text = export.run(mixed / paths.NETWORK, tmp_path / "b.safetensors", "safetensors", mixed).read_text()
    assert "## Blend" in text
    assert "Not known" in text
    assert "named artists" not in text


@pytest.mark.parametrize("file", ["data/dataset/manifest.csv", "results/evaluation/metrics.json"])
def test_card_takes_nothing_that_was_changed(published: Path, tmp_path: Path, file: str) -> None:
    before = (published / file).read_text()
    (published / file).write_text(before.replace("CC0-1.0", "mine").replace("0.123456", "0.1"))
    try:
        with pytest.raises(UserError, match=rf"export: {file} was changed since it was made\. Run `dvc repro`"):
            export.run(published / "models/generator.safetensors", tmp_path / "g.pt", "torchscript", published)
    finally:
        (published / file).write_text(before)
    assert list(tmp_path.iterdir()) == []


def test_a_registered_generator_is_fetched_and_drawn_from(published: Path, tmp_path: Path) -> None:
    """From another folder that is no repository, by the commands of docs/publishing.md."""
    origin, store = published.parent / "origin.git", published.parent / "store"
    remote = ["--remote", "store", "--remote-config", f"url={store}"]
    for version, seed in [("v1.0.0", 0), ("v1.1.0", 1)]:
        folder = tmp_path / version
        folder.mkdir()
        shell(folder, "dvc", "artifacts", "get", str(origin), "generator", "--rev", version, *remote)
        G, expected = (
            load_generator(folder / "generator.safetensors"),
            make(tmp_path / "expected.safetensors", seed=seed),
        )
        assert all(torch.equal(one, other) for one, other in zip(G.parameters(), expected.parameters(), strict=True))
    shell(folder, "python", "-c", THREE_LINES + "assert images.shape == (4, 3, 16, 16)")
    newest = tmp_path / "newest.safetensors"
    shell(tmp_path, "dvc", "artifacts", "get", str(origin), "generator", *remote, "-o", str(newest))
    assert newest.read_bytes() == (tmp_path / "v1.1.0/generator.safetensors").read_bytes()
    tag = ["--rev", "generator@v1.0.0"]
    shell(tmp_path, "dvc", "get", str(origin), "models/generator.safetensors", *tag, *remote, "-o", "old.safetensors")
    assert (tmp_path / "old.safetensors").read_bytes() == (tmp_path / "v1.0.0/generator.safetensors").read_bytes()
