"""Work on many images: on the threads of this process, on all cores of this machine, or on a cluster."""

import contextlib
import functools
import itertools
import os
import queue
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import joblib
from tqdm import tqdm

from semireal.errors import UserError
from semireal.machine import Machine

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 4  # items per core that are given out before their turn
ALONE_S = 0.2  # after so long a process sees that the one it works for is gone


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
    cores = joblib.cpu_count()
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


def count(machine: Machine) -> int:
    """Processes that work on images on this machine; a second one also on a single core: in one it is not done."""
    return machine.workers or max(int(joblib.cpu_count()), 2)


def scattered(work: Callable[..., R], calls: Sequence[tuple[Any, ...]], machine: Machine) -> Iterator[R]:
    """Make calls of `work` in other processes; gives their results as they come.

    The processes are those of this machine, or the workers of a Dask cluster, and all see the same files. What goes to
    them and comes back is pickled. When one of them dies, as it does for want of memory, some results never come: the
    caller finds out what has not been done. With machine.workers = 1 all is done in this process.
    """
    return _on_cluster(work, calls, machine.scheduler) if machine.scheduler else _here(work, calls, count(machine))


def _here(work: Callable[..., R], calls: Sequence[tuple[Any, ...]], processes: int) -> Iterator[R]:
    transport = joblib.parallel_config("loky", n_jobs=processes, inner_max_num_threads=1)
    with transport, contextlib.suppress(BrokenExecutor), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped while")  # for its memory; there is another one at once
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1, max_nbytes=None)
        yield from parallel(joblib.delayed(_called)(os.getpid(), work, *call) for call in calls)


def _on_cluster(work: Callable[..., R], calls: Sequence[tuple[Any, ...]], address: str) -> Iterator[R]:
    """Not by joblib, which waits for ever where the workers lack what is to be called (joblib 1.6)."""
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError:
        raise UserError(
            "scheduler: needs Dask: pip install --require-hashes -r requirements-cluster.txt, here and on the workers"
        ) from None
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(f"scheduler: found {address}, where no Dask scheduler answers ({error})") from None
    with client:
        # pure: the same call once more is another one; it was made because the first one was not ended
        futures = [client.submit(work, *call, pure=False) for call in calls]
        try:
            for future in as_completed(futures, loop=client.loop):
                try:
                    yield future.result()
                except KilledWorker:
                    continue
                except RuntimeError as error:
                    if "deserialization" not in str(error):
                        raise
                    raise UserError("scheduler: it or its workers have not the code that is here") from None
        finally:
            client.cancel(futures)


def _called(parent: int, work: Callable[..., R], *call: Any) -> R:
    """Call `work` in another process, which does not outlive the one that it works for."""
    if parent != os.getpid():
        _follow(parent)
    return work(*call)


@functools.cache
def _follow(parent: int) -> None:
    """End this process when its parent is gone. Not by the kernel (semireal.parents): joblib's threads come and go."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(ALONE_S)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()
