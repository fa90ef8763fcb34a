"""Collecting from a hostile gallery, with the real gallery-dl: nothing lost, nothing twice, every failure counted."""

import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from multiprocessing import connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
import yaml

from conftest import ROOT
from hostile import Cards, card, cards, files_of, gallery
from proxy import Answer, cut, drop, other_bytes, proxied, status, wrong_length
from semireal import manifest
from semireal.collect import collector as collecting
from semireal.collect import download, failures, gallerydl, guard, scrape, takedowns
from semireal.collect.collector import Clock, Collector, Order
from semireal.collect.gallery.faults import Fault
from semireal.collect.health import Patience
from semireal.collect.journal import Journal
from semireal.collect.source import load_sources
from semireal.errors import Unfinished, UserError
from semireal.images import ImageError, load_rgb

HASTY = Patience(minutes=1, first_wait=0.05, longest_wait=0.2, strikes=2, tries=2, silence=3)
Run = Callable[..., pd.DataFrame]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed soon."""
    monkeypatch.setattr(download, "TIMEOUT_S", 0.4)
    monkeypatch.setattr(gallerydl, "TIMEOUT_S", 0.4)


@pytest.fixture
def run(work_root: Path) -> Run:
    """Scrape these sources into the same work directory as the time before; returns the manifest."""
    runs = iter(range(100))

    def once(sources: dict[str, Any], patience: Patience = HASTY, accept: tuple[str, ...] = ()) -> pd.DataFrame:
        definition = definition_of(work_root, sources)
        out = work_root / f"out{next(runs)}"
        out.mkdir()
        (work_root / "work").mkdir(exist_ok=True)
        scrape.run(definition, out, work_root / "work", patience, accept)
        return manifest.read(out)

    return once


def definition_of(root: Path, sources: dict[str, Any]) -> Path:
    definition = root / "definition.yaml"
    given = {name: {"domain": "photo"} | source for name, source in sources.items()}
    definition.write_text(yaml.safe_dump({"sources": given}))
    return definition


def reasons(table: pd.DataFrame) -> dict[str, int]:
    return dict(table["reason"].value_counts())


def stored(root: Path) -> list[Path]:
    """Images in the work directory."""
    return [f for f in root.glob("work/*/files/*") if f.suffix == ".png"]


# --- files that fail ---------------------------------------------------------------------------------------


FILE_FAULTS = [
    (Fault("status", status=404), "gone"),
    (Fault("status", status=403), "refused"),
    (Fault("status", status=429), "rate limited"),
    (Fault("status", status=503), "server error"),
    (Fault("challenge"), "challenge page"),
    (Fault("page"), "a page, no picture"),
    (Fault("type", text="video/mp4"), "not a picture by its type"),
    (Fault("redirect", location="file:///etc/passwd"), "other host"),
    (Fault("redirect", location="http://127.0.0.2:1/x.png"), "other host"),
    (Fault("hang", seconds=1), "time-out"),
    (Fault("drop"), "connection failed"),
    (Fault("truncate"), "broken off"),
]


def test_files_that_fail_are_counted_by_reason_and_the_others_are_kept(run: Run) -> None:
    # file 0 is good, 1 has the first fault, and so on
    bad = [replace(fault, only=frozenset({f"{n}.png"})) for n, (fault, _) in enumerate(FILE_FAULTS, 1)]
    count = len(bad) + 1
    with gallery(cards(count), *bad) as (url, faults):
        source = {"a": {"url": f"{url}a"}}
        found = run(source, replace(HASTY, strikes=9))
        kinds = manifest.count(kind for _, kind in FILE_FAULTS)
        expected = {f"download failed: {kind}" if kind else "download failed": n for kind, n in kinds.items()}
        assert reasons(found) == expected | {"": 1}
        for n, (_, kind) in enumerate(FILE_FAULTS, 1):
            asked = faults.asked["file", f"{n}.png"]
            # of two failures in a row neither is held against its file
            least = 1 if kind in failures.FINAL else HASTY.tries
            assert least <= asked <= least + (2 if kind in failures.SITE else 0), (kind, asked)
        # the next run of the finished collection tries again what failed, and nothing else
        faults.faults.clear()
        assert reasons(run(source)) == {"": count}
        sent = files_of(faults)
        assert (
            sent.pop("0.png") > 1
        )  # what is known to be good was asked for, to tell the site's faults from the files'
        assert sent.pop("7.png") == 2  # sent as a video before
        assert sent == {f"{n}.png": 1 for n in range(count) if n not in (0, 7)}


def test_what_passes_is_got_over_in_the_same_run(run: Run) -> None:
    once = [
        *(fault for fault, kind in FILE_FAULTS if kind not in failures.FINAL),
        Fault("slow", seconds=0.8),
        Fault("type", text="application/octet-stream"),
    ]
    bad = [replace(fault, only=frozenset({f"{n}.png"}), times=1) for n, fault in enumerate(once)]
    with gallery(cards(len(bad)), *bad) as (url, faults):
        assert reasons(run({"a": {"url": f"{url}a"}}, replace(HASTY, strikes=20))) == {"": len(bad)}
        assert files_of(faults) == {f"{n}.png": 1 for n in range(len(bad))}


def test_a_file_that_is_announced_as_too_large_is_not_fetched(run: Run, work_root: Path) -> None:
    with gallery(cards(2), Fault("endless", only=frozenset({"1.png"}), seconds=30)) as (url, _):
        began = time.monotonic()
        assert reasons(run({"a": {"url": f"{url}a", "file_mb": 1}})) == {"": 1, "download failed: too long": 1}
        assert time.monotonic() - began < 10
    assert not list(work_root.rglob("*.part"))


def test_files_that_vanish_are_gone(run: Run) -> None:
    store = cards(3)
    del store.files["1.png"]
    with gallery(store) as (url, _):
        assert reasons(run({"a": {"url": f"{url}a"}})) == {"": 2, "download failed: gone": 1}


def test_a_source_that_answers_nothing_is_a_pause_and_names_the_reason(run: Run) -> None:
    with pytest.raises(Unfinished, match=r"a: 0 images; missing: the list was not read.*\(connection failed"):
        run({"a": {"url": "moebooru:http://127.0.0.1:9/post?tags=x"}})


# --- lists that fail ---------------------------------------------------------------------------------------


LIST_FAULTS = [
    (Fault("status", status=429), "rate limited"),
    (Fault("status", status=500), "server error"),
    (Fault("status", status=404), "gone"),
    (Fault("challenge"), "challenge page"),
    (Fault("page"), "not a list"),
    (Fault("redirect", location="file:///etc/passwd"), "other host"),
    (Fault("redirect", location="http://localhost:1/post.json"), "other host"),
    (Fault("hang", seconds=1), "time-out"),
    (Fault("drop"), "connection failed"),
    (Fault("truncate"), "broken off"),
]


def test_lists_that_fail_are_said_and_the_next_run_goes_on(run: Run) -> None:
    bad = [replace(fault, on="list", only=frozenset({f"t{n} 1"})) for n, (fault, _) in enumerate(LIST_FAULTS)]
    store = cards(2)
    for n in range(len(bad)):
        store.add(10 + n, f"t{n}")
    with gallery(store, *bad) as (url, faults):
        sources = {f"s{n}": {"url": f"{url}t{n}"} for n in range(len(bad))} | {"good": {"url": f"{url}a"}}
        with pytest.raises(Unfinished) as caught:
            run(sources, replace(HASTY, strikes=1, first_wait=0.01, longest_wait=0.01))
        lines = {line.split(":")[0].strip(): line for line in str(caught.value).splitlines()}
        for n, (_, reason) in enumerate(LIST_FAULTS):
            assert f"s{n}: 0 images; missing: the list was not read to its end ({reason}" in lines[f"s{n}"]
            assert "go on after" in lines[f"s{n}"]
        assert lines["good"].endswith("good: 2 images, complete")
        faults.faults.clear()
        assert reasons(run(sources)) == {"": 2 + len(bad)}
        assert set(files_of(faults).values()) == {1}


def test_a_list_that_breaks_off_keeps_what_came_before(run: Run) -> None:
    bad = Fault("status", "list", only=frozenset({"a 2"}), status=404)
    with gallery(cards(104), bad) as (url, faults):
        with pytest.raises(Unfinished, match=r"a: 100 images; missing: the list was not read.*gone"):
            run({"a": {"url": f"{url}a"}})
        faults.faults.clear()
        assert reasons(run({"a": {"url": f"{url}a"}})) == {"": 104}
        assert files_of(faults) == {f"{n}.png": 1 for n in range(104)}


def test_a_list_that_fails_once_is_read_again(run: Run) -> None:
    faults = (Fault("status", "list", only=frozenset({"a 1"}), times=1, status=429),)
    with gallery(cards(3), *faults) as (url, _):
        assert reasons(run({"a": {"url": f"{url}a"}})) == {"": 3}


def test_a_list_without_an_end_is_left(run: Run) -> None:
    store = cards(30)
    store.endless = True
    with gallery(store) as (url, faults):
        assert reasons(run({"a": {"url": f"{url}a"}})) == {"": 30}
        assert sum(count for (on, _), count in faults.asked.items() if on == "list") < 5


def test_a_login_that_is_missing_is_said(run: Run) -> None:
    assert failures.kind_of("AuthRequired: 'client-id' & 'client-secret' needed") == failures.LOGIN
    assert failures.kind_of("'404 Not Found' for 'https://example.org/login/timed out'") == failures.GONE


# --- what a hostile site says ------------------------------------------------------------------------------


def test_names_never_become_paths(run: Run, work_root: Path) -> None:
    ids = [
        "../../x",
        "/etc/passwd",
        "a" * 5000,
        "жук 🙂",
        "ж",
        "a/b",
        "a_b",
        ".hidden",
        "-rf",
        "x\ny",
        "x\0y",
        "\ud800",
    ]
    store = Cards()
    for number, name in enumerate(ids):
        store.add(number, id=name, title=f"{name}\n=cmd", author="\x1b[31m\ud800", extension="p/../../n" * 40)
    store.add(99, id="a_b")  # the same id twice, for two files
    before = {f for f in work_root.rglob("*") if "work" not in f.parts and "out0" not in f.parts}
    with gallery(store) as (url, _):
        table = run({"a": {"url": f"{url}a"}})
    assert reasons(table) == {"": len(ids) + 1}
    (folder,) = work_root.glob("work/*/files")
    names = [f.name for f in folder.iterdir()]
    assert len(names) == len(ids) + 1
    assert all(len(name) < 120 and name.isascii() and "/" not in name for name in names)
    after = {f for f in work_root.rglob("*") if "work" not in f.parts and "out0" not in f.parts}
    assert {f.name for f in after - before} == {"definition.yaml"}
    text = (work_root / "out0" / "manifest.csv").read_text()
    assert text.count("\n") == len(ids) + 2
    assert "\x1b" not in text


def test_addresses_elsewhere_are_not_fetched(run: Run) -> None:
    addresses = ["file:///etc/passwd", "http://169.254.169.254/latest/", "http://localhost:1/x.png"]
    addresses += ["ftp://127.0.0.1/x.png", "ytdl:https://example.org/x", "text:hello", "http://[::1", "x"]
    store = cards(1)
    for number, address in enumerate(addresses, 1):
        store.add(number, file_url=address)
    with gallery(store) as (url, faults):
        expected = {"": 1, "download failed: other host": len(addresses)}
        assert reasons(run({"a": {"url": f"{url}a"}})) == expected
        assert files_of(faults) == {"0.png": 1}


def test_hosts_of_a_source_can_be_added() -> None:
    hosts = gallerydl.hosts_of("https://www.deviantart.com/tag/elf", "cdn.example.org")
    for link, good in {
        "https://images-wixmp-ed30a.wixmp.com/f/x.png": True,
        "https://www.deviantart.com/x": True,
        "https://cdn.example.org/x.png": True,
        "https://evilwixmp.com/x.png": False,
        "https://wixmp.com@evil.org/x.png": False,
        "https://evil.org\\@wixmp.com/x.png": False,  # urllib reads wixmp.com, and asks evil.org
        "https://evil.org\\x.wixmp.com/x.png": False,
        "https://wixmp.com:99999/x.png": False,
        "https://deviantart.com.evil.org/x": False,
        "file://deviantart.com/etc/passwd": False,
    }.items():
        assert gallerydl.allowed(link, hosts) == good, link


def test_a_decompression_bomb_does_not_go_off(run: Run, work_root: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    side = 20_000
    header = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    pixels = zlib.compress(bytes((side // 8 + 1) * side), 1)
    store = cards(2)
    store.files["1.png"] = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    with gallery(store) as (url, _):
        assert reasons(run({"a": {"url": f"{url}a"}})) == {"": 2}
    refused = []
    for path in (work_root / "out0" / "images").iterdir():
        try:
            load_rgb(path)
        except ImageError as error:
            refused.append(str(error))
    assert len(refused) == 1


# --- provenance and opt-outs -------------------------------------------------------------------------------


def test_every_image_is_accounted_for(run: Run) -> None:
    store = cards(1)
    store.add(1, license="CC-BY-4.0")
    with gallery(store) as (url, _):
        address = url.removeprefix("moebooru:").split("/post")[0]
        table = run({"a": {"url": f"{url}a", "licence": "all rights reserved"}})
    rows = {row["title"]: row for row in table.to_dict("records")}
    expected = {
        "status": "kept",
        "source": "a",
        "artist": "anna",
        "licence": "CC-BY-4.0",
        "tags": "a",
        "posted": "2020-09-13T12:26:41",
        "rendition": "original",
        "gallery_dl": gallerydl.VERSION,
        "file_url": address + "/image/1.png",  # only the embedded gallery becomes demo:
    }
    assert expected.items() <= rows["card 1"].items()
    assert rows["card 0"]["licence"] == "all rights reserved"
    assert list(table.columns) == [name for name in manifest.COLUMNS if name in table.columns]


def test_opt_outs_are_respected_and_counted(run: Run, work_root: Path) -> None:
    store = cards(3)
    store.add(3, noai=True)
    store.add(4, tags="a NoAI fan_art")
    store.add(5)
    marked = Fault("marked", only=frozenset({"5.png"}), text="noai, noimageai")
    with gallery(store, marked) as (url, faults):
        source = {"url": f"{url}a"}
        for _ in range(2):
            assert reasons(run({"a": source})) == {"": 3, "opted out": 3}
        # what the list tells is not fetched; a mark of the file is seen with the file, once, and the file is removed
        assert files_of(faults) == {"0.png": 1, "1.png": 1, "2.png": 1, "5.png": 1}
        assert len(stored(work_root)) == 3
        assert reasons(run({"a": source | {"noai": "ignore"}})) == {"": 6}


def test_a_source_of_marked_files_alone_is_left(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(collecting, "MARKED", 3)
    store = cards(9)
    only = frozenset(f"{n}.png" for n in range(9)) - {"1.png"}
    with gallery(store, Fault("marked", only=only, text="noai")) as (url, faults):
        expected = {"": 1, "opted out": 4, "download failed: left, as the others are marked": 3}
        assert reasons(run({"a": {"url": f"{url}a", "limit": 8}})) == expected
        assert len(files_of(faults)) == 5  # the one that is not marked began the count anew
    assert "a: 3 files in a row are marked against such use" in capsys.readouterr().err


def test_an_opt_out_that_comes_later_removes_the_file(run: Run, work_root: Path) -> None:
    store = cards(3)
    with gallery(store) as (url, _):
        run({"a": {"url": f"{url}a"}})
        store.posts[1]["noai"] = True
        assert reasons(run({"a": {"url": f"{url}a"}})) == {"": 2, "opted out": 1}
    assert len(stored(work_root)) == 2


def test_opt_outs_do_not_count_towards_the_limit(run: Run) -> None:
    store = cards(2)
    store.posts[0]["noai"] = True
    for number in range(2, 6):
        store.add(number)
    with gallery(store) as (url, faults):
        assert reasons(run({"a": {"url": f"{url}a", "limit": 3}})) == {"": 3, "opted out": 1}
        assert files_of(faults) == {"1.png": 1, "2.png": 1, "3.png": 1}


# --- one list, each file once, limits of size ---


def lists_of(faults: Any) -> int:
    return sum(count for (on, _), count in faults.asked.items() if on == "list")


def test_the_list_is_read_once_however_many_runs_the_files_take(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "DAY_S", 3600)
    with gallery(cards(130)) as (url, faults):
        source: dict[str, Any] = {"a": {"url": f"{url}a"}}
        for most in (40, 80, 120):
            source["a"]["per_day"] = most
            with pytest.raises(Unfinished, match="budget"):
                run(source, Patience(minutes=0.1))
        monkeypatch.setattr(collecting, "DAY_S", 0)
        assert reasons(run(source)) == {"": 130}
        assert files_of(faults) == {f"{n}.png": 1 for n in range(130)}
        assert lists_of(faults) == 2


def test_a_list_is_read_on_while_files_wait_for_their_budget(run: Run) -> None:
    with gallery(cards(130)) as (url, faults):
        with pytest.raises(Unfinished, match="a: 3 images; missing: 127 not tried yet"):
            run({"a": {"url": f"{url}a", "per_day": 3}})
        assert lists_of(faults) == 2


def test_a_file_that_two_sources_have_is_fetched_once(run: Run) -> None:
    store = cards(4)
    for number in range(2, 6):
        store.add(number, "a b")
    store.posts = [post for n, post in enumerate(store.posts) if n not in (2, 3)]
    with gallery(store) as (url, faults):
        table = run({"a": {"url": f"{url}a"}, "b": {"url": f"{url}b", "domain": "photo"}})
        assert reasons(table) == {"": 6, "same file": 4}
        assert set(files_of(faults).values()) == {1}


def test_a_collection_does_not_outgrow_its_limit(run: Run, work_root: Path) -> None:
    store = cards(30)
    store.files = {f"{n}.png": card(n, 200) for n in range(30)}  # 120 kB each
    with gallery(store) as (url, faults):
        table = run({"a": {"url": f"{url}a", "total_gb": 0.001}})
        assert reasons(table) == {"": 9, "the collection is full": 21}
        assert len(files_of(faults)) == 9


def test_what_is_no_picture_or_too_large_by_its_list_is_not_asked_for(run: Run) -> None:
    store = cards(2)
    store.add(2, file_url="/image/2.mp4")
    store.add(3, file_size=200_000_000)
    with gallery(store) as (url, faults):
        found = reasons(run({"a": {"url": f"{url}a"}}))
        failed = {"download failed: not a picture by its type": 1, "download failed: too long": 1}
        assert found == failed | {"": 2}
        assert not faults.asked["file", "2.mp4"]
        assert not faults.asked["file", "3.png"]


def test_a_list_that_would_fill_the_memory_is_left(run: Run, work_root: Path) -> None:
    bomb = gzip.compress(b"[" + b" " * (1 << 28) + b"]")  # 260 MB in 260 kB

    class Bomb(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(bomb)))
            self.end_headers()
            self.wfile.write(bomb)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Bomb) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"moebooru:http://127.0.0.1:{server.server_address[1]}/post?tags=a"
        source = load_sources(definition_of(work_root, {"a": {"url": url}}))["a"]
        child = gallerydl.Child(url, gallerydl.configuration(source), ["127.0.0.1"], {}, work_root / "log")
        most, ended = 0, None
        while ended is None:
            status_of = Path(f"/proc/{child.process.pid}/status").read_text()
            most = max(most, int((re.findall(r"VmHWM:\s+(\d+)", status_of) or ["0"])[0]))
            for event in child.events():
                if isinstance(event, gallerydl.Turn):
                    child.answer(gallerydl.GO)
                ended = event if isinstance(event, gallerydl.Ended) else None
            time.sleep(0.002)
        child.close()
        with pytest.raises(Unfinished, match=r"too long: .*answer too large: more than 16 MB from 127.0.0.1"):
            run({"a": {"url": url}})
        server.shutdown()
    assert 20_000 < most < 150_000  # kB; with the whole answer it would be more than half a gigabyte


def test_a_site_that_refuses_training_in_robots_txt_is_left_alone(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    said = Answer(200, {"Content-Type": "text/plain"}, b"User-agent: *\nContent-Signal: ai-train=no\n")
    with gallery(cards(2)) as (url, faults), proxied(url.removeprefix("moebooru:").partition("/post")[0]) as proxy:
        proxy.choose = lambda path, _: (lambda *_: said) if path == "/robots.txt" else None
        source = {"url": f"moebooru:{proxy.url}/post?tags=a"}
        with pytest.raises(UserError, match="none of 0 images kept"):
            run({"a": source})
        assert "robots.txt of the site refuses the use for training" in capsys.readouterr().err
        assert not lists_of(faults)
        assert reasons(run({"a": source | {"noai": "ignore"}})) == {"": 2}


# --- states over several runs, and what would block a source ---


def test_an_opt_out_that_comes_before_the_file_is_heeded(run: Run, work_root: Path) -> None:
    """Also where the file waits already, and the list is read again."""
    store = cards(4)
    broken = Fault("status", "list", only=frozenset({"a 2"}), status=500)
    store = cards(104)
    with gallery(store, broken) as (url, faults):
        with pytest.raises(Unfinished):
            run({"a": {"url": f"{url}a", "per_day": 1}}, replace(HASTY, minutes=0.1))
        store.posts[50]["noai"] = True
        faults.faults.clear()
        assert reasons(run({"a": {"url": f"{url}a", "per_day": 1000}})) == {"": 103, "opted out": 1}
    assert len(stored(work_root)) == 103


def test_a_file_that_came_when_marks_were_ignored_goes_when_they_are_heeded(run: Run, work_root: Path) -> None:
    marked = Fault("marked", only=frozenset({"1.png"}), text="noai")
    with gallery(cards(3), marked) as (url, _):
        for _ in range(2):
            assert reasons(run({"a": {"url": f"{url}a", "noai": "ignore"}})) == {"": 3}
            assert reasons(run({"a": {"url": f"{url}a"}})) == {"": 2, "opted out": 1}
            assert len(stored(work_root)) == 2


def test_a_full_collection_is_as_full_the_next_time(run: Run) -> None:
    store = cards(12)
    store.files = {f"{n}.png": card(n, 200) for n in range(12)}  # 120 kB each
    with gallery(store) as (url, faults):
        for _ in range(3):
            table = run({"a": {"url": f"{url}a", "total_gb": 0.001}})
            assert dict(table["reason"].value_counts())[""] == 9
        assert len(files_of(faults)) == 9


@pytest.mark.parametrize("status", [403, 500])
def test_many_bad_files_in_a_row_keep_no_good_one_away(run: Run, status: int) -> None:
    bad = Fault("status", only=frozenset(f"{n}.png" for n in range(2, 14)), status=status)
    kind = {403: "refused", 500: "server error"}[status]
    with gallery(cards(30), bad) as (url, _):
        found = reasons(run({"a": {"url": f"{url}a"}}, replace(HASTY, first_wait=0.01, longest_wait=0.01, strikes=8)))
        assert found == {"": 18, f"download failed: {kind}": 12}


def test_a_file_that_vanished_after_it_came_does_not_make_a_site_ill(run: Run) -> None:
    store = cards(4)
    bad = Fault("status", only=frozenset({"3.png"}), status=500)
    with gallery(store, bad) as (url, _):
        with pytest.raises(Unfinished):
            run({"a": {"url": f"{url}a", "per_day": 3}})
        for name in ("0.png", "2.png"):
            del store.files[name]
        found = reasons(run({"a": {"url": f"{url}a"}}, replace(HASTY, strikes=6)))
        assert found == {"": 3, "download failed: server error": 1}


def test_old_addresses_are_blamed_in_the_same_run_where_listing_again_is_not_worth_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "STALE_S", 0)
    monkeypatch.setattr(collecting, "WORTH", 2)
    bad = Fault("status", only=frozenset({"1.png"}), status=403)
    with gallery(cards(40), bad) as (url, faults):
        found = reasons(run({"a": {"url": f"{url}a", "limit": 30}}))
        assert found == {"": 29, "download failed: refused": 1}
        assert lists_of(faults) == 1


def test_old_addresses_are_looked_for_again_where_that_is_cheap(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused by its old address is not given up, and not called complete either."""
    monkeypatch.setattr(collecting, "STALE_S", 0)
    store = cards(40)
    gone = Fault("status", only=frozenset({"1.png"}), status=404, times=1)
    with gallery(store, gone) as (url, faults):
        assert reasons(run({"a": {"url": f"{url}a"}})) == {"": 40}
        assert lists_of(faults) == 2


