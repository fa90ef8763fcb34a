"""What raw clients can do to the review page: a real server in its own process, spoken to byte by byte."""

import asyncio
import http.client
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from PIL import Image

from reviewing import TOKENS, make_data, process
from semireal.review import clients
from semireal.review.painters import Painters

LONG = 20  # s, after which a test gives up
IMPATIENT = "clients.SECONDS, clients.GRACE = 1, 0.2"
FACELESS = "data/raw/demo/geralt/images/faceless.png"


class Raw:
    """One connection, to send any bytes with; the server closes it, or the end of a `with` block does."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LONG)

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: str) -> "Raw":
        self.socket.sendall(data.encode("latin-1"))
        return self

    def answer(self) -> bytes:
        """All that comes until the server closes the connection."""
        found = b""
        with suppress(ConnectionError):
            while part := self.socket.recv(1 << 16):
                found += part
        return found

    def is_closed(self) -> bool:
        """Whether the server has closed it by now."""
        self.socket.setblocking(False)
        try:
            while self.socket.recv(1 << 16):
                pass
            return True
        except BlockingIOError:
            return False
        except ConnectionError:
            return True


def lines(port: int, first: str, *more: str, token: bool = True, host: bool = True, close: bool = True) -> str:
    """A request with all that the page itself would send, but for what is asked for."""
    own = [f"Host: 127.0.0.1:{port}"] * host + [f"Cookie: semireal-{port}={TOKENS[port]}"] * token
    own += [f"Origin: http://127.0.0.1:{port}", "Content-Type: application/json"] * first.startswith("POST")
    return "\r\n".join([first, *own, *more, *["Connection: close"] * close, "", ""])


def answers(port: int) -> None:
    """See that the page is there."""
    with Raw(port) as one:
        assert one.send(lines(port, "GET / HTTP/1.1")).answer().startswith(b"HTTP/1.1 200 OK")


def told(running: "subprocess.Popen[str]", number: int = signal.SIGTERM) -> tuple[int, str]:
    """End the server; its exit code, and what it said after its first line."""
    assert running.stderr is not None
    running.send_signal(number)
    code = running.wait(LONG)
    return code, running.stderr.read()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A page that many tests send nonsense to; in the end it has said nothing about any of it."""
    folder = tmp_path_factory.mktemp("page")
    make_data(folder, 30)
    with process(folder, IMPATIENT) as (port, running):
        yield port, folder
        answers(port)
        assert told(running) == (143, "")


