"""`.work` stays small, and nothing goes that somebody works in or was asked to keep."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import texture
from semireal import arrays, prune, stage
from semireal.metrics import extractors
from semireal.metrics.extractors import Extractor, Space

DAY = 86400
# works in a folder of `.work`, and says so
AT_WORK = """
import sys, time
from pathlib import Path
from semireal import stage
with {block} as folder:
    (folder / "state").touch()
    print("there", flush=True)
    time.sleep(60)
"""


def used(path: Path, days_ago: float) -> Path:
    """A file or folder that was used so long ago."""
    then = time.time() - days_ago * DAY
    os.utime(path, (then, then))
    return path


def training(name: str, days_ago: float) -> Path:
    """What a training leaves."""
    with stage.work("train", name) as folder:
        (folder / "state").touch()
    return used(folder, days_ago)


def working(root: Path, block: str) -> subprocess.Popen[str]:
    """Another process, which works in the folder of a block."""
    command = [sys.executable, "-c", AT_WORK.format(block=block)]
    found = subprocess.Popen(command, cwd=root, env=os.environ, stdout=subprocess.PIPE, text=True)
    assert found.stdout is not None
    assert found.stdout.readline() == "there\n"
    return found


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["crop", "resize", "filter", "dedupe"])
def test_what_was_found_of_images_stays_for_the_settings_that_were_used_last(work_root: Path, name: str) -> None:
    for n in range(prune.SEEN + 2):
        with stage.work(name, f"k{n}") as folder:
            (folder / "files").mkdir()
        used(folder, days_ago=n)
    assert prune.run(work_root / ".work") == []
    assert {path.name for path in (work_root / ".work" / name).iterdir() if path.is_dir()} == {
        f"k{n}" for n in range(prune.SEEN)
    }


def test_the_trainings_that_were_used_last_stay_and_each_other_one_is_named(work_root: Path) -> None:
    for n in range(prune.TRAININGS + 2):
        training(f"t{n}", days_ago=n)
    told = prune.run(work_root / ".work")
    kept = {f"t{n}" for n in range(prune.TRAININGS)}
    assert names(work_root / ".work/train") == kept | {f"{name}.lock" for name in kept}
    assert [line.split()[2] for line in told] == ["t10", "t11"]
    assert prune.run(work_root / ".work") == []


def test_a_training_that_goes_on_counts_as_used(work_root: Path) -> None:
    for n in range(prune.TRAININGS + 1):
        training(f"t{n}", days_ago=n + 1)
    with stage.work("train", f"t{prune.TRAININGS}") as folder:
        (folder / "new state").touch()
    prune.run(work_root / ".work")
    assert (work_root / f".work/train/t{prune.TRAININGS}/state").exists()
    assert not (work_root / f".work/train/t{prune.TRAININGS - 1}").exists()


def test_a_training_that_runs_stays_however_old_it_is(work_root: Path) -> None:
    other = working(work_root, 'stage.work("train", "runs")')
    try:
        used(work_root / ".work/train/runs", days_ago=99)
        for n in range(prune.TRAININGS + 1):
            training(f"t{n}", days_ago=n)
        assert len(prune.run(work_root / ".work")) == 1
        assert (work_root / ".work/train/runs/state").exists()
    finally:
        other.kill()
        other.communicate()
    prune.run(work_root / ".work")
    assert not (work_root / ".work/train/runs").exists()


def test_locks_without_a_folder_go(work_root: Path) -> None:
    (work_root / ".work/train").mkdir(parents=True)
    (work_root / ".work/train/gone.lock").touch()
    prune.run(work_root / ".work")
    assert names(work_root / ".work/train") == set()


def test_what_was_collected_stays(work_root: Path) -> None:
    with stage.work("scrape", "web/elf") as folder:
        (folder / "file").touch()
    used(folder, 999)
    prune.run(work_root / ".work")
    assert (folder / "file").exists()


def test_the_features_that_were_used_last_stay(work_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    means = Extractor(
        "means", ("means",), lambda shown, _: np.asarray(shown.mean(axis=(1, 2))), (Space("means", "_m", slice(0, 3)),)
    )
    pictures = [np.stack([texture(n, 32, 32)]) for n in range(3)]
    found: list[Path] = []
    for img in pictures:
        before = set((work_root / ".work/features").glob("*"))
        extractors.cached(means, img, torch.device("cpu"))
        found += set((work_root / ".work/features").glob("*")) - before
    for n, path in enumerate(found):
        used(path, 3 - n)
    extractors.cached(means, pictures[0], torch.device("cpu"))  # the oldest, again
    prune.run(work_root / ".work")
    assert all(path.exists() for path in found)
    monkeypatch.setattr(prune, "FEATURES", 2 * found[0].stat().st_size)
    prune.run(work_root / ".work")
    assert [path.exists() for path in found] == [True, False, True]


def test_decoded_images_of_the_last_run_stay_and_older_ones_while_there_is_room(
    work_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, days_ago in (("last", 1), ("before", 2), ("oldest", 3)):
        with stage.work("images", name) as folder:
            arrays.save(folder / "images.npy", 5, [np.zeros((5, 3, 8, 8), np.uint8)])
        used(folder, days_ago)
    there = work_root / ".work/images"
    prune.run(work_root / ".work")
    assert {path.name for path in there.iterdir() if path.is_dir()} == {"last", "before", "oldest"}
    one = (there / "last/images.npy").stat().st_size
    kept = arrays.load(there / "oldest/images.npy")
    for room, left in ((2 * one, {"last", "before"}), (0, {"last"})):
        monkeypatch.setattr(prune, "IMAGES", room)
        prune.run(work_root / ".work")
        assert names(there) == left | {f"{name}.lock" for name in left}
    assert not kept.any()  # who has mapped them still can


def test_decoded_images_that_somebody_is_making_stay(work_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "IMAGES", -1)
    making = working(work_root, 'stage.work("images", "k")')
    try:
        used(work_root / ".work/images/k", 9)
        with stage.work("images", "last"):
            pass
        prune.run(work_root / ".work")
        assert names(work_root / ".work/images") == {"k", "k.lock", "last", "last.lock"}
    finally:
        making.kill()
        making.communicate()


def test_who_waited_for_a_training_that_was_removed_has_a_folder_and_a_lock_of_its_own(work_root: Path) -> None:
    folder = work_root / ".work/train/k"
    with prune.held(folder):
        command = [sys.executable, "-c", AT_WORK.format(block='stage.work("train", "k")')]
        waiting = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert waiting.stdout is not None
        assert waiting.stderr is not None
        assert "waiting" in waiting.stderr.readline()
    try:
        assert waiting.stdout.readline() == "there\n"
        assert (folder / "state").exists()
        assert prune.lock_of(folder).exists()
        assert not prune._remove(folder)
    finally:
        waiting.kill()
        waiting.communicate()


def at_the_end_of_a_stage(root: Path, **more: str) -> subprocess.CompletedProcess[str]:
    (root / "dvc.yaml").write_text("stages: {code: {cmd: x}}\n")
    (root / "params.yaml").write_text("{}\n")
    command = [sys.executable, "-c", "from semireal import stage; stage.run(lambda: None)"]
    return subprocess.run(command, cwd=root, env=os.environ | more, capture_output=True, text=True, check=False)


def test_a_stage_that_dvc_runs_prunes_when_it_has_ended_well(work_root: Path) -> None:
    for n in range(prune.TRAININGS + 1):
        training(f"t{n}", days_ago=n)
    assert at_the_end_of_a_stage(work_root).stderr == ""
    done = at_the_end_of_a_stage(work_root, DVC_STAGE="code")
    assert done.returncode == 0
    assert done.stderr == ".work: training t10 can no longer be gone on with; the 10 that were used last are kept\n"


def test_a_stage_is_none_the_worse_for_what_cannot_be_removed(
    work_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prune, "FEATURES", -1)
    (work_root / ".work/features/x.npy").mkdir(parents=True)
    stage._prune()
    assert capsys.readouterr().err.startswith(".work: what is not needed any more stays (")
