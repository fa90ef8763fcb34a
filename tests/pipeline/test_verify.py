import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from semireal import params, paths
from semireal.errors import UserError
from semireal.pipeline import verify
from tiny import ALL, copy, environment, shell


def lock(**outs: str) -> dict[str, dict[str, Any]]:
    """Stages that are a chain: the out of one is the dep of the next."""
    stages: dict[str, dict[str, Any]] = {}
    deps: list[dict[str, str]] = []
    for name, digest in outs.items():
        stages[name] = {"deps": deps, "outs": [{"path": f"data/{name}", "md5": digest}]}
        deps = stages[name]["outs"]
    return stages


def verdicts(recorded: dict[str, Any], again: dict[str, Any], uncertain: tuple[str, ...] = ()) -> list[str]:
    return [row.verdict for row in verify.compare(recorded, again, uncertain)]


def test_the_stage_at_fault_is_told_from_those_after_it() -> None:
    good, bad = lock(crop="1", train="2", sample="3"), lock(crop="1", train="x", sample="y")
    assert verdicts(good, good) == [verify.SAME] * 3
    assert verdicts(good, bad) == [verify.SAME, verify.DIFFERENT, verify.INPUT]
    assert verdicts(good, bad, ("train",)) == [verify.SAME, verify.STATISTICAL, verify.INPUT]
    [row] = verify.compare({}, lock(crop="1"), ())
    assert (row.recorded, row.verdict) == ("not recorded", verify.DIFFERENT)


def test_a_gpu_makes_only_some_stages_uncertain(work_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert verify.on_gpu() == ()
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert verify.on_gpu() == ("train", "sample", "evaluate")
    monkeypatch.setenv("SEMIREAL_DEVICE", "cpu")
    assert verify.on_gpu() == ()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A committed repository with parameters and a lock file only."""
    shutil.copyfile(params.FILE, tmp_path / "params.yaml")
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": lock(evaluate="1")}))
    for command in ("init -q", "config user.email a@example.org", "config user.name a", "add -A", "commit -q -m a"):
        shell(tmp_path, "git", *command.split())
    return tmp_path


def test_what_cannot_be_verified_is_said_before_anything_runs(bare: Path) -> None:
    given = yaml.safe_load((bare / "params.yaml").read_text())
    (bare / "params.yaml").write_text(yaml.safe_dump(given | {"collection": "web/elf", "drawn": []}))
    with pytest.raises(UserError, match=r"params.yaml has changes"):
        verify.run(bare)
    shell(bare, "git", "commit", "-q", "-a", "-m", "web")
    with pytest.raises(UserError, match=r"found web/elf; only demo"):
        verify.run(bare)
    (bare / "params.yaml").write_text(yaml.safe_dump(given))
    shell(bare, "git", "commit", "-q", "-a", "-m", "demo")
    (bare / "dvc.lock").unlink()
    with pytest.raises(UserError, match=r"dvc.lock has no results"):
        verify.run(bare)
    shutil.rmtree(bare / ".git")
    with pytest.raises(UserError, match=r"not the top of a git repository"):
        verify.run(bare)


def killed(repo: Path, stage: str, sign: str) -> None:
    """Start a stage, and kill it and all that it started when it has shown a sign of working."""
    log = repo.parent / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", stage],
            cwd=repo,
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    end = time.monotonic() + 120
    while sign not in log.read_text():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_what_is_set_for_the_machine_holds_in_the_clone(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(verify, "repro", lambda clone: seen.append((clone / "machine.yaml").read_text()))
    (bare / "machine.yaml").write_text("processes: 2\n")
    verify.run(bare)
    assert seen == ["processes: 2\n"]


def test_results_that_differ_from_the_commit_are_no_change(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "repro", lambda _: None)
    made = [bare / path for path in (verify.LOCK, paths.METRICS, paths.MADE_ON, paths.PUBLISHED / "funnel.json")]
    for path in made[1:]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    shell(bare, "git", "add", "-A")
    shell(bare, "git", "commit", "-q", "-m", "results")
    for path in made:
        path.write_text(path.read_text() + "\n")
    verify.run(bare)


@pytest.mark.slow
def test_everything_can_be_made_again_in_a_fresh_clone(made: Path, tmp_path: Path) -> None:
    """After a training that was lengthened, and killed on its way, too: every file is that of one made in one go."""
    repo = copy(made, tmp_path / "Größe und Maß")  # a path with letters outside ASCII
    given = (repo / "params.yaml").read_text()
    (repo / "params.yaml").write_text(given.replace("\n  epochs: 1\n", "\n  epochs: 2\n", 1))
    killed(repo, "train", "going on from epoch 1")
    shell(repo, "rm", "-rf", ".dvc/tmp/lock", ".dvc/tmp/rwlock")
    assert "train: going on from epoch 1" in shell(repo, "dvc", "repro")
    shell(repo, "git", "commit", "-q", "-a", "-m", "longer")
    lock = (repo / verify.LOCK).read_bytes()
    text = shell(repo, "python", "-m", "semireal", "verify", TMPDIR=str(tmp_path), PYTHONUNBUFFERED="")
    for name in ALL:
        assert [line for line in text.splitlines() if line.startswith(f"{name} ") and line.endswith("  same")], text
    assert text.endswith("verify: all the same\n")
    assert (repo / verify.LOCK).read_bytes() == lock
    assert not list(tmp_path.glob("semireal-verify-*"))  # the clone is gone
