import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from conftest import ROOT
from measuring import Cluster, dask, letters
from semireal import measured, workers
from semireal.errors import Unfinished, UserError
from semireal.measured import Found, Image, Job

pytestmark = pytest.mark.usefixtures("work_root")


def make(folder: Path, contents: list[bytes]) -> list[Image]:
    """Files with these contents."""
    folder.mkdir(exist_ok=True)
    found = []
    for number, content in enumerate(contents):
        (folder / f"{number:03d}").write_bytes(content)
        found.append(Image(folder / f"{number:03d}", number % 2))
    return found


def job(told: Path, params: Any = None) -> Job:
    """The work on them."""
    return Job("letters", "semireal.images", params, partial(letters, told))


def seen(told: Path) -> list[str]:
    """The files that were worked on since the last time that this was asked."""
    found = sorted((told / "done").read_text().split()) if (told / "done").exists() else []
    (told / "done").unlink(missing_ok=True)
    return found


def texts(found: list[Found | None]) -> list[bytes | None]:
    return [None if one is None else next(iter(one.paths().values())).read_bytes() for one in found]


def test_each_image_is_worked_on_once(tmp_path: Path) -> None:
    images = make(tmp_path / "in", [b"%d" % number for number in range(100)])
    found = measured.each(job(tmp_path), images)
    assert [one.value for one in found if one] == [
        {"length": len(str(number)), "given": number % 2} for number in range(100)
    ]
    assert texts(found) == [b"%d" % number for number in range(100)]
    assert len(seen(tmp_path)) == 100
    assert measured.each(job(tmp_path), images) == found
    assert seen(tmp_path) == []

    (tmp_path / "in/007").write_bytes(b"another")
    more = [*images, *make(tmp_path / "more", [b"x", b"y"])]
    more[3] = Image(images[3].path, "else")
    again = measured.each(job(tmp_path), more)
    assert seen(tmp_path) == ["000", "001", "003", "007"]  # two of them in `more`
    assert texts(again)[7] == b"ANOTHER"
    assert again[8:100] == found[8:100]
    measured.each(job(tmp_path, "other parameters"), images[:2])
    assert seen(tmp_path) == ["000", "001"]


def test_the_order_and_the_names_of_files_do_not_matter(tmp_path: Path) -> None:
    images = make(tmp_path / "in", [b"a", b"b", b"c"])
    found = measured.each(job(tmp_path), images)
    seen(tmp_path)
    images[0].path.rename(tmp_path / "in/z")
    assert measured.each(job(tmp_path), [images[2], Image(tmp_path / "in/z", 0)]) == [found[2], found[0]]
    assert seen(tmp_path) == []


@pytest.mark.parametrize("harm", ["gone", "empty", "written into"])
def test_a_file_that_is_not_as_it_was_is_made_again(tmp_path: Path, harm: str) -> None:
    images = make(tmp_path / "in", [b"a", b"b"])
    (path,) = (found := measured.each(job(tmp_path), images)[0]).paths().values()  # type: ignore[union-attr]
    (tmp_path / "out").hardlink_to(path)
    seen(tmp_path)
    if harm == "gone":
        path.unlink()
    else:
        time.sleep(0.01)
        (tmp_path / "out").write_bytes(b"" if harm == "empty" else b"X")
    again = measured.each(job(tmp_path), images)
    assert seen(tmp_path) == ["000"]
    assert texts(again) == [b"A", b"B"]
    assert measured.each(job(tmp_path), images) == again
    assert seen(tmp_path) == []
    assert found
    if harm != "gone":  # the link is somebody else's
        assert (tmp_path / "out").read_bytes() == (b"" if harm == "empty" else b"X")


