import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from joblib import cpu_count

from conftest import ROOT
from semireal import workers

# The threads are in OpenCV all the time. `worked` counts, since the end must not wait for all.
STOPPED = """
import atexit, sys
import cv2
import numpy as np
from semireal.workers import each
cv2.setNumThreads(1)
picture, worked = np.zeros((400, 400, 3), np.uint8), []
def work(item):
    worked.append(item)
    for _ in range(5):
        cv2.GaussianBlur(picture, (0, 0), 3)
    return item
atexit.register(lambda: print(len(worked)))
for item in each(work, range(3000), "x"):
    if item == 3:
        sys.exit(143)
"""


@pytest.mark.parametrize("_", range(3))
def test_a_program_that_is_stopped_is_not_aborted_by_its_threads(_: int, tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", STOPPED], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 143, done.stderr
    assert 3 < int(done.stdout) < 1000


def test_results_come_in_order_and_an_error_at_its_place() -> None:
    def work(item: int) -> int:
        time.sleep(0.001 * (item % 3))
        return 1 // (50 - item)

    found = []
    with pytest.raises(ZeroDivisionError):
        for one in workers.each(work, range(100), "x"):
            found.append(one)
    assert found == [1 // (50 - item) for item in range(50)]
    assert list(workers.each(str, range(100), "x")) == [str(item) for item in range(100)]
    assert list(workers.each(str, [], "x")) == []


def test_results_do_not_pile_up() -> None:
    begun: list[int] = []
    results = workers.each(begun.append, range(10000), "x")
    next(results)
    time.sleep(0.2)
    assert len(begun) <= workers.AHEAD * cpu_count() + 1


def test_what_has_not_begun_is_left_when_the_end_comes() -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.1)

    for _ in workers.each(work, range(100), "x"):
        break
    assert len(begun) <= 1 + 2 * cpu_count() < workers.AHEAD * cpu_count() + cpu_count()