JSON = '{"name": "geralt", "ids": ["00001-0"], "action": "reject"}'
POST = "POST /decide HTTP/1.1"
NONSENSE: dict[str, tuple[Callable[[int], str], str]] = {
    "another site in the address": (lambda p: lines(p, "GET http://evil.example/images HTTP/1.1"), "403"),
    "the whole address": (lambda p: lines(p, f"GET http://127.0.0.1:{p}/images HTTP/1.1"), "403"),
    "a host in the path": (lambda p: lines(p, "GET //evil.example/images HTTP/1.1"), "404"),
    "no path": (lambda p: lines(p, "GET images HTTP/1.1"), "400 403"),
    "an address that is none": (lambda p: lines(p, "GET http://[ HTTP/1.1"), "400"),
    "CONNECT": (lambda p: lines(p, f"CONNECT 127.0.0.1:{p} HTTP/1.1"), "400 403 405"),
    "OPTIONS *": (lambda p: lines(p, "OPTIONS * HTTP/1.1"), "403"),
    "a method that is none": (lambda p: lines(p, "BREW / HTTP/1.1"), "400"),
    "a small method": (lambda p: lines(p, "get / HTTP/1.1"), "400"),
    "HTTP/0.9": (lambda p: "GET /images\r\n\r\n", "400 403"),
    "HTTP/0.9 with a token": (lambda p: lines(p, "GET /images", host=False), "400 403"),
    "HTTP/1.0 without a host": (lambda p: lines(p, "GET /images HTTP/1.0", host=False), "403"),
    "no host": (lambda p: lines(p, "GET /images HTTP/1.1", host=False), "400"),
    "two hosts": (lambda p: lines(p, "GET /images HTTP/1.1", "Host: evil.example"), "400"),
    "the other host first": (
        lambda p: lines(p, "GET /images HTTP/1.1", "Host: evil", f"Host: 127.0.0.1:{p}", host=False),
        "400",
    ),
    "a folded host": (lambda p: lines(p, "GET /images HTTP/1.1", "Host: evil", f" 127.0.0.1:{p}", host=False), "400"),
    "a host with a space": (lambda p: lines(p, "GET /images HTTP/1.1", f"Host : 127.0.0.1:{p}", host=False), "400"),
    "HTTP/9.9": (lambda p: lines(p, "GET /images HTTP/9.9"), "400"),
    "HTTP/2": (lambda p: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"),
    "TLS": (lambda p: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"),
    "lines without a return": (lambda p: lines(p, "GET /images HTTP/1.1").replace("\r", ""), "400"),
    "NUL in the path": (lambda p: lines(p, "GET /image/small/00001-0\0 HTTP/1.1"), "400"),
    "NUL in a header": (lambda p: lines(p, "GET /images HTTP/1.1", "X-A: a\0b"), "400"),
    "bytes in a cookie": (lambda p: lines(p, "GET /images HTTP/1.1", "Cookie: a=\xff\x01", token=False), "400 403"),
    "bytes as a token": (lambda p: lines(p, "GET /?token=%ff%00 HTTP/1.1", token=False), "403"),
    "a long line": (lambda p: lines(p, f"GET /{'x' * 100_000} HTTP/1.1"), "400 414"),
    "a long header": (lambda p: lines(p, "GET /images HTTP/1.1", f"X-A: {'x' * 100_000}"), "400 431"),
    "many headers": (lambda p: lines(p, "GET /images HTTP/1.1", *(f"X-{n}: a" for n in range(1000))), "400 431"),
    "a length and pieces": (
        lambda p: lines(p, POST, "Content-Length: 58", "Transfer-Encoding: chunked") + f"3a\r\n{JSON}\r\n0\r\n\r\n",
        "400",
    ),
    "two lengths": (lambda p: lines(p, POST, "Content-Length: 58", "Content-Length: 5") + JSON, "400"),
    "a length below zero": (lambda p: lines(p, POST, "Content-Length: -1") + JSON, "400"),
    "a length in words": (lambda p: lines(p, POST, "Content-Length: 0x3a") + JSON, "400"),
    "pieces twice": (
        lambda p: lines(p, POST, "Transfer-Encoding: chunked, chunked") + f"3a\r\n{JSON}\r\n0\r\n\r\n",
        "400 501",
    ),
    "a piece of no size": (lambda p: lines(p, POST, "Transfer-Encoding: chunked") + "zz\r\n", "400"),
    "pieces without end": (lambda p: lines(p, POST, "Transfer-Encoding: chunked") + f"3a\r\n{JSON}\r\n", "408"),
    "half a body": (lambda p: lines(p, POST, "Content-Length: 59") + JSON, "408"),
    "a body that is too large": (lambda p: lines(p, POST, f"Content-Length: {9 << 20}") + "x" * (9 << 20), "413"),
    "a body as gzip that is none": (
        lambda p: lines(p, POST, "Content-Encoding: gzip", "Content-Length: 58") + JSON[:57] + " ",
        "400",
    ),
    "a body to come without a token": (lambda p: lines(p, POST, "Content-Length: 58", token=False), "403"),
    "an odd expectation": (lambda p: lines(p, POST, "Expect: tea", "Content-Length: 58") + JSON, "417"),
    "half a request line": (lambda p: "GET /images HT", ""),
    "half the headers": (lambda p: lines(p, "GET /images HTTP/1.1")[:-2], ""),
    "nothing": (lambda p: "", ""),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused_and_changes_nothing(page: tuple[int, Path], case: str) -> None:
    port, folder = page
    make, statuses = NONSENSE[case]
    with Raw(port) as one:
        with suppress(ConnectionError):  # the server need not read to the end
            one.send(make(port))
        found = one.answer()
    if statuses or found:
        assert found[:9].startswith((b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/0.9 ")), found
        assert found[9:12].decode() in statuses.split(), found
    assert b"00001-0.jpg" not in found
    assert b'"items"' not in found
    assert not (folder / "experiments").exists()


@pytest.mark.parametrize(
    "path",
    [
        "/..%2f..%2fparams.yaml",
        "/image/small/..%2f..%2f..%2fparams.yaml",
        "/image/small/%252e%252e%252fparams.yaml",
        "/image/small/..%252f..%252fparams.yaml",
        "/image/small/..\\..\\params.yaml",
        "/image/small/..%5c..%5cparams.yaml",
        "/image/small/%2e%2e%2f%2e%2e%2fparams.yaml%00.jpg",
        "/image/small/%c0%ae%c0%ae/params.yaml",
        "/image/small/%ff",
        "/image/small/%uff0e%uff0e/params.yaml",
        "/image/small/....//....//params.yaml",
        "/image/small/file:%2f%2f%2fetc%2fpasswd",
        "/image/./small/../../params.yaml",
        "//params.yaml",
        "/;/params.yaml",
        "/page.html",
        "/page%2fpage.js",
        "/?token=/../params.yaml",
        "/image/small%2f00001-0",
    ],
)
def test_no_path_leads_out(page: tuple[int, Path], path: str) -> None:
    with Raw(page[0]) as one:
        found = one.send(lines(page[0], f"GET {path} HTTP/1.1")).answer()
    assert found[9:12] in (b"400", b"404") or path.startswith("/?"), found
    assert b"epochs" not in found
    assert b"root:" not in found


def test_a_drop_at_a_time_is_not_waited_for(page: tuple[int, Path]) -> None:
    """Each byte is in time, all of them are not; meanwhile others are answered."""
    port = page[0]
    for request in (lines(port, "GET /images HTTP/1.1"), lines(port, POST, "Content-Length: 58") + JSON):
        start = request.rindex("\r\n\r\n") + 4 if request.startswith("POST") else 0
        with Raw(port) as one:
            one.send(request[:start])
            for byte in request[start:]:
                if one.is_closed():
                    break
                with suppress(ConnectionError):
                    one.socket.sendall(byte.encode())
                time.sleep(0.1)
            else:
                pytest.fail("all of it was read")
        answers(port)
    assert not (page[1] / "experiments").exists()


def test_the_next_request_of_a_connection_has_its_own_time(page: tuple[int, Path]) -> None:
    port = page[0]
    with Raw(port) as one:
        for _ in range(4):
            one.send(lines(port, "HEAD / HTTP/1.1", close=False))
            assert one.socket.recv(4096).startswith(b"HTTP/1.1 200")
            time.sleep(0.4)
        assert one.answer() == b""


def test_strangers_do_not_keep_out_the_page(work_root: Path) -> None:
    """Whoever has no token gives way: the oldest first, and never one that has shown it."""
    make_data(work_root, 30)
    with process(work_root) as (port, running), ExitStack() as stack:
        own = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)
        headers = {"Cookie": f"semireal-{port}={TOKENS[port]}"}

        def ask() -> int:
            own.request("GET", "/page.js", headers=headers)
            answer = own.getresponse()
            answer.read()
            return answer.status

        assert ask() == 200
        before = own.sock
        assert before is not None
        strangers = []
        for n in range(3 * clients.MOST):
            strangers.append(stack.enter_context(Raw(port)))
            if n % 3:
                strangers[-1].send(lines(port, "GET /images HTTP/1.1", token=False)[: 20 * (n % 3)])
            if n % 50 == 0:
                answers(port)
        answers(port)
        left = [n for n, one in enumerate(strangers) if not one.is_closed()]
        assert clients.MOST / 2 < len(left) <= clients.MOST
        assert min(left) > clients.MOST
        assert ask() == 200
        assert own.sock is before
        own.close()
        assert told(running) == (143, "")


@pytest.mark.slow
def test_clients_that_leave_are_no_news(work_root: Path) -> None:
    make_data(work_root, 30)
    Image.new("RGB", (4000, 3000), "red").save(work_root / FACELESS)
    with process(work_root) as (port, running):
        whole = lines(port, POST, f"Content-Length: {len(JSON)}") + JSON
        for data in (whole[:30], whole[:-20], lines(port, "GET /image/large/faceless HTTP/1.1"), "\0\0", "G"):
            for rude in (False, True):
                with Raw(port) as one:
                    one.send(data)
                    time.sleep(0.1)
                    if rude:  # a reset instead of an end
                        one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with Raw(port) as one:  # that reads nothing of many answers
            with suppress(TimeoutError):
                one.socket.settimeout(1)
                one.send(lines(port, "GET /page.js HTTP/1.1", close=False) * 2000)
        answers(port)
        assert told(running) == (143, "")


def test_errors_of_our_own_are_told(work_root: Path) -> None:
    make_data(work_root, 30)
    fault = "from semireal.curate import decisions\ndecisions.change = lambda *_: 1 / 0"
    with process(work_root, fault) as (port, running):
        with Raw(port) as one:
            assert one.send(lines(port, POST, f"Content-Length: {len(JSON)}") + JSON).answer()[9:12] == b"500"
        code, text = told(running)
        assert code == 143
        assert "Traceback" in text
        assert "ZeroDivisionError" in text


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_end_comes_within_seconds_whatever_is_open(work_root: Path, number: int, code: int) -> None:
    """Idle, half-open, slow and greedy clients; the pictures that they ask for take much longer."""
    make_data(work_root, 30)
    Image.new("RGB", (11_000, 10_000), "red").save(work_root / FACELESS, "JPEG")
    with process(work_root) as (port, running), ExitStack() as stack:
        large = lines(port, "GET /image/large/faceless HTTP/1.1")
        page = lines(port, "GET /page.js HTTP/1.1", close=False)
        post = lines(port, POST, "Content-Length: 58")
        held = [stack.enter_context(Raw(port)) for _ in range(20)]
        for n, one in enumerate(held):
            one.socket.settimeout(0.2)
            with suppress(TimeoutError):
                one.send([large, "", page, page[:40], post, post + JSON[:9], page * 500, "POST"][n % 8])
        answers(port)
        started = time.monotonic()
        found, text = told(running, number)
        assert time.monotonic() - started < 6
        assert found == code
        assert text in ("", "interrupted; the same command goes on from the last saved state\n")


def test_what_nobody_waits_for_is_not_drawn() -> None:
    drawn: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        assert go_on.wait(LONG)
        drawn.append("first")

    async def main() -> None:
        painters: Painters[None] = Painters(1)
        one = asyncio.create_task(painters.paint(first))
        others = [asyncio.create_task(painters.paint(lambda name=name: drawn.append(name))) for name in "abc"]  # type: ignore[misc]
        await asyncio.to_thread(begun.wait, LONG)
        others[1].cancel()
        one.cancel()  # it goes on, and its thread with the next
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(*others, return_exceptions=True)
        with pytest.raises(ZeroDivisionError):
            await painters.paint(lambda: [][1 // 0])
        painters.close()

    asyncio.run(main())
    assert drawn == ["first", "a", "c"]


@pytest.mark.slow
def test_places_of_those_who_left_are_free(work_root: Path) -> None:
    """Otherwise the last one waits for a long time of drawing."""
    make_data(work_root, 30)
    Image.new("RGB", (4000, 3000), "red").save(work_root / FACELESS, "JPEG")
    with process(work_root) as (port, running):
        for _ in range(2 * clients.MOST):
            with Raw(port) as one:
                one.send(lines(port, "GET /image/large/faceless HTTP/1.1"))
        with Raw(port) as one:
            one.send(lines(port, "GET /image/small/00001-0 HTTP/1.1"))
            assert one.answer().startswith(b"HTTP/1.1 200")
        assert told(running) == (143, "")
