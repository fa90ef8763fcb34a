"""Whatever takes the images of a stage to some process, the stages leave the same bytes."""

import shutil
from pathlib import Path
from threading import Thread

import pytest

from measuring import dask
from semireal.files import sha256_of
from tiny import copy, shell

STAGES = ("crop", "resize", "filter", "dedupe")
OUTS = ("crops", "resized", "filtered", "dataset")

pytestmark = pytest.mark.slow


def outs(repo: Path) -> dict[str, str]:
    """Hashes of what the stages leave."""
    files = (path for out in OUTS for path in (repo / "data" / out).rglob("*") if path.is_file())
    return {path.relative_to(repo).as_posix(): sha256_of(path) for path in files}


@pytest.fixture
def repo(made: Path, tmp_path: Path) -> Path:
    """A repository with raw images, and nothing that was made of them."""
    found = copy(made, tmp_path / "repo")
    for out in OUTS:
        shutil.rmtree(found / "data" / out)
    shutil.rmtree(found / ".work", ignore_errors=True)
    return found


@pytest.mark.parametrize("workers", ["1", "2", "8"])
def test_any_number_of_processes(made: Path, repo: Path, workers: str) -> None:
    for stage in STAGES:
        shell(repo, "python", f"stages/{stage}.py", SEMIREAL_WORKERS=workers)
    assert outs(repo) == outs(made)


def test_parts_as_an_array_of_slurm_has_them(made: Path, repo: Path) -> None:
    for stage in STAGES:
        for part in ("1/3", "2/3", "3/3"):
            told = shell(repo, "python", f"stages/{stage}.py", ok=False, SEMIREAL_PART=part)
            assert f"{stage}: part {part} is done" in told
            assert not (repo / "data" / OUTS[STAGES.index(stage)]).exists()
        # nothing is left to do, or this would end: no scheduler is there
        shell(repo, "python", f"stages/{stage}.py", SEMIREAL_SCHEDULER="tcp://127.0.0.1:1")
    assert outs(repo) == outs(made)


def test_a_cluster_that_loses_a_worker(made: Path, repo: Path, tmp_path: Path) -> None:
    with dask(tmp_path / "cluster", repo) as cluster:
        begun = lambda: any((repo / ".work/crop").glob("*/*.jsonl"))  # noqa: E731
        killed = Thread(target=cluster.kill_first, args=(begun,), daemon=True)
        killed.start()
        for stage in STAGES:
            shell(repo, "python", f"stages/{stage}.py", SEMIREAL_SCHEDULER=cluster.address)
        killed.join(timeout=10)
    assert cluster.workers[0].poll() is not None
    assert outs(repo) == outs(made)