def test_an_image_that_ends_its_process_costs_itself_alone(tmp_path: Path) -> None:
    contents = [b"%d" % number for number in range(60)]
    contents[20], contents[21], contents[40] = b"die", b"once", b"die too"
    images = make(tmp_path / "in", contents)
    found = measured.each(job(tmp_path), images)
    assert [number for number, one in enumerate(found) if one is None] == [20, 40]
    assert texts(found)[21] == b"ONCE"
    done = seen(tmp_path)
    assert (done.count("020"), done.count("040")) == (2, 2)
    assert max(done.count(f"{number:03d}") for number in range(60)) == 2
    # it may have been for want of memory: the next run tries again
    assert measured.each(job(tmp_path), images) == found
    assert set(seen(tmp_path)) == {"020", "040"}


def test_an_error_is_one_and_what_was_done_stays(tmp_path: Path) -> None:
    images = make(tmp_path / "in", [b"a", b"b", b"wrong"])
    with pytest.raises(ValueError, match="002"):
        measured.each(job(tmp_path), images)
    assert set(seen(tmp_path)) >= {"002"}
    images[2].path.write_bytes(b"c")
    assert texts(measured.each(job(tmp_path), images)) == [b"A", b"B", b"C"]


def test_processes_that_cannot_begin_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "scattered", lambda *_: iter(()))
    with pytest.raises(UserError, match="letters: the processes that work on images end at once"):
        measured.each(job(tmp_path), make(tmp_path / "in", [b"a"]))