def test_a_wait_in_milliseconds_does_not_last_for_ever(run: Run) -> None:
    with gallery(cards(2)) as (url, _), proxied(url.removeprefix("moebooru:").partition("/post")[0]) as proxy:
        proxy.choose = lambda path, _: status(429, Retry_After="1700000000000") if "/image/" in path else None
        source = {"a": {"url": f"moebooru:{proxy.url}/post?tags=a"}}
        for _ in range(2):
            with pytest.raises(Unfinished, match="the site asks to wait 604800 s"):
                run(source)


def test_a_user_agent_of_the_secrets_is_sent_with_files_and_no_token_is_kept(run: Run, work_root: Path) -> None:
    secrets = work_root / "secrets.yaml"
    secrets.write_text(yaml.safe_dump({"moebooru": {"user-agent": "Mozilla/5.0 of my own"}}))
    secrets.chmod(0o600)
    with gallery(cards(2)) as (url, _), proxied(url.removeprefix("moebooru:").partition("/post")[0]) as proxy:
        run({"a": {"url": f"moebooru:{proxy.url}/post?tags=a", "noai": "ignore"}})
        assert proxy.agents == {"Mozilla/5.0 of my own"}
    known = {"category": "x", guard.EXTRACTOR: SimpleNamespace(session=SimpleNamespace(headers={"User-Agent": "me"}))}
    told: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "say", lambda _, what: told.append(what))
        guard.ask(known | {"_http_headers": {"Authorization": "Bearer 1", "Referer": "https://x.org/"}})
    assert told[0][guard.HEADERS] == {"User-Agent": "me", "Referer": "https://x.org/"}


