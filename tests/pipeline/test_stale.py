"""No old result under new code, data or parameters: each change runs again what it decides, and nothing else."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tiny import copy, environment, shell

pytestmark = pytest.mark.slow
NETWORK = {"train", "blend", "sample", "evaluate"}  # the stages that load one


@pytest.fixture(scope="module")
def whole(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with all results, and with the training to go on with."""
    return copy(made, tmp_path_factory.mktemp("stale") / "repo")


@pytest.fixture
def repo(whole: Path) -> Path:
    """The same, with everything as it is committed."""
    shell(whole, "git", "checkout", "-q", ".")
    shell(whole, "git", "clean", "-q", "-f", "src", "experiments")
    shell(whole, "dvc", "checkout", "-q")
    return whole


def ran(repo: Path) -> list[str]:
    """The stages that `dvc repro` runs."""
    text = shell(repo, "dvc", "repro")
    assert "Running stage" not in shell(repo, "dvc", "repro")  # nor is anything left to do
    return re.findall(r"Running stage '(.*)'", text)


def edit(repo: Path, file: str, old: str, new: str) -> None:
    path = repo / file
    text = path.read_text()
    assert old in text, file
    path.write_text(text.replace(old, new, 1))


def test_a_comment_runs_the_key_alone(repo: Path) -> None:
    edit(repo, "src/semireal/tensors.py", "import torch\n", "import torch  # why\n")
    (repo / "src/semireal/tensors.py~").write_text("what an editor leaves")
    (repo / "src/semireal/unused.py").write_text("x = 1\n")
    assert ran(repo) == ["code"]


def test_changed_code_is_neither_trained_nor_measured_from_what_was_kept(repo: Path) -> None:
    """Cases 1 and 2: an old network from .work, and old features from the cache, under new code."""
    before = json.loads((repo / "results/metrics.json").read_text())
    edit(repo, "src/semireal/tensors.py", "/ 127.5 - 1", "/ 100 - 1")
    text = shell(repo, "dvc", "repro")
    # filter may ask who is in a picture, and leaves what it left before
    stages = ["code", "filter", "train", "blend", "sample", "evaluate", "report", "publish"]
    assert re.findall(r"Running stage '(.*)'", text) == stages
    assert "train: going on" not in text
    assert re.search(r"train: not as in the last run: .*\bcode\b.*; starting from the beginning", text)
    assert "from the cache" not in text
    assert json.loads((repo / "results/metrics.json").read_text()) != before


@pytest.mark.parametrize(
    ("file", "old", "new", "stages"),
    [
        # case 2: generators rounded to bfloat16 left sample and evaluate as they were
        ("src/semireal/stylegan2/load.py", "network.eval()", "network.bfloat16().float().eval()", NETWORK),
        # the pinned hash of the detector, what the verifier has learned, a style sheet and a library were no deps
        ("src/semireal/vision/weights.py", "8f2383e4", "8f2383e5", {"crop", "filter", "train", "evaluate"}),
        ("src/semireal/faces/verifier.json", "{", "{ ", {"crop", "evaluate"}),
        ("src/semireal/report/page.css", "{", "{ ", {"report"}),
        ("requirements.txt", "\nimagehash==", "\nimagehash==9", {"dedupe"}),
    ],
)
def test_what_decides_a_stage_changes_it_and_no_other(
    repo: Path, file: str, old: str, new: str, stages: set[str]
) -> None:
    edit(repo, file, old, new)
    shell(repo, "dvc", "repro", "-q", "code")
    assert set(json.loads(shell(repo, "dvc", "status", "--json"))) == stages


def test_another_network_to_start_from_trains_again(repo: Path) -> None:
    """Case 3: the local file at train.init replaced by another."""
    edit(repo, "params.yaml", "experiments/noise.init", "start/first.safetensors")
    start = repo / "start/first.safetensors"
    start.parent.mkdir()
    start.write_bytes((repo / "models/generator.safetensors").read_bytes())
    shell(repo, "dvc", "commit", "-q", "-f", "train")  # as if it had run
    assert json.loads(shell(repo, "dvc", "status", "--json", "train")) == {}
    start.write_bytes((repo / "models/checkpoint.safetensors").read_bytes())
    assert set(json.loads(shell(repo, "dvc", "status", "--json", "train"))) == {"train"}


def test_a_stage_alone_does_not_run_with_code_that_its_key_does_not_know(repo: Path) -> None:
    edit(repo, "src/semireal/training/sample.py", "COLUMNS = 8", "COLUMNS = 4")
    text = shell(repo, "dvc", "repro", "--single-item", "--force", "sample", ok=False)
    assert "error: sample: code/sample.txt is not about the code that is here (src/semireal/training/sample.py)" in text
    assert ran(repo) == ["code", "sample", "evaluate", "report", "publish"]


def while_running(repo: Path, stage: str, sign: str, change: Callable[[], None]) -> str:
    """Change something when `dvc repro` of a stage has shown a sign of working; what it prints, and it must fail."""
    with (repo / "log").open("w") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", stage],
            cwd=repo,
            env=environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        end = time.monotonic() + 120
        while sign not in (repo / "log").read_text() and time.monotonic() < end:
            time.sleep(0.05)
        change()
        assert run.wait() != 0, (repo / "log").read_text()
    return (repo / "log").read_text()


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("params.yaml", "min_face: 47", "min_face: 300", "params.yaml: crop.min_face"),
        ("experiments/takedowns.csv", "\n", "\nhttps://example.org/a,,,\n", "experiments/takedowns.csv"),
        ("src/semireal/faces/crop.py", "def run(", "x = 1\n\n\ndef run(", "the code (src/semireal/faces/crop.py)"),
    ],
)
def test_what_changes_while_a_stage_runs_is_not_certified(
    repo: Path, file: str, old: str, new: str, named: str
) -> None:
    """Case 8, shared/cases/dvc/01: DVC hashes parameters and deps when the command has ended."""
    edit(repo, "params.yaml", "min_face: 48", "min_face: 47")
    recorded = yaml.safe_load((repo / "dvc.lock").read_text())["stages"]["crop"]
    shutil.rmtree(repo / ".work/crop")  # with what is known there it would be over before anything could change
    text = while_running(repo, "crop", "crop:", lambda: edit(repo, file, old, new))
    assert f"error: crop: {named} changed while the stage ran" in text
    assert yaml.safe_load((repo / "dvc.lock").read_text())["stages"]["crop"] == recorded
    assert "crop" in json.loads(shell(repo, "dvc", "status", "--json"))
    shell(repo, "dvc", "repro", "crop")  # the same command puts it right
    assert json.loads(shell(repo, "dvc", "status", "--json", "crop")) == {}
