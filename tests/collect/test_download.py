"""One file: resumed only where the bytes that are here are surely its own, refused before it comes, checked after."""

import asyncio
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from semireal.collect import download, failures
from semireal.collect.download import Fetched, Fetcher, Limits, SetAside, Wanted

BODY = bytes(range(256)) * 40


class Site:
    """Answers as it is told, and notes the headers that it is sent."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, {"Content-Type": "image/png"}, BODY
        self.sent: list[dict[str, str]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.sent.append(dict(self.headers.items()))
                self.send_response(site.status)
                for key, value in ({"Content-Length": str(len(site.body))} | site.headers).items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(site.body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/x.png"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def wanted(site: Site, tmp_path: Path) -> Wanted:
    return Wanted("x", (site.url,), {"User-Agent": "me"}, {}, ["127.0.0.1"], tmp_path, Limits(1_000_000))


def fetch(wanted: Wanted) -> Any:
    return download.fetch(wanted, requests.Session(), threading.Event())


def half(site: Site, wanted: Wanted, version: str = '"1"') -> None:
    """Fetch half of the file, as a site does that breaks off."""
    site.headers |= {"Content-Length": str(len(BODY))} | ({"ETag": version} if version else {})
    site.body = BODY[:3000]
    assert fetch(wanted).kind == failures.BROKEN
    assert (wanted.folder / "x.part").stat().st_size == 3000
    del site.headers["Content-Length"]
    site.body = BODY


def rest(site: Site) -> None:
    site.status, site.body = 206, BODY[3000:]
    site.headers["Content-Range"] = f"bytes 3000-{len(BODY) - 1}/{len(BODY)}"


def test_what_broke_off_goes_on_where_it_was(site: Site, wanted: Wanted) -> None:
    half(site, wanted)
    rest(site)
    assert fetch(wanted) == Fetched(wanted.folder / "x.png", site.url)
    assert (site.sent[-1]["Range"], site.sent[-1]["If-Range"]) == ("bytes=3000-", '"1"')
    assert [path.name for path in wanted.folder.iterdir()] == ["x.png"]
    assert (wanted.folder / "x.png").read_bytes() == BODY


@pytest.mark.parametrize("version", ["", 'W/"1"'])
def test_without_a_version_or_a_hash_it_begins_anew(site: Site, wanted: Wanted, version: str) -> None:
    half(site, wanted, version)
    assert isinstance(fetch(wanted), Fetched)
    assert "Range" not in site.sent[-1]
    assert (wanted.folder / "x.png").read_bytes() == BODY


def test_a_site_that_sends_it_all_again_is_believed(site: Site, wanted: Wanted) -> None:
    half(site, wanted)
    assert isinstance(fetch(wanted), Fetched)
    assert (wanted.folder / "x.png").read_bytes() == BODY


def test_another_part_than_was_asked_for_is_not_appended(site: Site, wanted: Wanted) -> None:
    half(site, wanted)
    rest(site)
    site.headers["Content-Range"] = f"bytes 2000-{len(BODY) - 1}/{len(BODY)}"
    assert fetch(wanted).kind == failures.BROKEN
    assert not list(wanted.folder.iterdir())


def test_a_part_that_does_not_fit_any_more_is_dropped(site: Site, wanted: Wanted) -> None:
    half(site, wanted)
    site.status = 416
    assert fetch(wanted).kind == failures.BROKEN
    assert not list(wanted.folder.iterdir())


def test_a_smaller_part_than_was_asked_for_is_not_the_whole(site: Site, wanted: Wanted) -> None:
    half(site, wanted)
    rest(site)
    site.body = BODY[3000:3100]
    site.headers["Content-Range"] = f"bytes 3000-3099/{len(BODY)}"
    assert fetch(wanted).kind == failures.BROKEN
    assert (wanted.folder / "x.part").stat().st_size == 3100  # and it goes on from there


@pytest.mark.parametrize("name", ["x.part", "x.json"])
def test_a_name_that_stands_for_half_a_file_is_not_given(site: Site, wanted: Wanted, name: str) -> None:
    site.headers["Content-Type"] = "image/avif"
    address = site.url.replace("x.png", name)
    assert fetch(replace(wanted, addresses=(address,))) == Fetched(wanted.folder / "x.bin", address)
    assert (wanted.folder / "x.bin").read_bytes() == BODY


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256"])
def test_the_hash_that_the_site_states_is_checked(site: Site, wanted: Wanted, kind: str) -> None:
    right, wrong = hashlib.new(kind, BODY).hexdigest(), hashlib.new(kind, b"x").hexdigest()
    assert fetch(replace(wanted, hashes={kind: wrong})).kind == failures.WRONG
    assert not list(wanted.folder.iterdir())
    assert isinstance(fetch(replace(wanted, hashes={kind: right})), Fetched)


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"Content-Type": "text/html; charset=utf-8"}, failures.PAGE),
        ({"Content-Type": "application/json"}, failures.PAGE),
        ({"Content-Type": "video/mp4"}, failures.TYPE),
        ({"Content-Type": "application/pdf"}, failures.TYPE),
        ({"Content-Length": str(5 << 30)}, failures.LONG),
    ],
)
def test_what_is_not_wanted_is_not_fetched(site: Site, wanted: Wanted, headers: dict[str, str], kind: str) -> None:
    site.headers |= headers
    assert fetch(wanted).kind == kind
    assert not list(wanted.folder.iterdir())


@pytest.mark.parametrize("media_type", ["image/png", "application/octet-stream", "text/plain", "IMAGE/JPEG"])
def test_any_media_type_that_may_be_a_picture_is_fetched(site: Site, wanted: Wanted, media_type: str) -> None:
    site.headers["Content-Type"] = media_type
    assert isinstance(fetch(wanted), Fetched)


def test_a_file_that_grows_too_large_unannounced_is_left(site: Site, wanted: Wanted) -> None:
    site.headers["Content-Length"] = ""  # so the end of the connection is the end of the file
    assert isinstance(fetch(replace(wanted, limits=Limits(len(BODY)))), Fetched)
    assert fetch(replace(wanted, name="y", limits=Limits(len(BODY) - 1))).kind == failures.LONG
    assert [path.name for path in wanted.folder.iterdir()] == ["x.png"]


def test_the_hash_is_that_of_the_wanted_rendition_alone(site: Site, wanted: Wanted) -> None:
    smaller = replace(wanted, addresses=("http://elsewhere.invalid/x.png", site.url), hashes={"md5": "0" * 32})
    assert fetch(smaller) == Fetched(wanted.folder / "x.png", site.url)


@pytest.mark.parametrize("first", ["http://elsewhere.invalid/x.png", "http://[::1", "http://127.0.0.1:99999/x.png"])
def test_an_address_elsewhere_or_that_is_none_leaves_the_next_one(site: Site, wanted: Wanted, first: str) -> None:
    assert fetch(replace(wanted, addresses=(first, site.url))) == Fetched(wanted.folder / "x.png", site.url)
    assert fetch(replace(wanted, name="y", addresses=(first,))).kind in (failures.HOST, failures.OTHER)


def test_a_mark_against_training_is_heeded_before_the_file_comes(site: Site, wanted: Wanted) -> None:
    site.headers["X-Robots-Tag"] = "noai, noimageai"
    assert fetch(wanted) == Fetched(None, site.url, marked=True)
    assert not list(wanted.folder.iterdir())
    assert fetch(replace(wanted, respect=False)) == Fetched(wanted.folder / "x.png", site.url, marked=True)


def test_no_password_of_netrc_is_sent(site: Site, wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = wanted.folder / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("NETRC", str(netrc))
    session = requests.Session()
    session.auth = download.no_password
    download.fetch(wanted, session, threading.Event())
    assert "Authorization" not in site.sent[-1]


@given(st.text(max_size=30))
def test_any_retry_after_is_a_number_of_seconds(text: str) -> None:
    assert download.seconds(text, 1e9) >= 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("900", 900),
        (" 5 ", 5),
        ("Sun, 09 Sep 2001 01:46:50 GMT", 10),
        ("Sun, 09 Sep 2001 01:46:30 GMT", 0),
        ("soon", 0),
        ("\u00b2", 0),
        ("1700000000000", download.LONGEST_WAIT_S),
        ("9" * 400, download.LONGEST_WAIT_S),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, expected: float) -> None:
    assert download.seconds(text, 1_000_000_000) == expected


@contextmanager
def aiohttps_server(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """aiohttp's own file server, which knows Range and If-Range; its address, and the ranges it was asked for."""
    asked: list[str] = []

    @web.middleware
    async def note(request: web.Request, handler: Any) -> Any:
        asked.append(request.headers.get("Range", ""))
        return await handler(request)

    app = web.Application(middlewares=[note])
    app.router.add_static("/", folder)
    loop = asyncio.new_event_loop()
    listening = socket.create_server(("127.0.0.1", 0))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.SockSite(runner, listening).start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.parametrize("begins", ["at once", "after it was stopped", "never"])