# --- budgets, turns, limits --------------------------------------------------------------------------------


def test_a_budget_ends_the_run_and_says_when_to_go_on(run: Run) -> None:
    with gallery(cards(6)) as (url, faults):
        source = {"a": {"url": f"{url}a", "per_day": 2, "per_hour": 4}}
        for _ in range(2):
            with pytest.raises(Unfinished, match=r"a: 2 images; missing: .*the budget of 4 per hour and 2 per day"):
                run(source, Patience(minutes=5))
        assert sum(files_of(faults).values()) == 2


def test_a_budget_holds_in_every_window(run: Run, work_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "HOUR_S", 0.7)
    with gallery(cards(9)) as (url, _):
        assert reasons(run({"a": {"url": f"{url}a", "per_hour": 4}})) == {"": 9}
    begun = Journal.load(next(work_root.glob("work/*/journal.jsonl"))).begun
    assert len(begun) == 9
    assert all(later - earlier >= 0.7 for earlier, later in zip(begun, begun[4:], strict=False))


@pytest.mark.parametrize(
    ("budgets", "due"),
    [
        ({"per_hour": 4}, 3600 + 100),  # an hour after the first of the last four, not after the last one
        ({"per_hour": 1}, 3600 + 400),
        ({"per_hour": 6}, 500),
        ({"per_day": 2}, 86400 + 300),
        ({"per_hour": 4, "per_day": 5}, 86400 + 50),
    ],
)
def test_the_next_download_is_due_when_one_leaves_the_window(
    tmp_path: Path, budgets: dict[str, Any], due: float
) -> None:
    order = Order("a", "", {}, tmp_path / "files", "site", [])
    collector = Collector(replace(order, **budgets), HASTY, None)
    collector.journal.begun += [50, 100, 200, 300, 400]
    assert collector.due(500) == due
    collector._at = 200_000
    assert collector.due(500) == 200_000


