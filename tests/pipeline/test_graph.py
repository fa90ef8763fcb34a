"""The whole graph with DVC in a fresh clone, on the embedded gallery, as small as it goes."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from semireal import manifest
from semireal.curate import decisions
from semireal.stylegan2 import load_networks, save_networks
from tiny import ALL, copy, experiment_of, merge, shell


@pytest.fixture(scope="module")
def repo(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which `dvc repro` and a sweep over the characters have run."""
    return copy(made, tmp_path_factory.mktemp("pipeline") / "semi real")


@pytest.mark.slow
def test_the_filter_learns_who_it_is_where_it_is_asked_to(made: Path, tmp_path: Path) -> None:
    repo = copy(made, tmp_path / "semi real")
    before = manifest.read_kept(repo / "data/filtered")
    lines = [f"{before[0]['id']},reject,,{decisions.STRANGER}", *(f"{row['id']},keep,," for row in before[1:3])]
    (repo / "experiments/decisions/geralt.csv").write_text("\n".join([",".join(decisions.COLUMNS), *sorted(lines), ""]))
    text = (repo / "params.yaml").read_text()
    (repo / "params.yaml").write_text(text.replace("min_character: null", "min_character: 0.5"))
    shell(repo, "dvc", "repro", "-q", "filter")
    rows = {row["id"]: row for row in manifest.read(repo / "data/filtered").to_dict("records")}
    assert rows[before[0]["id"]]["reason"] == "rejected by hand"
    assert all(rows[row["id"]]["status"] == manifest.KEPT for row in before[1:3])
    assert all(0 <= rows[row["id"]]["character"] <= 1 for row in before)
    found = [row for row in rows.values() if row["rule"] == decisions.ANOTHER]
    assert all(row["character"] < 0.5 for row in found)


@pytest.mark.slow
def test_every_stage_leaves_its_result(repo: Path) -> None:
    lock = yaml.safe_load((repo / "dvc.lock").read_text())
    assert sorted(lock["stages"]) == sorted(ALL)
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
    assert metrics["generated_images"] == 10
    assert metrics["frechet_whole"] > 0
    names = {f"distance_{name}" for name in ("whole", "layout", "eyes", "colour")} | {
        "precision_whole",
        "recall_whole",
        "copies",
    }
    assert {"face_rate", "yield"} | names | {f"{name}_at_psi" for name in names} <= set(metrics)
    assert json.loads((repo / "results/evaluation/evaluation.json").read_text())["name"] == "geralt"
    assert not {"fid", "kid", "inception_score"} & set(metrics)
    assert (repo / "results/train/plots/metrics/loss_g.tsv").read_text().startswith("step\tloss_g\n1\t")
    assert (repo / "results/train/grids/fakes_00001.png").is_file()


@pytest.mark.slow
def test_second_repro_runs_nothing(repo: Path) -> None:
    text = shell(repo, "dvc", "repro")
    assert "Running stage" not in text
    assert text.count("didn't change, skipping") == len(ALL)


@pytest.mark.slow
def test_plots_and_metrics_are_declared_right(repo: Path) -> None:
    shown = json.loads(shell(repo, "dvc", "metrics", "show", "--json"))
    files = shown[""]["data"]
    assert "kept" in files["results/published/dedupe.json"]["data"]
    assert "frechet_whole" in files["results/metrics.json"]["data"]
    plots = shell(repo, "dvc", "plots", "show", "-o", "plots_page")
    assert "WARNING" not in plots
    # the curves come from a CDN in that page: whoever is offline has them as a picture
    assert "results_published_curves.png" in (repo / "plots_page" / "index.html").read_text()


@pytest.mark.slow
def test_three_characters_through_the_queue_compare(repo: Path) -> None:
    rows = list(csv.DictReader(shell(repo, "dvc", "exp", "show", "--csv").splitlines()))
    found = {row["name"]: row for row in rows if row["Experiment"]}
    assert sorted(found) == ["elf", "geralt", "wonder_woman"]
    for column in ("frechet_whole", "distance_eyes", "precision_whole", "recall_whole", "face_rate"):
        assert all(float(row[column]) >= -1 for row in found.values()), column
    assert len({row["frechet_whole"] for row in found.values()}) == 3
    # the workspace is as it was
    assert yaml.safe_load((repo / "params.yaml").read_text())["name"] == "geralt"
    assert "Running stage" not in shell(repo, "dvc", "repro")


@pytest.mark.slow
def test_the_report_shows_the_workspace_and_named_experiments(repo: Path) -> None:
    elf = experiment_of(repo, "elf")
    text = shell(repo, "python", "-m", "semireal", "report")
    assert elf in text  # and the experiment that is the workspace, geralt's, only once
    page = (repo / "report.html").read_text()
    (title,) = re.findall(r"<title>semireal: (.*)</title>", page)
    # the workspace first, then the experiments by name, and names are random
    assert title in ("Geralt, Elf, Wonder Woman", "Geralt, Wonder Woman, Elf")
    command = ["python", "-m", "semireal", "report", "--out", "two.html"]
    shell(repo, *command, "workspace", elf)
    two = (repo / "two.html").read_text()
    assert f"<small>{elf}</small>" in two
    assert two.count("training images, photo") == two.count("samples at") / 2 == 2
    assert "none" not in re.findall(r'<p class="(\w+)"', two)
    # the stage's own page is about the workspace alone
    assert "<title>semireal: Geralt</title>" in (repo / "results/report.html").read_text()
    lost = shell(repo, *command, "no-such-thing", ok=False)
    assert "error: no-such-thing: no such experiment, branch or tag" in lost