def test_parts_work_side_by_side_and_make_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make(tmp_path / "in", [b"%d" % number for number in range(50)])
    counts = []
    for part in ("1/3", "2/3", "3/3"):
        monkeypatch.setenv("SEMIREAL_PART", part)
        with pytest.raises(Unfinished, match=f"part {part} is done, [0-9]+ of 50"):
            measured.each(job(tmp_path), images)
        counts.append(len(seen(tmp_path)))
    assert sum(counts) == 50
    assert min(counts) > 5
    monkeypatch.delenv("SEMIREAL_PART")
    assert None not in measured.each(job(tmp_path), images)
    assert seen(tmp_path) == []


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "a/b", "1/3/3"])
def test_a_part_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setenv("SEMIREAL_PART", part)
    with pytest.raises(UserError, match=r"SEMIREAL_PART.*: found"):
        measured.each(job(tmp_path), make(tmp_path / "in", [b"a"]))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A Dask cluster of this machine, whose workers do not know this folder."""
    with dask(tmp_path / "elsewhere") as found:
        yield found


@pytest.mark.slow
def test_a_cluster_finds_the_same_though_a_worker_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Cluster
) -> None:
    images = make(tmp_path / "in", [b"%d" % number for number in range(300)])
    images[5].path.write_bytes(b"die")
    images[6].path.write_bytes(b"once")
    monkeypatch.setenv("SEMIREAL_SCHEDULER", cluster.address)
    Thread(target=cluster.kill_first, args=(lambda: len(_begun(tmp_path)) > 60,), daemon=True).start()
    found = measured.each(job(tmp_path), images)
    assert [number for number, one in enumerate(found) if one is None] == [5]
    done = seen(tmp_path)
    assert done.count("005") >= 2
    assert cluster.workers[0].poll() is not None
    monkeypatch.delenv("SEMIREAL_SCHEDULER")
    images[5].path.write_bytes(b"well")
    assert texts(measured.each(job(tmp_path), images))[5] == b"WELL"
    assert seen(tmp_path) == ["005"]


def test_a_scheduler_that_is_not_there_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMIREAL_SCHEDULER", "tcp://127.0.0.1:1")
    with pytest.raises(UserError, match=r"scheduler: found tcp://127\.0\.0\.1:1, where no Dask scheduler answers"):
        measured.each(job(tmp_path), make(tmp_path / "in", [b"a"]))


def test_logs_do_not_pile_up_and_torn_lines_do_not_count(tmp_path: Path) -> None:
    images = make(tmp_path / "in", [b"a", b"b"])
    found = measured.each(job(tmp_path), images)
    folder = next((tmp_path / ".work/letters").glob("*/"))
    (log,) = folder.glob("*.jsonl")
    lines = log.read_text().splitlines()
    assert len(lines) == 4 or len(lines) == 2
    log.write_text("".join(f"{line}\n" for line in lines)[:-2])
    seen(tmp_path)
    assert measured.each(job(tmp_path), images) == found or len(seen(tmp_path)) == 1
    assert len(list(folder.glob("*.jsonl"))) == 1
    for line in next(iter(folder.glob("*.jsonl"))).read_text().splitlines():
        json.loads(line)


def test_a_shard_that_comes_again_leaves_what_was_begun(tmp_path: Path) -> None:
    """As a scheduler sends it to another process when one has died."""
    images = [(measured._name(image), image) for image in make(tmp_path / "in", [b"a", b"b", b"c"])]
    (tmp_path / "work/files").mkdir(parents=True)
    log = tmp_path / "work/x.jsonl"
    assert measured._shard(job(tmp_path), log, images[:1]) == 1
    with log.open("a") as file:
        file.write(json.dumps({"begun": images[1][0]}) + '\n{"begun": "0000')
    seen(tmp_path)
    assert measured._shard(job(tmp_path), log, images) == 1
    assert seen(tmp_path) == ["002"]  # 000 is done, and 001 may have ended its process
    found, begun = measured._read(log.parent, [log])
    assert set(found) == {images[0][0], images[2][0]}
    assert begun - found.keys() == {images[1][0]}


def test_nothing_is_kept_of_a_file_that_the_process_sees_otherwise(tmp_path: Path) -> None:
    """As where a worker of a cluster has another disk under the same path."""
    (image,) = make(tmp_path / "in", [b"a"])
    (tmp_path / "work/files").mkdir(parents=True)
    name = measured._name(image)
    for content in (b"b", None):
        image.path.unlink()
        if content:
            image.path.write_bytes(content)
        with pytest.raises(UserError, match=r"000: changed, or not the same"):
            measured._shard(job(tmp_path), tmp_path / "work/x.jsonl", [(name, image)])
    assert measured._read(tmp_path / "work", [tmp_path / "work/x.jsonl"]) == ({}, set())
    assert seen(tmp_path) == []


def test_paths_may_be_relative(tmp_path: Path) -> None:
    images = [Image(image.path.relative_to(tmp_path), image.given) for image in make(tmp_path / "in", [b"a", b"b"])]
    assert texts(measured.each(job(tmp_path), images)) == [b"A", b"B"]


# begins and is killed; prints the processes that it has
MAIN = """
import os, sys
from functools import partial
from pathlib import Path
from measuring import Cluster, dask, letters
from semireal import measured
from semireal.measured import Image, Job
told = Path(sys.argv[1])
images = [Image(path, 0) for path in sorted((told / "in").iterdir())]
measured.each(Job("letters", "semireal.images", None, partial(letters, told)), images)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_what_was_done_before_the_end_is_not_done_again_and_no_process_is_left(tmp_path: Path, number: int) -> None:
    images = make(tmp_path / "in", [b"%d" % number for number in range(20)] + [b"wait"] * 8)
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "DVC_ROOT": str(tmp_path)}
    program = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n" + MAIN
    running = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], env=env, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(_begun(tmp_path)) < 4 and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(number)
    running.wait(timeout=30)
    until = time.monotonic() + 10
    while _alive(tmp_path) and time.monotonic() < until:
        time.sleep(0.05)
    assert _alive(tmp_path) == []
    before = set(seen(tmp_path))
    for image in images[20:]:
        image.path.write_bytes(image.path.name.encode())
    assert None not in measured.each(job(tmp_path), [Image(image.path, 0) for image in images])
    again = set(seen(tmp_path))
    assert len(before & again - {image.path.name for image in images[20:]}) <= workers.count(_settings())
    assert len(before | again) == 28


def _settings() -> Any:
    from semireal import machine

    return machine.load()


def _begun(told: Path) -> list[str]:
    return (told / "done").read_text().split() if (told / "done").exists() else []


def _alive(told: Path) -> list[str]:
    """Processes that work below this folder, by their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and f"DVC_ROOT={told}\0".encode() in (entry / "environ").read_bytes() + b"\0":
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return [line for line in found if line and "pytest" not in line]
