"""Threads that draw, for a server: few, and the end of the program waits for none of them."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

R = TypeVar("R")


class Painters(Generic[R]):
    """So many threads with a queue. Work whose client has left before it was begun is not done."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._queue: queue.SimpleQueue[tuple[Future[R], Callable[[], R]] | None] = queue.SimpleQueue()
        for _ in range(count):
            # those of an executor are waited for, and a large picture takes many seconds
            threading.Thread(target=self._draw, daemon=True).start()

    async def paint(self, work: Callable[[], R]) -> R:
        """What `work` returns or raises."""
        future: Future[R] = Future()
        self._queue.put((future, work))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the threads end when the queue is empty."""
        for _ in range(self._count):
            self._queue.put(None)

    def _draw(self) -> None:
        while (task := self._queue.get()) is not None:
            future, work = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except Exception as error:
                    future.set_exception(error)
