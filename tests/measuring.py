"""What the tests of semireal.measured do to images, in a module that other processes can import; a Dask cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import ROOT
from semireal import files


@dataclass(frozen=True)
class Cluster:
    """The address of a Dask scheduler and its two workers (their nannies, which start others when these die)."""

    address: str
    workers: list["subprocess.Popen[bytes]"]

    def kill_first(self, when: Callable[[], bool]) -> None:
        """Kill the first worker, with -9 and all that it has started, as soon as it is time."""
        while not when():
            time.sleep(0.01)
        os.killpg(self.workers[0].pid, signal.SIGKILL)


@contextmanager
def dask(folder: Path, code: Path = ROOT) -> Iterator[Cluster]:
    """A Dask cluster on this machine, with the code of a clone."""
    folder.mkdir()
    env = {key: value for key, value in os.environ.items() if key != "DVC_ROOT"}
    env |= {"PYTHONPATH": f"{code / 'src'}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    file = folder / "scheduler.json"

    def start(program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", f"distributed.cli.{program}", "--scheduler-file", str(file), "--no-dashboard"]
        return subprocess.Popen([*command, *arguments], env=env, cwd=folder, start_new_session=True)

    started = [start("dask_scheduler", "--host", "127.0.0.1", "--port", "0")]
    try:
        until = time.monotonic() + 60
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.1)
        started += [start("dask_worker", "--nthreads", "1", "--local-directory", str(folder)) for _ in range(2)]
        yield Cluster(json.loads(file.read_text())["address"], started[1:])
    finally:
        for one in reversed(started):
            try:
                os.killpg(one.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            one.wait(timeout=30)


def letters(told: Path, path: Path, given: Any, stem: Path) -> tuple[Any, Sequence[Path]]:
    """Finds how long a file is, writes it in capitals, and tells that it did.

    b"die..." ends the process, b"once" does so the first time; b"wait" takes long.
    """
    with (told / "done").open("a") as file:
        file.write(f"{path.name}\n")
    content = path.read_bytes()
    if content.startswith(b"die") or (content == b"once" and not (told / "once").exists()):
        (told / "once").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if content == b"wait":
        time.sleep(60)
    if content == b"wrong":
        raise ValueError(path.name)
    file_ = stem.with_suffix(".txt")
    files.write_new(file_, content.upper())
    return {"length": len(content), "given": given}, [file_]
