"""Fixtures that several test files use."""

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from selenium import webdriver

from reference import SUBSET
from semireal import manifest
from semireal.images import Pixels
from semireal.manifest import Row
from tiny import clone, shell

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
DATA = bytes(range(256)) * 4000  # what the test server has
pytest_plugins = ["scraping"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with the most slow tests first, so that no worker is left alone with one in the end."""
    slow: dict[Path, int] = {}
    for item in items:
        slow[item.path] = slow.get(item.path, 0) + (item.get_closest_marker("slow") is not None)
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture
def shared() -> Path:
    """Real images, weights and reference tensors that lie beside the checkout, if they do."""
    if not SHARED.is_dir():
        pytest.skip(f"no {SHARED}: real images and reference tensors are not here")
    return SHARED


@pytest.fixture
def full_reference(shared: Path) -> Path:
    """All numbers of the public StyleGAN2, too large for the repository."""
    return shared / "reference"


@pytest.fixture
def subset_reference() -> Path:
    """Those in the repository."""
    return SUBSET


@pytest.fixture
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A headless browser."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("Chromium or its chromedriver is not installed (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for name in ("headless=new", "disable-gpu", "no-first-run", "disable-background-networking", "disable-sync"):
        options.add_argument(f"--{name}")
    options.add_argument("--disable-component-update")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium refuses to be root's otherwise
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.add_argument("--window-size=1280,900")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield started
    finally:
        started.quit()


def log_of(driver: webdriver.Chrome) -> list[str]:
    """What the console of the browser says that it has not said before."""
    return [entry["message"] for entry in driver.get_log("browser")]  # type: ignore[no-untyped-call]


@pytest.fixture
def work_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder as the current directory and as DVC's root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def _nothing_seen_before(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stages are called, what they find out about images is kept in a `.work` that no other test has."""
    if request.path.parent.name in ("curate", "faces", "collect", "training"):
        monkeypatch.setenv("DVC_ROOT", str(tmp_path))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny repository with the results of `dvc repro`, committed, and of a sweep over the characters.

    Made once, also for several pytest-xdist workers. It takes a minute; work on copies (`tiny.copy`).
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / "made" / "semi real"
    with FileLock(base / "made.lock"):
        if not folder.exists():
            shutil.rmtree(base / "made", ignore_errors=True)  # what a failed attempt left
            unfinished = clone(base / "made" / "unfinished")
            shell(unfinished, "dvc", "repro")
            shell(unfinished, "git", "add", "-A")
            shell(unfinished, "git", "commit", "-q", "-m", "results")
            shell(unfinished, "python", "-m", "semireal", "sweep", "character=elf,geralt,wonder_woman")
            unfinished.rename(folder)
    return folder


def texture(seed: int, height: int = 64, width: int = 64) -> Pixels:
    """A random picture with structure at all scales, so that different seeds have different hashes."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize((width, height)),
            dtype=float,
        )
        for n in (3, 7, 16, 40)
    ]
    mean: Pixels = np.clip(np.mean(layers, axis=0) * 2 - 128, 0, 255).astype(np.uint8)
    return mean


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Write a small dataset: a list of images with their domains (and more columns), manifest included."""

    def make(name: str, pictures: list[tuple[Pixels, dict[str, Any]]], suffix: str = ".png") -> Path:
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True)
        rows: list[Row] = []
        for index, (img, more) in enumerate(pictures):
            file = f"images/{index:04d}{suffix}"
            Image.fromarray(img).save(folder / file)
            row = {
                "id": f"{index:04d}",
                "domain": "photo",
                "source": "s",
                "crop_side": img.shape[0],
                "bytes": 1,
            }
            rows.append(manifest.kept(row | more, file=file))
        manifest.save(folder, rows, "test", "")
        return folder

    return make


class Server(ThreadingHTTPServer):
    """Serves DATA with ranges and versions; breaks off the first `drops` answers after a third."""

    drops = 0
    content = DATA
    careless = False  # about the version that it is asked for
    tells_length = True
    pause_s = 0  # before it answers

    @property
    def version(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()}"'

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.starts: list[int] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        content, version = self.server.content, self.server.version
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.server.starts.append(start)
        time.sleep(self.server.pause_s)
        if self.headers.get("If-Range", version) != version and not self.server.careless:
            start = 0
        body = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", version)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.server.tells_length:
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