def test_the_wall_clock_ends_a_run_that_the_next_one_completes(run: Run) -> None:
    with gallery(cards(40)) as (url, faults):
        source = {"a": {"url": f"{url}a", "pause": "0.2"}}
        with pytest.raises(Unfinished, match=r"a: \d+ images; missing"):
            run(source, Patience(minutes=0.06))
        before = files_of(faults)
        assert 0 < len(before) < 40
        assert reasons(run({"a": {"url": f"{url}a"}})) == {"": 40}
        assert files_of(faults) == {f"{n}.png": 1 for n in range(40)}


def test_a_blocked_site_does_not_stop_another_and_can_be_accepted(run: Run, work_root: Path) -> None:
    store = cards(5)
    for number in range(5, 10):
        store.add(number, "b")
    patience = Patience(minutes=1, first_wait=0.05, longest_wait=0.1, strikes=3, tries=9)
    with gallery(store) as (url, _), proxied(url.removeprefix("moebooru:").partition("/post")[0]) as proxy:
        many = "/image/"
        proxy.choose = lambda path, _: status(429) if many in path and proxy.count(many) > 2 else None
        other = url.replace("127.0.0.1", "localhost")
        sources = {"a": {"url": f"moebooru:{proxy.url}/post?tags=a"}, "b": {"url": f"{other}b"}}
        with pytest.raises(Unfinished) as caught:
            run(sources, patience)
        first, *lines = str(caught.value).splitlines()
        assert "not complete, nothing is lost" in first
        assert re.search(r"a: 2 images; missing: .*\(rate limited\)", lines[0])
        assert lines[1].strip() == "b: 5 images, complete"
        with pytest.raises(UserError, match="found 'c' as a source to accept, need one of a, b, all"):
            run(sources, patience, ("c",))
        table = run(sources, patience, ("a",))
        found = reasons(table)
        assert found.pop("") == 7
        assert sum(found.values()) == 3
        assert "download failed: rate limited" in found
        report = json.loads(next(work_root.glob("out*/report.json")).read_text())
        assert report["unfinished"] == {"a": 3}
        proxy.choose = lambda _, __: None
        assert reasons(run(sources, patience)) == {"": 10}
        assert {count for path, count in proxy.whole.items() if many in path} == {1}