def test_work_whose_start_was_interrupted_is_stopped(monkeypatch: pytest.MonkeyPatch, begins: str) -> None:
    start = threading.Thread.start
    started: list[threading.Thread] = []
    ended = threading.Event()

    def interrupted(thread: threading.Thread) -> None:
        started.append(thread)
        if begins == "at once":
            start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    fetcher = Fetcher(ended.set)
    with pytest.raises(KeyboardInterrupt):
        fetcher.start(lambda stop: stop.wait(20))
    fetcher.stop(0.1)
    if begins == "after it was stopped":
        start(started[0])
    assert ended.wait(2) == (begins != "never")


@pytest.mark.parametrize("changed", [False, True])
def test_a_server_that_nobody_here_wrote_goes_on_or_begins_anew(tmp_path: Path, changed: bool) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    (there / "x.png").write_bytes(random_bytes(3_000_000, 1))
    with aiohttps_server(there) as (url, asked):
        wanted = Wanted("x", (f"{url}/x.png",), {}, {}, ["127.0.0.1"], here, Limits(10_000_000, turn_s=0))
        assert isinstance(fetch(wanted), SetAside)
        size = (here / "x.part").stat().st_size
        assert 0 < size < 3_000_000
        if changed:
            (there / "x.png").write_bytes(random_bytes(3_000_000, 2))
            os.utime(there / "x.png", (2e9, 2e9))
        found = fetch(replace(wanted, limits=Limits(10_000_000)))
        assert asked == ["", f"bytes={size}-"]
        if changed:  # this server does not look at If-Range: the next try begins anew
            assert found.kind == failures.BROKEN
            found = fetch(replace(wanted, limits=Limits(10_000_000)))
            assert asked[2:] == [""]
        assert isinstance(found, Fetched)
    assert (here / "x.png").read_bytes() == (there / "x.png").read_bytes()


def random_bytes(size: int, seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(size)