@pytest.mark.slow
def test_experiments_of_an_earlier_commit_are_named(repo: Path, tmp_path: Path) -> None:
    later = copy(repo, tmp_path / "later")
    elf = experiment_of(later, "elf")
    shell(later, "git", "commit", "-q", "--allow-empty", "-m", "a word")
    text = shell(later, "python", "-m", "semireal", "report")
    (line,) = (line for line in text.splitlines() if line.startswith("not shown, since they belong to other commits: "))
    assert elf in line
    assert "<title>semireal: Geralt</title>" in (later / "report.html").read_text()
    shell(later, "python", "-m", "semireal", "report", elf)
    assert f"<small>{elf}</small>" in (later / "report.html").read_text()


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


@pytest.mark.slow
def test_a_sweep_of_psi_draws_and_measures_again_and_each_row_differs(repo: Path) -> None:
    before = set(experiments(repo))
    shell(repo, "python", "-m", "semireal", "sweep", "character=geralt", "sample.psi=0.3,0.9")
    rows = {name: row for name, row in experiments(repo).items() if name not in before}
    assert sorted(row["sample.psi"] for row in rows.values()) == ["0.3", "0.9"]
    for name in rows:
        ran = re.findall(r"Running stage '(.*)'", shell(repo, "dvc", "queue", "logs", name))
        assert set(ran) <= {"code", "sample", "evaluate", "report", "publish"}, ran
        assert {"sample", "evaluate"} <= set(ran)
    names = [f"distance_{kind}" for kind in ("whole", "layout", "eyes", "colour")] + [
        "precision_whole",
        "frechet_whole",
    ]
    for column in names:
        assert len({row[column] for row in rows.values()}) == 1, column  # at psi = 1, of one network
    for column in set(names) - {"precision_whole"}:  # a share of eight images may be equal
        assert len({row[f"{column}_at_psi"] for row in rows.values()}) == 2, column

    text = shell(repo, "python", "-m", "semireal", "compare", *rows)
    # of eight images few measures have an interval
    assert re.search(r"\| diversity_whole +\|.*\| no difference seen +\|", text)
    assert re.search(r"\| diversity_whole_at_psi +\| \S+ +\| \S+ +\| \S+ \(\S+ to \S+\)", text)
    assert "distance_eyes_at_psi" in shell(repo, "python", "-m", "semireal", "compare")
    shell(repo, "dvc", "exp", "remove", *rows)


@pytest.mark.slow
def test_the_dial_trains_nothing_again(repo: Path) -> None:
    trained, network = (repo / f"models/{name}.safetensors" for name in ("generator", "network"))
    before = trained.read_bytes()
    assert network.read_bytes() == before  # nothing is blended by default
    run = ["dvc", "exp", "run", "-S", "character=geralt", "-S", "blend.from=8", "-S", "blend.amount=0.5"]
    text = shell(repo, *run, ok=False)
    assert re.findall(r"Running stage '(.*)'", text) == ["code"]
    assert re.search(r"error: blend\.base: experiments/noise\.init stands for random networks, .*\n", text)
    assert "Traceback" not in text
    shell(repo, "git", "checkout", ".")

    found = load_networks(trained)
    rng = torch.Generator().manual_seed(0)
    moved = {
        name: tensor if "noise" in name else tensor + 0.1 * torch.randn(tensor.shape, generator=rng)
        for name, tensor in found.generator.items()
    }
    (repo / "start").mkdir()
    save_networks(repo / "start/base.safetensors", found.config, moved, None, {})
    text = shell(repo, *run, "-S", "blend.base=start/base.safetensors", "-n", "half")
    assert re.findall(r"Running stage '(.*)'", text) == ["code", "blend", "sample", "evaluate", "report", "publish"]
    assert "no common ancestor" not in text
    assert (trained.read_bytes() == before, network.read_bytes() == before) == (True, False)
    row = experiments(repo)["half"]
    assert (row["blend.from"], row["blend.amount"]) == ("8", "0.5")
    assert 0 < float(row["layout_kept"]) < 1
    table = shell(repo, "python", "-m", "semireal", "compare")
    assert all(name in table for name in ("blend.from", "blend.amount", "layout_kept", "layout_kept_at_psi"))
    assert "blended with start/base.safetensors (from 8, amount 0.5)" in (repo / "results/report.html").read_text()
    shell(repo, "dvc", "exp", "remove", "half")
    shell(repo, "git", "checkout", ".")
    shell(repo, "dvc", "repro")
    assert network.read_bytes() == before


def experiments(repo: Path) -> dict[str, dict[str, str]]:
    """The experiments by name, with the columns of DVC's table."""
    rows = csv.DictReader(shell(repo, "dvc", "exp", "show", "--csv").splitlines())
    return {row["Experiment"]: row for row in rows if row["Experiment"]}


@pytest.mark.slow
def test_cheap_variants(repo: Path) -> None:
    """Another psi draws and measures again; more epochs go on from where the training ended."""
    for name, override, stages in [
        ("other-psi", "sample.psi=0.7", ["sample", "evaluate", "report", "publish"]),
        ("longer", "train.epochs=2", ["train", "blend", "sample", "evaluate", "report", "publish"]),
    ]:
        text = shell(repo, "dvc", "exp", "run", "-n", name, "-S", "character=geralt", "-S", override)
        assert re.findall(r"Running stage '(.*)'", text) == ["code", *stages]  # code checks the parameters
        assert ("train: going on from epoch 1" in text) == (name == "longer")
        assert "note: " not in text  # a variant is no disagreement
    shell(repo, "dvc", "exp", "remove", "other-psi", "longer")
    shell(repo, "git", "checkout", ".")
    shell(repo, "dvc", "repro")  # everything comes back from the cache
