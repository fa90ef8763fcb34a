"""The images that all processes of a machine map: decoded once, and never half."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import texture
from semireal import images
from semireal.errors import UserError
from semireal.training import decoded

SIZE = 16
# loads the images of a folder, and notes each one that it decodes
LOADS = """
import os, signal, sys, time
from pathlib import Path
from semireal import images
from semireal.training import decoded
real, seen = images.load_rgb, Path(sys.argv[2])
def noted(path):
    with seen.open("a") as file:
        file.write(path.name + " ")
    {then}
    return real(path)
images.load_rgb = noted
folder = Path(sys.argv[1])
names = sorted(str(path.relative_to(folder)) for path in folder.glob("images/*"))
found = decoded.load(folder, names, 16)
print(found.sum())
"""
# loads images, and tells how many bytes more than its start it had in memory: when they were loaded, when all were read
GROWS = """
import re, sys
from pathlib import Path
from semireal import images
from semireal.training import decoded
folder = Path(sys.argv[1])
names = sorted(str(path.relative_to(folder)) for path in folder.glob("images/*"))
for name in names[:4]:
    images.resize(images.load_rgb(folder / name), 512)
decoded.load(folder, names[:2], 512)
most = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
before = most()
found = decoded.load(folder, names, 512)
loaded = most()
assert found.max() > 0
print(found.nbytes, loaded - before, most() - before)
"""


def names_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("images/*"))


@pytest.fixture
def folder(work_root: Path, make_dataset: Callable[..., Path]) -> Path:
    return make_dataset("set", [(texture(n), {}) for n in range(12)])


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were decoded."""
    found: list[str] = []
    load_rgb = images.load_rgb
    monkeypatch.setattr(images, "load_rgb", lambda path: found.append(path.name) or load_rgb(path))  # type: ignore[func-returns-value]
    return found


def by_hand(folder: Path) -> images.Pixels:
    shown = [images.resize(images.load_rgb(folder / name), SIZE) for name in names_of(folder)]
    return np.stack(shown).transpose(0, 3, 1, 2)


def start(folder: Path, seen: Path, then: str = "pass") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", LOADS.format(then=then), str(folder), str(seen)]
    return subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_images_are_those_of_the_files_and_decoded_once(folder: Path, work_root: Path, decodings: list[str]) -> None:
    first = decoded.load(folder, names_of(folder), SIZE)
    assert first.dtype == np.uint8
    assert len(decodings) == 12
    assert np.array_equal(first, by_hand(folder))
    decodings.clear()
    assert np.array_equal(decoded.load(folder, names_of(folder), SIZE), first)
    folder.rename(work_root / "other")  # a path is no content
    assert np.array_equal(decoded.load(work_root / "other", names_of(work_root / "other"), SIZE), first)
    assert decodings == []


def test_other_content_order_number_or_size_is_another_array(folder: Path, decodings: list[str]) -> None:
    names = names_of(folder)
    first = decoded.load(folder, names, SIZE)
    assert np.array_equal(decoded.load(folder, names[::-1], SIZE), first[::-1])
    assert np.array_equal(decoded.load(folder, names[3:], SIZE), first[3:])
    assert decoded.load(folder, names, 8).shape == (12, 3, 8, 8)
    assert len(decodings) == 12 + 12 + 9 + 12
    images.save_png(folder / names[5], texture(99))
    assert np.flatnonzero((decoded.load(folder, names, SIZE) != first).any(axis=(1, 2, 3))).tolist() == [5]


@pytest.mark.parametrize("left", [0, 100, 1000, -1])
def test_what_is_cut_off_is_made_anew(folder: Path, work_root: Path, left: int) -> None:
    first = decoded.load(folder, names_of(folder), SIZE).copy()
    (path,) = (work_root / ".work/images").glob("*/images.npy")
    path.write_bytes(path.read_bytes()[:left])
    assert np.array_equal(decoded.load(folder, names_of(folder), SIZE), first)


def test_what_changes_while_it_is_read_stands_under_no_key(
    folder: Path, work_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_rgb = images.load_rgb

    def changing(path: Path) -> images.Pixels:
        if path.name == "0004.png":
            images.save_png(path, texture(77))
        return load_rgb(path)

    monkeypatch.setattr(images, "load_rgb", changing)
    with pytest.raises(UserError, match=r"missing or damaged: images/0004\.png\."):
        decoded.load(folder, names_of(folder), SIZE)
    assert list((work_root / ".work/images").glob("*/*")) == []


def test_after_a_kill_nothing_half_is_used_and_nothing_is_left(folder: Path, work_root: Path) -> None:
    """Killed with most of the images written."""
    killed = start(folder, work_root / "seen", "if path.name == '0011.png': os.kill(os.getpid(), signal.SIGKILL)")
    assert killed.wait() == -9
    killed.communicate()
    assert len(list((work_root / ".work/images").glob("*/.images.npy.*.partial/images.npy"))) == 1
    assert list((work_root / ".work/images").glob("*/images.npy")) == []
    assert np.array_equal(decoded.load(folder, names_of(folder), SIZE), by_hand(folder))
    (made,) = (path for path in (work_root / ".work/images").iterdir() if path.is_dir())
    assert [path.name for path in made.iterdir()] == ["images.npy"]


def test_processes_that_start_together_decode_once(folder: Path, work_root: Path) -> None:
    together = [start(folder, work_root / "seen", "time.sleep(0.2)") for _ in range(3)]
    ends = [process.communicate()[0] for process in together]
    assert ends == [f"{by_hand(folder).sum()}\n"] * 3
    assert sorted((work_root / "seen").read_text().split()) == [f"{n:04d}.png" for n in range(12)]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_loading_takes_no_memory_and_reading_no_more_than_the_pixels(
    work_root: Path, make_dataset: Callable[..., Path]
) -> None:
    """The memory of one process; that of the pixels is the page cache, and so there once for all of them."""
    folder = make_dataset("set", [(texture(0, 512, 512), {})])
    for n in range(1, 100):
        os.link(folder / "images/0000.png", folder / f"images/{n:04d}.png")
    command = [sys.executable, "-c", GROWS, str(folder)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pixels, loaded, read = (int(word) for word in done.stdout.split())
    assert pixels == 100 * 3 * 512**2
    assert loaded < 0.3 * pixels
    assert read < 1.2 * pixels
