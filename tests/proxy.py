"""A proxy in front of a server that nobody here wrote: passes on what is asked, counts it, and makes faults."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}


@dataclass
class Answer:
    """What is sent: a fault changes the true one."""

    status: int
    headers: dict[str, str]
    body: bytes
    announced: int | None = None  # Content-Length, None: that of the body
    rate: float | None = None  # bytes per second
    asked: dict[str, str] = field(default_factory=dict)  # headers of the request


Fault = Callable[[str, Answer], Answer | None]  # by path and query; None closes the connection


def status(code: int, **headers: str) -> Fault:
    """An answer without what was asked for."""
    return lambda _, __: Answer(code, {key.replace("_", "-"): value for key, value in headers.items()}, b"no\n")


def cut(_: str, true: Answer) -> Answer:
    """Half of the body, as many as were announced."""
    return Answer(true.status, true.headers, true.body[: len(true.body) // 2], len(true.body))


def other_bytes(_: str, true: Answer) -> Answer:
    """Bytes of the right length that are not those of the file."""
    return Answer(true.status, true.headers, true.body[:-1] + bytes([true.body[-1] ^ 1]))


def wrong_length(_: str, true: Answer) -> Answer:
    """More is announced than comes."""
    return Answer(true.status, true.headers, true.body, len(true.body) + 7)


def drop(_: str, __: Answer) -> None:
    """No answer at all."""


def slow(rate: float) -> Fault:
    """So many bytes per second."""
    return lambda _, true: Answer(true.status, true.headers, true.body, rate=rate)


@dataclass
class Proxy:
    """The proxy, while it runs."""

    upstream: str
    url: str = ""
    choose: Callable[[str, int], Fault | None] = lambda _, __: None  # by path and how often it was asked before
    asked: Counter[str] = field(default_factory=Counter)  # by path and query
    times: list[tuple[float, str]] = field(default_factory=list)
    whole: Counter[str] = field(default_factory=Counter)  # true answers that were sent to their end
    agents: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ranges: bool = True
    sent: int = 0  # bytes
    now: Callable[[], float] = time.time

    def count(self, part: str) -> int:
        """How many requests had this in their path."""
        return sum(count for path, count in self.asked.items() if part in path)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: Proxy

    def do_GET(self) -> None:
        proxy = self.proxy
        with proxy.lock:
            before = proxy.asked[self.path]
            proxy.asked[self.path] += 1
            proxy.times.append((proxy.now(), self.path))
            proxy.agents.add(self.headers.get("User-Agent", ""))
            fault = proxy.choose(self.path, before)
        answer: Answer | None = self._true()
        true = answer
        if fault is not None and answer is not None:
            answer = fault(self.path, answer)
        if answer is None:
            self.close_connection = True
            return
        try:
            self._send(answer)
            with proxy.lock:
                proxy.whole[self.path] += answer is true and answer.status == 200
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_POST = do_GET  # noqa: N815 - names of http.server

    def _true(self) -> Answer:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(urlsplit(self.proxy.upstream).netloc, timeout=60)
        try:
            sent = {key: value for key, value in self.headers.items() if key.lower() not in HOP_BY_HOP}
            connection.request(self.command, self.path, body or None, sent)
            response = connection.getresponse()
            headers = {key: value for key, value in response.getheaders() if key.lower() not in HOP_BY_HOP}
            return self._part(Answer(response.status, headers, response.read()))
        finally:
            connection.close()

    def _part(self, whole: Answer) -> Answer:
        """The part that is asked for, of a server that cannot do that (PHP's)."""
        asked, version = self.headers.get("Range", ""), self.headers.get("If-Range")
        same = version in (None, whole.headers.get("ETag"), whole.headers.get("Last-Modified"))
        if not self.proxy.ranges or whole.status != 200 or not asked.startswith("bytes=") or not same:
            return whole
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(whole.body)), len(whole.body) - 1)
        place = {"Content-Range": f"bytes {start}-{end}/{len(whole.body)}"}
        return Answer(206, whole.headers | place, whole.body[start : end + 1])

    def _send(self, answer: Answer) -> None:
        announced = len(answer.body) if answer.announced is None else answer.announced
        self.send_response_only(answer.status)
        for key, value in (answer.headers | {"Content-Length": str(announced)}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        step = len(answer.body) if answer.rate is None else max(1, int(answer.rate / 10))
        for start in range(0, len(answer.body), step or 1):
            self.wfile.write(answer.body[start : start + step])
            self.wfile.flush()
            self.proxy.sent += min(step, len(answer.body) - start)
            if answer.rate is not None:
                time.sleep(0.1)
        if announced != len(answer.body):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def proxied(upstream: str) -> Iterator[Proxy]:
    """A proxy on loopback in front of a server."""
    proxy = Proxy(upstream)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with _Server(("127.0.0.1", 0), handler) as server:
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
