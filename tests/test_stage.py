import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import ROOT, texture
from scraping import until
from semireal import manifest, stage


def run_script(body: str, folder: Path) -> subprocess.CompletedProcess[str]:
    code = f"from semireal import errors, stage\ndef main():\n    {body}\nstage.run(main)"
    return python(["-c", code], folder)


def python(arguments: list[str], folder: Path, *start: str) -> subprocess.CompletedProcess[str]:
    command = [*start, sys.executable, *arguments]
    env = {key: value for key, value in os.environ.items() if key != "DVC_ROOT"} | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


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
    assert {f.name for f in work_root.iterdir()} == {"x", ".work"}
    assert not [f for f in (work_root / ".work").rglob("*") if f.is_file() and f.suffix != ".lock"]


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
    left = out.with_name(".x.partial") / "new"
    left.mkdir(parents=True)
    (left / "of a killed run").touch()
    with stage.output(out) as folder:
        assert not list(folder.iterdir())
        (folder / "new").touch()
    assert [path.name for path in out.iterdir()] == ["new"]
    assert list(out.parent.iterdir()) == [out]


# root as everyone else: what a folder does not allow is not allowed
PLAIN = [] if os.getuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-sys_resource"]
MOUNTED = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"']


@pytest.fixture
def repository(work_root: Path, make_dataset: Callable[..., Path]) -> Path:
    """Crops and what stage resize made of them before."""
    made = make_dataset("crops", [(texture(n), {}) for n in range(2)])
    (work_root / "data").mkdir()
    made.rename(work_root / "data/crops")
    shutil.copyfile(ROOT / "params.yaml", work_root / "params.yaml")
    (work_root / "data/resized/images").mkdir(parents=True)
    (work_root / "data/resized/images/old.jpg").touch()
    (work_root / ".work").mkdir()
    return work_root


def refused(done: subprocess.CompletedProcess[str], path: str, why: str, folder: Path) -> None:
    assert done.returncode == 2, done.stderr
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert f"{path}: {why}. Let yourself read and write there, and run the same command again" in told
    assert "Traceback" not in done.stderr
    assert [file.name for file in (folder / "data/resized/images").iterdir()] == ["old.jpg"]
    assert not list((folder / "data").glob(".*"))


@pytest.mark.parametrize("closed", ["data", "data/resized", "data/resized/images", ".work"])
def test_a_folder_that_may_not_be_written_is_named_and_keeps_what_it_has(repository: Path, closed: str) -> None:
    (repository / closed).chmod(0o555)
    done = python([str(ROOT / "stages/resize.py")], repository, *PLAIN)
    (repository / closed).chmod(0o755)
    refused(done, closed, "Permission denied", repository)
    assert python([str(ROOT / "stages/resize.py")], repository, *PLAIN).returncode == 0
    assert len(manifest.read_kept(repository / "data/resized")) == 2


def test_a_table_that_may_not_be_read_is_named(repository: Path) -> None:
    (repository / "data/crops/manifest.csv").chmod(0)
    done = python([str(ROOT / "stages/resize.py")], repository, *PLAIN)
    assert (done.returncode, done.stderr) == (
        2,
        "error: data/crops/manifest.csv: Permission denied. Let yourself read it, or take it from git\n",
    )


