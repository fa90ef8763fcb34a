"""A small image board on the loopback interface: the list API of moebooru, and the files."""

import hashlib
import io
import json
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import parse_qs

import cv2
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from semireal.collect.gallery.catalogue import TAGS, Post, posts, render
from semireal.collect.gallery.faults import Faults, On, reply

_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
_MOST = 1000  # posts per list page
_DIGITS = 12  # of a number in a request


def _start_worker() -> None:
    """Draw on one thread, leave Ctrl-C to the parent, and end with it however it ends."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _size(data: bytes) -> tuple[int, int]:
    """Width and height a file claims; of what is no picture, what the site believes it to be."""
    try:
        with Pillow.open(io.BytesIO(data), formats=["JPEG", "PNG", "WEBP", "GIF"]) as picture:
            return picture.size
    except UnidentifiedImageError:
        return 720, 960


def _number(text: str) -> int:
    """A whole number of a request; 0 for what is none, or too long to be one."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else 0


class Store(Protocol):
    """What a gallery shows."""

    def entries(self, tags: list[str], number: int, limit: int, url: str) -> list[dict[str, Any]]:
        """One page of the list of the posts that have all tags, for a gallery at `url`."""

    def file(self, name: str) -> tuple[bytes, str] | None:
        """Bytes and media type of a file by its name, None if there is no such file."""

    def close(self) -> None:
        """Give back what the store holds."""


class _Drawn:
    """All posts of the catalogue, and their files drawn in worker processes as soon as a list names them."""

    def __init__(self, seed: int) -> None:
        every = [post for tag in TAGS for post in posts(tag, seed)]
        self.posts = sorted(every, key=lambda post: -post.id)
        self._by_id = {post.id: post for post in every}
        self._files: dict[int, Future[bytes]] = {}
        self._lock = threading.Lock()
        context = multiprocessing.get_context("spawn")  # the server's threads forbid fork
        self._pool = ProcessPoolExecutor(os.cpu_count(), context, _start_worker)

    def start(self, post: Post) -> Future[bytes]:
        """Begin to draw a post's file unless that was done before."""
        with self._lock:
            if post.id not in self._files:
                self._files[post.id] = self._pool.submit(render, post)
            return self._files[post.id]

    def file(self, name: str) -> tuple[bytes, str] | None:
        """Bytes and media type of a file by its name, None if there is no such file."""
        stem, _, extension = name.partition(".")
        post = self._by_id.get(_number(stem))
        if post is None or post.extension != extension:
            return None
        data = self.start(post).result()
        return data, "text/html" if data.startswith(b"<!DOCTYPE") else _TYPES[extension]

    def entries(self, tags: list[str], number: int, limit: int, url: str) -> list[dict[str, Any]]:
        """One page of the posts that have all tags; drawing of this and of the next page begins.

        The tag `limit:N` shortens the whole list to N posts.
        """
        limits = [_number(tag.removeprefix("limit:")) for tag in tags if tag.startswith("limit:")]
        wanted = {tag for tag in tags if not tag.startswith("limit:")}
        found = [post for post in self.posts if wanted <= set(post.tags)][: min(limits, default=None)]
        first = (number - 1) * limit
        for post in found[first : first + 2 * limit]:
            self.start(post)
        return [self._entry(post, url) for post in found[first : first + limit]]

    def _entry(self, post: Post, url: str) -> dict[str, Any]:
        data = self.start(post).result()
        width, height = _size(data)
        return {
            "id": post.id,
            "tags": " ".join(post.tags),
            "title": post.title,
            "author": post.author,
            "license": post.licence,
            "source": f"https://gallery.invalid/{post.author}/{post.id}",
            "rating": "s",
            "created_at": post.created_at,
            "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
            "file_size": len(data),
            "file_url": f"{url}/image/{post.id}.{post.extension}",
            "width": width,
            "height": height,
        }

    def close(self) -> None:
        """End the worker processes."""
        self._pool.shutdown(cancel_futures=True)


class _Handler(BaseHTTPRequestHandler):
    """Answers /post.json and /image/ID.EXTENSION."""

    protocol_version = "HTTP/1.1"
    timeout = 60  # s of silence of a client, which else would keep its thread
    disable_nagle_algorithm = True  # headers and body are two writes: 40 ms on each file otherwise
    server: "_Server"

    def do_GET(self) -> None:
        """Answer one request."""
        path, _, asked = self.path.partition("?")
        try:
            if path == "/post.json":
                query = {key: values[-1] for key, values in parse_qs(asked).items()}
                self._send("list", f"{query.get('tags')} {query.get('page', '1')}", *self._list(query))
            else:
                name = path.removeprefix("/image/")
                found = self.server.store.file(name) if name != path else None
                self._send("file", name, *((200, *found) if found else (404, b"not found\n", "text/plain")))
        except (BrokenPipeError, ConnectionResetError, CancelledError, RuntimeError):
            self.close_connection = True  # the client has gone, or the gallery is being closed

    def _send(self, on: On, name: str, status: int, body: bytes, media_type: str) -> None:
        if self.server.faults:
            self.server.faults.send(self, on, name, status, body, media_type)
        else:
            reply(self, status, body, media_type)

    def _list(self, query: dict[str, str]) -> tuple[int, bytes, str]:
        page, limit = _number(query.get("page", "1")), _number(query.get("limit", "100"))
        if not (page >= 1 and 1 <= limit <= _MOST):
            return 400, b"page and limit must be positive numbers\n", "text/plain"
        tags = query.get("tags", "").split()
        found = self.server.store.entries(tags, page, limit, self.server.url)
        return 200, json.dumps(found).encode(), "application/json"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing; requests are no news."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, store: Store, faults: Faults | None) -> None:
        self.store, self.faults = store, faults
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that have gone; other errors are shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Gallery:
    """The gallery as a context manager; `url` is its address while it is open.

    Pictures are drawn by worker processes, so a script that opens one needs the usual
    `if __name__ == "__main__":` guard. For tests it shows another store instead, and has faults.
    """

    def __init__(self, seed: int = 0, store: Store | None = None, faults: Faults | None = None) -> None:
        self.seed, self.store, self.faults = seed, store, faults

    def __enter__(self) -> "Gallery":
        self._store = self.store or _Drawn(self.seed)
        self._server = _Server(self._store, self.faults)
        self.url = self._server.url
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._store.close()
        self._server.server_close()
