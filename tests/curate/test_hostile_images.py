"""Folders of hostile files through the stages, as their scripts run them."""

import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
import yaml

import hostile_images as hostile
from conftest import ROOT
from semireal import images, limits, manifest
from semireal.collect import scrape
from semireal.errors import UserError

_LOCK = Path(os.environ.get("TMPDIR", "/tmp"), f"semireal-{os.getuid()}.lock")  # see semireal.images
STAGES = ("scrape", "crop", "resize", "filter", "dedupe")
MEGABYTES = 1500  # that a stage may take at most here, with PyTorch and its networks
# a stage whose every start of a program, and every file that is opened for writing, is noted; and what memory it took
RUNNER = """
import os, runpy, sys
notes, script, *sys.argv[1:] = sys.argv[1:]
noted = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
STARTS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork", "os.forkpty")
def note(event, args):
    if event in STARTS:
        os.write(noted, f"start {args[0]}\\n".encode())
    if event == "open" and isinstance(args[0], str) and (args[2] or 0) & (os.O_WRONLY | os.O_RDWR):
        os.write(noted, f"write {os.path.realpath(args[0])!r}\\n".encode())
sys.addaudithook(note)
sys.argv[0] = script
try:
    runpy.run_path(script, run_name="__main__")
finally:
    status = open("/proc/self/status").read()  # getrusage counts what the process was before, a test with its libraries
    os.write(noted, f"megabytes {int(status.partition('VmHWM:')[2].split()[0]) // 1024}\\n".encode())
"""


@pytest.fixture(scope="module")
def corpus() -> hostile.Files:
    return hostile.files()


def test_no_file_takes_long_or_ends_otherwise_than_as_a_picture_or_with_a_reason(
    corpus: hostile.Files, tmp_path: Path
) -> None:
    assert len(corpus) >= 400
    reasons: dict[str, str] = {}
    for name, data in corpus.items():
        (tmp_path / "x").write_bytes(data)
        began = time.monotonic()
        try:
            img = images.load_rgb(tmp_path / "x")
            assert img.shape[2] == 3
            assert img.dtype == np.uint8
        except images.ImageError as error:
            reasons[name] = str(error)
        assert time.monotonic() - began < limits.SECONDS, name
    assert {name for name, reason in reasons.items() if reason == images.TOO_SLOW} == set(hostile.slow())
    refused = {reasons[name] for name in hostile.bombs()}
    assert refused <= {images.TOO_LARGE, "format not supported: AVIF"}
    assert not reasons.keys() & hostile.sound().keys()
    # reasons are few, and none has the name of a file or of something within Pillow
    assert {reason for reason in reasons.values() if not reason.startswith(images.UNSUPPORTED)} == {
        *(images.TOO_LARGE, images.TOO_SLOW),
        *("damaged file", "not an image"),
    }


@pytest.mark.slow
def test_every_file_of_a_hostile_folder_has_a_row_and_nothing_else_is_touched(
    corpus: hostile.Files, tmp_path: Path
) -> None:
    """Counts add up, no program starts, nothing is written outside, memory stays within bounds, no stage hangs."""
    outside, repository, folder = tmp_path / "outside", tmp_path / "repository", tmp_path / "pictures"
    for place in (outside, repository, folder):
        place.mkdir()
    hostile.portrait(0).save(outside / "secret.png")
    unusable = hostile.no_files(folder, outside)
    for name, data in corpus.items():
        (folder / name).write_bytes(data)
    for number, name in enumerate(hostile.NAMES, 1):
        hostile.portrait(number).save(folder / name)
    before = _snapshot(outside), _snapshot(folder)

    _repository(repository, folder)
    for stage in STAGES:
        notes = _run(repository, stage)
        # by which ctypes looks for libraries
        assert {line for line in notes if line.startswith("start ")} <= {"start /sbin/ldconfig"}
        written = {line.removeprefix("write ") for line in notes if line.startswith("write ")}
        assert {path for path in written if not path.startswith(f"'{repository}/")} <= {"'/dev/null'", f"'{_LOCK}'"}
        assert int(notes[-1].removeprefix("megabytes ")) < MEGABYTES
    assert (_snapshot(outside), _snapshot(folder)) == before

    raw = manifest.read(repository / "data/raw/own/hostile")
    # the linked picture and the linked folder are the same file
    assert len(raw) == len(corpus) + len(hostile.NAMES) + len(unusable) + 2
    reasons = dict(zip(raw["file_url"], raw["reason"], strict=True))
    assert {reasons[name] for name in unusable - {"hole.png"}} == {"cannot be read"}
    assert reasons["hole.png"] == images.TOO_LONG
    assert sum(raw["status"] == manifest.KEPT) >= 100
    left = len(raw)
    for dataset in ("raw/own/hostile", "crops", "resized", "filtered", "dataset"):
        report = json.loads((repository / "data" / dataset / "report.json").read_text())
        assert report["in"] == report["kept"] + sum(report["rejected"].values()) == left
        rows = manifest.read(repository / "data" / dataset)
        assert (rows.loc[rows["status"] == manifest.REJECTED, "reason"] != "").all()
        left = report["kept"]
    assert left >= len(hostile.NAMES)  # the drawn heads, whatever they are called