@pytest.mark.parametrize("closed", ["data", ".work"])
def test_a_file_system_that_is_mounted_to_be_read(repository: Path, closed: str) -> None:
    if os.getuid() or subprocess.run([*MOUNTED, str(repository), "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount")
    done = python([str(ROOT / "stages/resize.py")], repository, *MOUNTED, str(repository / closed))
    refused(done, closed, "Read-only file system", repository)


@pytest.mark.slow  # it loads all that a training needs
def test_models_that_may_not_be_written_are_named_before_the_training(repository: Path) -> None:
    (repository / "models").mkdir(mode=0o555)
    done = python([str(ROOT / "stages/train.py")], repository, *PLAIN)
    refused(done, "models", "Permission denied", repository)


def test_the_command_line_names_a_folder_that_may_not_be_written(repository: Path) -> None:
    (repository / "closed").mkdir(mode=0o555)
    script = "from semireal.collect import attributions; from semireal import stage; from pathlib import Path; "
    script += "stage.run(lambda: attributions.write(Path('data/crops'), Path('closed/x'), 'elf'))"
    (repository / "data/crops/manifest.csv").write_text("id,status,reason,file,source,sha256\na,kept,,f,s,0\n")
    refused(python(["-c", script], repository, *PLAIN), "closed", "Permission denied", repository)


@pytest.mark.parametrize("name", ["data/resized", ".work"])
def test_a_file_in_the_place_of_a_folder_is_named(repository: Path, name: str) -> None:
    shutil.rmtree(repository / name)
    (repository / name).touch()
    done = python([str(ROOT / "stages/resize.py")], repository)
    assert done.returncode == 2, done.stderr
    assert f"error: {name}" in done.stderr.replace(f"{repository}/", "")
    assert "Move what is in the way" in done.stderr
    assert (repository / name).is_file()


def test_what_was_there_comes_back_when_the_new_cannot_take_its_place(
    work_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk becomes full between two renames: no such disk can be had in a test."""
    rename = Path.rename

    def full(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    (work_root / "x").mkdir()
    (work_root / "x/old").touch()
    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space"), stage.output(work_root / "x") as folder:
        (folder / "new").touch()
    assert [path.name for path in (work_root / "x").iterdir()] == ["old"]
    assert not list(work_root.glob(".x*"))


def test_output_takes_the_place_of_a_link_and_not_of_what_it_leads_to(work_root: Path) -> None:
    (work_root / "far").mkdir()
    (work_root / "far/old").touch()
    (work_root / "link").symlink_to("far")
    with stage.output(work_root / "link") as folder:
        (folder / "new").touch()
    assert (work_root / "link" / "new").exists()
    assert (work_root / "far/old").exists()


def test_output_is_on_the_disk_of_what_it_replaces(work_root: Path) -> None:
    """Where data/ is another disk, a move from elsewhere would copy, and half a copy be left by a kill."""
    with stage.output(work_root / "data" / "x") as folder:
        assert folder.is_relative_to(work_root / "data")


@pytest.mark.parametrize("at", range(4))
def test_output_is_never_half_there(work_root: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Ended at each change of files that gives an output its place."""
    out = work_root / "x"
    out.mkdir()
    for name in ("a", "b"):
        (out / name).write_text("old")
    code = f"""
import sys
from pathlib import Path
from semireal import stage
with stage.output(Path("x")) as folder:
    for name in ("a", "b"):
        (folder / name).write_text("new")
    changes = iter(range(100))
    def hook(event, given):
        if event in ("os.rename", "os.remove", "os.rmdir") and next(changes) == {at}:
            import os, signal
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
"""
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], cwd=work_root, env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [file.read_text() for file in sorted(out.glob("*"))] in ([], ["old"] * 2, ["new"] * 2)
    with stage.output(out) as folder:
        (folder / "a").write_text("newer")
    assert [file.name for file in out.iterdir()] == ["a"]
    assert {file.name for file in work_root.iterdir()} == {"x", ".work"}


def test_two_runs_at_once_make_an_output_one_after_the_other(work_root: Path) -> None:
    code = """
import time
from pathlib import Path
from semireal import stage
with stage.output(Path("x")) as folder:
    Path("begun").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    for name in ("a", "b"):
        (folder / name).touch()
"""
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    runs = []
    for name in ("first", "second"):
        with (work_root / name).open("w") as said:
            runs.append(subprocess.Popen([sys.executable, "-c", code], cwd=work_root, env=env, stderr=said))
        until(lambda: (work_root / "begun").exists())
    waiting = "x: another run is making the same thing; waiting for it\n"
    try:
        until(lambda: (work_root / "second").read_text() == waiting)
    finally:
        (work_root / "go").touch()
        assert [run.wait(20) for run in runs] == [0, 0]
    assert (work_root / "first").read_text() == ""
    assert sorted(path.name for path in (work_root / "x").iterdir()) == ["a", "b"]