def test_sources_of_one_site_take_turns(run: Run) -> None:
    store = cards(6)
    for number in range(6, 12):
        store.add(number, "b")
    with gallery(store) as (url, faults):
        run({"a": {"url": f"{url}a"}, "b": {"url": f"{url}b"}})
        order = [name for on, name in faults.served if on == "file" and name.endswith(".png")]
    turns = ["ab"[int(name.removesuffix(".png")) >= 6] for name in order]
    assert sum(one != other for one, other in pairwise(turns)) >= 9


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"per_day": 0}, r"sources\.a\.per_day: found 0, need a whole number or null from 1 up"),
        ({"pause": "soon"}, r"sources\.a\.pause: found 'soon', need seconds"),
        ({"options": "x"}, r"sources\.a\.options: found 'x', need a mapping or null"),
        ({"noai": "never"}, r"sources\.a\.noai: found 'never', need one of respect, ignore"),
    ],
)
def test_impossible_definitions_are_refused(run: Run, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run({"a": {"url": "https://example.org/x"} | given})


# --- interruptions -----------------------------------------------------------------------------------------

DRIVER = """
import os, sys
from pathlib import Path
from semireal import stage
from semireal.collect import scrape
from semireal.collect.health import Patience
def main():
    out = Path(sys.argv[1]); out.mkdir()
    patience = Patience(minutes=1, first_wait=0.05, longest_wait=0.2, tries=5)
    scrape.run(Path("definition.yaml"), out, Path("work"), patience)
stage.run(main)
"""


class Scraper:
    """The scraper as a program of its own, in the work directory of the test."""

    def __init__(self, root: Path, sources: dict[str, Any]) -> None:
        self.root, self.runs = root, 0
        (root / "work").mkdir()
        (root / "driver.py").write_text(DRIVER)
        definition_of(root, sources)

    def start(self) -> "subprocess.Popen[str]":
        self.runs += 1
        return subprocess.Popen(
            [sys.executable, "driver.py", f"out{self.runs}"],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def until_stored(root: Path, goal: int, process: "subprocess.Popen[str]") -> None:
    until(lambda: len(stored(root)) >= goal or process.poll() is not None)


@pytest.mark.slow
def test_twenty_kills_lose_nothing_and_fetch_nothing_twice(work_root: Path) -> None:
    rng = np.random.default_rng(0)
    store = cards(150)
    for number in range(150, 200):
        store.add(number, "b")
    bad = Fault("status", only=frozenset({"7.png", "160.png"}), times=3, status=503)
    slow = Fault("slow", only=frozenset(f"{n}.png" for n in range(0, 200, 9)), seconds=0.05)
    with gallery(store, bad, slow) as (url, faults):
        sources = {"a": {"url": f"{url}a"}, "b": {"url": f"{url.replace('127.0.0.1', 'localhost')}b"}}
        scraper = Scraper(work_root, sources)
        sent_when_stored: dict[str, int] = {}
        for _ in range(20):
            stored_before = len(stored(work_root))
            process = scraper.start()
            # somewhere between the start and a few images later: also while it starts, lists, or writes
            goal = stored_before + int(rng.integers(0, 10))
            until_stored(work_root, goal, process)
            time.sleep(float(rng.uniform(0, 0.05)))
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            time.sleep(0.05)
            sent = files_of(faults)
            here = {f"{f.stem.split('_')[-2]}.png" for f in stored(work_root)}  # the name ends in id and hash
            sent_when_stored = {name: sent[name] for name in here} | sent_when_stored
            assert set(sent_when_stored) == here
        assert len(stored(work_root)) < 200
        process = scraper.start()
        _, messages = process.communicate(timeout=60)
        assert process.returncode == 0, messages
        assert reasons(manifest.read(work_root / f"out{scraper.runs}")) == {"": 200}
        assert len(manifest.read_kept(work_root / f"out{scraper.runs}")) == 200
        sent = files_of(faults)
        # what was stored is not sent again; only what was under way at a kill may be, one image per source
        # (and one that is known to be good is asked for where a site's fault has to be told from a file's)
        assert sum(sent[name] != count for name, count in sent_when_stored.items()) <= 6
        assert sum(sent.values()) - 200 <= 2 * 20


def test_the_stage_has_an_exit_code_for_a_pause_and_one_for_mistakes(work_root: Path) -> None:
    folder = work_root / "experiments/sources/web"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / takedowns.FILE, work_root / takedowns.FILE)

    def stage(**env: str) -> tuple[int, str]:
        command = [sys.executable, str(ROOT / "stages/scrape.py"), "web/x"]
        env = os.environ | {"PYTHONPATH": str(ROOT / "src")} | env
        done = subprocess.run(command, cwd=work_root, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    with gallery(cards(4)) as (url, faults):
        definition_of(folder, {"a": {"url": f"{url}a", "per_day": 3}}).rename(folder / "x.yaml")
        code, messages = stage()
        assert code == os.EX_TEMPFAIL
        assert "a: 3 images; missing: 1 not tried yet" in messages
        assert "the budget of 3 per day is used up" in messages
        assert not (work_root / "data/raw/web/x").exists()
        code, messages = stage(SEMIREAL_SCRAPE_MINUTES="soon")
        assert code == 2
        assert "SEMIREAL_SCRAPE_MINUTES: found 'soon', need a number of minutes" in messages
        code, messages = stage(SEMIREAL_SCRAPE_ACCEPT="a", SEMIREAL_SCRAPE_MINUTES="1")
        assert code == 0, messages
        assert reasons(manifest.read(work_root / "data/raw/web/x")) == {"": 3, "download failed: not tried": 1}
        assert sum(files_of(faults).values()) == 3


def test_a_killed_scraper_leaves_no_child(work_root: Path) -> None:
    with gallery(cards(3), Fault("hang", "list", seconds=20)) as (url, faults):
        process = Scraper(work_root, {"a": {"url": f"{url}a"}}).start()
        until(lambda: faults.asked["list", "a 1"])
        (child,) = children_of(process.pid)
        assert b"guard.py" in Path(f"/proc/{child}/cmdline").read_bytes()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        until(lambda: not Path(f"/proc/{child}").exists(), 2)


def test_gallery_dl_ends_when_nobody_answers(work_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other systems than Linux rely on."""
    monkeypatch.setattr(gallerydl, "_LIBC", None)
    source = load_sources(definition_of(work_root, {"a": {"url": "x"}}))["a"]
    with gallery(cards(3)) as (url, faults):
        config = gallerydl.configuration(source)
        child = gallerydl.Child(f"{url}a", config, ["127.0.0.1"], {}, work_root / "log")
        events: list[gallerydl.Event] = []
        while not events:
            events += child.events()
        assert isinstance(events[0], gallerydl.Turn)
        assert child.process.stdin is not None
        child.process.stdin.close()
        assert child.process.wait(5) == 32
        child.close()
        assert not files_of(faults)


def test_ctrl_c_ends_cleanly_and_the_next_run_goes_on(work_root: Path) -> None:
    with gallery(cards(40), Fault("slow", seconds=0.1)) as (url, faults):
        scraper = Scraper(work_root, {"a": {"url": f"{url}a"}})
        process = scraper.start()
        until(lambda: len(stored(work_root)) >= 4)
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=20)
        assert process.returncode == 130
        assert "interrupted; the same command goes on" in messages
        assert "Traceback" not in messages
        faults.faults.clear()
        process = scraper.start()
        _, messages = process.communicate(timeout=30)
        assert process.returncode == 0, messages
        assert files_of(faults) == {f"{n}.png": 1 for n in range(40)}


def test_the_end_of_the_disk_loses_nothing(run: Run, work_root: Path) -> None:
    work = work_root / "work"
    work.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(work)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        store = cards(30)
        store.files = {f"{n}.png": card(n, 96) for n in range(30)}  # 27 kB each
        with gallery(store) as (url, faults):
            with pytest.raises(Unfinished, match=r"the disk is full .* make room, and the same command goes on"):
                run({"a": {"url": f"{url}a"}})
            here = {f.name for f in stored(work_root)}
            assert 5 < len(here) < 30
            subprocess.run(["mount", "-o", "remount,size=4m", str(work)], check=True)
            assert reasons(run({"a": {"url": f"{url}a"}})) == {"": 30}
            # the one that found no room was sent whole, perhaps
            assert sum(files_of(faults).values()) <= 31
    finally:
        subprocess.run(["umount", "-l", str(work)], check=True)


# --- secrets -----------------------------------------------------------------------------------------------

SECRET = "Zx9-correct+horse/battery-7"


def test_a_secret_appears_nowhere(work_root: Path) -> None:
    secrets = work_root / "secrets.yaml"
    secrets.write_text(yaml.safe_dump({"moebooru": {"url": "sample_url", "password": SECRET}}))
    secrets.chmod(0o600)
    store = Cards()
    for number in range(6):  # the site repeats the secret, and gallery-dl complains about an address with it
        file = f"/image/{number}.png"
        sample = file if number else f"/image/none.png?key={SECRET}"
        store.add(number, title=f"for {SECRET}", file_url="file:///no", sample_url=sample)
    with gallery(store, Fault("slow", "list", seconds=1), Fault("slow", seconds=0.1)) as (url, faults):
        process = Scraper(work_root, {"a": {"url": f"{url}a"}}).start()
        until(lambda: faults.asked["list", "a 1"])
        commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
        assert any(b"guard.py" in command for command in commands)
        until(lambda: faults.asked["file", "3.png"])
        assert SECRET.encode() not in b"".join(commands)
        assert_nowhere(work_root)
        _, messages = process.communicate(timeout=20)
    assert process.returncode == 0, messages
    table = manifest.read(work_root / "out1")
    assert reasons(table) == {"": 5, "download failed: gone": 1}  # by sample_url: the options were used
    assert set(table["title"]) == {"for ***"}
    assert SECRET not in messages
    assert_nowhere(work_root)


def assert_nowhere(root: Path) -> None:
    """The secret, plain or as in an address, is in no file but its own."""
    written = [SECRET, quote(SECRET, safe=""), quote(SECRET)]
    files = [f for f in root.rglob("*") if f.is_file() and f.name != "secrets.yaml"]
    assert any(f.name == "gallery-dl.log" for f in files) or files
    for file in files:
        text = file.read_bytes().decode(errors="replace")
        assert not any(form in text for form in written), file


def test_secrets_that_others_may_read_are_refused(run: Run, work_root: Path) -> None:
    (work_root / "secrets.yaml").write_text("deviantart: {client-id: 1}")
    (work_root / "secrets.yaml").chmod(0o644)
    with pytest.raises(UserError, match=r"other users of this machine may read it. Run `chmod 600"):
        run({"a": {"url": "https://example.org/x"}})
    (work_root / "secrets.yaml").chmod(0o600)
    (work_root / "secrets.yaml").write_text("deviantart")
    with pytest.raises(UserError, match="need a mapping of sites to options"):
        run({"a": {"url": "https://example.org/x"}})


def test_what_decides_where_files_go_cannot_be_overridden(work_root: Path) -> None:
    options = {"moebooru": {"filename": "x", "file-filter": "True", "base-directory": "/", "timeout": 1}}
    source = load_sources(definition_of(work_root, {"a": {"url": "x", "pause": "2-4", "options": options}}))["a"]
    config = gallerydl.configuration(source, "me@example.org", {"moebooru": {"password": "p"}, "pixiv": {"a": 1}})
    assert config["extractor"] == {
        "sleep-request": "2-4",
        "moebooru": options["moebooru"] | {"password": "p"},
        "pixiv": {"a": 1},
        "browser": "",
        "headers": {"User-Agent": gallerydl.user_agent("me@example.org")},
    }
    assert "file-filter" in config  # gallery-dl takes what stands at the top before anything else


# --- a thousand --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_thousand_images_over_three_sources(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "HOUR_S", 1)
    store = Cards()
    for number in range(1000):
        flags = {"noai": True} if number % 100 == 50 else {}
        store.add(number, "abc"[number % 3], **flags)

    def some(start: int, step: int) -> frozenset[str]:
        return frozenset(f"{n}.png" for n in range(start, 1000, step))

    faults = [
        Fault("status", only=some(13, 200), status=404),
        Fault("status", only=some(27, 100), times=1, status=503),
        Fault("status", only=some(31, 200), times=1, status=429),
        Fault("truncate", only=some(44, 200), times=1),
        Fault("drop", only=some(66, 200), times=1),
        Fault("page", only=some(89, 500)),
        Fault("marked", only=some(95, 250), text="noai"),
        Fault("status", "list", only=frozenset({"a 2"}), times=1, status=429),
        Fault("challenge", "list", only=frozenset({"b 3"}), times=1),
    ]
    patience = replace(HASTY, strikes=5, tries=4)
    with gallery(store, *faults) as (url, counts):
        other = url.replace("127.0.0.1", "localhost")
        sources = {"a": {"url": f"{url}a"}, "b": {"url": f"{url}b"}, "c": {"url": f"{other}c"}}
        table = run({name: source | {"per_hour": 90} for name, source in sources.items()}, patience)
        found = reasons(table)
        # ten say so in the list, four in a header
        failed = {"download failed: gone": 5, "download failed: a page, no picture": 2}
        assert found == failed | {"opted out": 10 + 4, "": 1000 - 14 - 7}
        sent = files_of(counts)
        # but for those that are known to be good and were asked for to tell the site's faults from the files'
        assert sum(count != 1 for count in sent.values()) <= 20
        assert len(sent) == found[""] + 4  # those with a mark were seen, and removed


# --- an hour ------------------------------------------------------------------------------------------------


class Fast(Clock):
    """Time that jumps to the next thing to do where nothing is under way."""

    def __init__(self) -> None:
        self.time = 1_900_000_000.0

    def now(self) -> float:
        self.time += 0.001
        return self.time

    def wait(self, streams: list[Any], timeout: float, *, busy: bool) -> None:
        if not connection.wait(streams, min(timeout, 0.1) if busy else 0):
            self.time += 0.1 if busy else timeout


@pytest.mark.slow
def test_an_hour_of_faults_and_pauses_ends_complete(work_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """5,000 files over three sources of two sites: equal to the servers' truth, hardly a request too many.

    Kinds of faults: a request in thirty fails by itself, and for minutes at a time a site answers 503 or asks to wait.
    """
    monkeypatch.setattr(download, "TIMEOUT_S", 5)
    rng, fast = np.random.default_rng(0), Fast()
    store = Cards()
    for number in range(5000):
        digest = hashlib.md5(card(number), usedforsecurity=False).hexdigest()
        store.add(
            number, "abc"[number % 3], md5=digest, author=f"ann {number % 17} &amp; co", license=f"CC {number % 5}"
        )
    singles = [status(500), status(503), cut, wrong_length, other_bytes, drop]
    begun = fast.time
    ill_at = [(begun + 200 * n, begun + 200 * n + 90) for n in range(1, 18, 3)]
    waits_at = [(begun + 500 * n, begun + 500 * n + 45) for n in range(1, 8)]

    def choose(path: str, before: int) -> Any:
        if any(start < fast.time < end for start, end in ill_at):
            return status(503)
        for start, end in waits_at:
            if start < fast.time < end:
                return status(429, Retry_After=str(int(end - fast.time) + 1))
        if path == "/robots.txt" or rng.random() > 1 / 30:
            return None
        return singles[int(rng.integers(len(singles)))]

    with gallery(store) as (url, _), ExitStack() as stack:
        upstream = url.removeprefix("moebooru:").partition("/post")[0]
        first, second = (stack.enter_context(proxied(upstream)) for _ in range(2))
        first.choose = second.choose = choose
        homes = {"a": first.url, "b": first.url, "c": second.url.replace("127.0.0.1", "localhost")}
        more = {"pause": "2", "options": {"moebooru": {"sleep-request": 0}}}  # it is an hour by the clock of the test
        sources = {t: {"url": f"moebooru:{home}/post?tags={t}"} | more for t, home in homes.items()}
        definition = definition_of(work_root, sources)
        (work_root / "work").mkdir()
        for run in range(60):
            out = work_root / f"out{run}"
            out.mkdir()
            minutes = float(rng.uniform(2, 15))
            with suppress(Unfinished):
                scrape.run(definition, out, work_root / "work", Patience(minutes=minutes, strikes=50), time=fast)
                break
        table = manifest.read(out)
        rows = table.to_dict("records")
        assert set(table["status"]) == {"kept"}, table["reason"].value_counts()
        assert len(rows) == 5000
        by_number = {int(row["title"].removeprefix("card ")): row for row in rows}
        for number, row in by_number.items():
            assert row["sha256"] == hashlib.sha256(store.files[f"{number}.png"]).hexdigest()
            assert row["file_url"].endswith(f"/image/{number}.png")
            assert (row["artist"], row["licence"]) == (f"ann {number % 17} & co", f"CC {number % 5}")
        asked = first.asked + second.asked
        whole = first.whole + second.whole
        assert sum(count - 1 for path, count in whole.items() if "/image/" in path) <= run  # what was in flight
        least = 5000 + 3 * 17  # files, and pages of the lists
        assert sum(asked.values()) <= 1.1 * least, sum(asked.values()) / least
        assert fast.time - begun > 3600
