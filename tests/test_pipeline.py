"""The whole graph with DVC in a fresh clone, on the embedded gallery, as small as it goes."""

import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from conftest import ROOT
from semireal import manifest
from semireal.gallery.catalogue import posts, render

TINY = {
    "train": {
        "epochs": 1,
        "resolution": 16,
        "channel_base": 256,
        "channel_max": 16,
        "z_dim": 16,
        "w_dim": 16,
        "mapping_layers": 2,
        "pl_weight": 0,
        "r1_interval": 16,
        "snapshot_epochs": 1,
    },
    "sample": {"seeds": 4, "psi_steps": 3, "mix_rows": 2},
    "evaluate": {"images": 8, "neighbours": 2, "psis": [0.5, 1.0], "resamples": 20},
}
STAGES = ["crop", "resize", "filter", "dedupe", "funnel", "train", "sample", "evaluate", "report"]


def shell(folder: Path, *command: str, ok: bool = True) -> str:
    """Run a command in a clone, with its `python`; returns what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {k: v for k, v in os.environ.items() if k != "DVC_ROOT"}
    env |= {"PATH": path, "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1"}  # threads only cost time on tiny networks
    # a file and no pipe: the worker of the queue keeps what it inherits open
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
        )
        output.seek(0)
        text = output.read()
    assert (done.returncode == 0) == ok, text
    return text


def clone(folder: Path) -> Path:
    """A new repository with the files of this one, tiny parameters and few images, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        if (ROOT / name).is_file() and name not in ("dvc.lock", "data/dvc.lock"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
            (folder / name).chmod((ROOT / name).stat().st_mode)
    # the composition is edited, and params.yaml with it, so that repro and exp run agree
    for path in (folder / "experiments/profile/demo.yaml", folder / "params.yaml"):
        content = merge(yaml.safe_load(path.read_text()), TINY)
        header = "# @package _global_\n" if path.name == "demo.yaml" else ""
        path.write_text(header + yaml.safe_dump(content, sort_keys=False))
    for path in (folder / "experiments/sources/demo").glob("*.yaml"):
        sources = yaml.safe_load(path.read_text())
        for source in sources["sources"].values():
            source["url"] += "+limit:14"  # short lists, or the gallery would draw a page of 100
        path.write_text(yaml.safe_dump(sources))
    shell(folder, "git", "init", "-q", "-b", "main")
    shell(folder, "git", "config", "user.email", "test@example.org")
    shell(folder, "git", "config", "user.name", "test")
    shell(folder, "git", "add", "-A")
    shell(folder, "git", "commit", "-q", "-m", "tiny")
    return folder


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested update of a mapping."""
    for key, value in changes.items():
        base[key] = merge(base.get(key, {}), value) if isinstance(value, dict) else value
    return base


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which `dvc repro` has run."""
    folder = clone(tmp_path_factory.mktemp("first") / "semi real")
    shell(folder, "dvc", "repro")
    shell(folder, "git", "add", "-A")
    shell(folder, "git", "commit", "-q", "-m", "results")
    return folder


@pytest.mark.slow
def test_every_stage_leaves_its_result(repo: Path) -> None:
    lock = yaml.safe_load((repo / "dvc.lock").read_text())
    assert sorted(lock["stages"]) == sorted(STAGES)
    for before, after in [
        ("raw/demo/geralt", "crops"),
        ("crops", "resized"),
        ("resized", "filtered"),
        ("filtered", "dataset"),
    ]:
        kept, report = (
            manifest.read_kept(repo / "data" / before),
            json.loads((repo / "data" / after / "report.json").read_text()),
        )
        assert report["in"] == len(kept)
        assert report["in"] == report["kept"] + sum(report["rejected"].values())
        files = {row["file"] for row in manifest.read_kept(repo / "data" / after)}
        assert files == {f"images/{f.name}" for f in (repo / "data" / after / "images").iterdir()}
    for name in ("grid", "psi_row", "style_mix"):
        with Image.open(repo / f"results/samples/{name}.png") as img:
            img.load()
    assert len(list((repo / "results/samples/images").iterdir())) == 4
    metrics = json.loads((repo / "results/metrics.json").read_text())
    assert metrics["generated_images"] == 8
    assert metrics["frechet_r64"] > 0
    assert {"face_rate", "yield", "kernel_r64", "precision_r64", "recall_r64", "copies"} <= set(metrics)
    assert json.loads((repo / "results/evaluation/evaluation.json").read_text())["name"] == "geralt"
    assert not {"fid", "kid", "inception_score"} & set(metrics)
    assert (repo / "results/train/plots/metrics/loss_g.tsv").read_text().startswith("step\tloss_g\n1\t")
    assert (repo / "results/train/grids/fakes_00001.png").is_file()


@pytest.mark.slow
def test_second_repro_runs_nothing(repo: Path) -> None:
    text = shell(repo, "dvc", "repro")
    assert "Running stage" not in text
    assert text.count("didn't change, skipping") == len(STAGES) + 1


@pytest.mark.slow
def test_plots_and_metrics_are_declared_right(repo: Path) -> None:
    shown = json.loads(shell(repo, "dvc", "metrics", "show", "--json"))
    files = shown[""]["data"]
    assert "kept" in files["data/dataset/report.json"]["data"]
    assert "frechet_r64" in files["results/metrics.json"]["data"]
    plots = shell(repo, "dvc", "plots", "show", "-o", "plots_page")
    assert "WARNING" not in plots
    assert (repo / "plots_page" / "index.html").is_file()


@pytest.mark.slow
def test_another_clone_has_the_same_hashes(repo: Path, tmp_path: Path) -> None:
    other = clone(tmp_path / "second")
    shell(other, "dvc", "repro")
    for lock in ("dvc.lock", "data/dvc.lock"):
        assert (repo / lock).read_text() == (other / lock).read_text()


@pytest.mark.slow
def test_three_characters_through_the_queue_compare(repo: Path) -> None:
    characters = ["elf", "geralt", "wonder_woman"]
    shell(repo, "dvc", "exp", "run", "--queue", "-S", f"character={','.join(characters)}")
    shell(repo, "dvc", "queue", "start", "-j", "2")
    deadline = time.monotonic() + 480
    while re.search(r"Running|Queued", status := shell(repo, "dvc", "queue", "status")):
        assert time.monotonic() < deadline, status
        time.sleep(1)
    shell(repo, "dvc", "queue", "stop", "--kill")
    assert status.count("Success") == 3, status + shell(repo, "dvc", "queue", "logs", status.split("\n")[1].split()[0])
    rows = list(csv.DictReader(shell(repo, "dvc", "exp", "show", "--csv").splitlines()))
    found = {row["name"]: row for row in rows if row["Experiment"]}
    assert sorted(found) == characters
    for column in ("frechet_r64", "kernel_r64", "precision_r64", "recall_r64", "face_rate"):
        assert all(float(row[column]) >= -1 for row in found.values()), column
    assert len({row["frechet_r64"] for row in found.values()}) == 3
    # the workspace is as it was
    assert yaml.safe_load((repo / "params.yaml").read_text())["name"] == "geralt"
    assert "Running stage" not in shell(repo, "dvc", "repro")


@pytest.mark.slow
def test_own_images_as_the_readme_says(repo: Path) -> None:
    definition, stage = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    good = [post for post in posts("elf") if post.kind == "good"]
    for style in ("photo", "portrait"):
        folder = repo / "data/own/me" / style
        folder.mkdir(parents=True)
        for post in [post for post in good if post.style == style][:4]:
            (folder / f"{post.id}.{post.extension}").write_bytes(render(post))
    (repo / "experiments/sources/own").mkdir()
    (repo / "experiments/sources/own/me.yaml").write_text(definition)
    pipeline = repo / "data/dvc.yaml"
    pipeline.write_text(pipeline.read_text() + stage)
    shell(repo, "dvc", "exp", "run", "-S", "collection=own/me", "-S", "name=me", "dedupe")
    assert len(manifest.read_kept(repo / "data/dataset")) == 8
    # a new image is noticed
    (repo / "data/own/me/photo/new.png").write_bytes(render(next(p for p in good if p.encoding == "png")))
    assert "data/own/me" in shell(repo, "dvc", "status")
    shell(repo, "git", "checkout", ".")
    shell(repo, "dvc", "repro")  # everything comes back from the cache


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value", "stage", "message"),
    [
        ("crop.score", 7, "crop", "error: crop.score: found 7, need a number from 0.1 to 1"),
        ("crop.min_face", 5000, "crop", "error: crop: none of"),
        ("train.resolution", 48, "train", "error: train.resolution: found 48, need a power of two"),
        ("train.init", "no/such.safetensors", "train", "error: train.init"),
        ("train.photo_ratio", 1.5, "train", "error: train.photo_ratio: found 1.5"),
        ("train.batch", 7, "train", "error: train"),
        ("evaluate.inception", "no/such.pth", "evaluate", "error: evaluate.inception: no/such.pth not found"),
    ],
)
def test_bad_parameters_stop_with_one_line(repo: Path, key: str, value: Any, stage: str, message: str) -> None:
    before = (repo / "params.yaml").read_text()
    section, name = key.split(".")
    (repo / "params.yaml").write_text(yaml.safe_dump(merge(yaml.safe_load(before), {section: {name: value}})))
    try:
        text = shell(repo, "python", f"stages/{stage}.py", ok=False)
    finally:
        (repo / "params.yaml").write_text(before)
    assert message in text
    assert "Traceback" not in text
    assert (repo / "models/generator.safetensors").is_file()  # what was there is still there
    assert (repo / "data/crops/manifest.csv").is_file()
