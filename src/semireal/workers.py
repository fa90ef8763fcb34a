"""Work on many images on all cores."""

import contextlib
import itertools
import queue
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from joblib import cpu_count
from tqdm import tqdm

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 4  # items per core that are given out before their turn


class Pool(Generic[T]):
    """Objects of which each may serve one thread at a time, made when all others are in use.

    Unlike in a threading.local they outlive the threads. Those of a pool are not waited for at the end of the program,
    and one that is still tearing down a network by then would abort the process.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._idle: queue.SimpleQueue[T] = queue.SimpleQueue()

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[T]:
        """Give one of the objects for the length of a `with` block."""
        try:
            one = self._idle.get_nowait()
        except queue.Empty:
            one = self._make()
        try:
            yield one
        finally:
            self._idle.put(one)


def each(work: Callable[[T], R], items: Sequence[T], desc: str) -> Iterator[R]:
    """Apply `work` to each item on all cores, in order, with a progress bar.

    Threads are enough, since OpenCV and Pillow release the interpreter. Those of an executor are waited for at the end
    of the program: one that is in the middle of a library by then would abort it, whatever it was to end with. So that
    nobody waits long, and results do not pile up, only a few items are given out ahead.
    """
    cores = cpu_count()
    todo = iter(items)
    with ThreadPoolExecutor(cores) as threads:
        ahead = deque(threads.submit(work, item) for item in itertools.islice(todo, AHEAD * cores))
        try:
            for _ in tqdm(items, desc=desc, unit="img", mininterval=1):
                yield ahead.popleft().result()
                ahead.extend(threads.submit(work, item) for item in itertools.islice(todo, 1))
        finally:
            for one in ahead:
                one.cancel()