def _repository(repository: Path, folder: Path) -> None:
    """What the stages read, with one collection from a folder."""
    (repository / "stages").symlink_to(ROOT / "stages")
    (repository / "experiments/sources/own").mkdir(parents=True)
    sources = {"sources": {"folder": {"folder": str(folder), "domain": "photo"}}}
    (repository / "experiments/sources/own/hostile.yaml").write_text(yaml.safe_dump(sources))
    (repository / "experiments/takedowns.csv").write_bytes((ROOT / "experiments/takedowns.csv").read_bytes())
    params = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"collection": "own/hostile", "name": "hostile"}
    params["crop"]["detect_size"] = 160  # the drawn heads are large, and there are hundreds of pictures
    (repository / "params.yaml").write_text(yaml.safe_dump(params))


def _run(repository: Path, stage: str) -> list[str]:
    """Run the script of a stage in one process; returns what RUNNER noted."""
    notes = repository.parent / f"{stage}.notes"
    more = ["own/hostile"] if stage == "scrape" else []
    env = {k: v for k, v in os.environ.items() if not k.startswith("DVC_")} | {"PYTHONPATH": str(ROOT / "src")}
    env |= {"OMP_NUM_THREADS": "1", "SEMIREAL_WORKERS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, str(notes), f"stages/{stage}.py", *more],
        cwd=repository, env=env, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return notes.read_text().splitlines()


def _snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[str(path)] = status.st_mode, status.st_size, status.st_mtime_ns
    return found


@pytest.mark.parametrize("target", ["nowhere.png", "loop.png", "missing/folder"])
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, target: str) -> None:
    (tmp_path / "loop.png").symlink_to(target)
    with pytest.raises(UserError, match=r"loop\.png is a link that leads nowhere"):
        list(scrape.files_below(tmp_path))


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "memory"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"device": "/dev/zero", "memory": "/proc/self/mem"}[kind])
    assert images.problem(path) == "cannot be read"
    with pytest.raises(images.ImageError, match="cannot be read"):
        images.load_rgb(path)


def test_random_changes_of_all_formats_give_a_picture_or_a_reason(tmp_path: Path) -> None:
    good = hostile.sound()
    for number, (name, data) in enumerate(good.items()):
        wrong = hostile.mutations(data, list(good.values()), random.Random(number))
        for _ in range(40):
            (tmp_path / "x").write_bytes(next(wrong))
            try:
                img = images.load_rgb(tmp_path / "x")
            except images.ImageError:
                continue
            assert img.ndim == 3, name
            assert img.shape[2] == 3, name


def test_honest_pictures_of_all_formats_at_the_limit_of_pixels_are_not_too_slow() -> None:
    """By their structure alone; what it takes to unpack them is in no test."""
    side = 10_900
    assert limits.seconds(hostile.jpeg(hostile.segment(0xDA, b"\1\1\0\1\x3f\0") * 12, side, side)) < limits.SECONDS
    assert limits.seconds(hostile.png(side, side, bits=1)) < limits.SECONDS
    assert limits.seconds(hostile.j2k(side, side, side)) < limits.SECONDS
    assert limits.seconds(hostile.j2k(side, side, 256)) < limits.SECONDS
    assert limits.seconds(hostile.bmp_of_runs(3840, 2160, bytes(3840 * 2160))) < limits.SECONDS
    rows: dict[int, int | tuple[int, ...]]
    rows = {256: side, 257: side, 258: 8, 259: 1, 262: 1, 273: (8,) * side, 278: 1, 279: (side,) * side}
    tiles = (side // 64 + 1) ** 2
    tiled: dict[int, int | tuple[int, ...]]
    tiled = {256: side, 257: side, 258: 8, 259: 5, 262: 1, 322: 64, 323: 64, 324: (8,) * tiles, 325: (9,) * tiles}
    for tags in (rows, tiled):
        assert limits.seconds(hostile.tiff(tags)) < limits.SECONDS
        assert limits.padded_pixels(hostile.tiff(tags)) <= limits.PIXELS


def test_of_large_pictures_there_is_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LARGE", 32 * 32)
    lock, at_once, most = Lock(), {32: 0, 64: 0}, {32: 0, 64: 0}

    def use(side: int) -> None:
        with images.unpacked(tmp_path / f"{side}.jpg") as img:
            assert img.shape == (side, side, 3)
            with lock:
                at_once[side] += 1
                most[side] = max(most[side], at_once[side])
            time.sleep(0.02)
            with lock:
                at_once[side] -= 1

    for side in (32, 64):
        (tmp_path / f"{side}.jpg").write_bytes(images.encode_jpeg(np.full((side, side, 3), 9, np.uint8), 50))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, [32, 64] * 8))
    assert most[64] == 1
    assert most[32] > 1
