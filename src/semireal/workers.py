"""Work on many images on all cores."""

import contextlib
import queue
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from joblib import Parallel, delayed
from tqdm import tqdm

T = TypeVar("T")
R = TypeVar("R")


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

    Threads are enough, since OpenCV and Pillow release the interpreter.
    """
    results = Parallel(n_jobs=-1, prefer="threads", return_as="generator")(delayed(work)(i) for i in items)
    yield from tqdm(results, total=len(items), desc=desc, unit="img", mininterval=1)
