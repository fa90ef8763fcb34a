import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from semireal import stage


def run_script(body: str, folder: Path) -> subprocess.CompletedProcess[str]:
    code = f"from semireal import errors, stage\ndef main():\n    {body}\nstage.run(main)"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


def test_user_error_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = run_script("raise errors.UserError('crop.score: found 7')", tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: crop.score: found 7\n")


def test_ctrl_c_is_exit_code_130(tmp_path: Path) -> None:
    done = run_script("raise KeyboardInterrupt", tmp_path)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    done = run_script("import errno; raise OSError(errno.ENOSPC, 'No space left', 'data/crops')", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: the disk is full (data/crops). Make room")
    done = run_script("raise OSError(5, 'Input/output error', 'data/crops')", tmp_path)  # that is another matter
    assert (done.returncode, "Traceback" in done.stderr) == (1, True)


def test_bugs_keep_their_traceback(tmp_path: Path) -> None:
    done = run_script("1 / 0", tmp_path)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_output_replaces_the_old_one_whole(work_root: Path) -> None:
    out = work_root / "data" / "x"
    out.mkdir(parents=True)
    (out / "old").touch()
    with stage.output(out) as folder:
        (folder / "new").touch()
        assert (out / "old").exists()
    assert [f.name for f in out.iterdir()] == ["new"]


def test_output_is_left_alone_when_the_stage_fails(work_root: Path) -> None:
    out = work_root / "x"
    out.mkdir()
    (out / "old").touch()
    with pytest.raises(ZeroDivisionError), stage.output(out) as folder:
        (folder / "new").touch()
        raise ZeroDivisionError
    assert [f.name for f in out.iterdir()] == ["old"]
    assert not any((work_root / ".work" / "out").iterdir())


def test_work_is_kept_and_held_by_one(work_root: Path) -> None:
    with stage.work("train", "k") as folder:
        (folder / "state").touch()
        waiting = threading.Thread(target=lambda: stage.work("train", "k").__enter__(), daemon=True)
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()
    assert (work_root / ".work/train/k/state").exists()


def test_work_is_kept_in_the_repository_that_dvc_runs_a_copy_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, copy = tmp_path / "repository", tmp_path / "copy"
    for folder in (repository, copy):
        folder.mkdir()
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(repository))
    assert stage.root() == repository
    with stage.work("train", "k") as work, stage.output(Path("results")) as out:
        (work / "state").touch()
        (out / "new").touch()
    assert (repository / ".work/train/k/state").exists()
    assert (copy / "results/new").exists()
    monkeypatch.delenv("DVC_ROOT")
    assert stage.work_root() == copy / ".work"


def test_work_to_go_on_with_is_exit_code_75(tmp_path: Path) -> None:
    done = run_script("raise errors.Unfinished('3 images are missing')", tmp_path)
    assert (done.returncode, done.stderr) == (75, "3 images are missing\n")


def test_ctrl_c_says_that_nothing_is_lost(tmp_path: Path) -> None:
    assert run_script("raise KeyboardInterrupt", tmp_path).stderr.startswith("interrupted; the same command goes on")


def test_processes_of_torchrun_watch_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "train")
    assert stage.watched() == "train"
    monkeypatch.setenv("RANK", "1")
    assert stage.watched() is None
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("DVC_STAGE")
    assert stage.watched() is None


def test_output_begins_empty_and_makes_its_folder(work_root: Path) -> None:
    out = work_root / "results" / "deep" / "x"
    left = work_root / ".work" / "out" / f"x-{os.getpid()}"
    left.mkdir(parents=True)
    (left / "of a killed run").touch()
    with stage.output(out) as folder:
        assert not list(folder.iterdir())
        (folder / "new").touch()
    assert [path.name for path in out.iterdir()] == ["new"]
