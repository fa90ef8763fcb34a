import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from semireal import weights
from semireal.errors import UserError
from semireal.weights import Weights

DATA = bytes(range(256)) * 4000
SHA = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves DATA with ranges; breaks off the first `drops` answers after a third."""

    drops = 0
    content = DATA

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.starts: list[int] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.server.starts.append(start)
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.drops:
            self.server.drops -= 1
            self.wfile.write(body[: len(body) // 3])
            self.close_connection = True
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def wanted(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    monkeypatch.setenv("SEMIREAL_CACHE", str(tmp_path / "cache"))
    return Weights("w.bin", f"http://127.0.0.1:{server.server_port}/w.bin", SHA)


def test_download_once_then_from_the_cache(server: Server, wanted: Weights) -> None:
    assert weights.find(wanted).read_bytes() == DATA
    assert weights.find(wanted).read_bytes() == DATA
    assert server.starts == [0]


def test_dropped_connections_are_continued_not_restarted(server: Server, wanted: Weights) -> None:
    server.drops = 2
    assert weights.find(wanted).read_bytes() == DATA
    assert server.starts[0] == 0
    assert 0 < server.starts[1] < server.starts[2]


def test_damaged_cache_is_replaced(server: Server, wanted: Weights, tmp_path: Path) -> None:
    weights.find(wanted)
    (tmp_path / "cache" / "w.bin").write_bytes(b"damaged")
    assert weights.find(wanted).read_bytes() == DATA


def test_wrong_content_is_refused_and_not_kept(server: Server, wanted: Weights, tmp_path: Path) -> None:
    server.content = DATA[::-1]
    with pytest.raises(UserError, match=rf"w\.bin: cannot be had .* need {SHA[:16]}"):
        weights.find(wanted)
    assert not list((tmp_path / "cache").glob("w.bin*t"))
    assert not (tmp_path / "cache" / "w.bin").exists()


def test_no_network_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMIREAL_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="Put the file at"):
        weights.find(Weights("w.bin", "http://127.0.0.1:9/w.bin", SHA))


def test_detector_weights_come_with_a_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEMIREAL_CACHE", str(tmp_path / "unused"))
    path = weights.find(weights.YUNET)
    assert weights.sha256_of(path) == weights.YUNET.sha256
    assert not (tmp_path / "unused").exists()


def test_a_path_of_the_user_is_checked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"evaluate\.inception: .* not found"):
        weights.check(tmp_path / "none", weights.INCEPTION, "evaluate.inception")
    (tmp_path / "other").write_bytes(b"x")
    with pytest.raises(UserError, match="need 6726825d0af5f729"):
        weights.check(tmp_path / "other", weights.INCEPTION, "evaluate.inception")


def test_development_weights_are_not_taken_for_the_real_ones(shared: Path) -> None:
    """inception-v3-768.pth has zeros in its last layers; no FID may come from it."""
    with pytest.raises(UserError, match=r"evaluate\.inception"):
        weights.check(shared / "weights" / "inception-v3-768.pth", weights.INCEPTION, "evaluate.inception")
