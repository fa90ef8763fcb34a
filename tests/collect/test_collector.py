"""Collecting from a hostile gallery, with the real gallery-dl: nothing lost, nothing twice, every failure counted."""

import gzip
import re
import threading
import time
import zlib
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hostile import Cards, card, cards, files_of, gallery, png
from proxy import Answer, proxied
from scraping import HASTY, Run, definition_of, lists_of, reasons, stored
from semireal import manifest
from semireal.collect import collector as collecting
from semireal.collect import failures, gallerydl
from semireal.collect.gallery.faults import Fault
from semireal.collect.health import Patience
from semireal.collect.source import load_sources
from semireal.errors import Unfinished, UserError
from semireal.images import ImageError, load_rgb

# --- files that fail ---------------------------------------------------------------------------------------


FILE_FAULTS = [
    (Fault("status", status=404), "gone"),
    (Fault("status", status=403), "refused"),
    (Fault("status", status=429), "rate limited"),
    (Fault("status", status=503), "server error"),
    (Fault("challenge"), "challenge page"),
    (Fault("page"), "a page, no picture"),
    (Fault("redirect", location="file:///etc/passwd"), "other host"),
    (Fault("redirect", location="http://127.0.0.2:1/x.png"), "other host"),
    (Fault("hang", seconds=1), "time-out"),
    (Fault("drop"), "connection failed"),
    (Fault("truncate"), "broken off"),
]


def test_files_that_fail_are_counted_by_reason_and_the_others_are_kept(run: Run) -> None:
    # a good file comes between two bad ones: two failures in a row would be the site's
    bad = [replace(fault, only=frozenset({f"{2 * n + 1}.png"})) for n, (fault, _) in enumerate(FILE_FAULTS)]
    count = 2 * len(bad)
    with gallery(cards(count), *bad) as (url, faults):
        source = {"a": {"url": f"{url}a"}}
        found = run(source, replace(HASTY, strikes=9))
        kinds = manifest.count(kind for _, kind in FILE_FAULTS)
        assert reasons(found) == {f"download failed: {kind}": n for kind, n in kinds.items()} | {"": len(bad)}
        for n, (_, kind) in enumerate(FILE_FAULTS):
            asked = faults.asked["file", f"{2 * n + 1}.png"]
            assert asked == (1 if kind in failures.FINAL else HASTY.tries), kind
        # the next run of the finished collection tries again what failed, and nothing else
        faults.faults.clear()
        assert reasons(run(source)) == {"": count}
        assert files_of(faults) == {f"{n}.png": 1 for n in range(count)}


def test_what_passes_is_got_over_in_the_same_run(run: Run) -> None:
    once = [
        *(fault for fault, kind in FILE_FAULTS if kind not in failures.FINAL),
        Fault("slow", seconds=0.8),
        Fault("type", text="application/octet-stream"),
    ]
    bad = [replace(fault, only=frozenset({f"{2 * n}.png"}), times=1) for n, fault in enumerate(once)]
    with gallery(cards(2 * len(bad)), *bad) as (url, faults):
        assert reasons(run({"a": {"url": f"{url}a"}}, replace(HASTY, strikes=4))) == {"": 2 * len(bad)}
        assert files_of(faults) == {f"{n}.png": 1 for n in range(2 * len(bad))}


def test_what_is_no_picture_by_its_type_is_left(run: Run) -> None:
    with gallery(cards(2), Fault("type", only=frozenset({"1.png"}), text="video/mp4")) as (url, faults):
        assert reasons(run({"a": {"url": f"{url}a"}})) == {"": 1, "download failed: not a picture by its type": 1}
        assert faults.asked["file", "1.png"] == 1


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


# --- made by a machine ---


def test_what_a_list_shows_to_be_made_by_a_machine_is_not_fetched(run: Run) -> None:
    store = cards(2)
    store.posts[0]["tags"] = "a ai_generated"
    for number in range(2, 6):
        store.add(number)
    with gallery(store) as (url, faults):
        source = {"url": f"{url}a", "limit": 3}
        for _ in range(2):
            table = run({"a": source})
            assert reasons(table) == {"": 3, "made by a machine": 1}  # and does not count towards the limit
            (row,) = table[table["status"] == "rejected"].to_dict("records")
            assert (row["ai"], row["id"], row["title"]) == ("tag ai_generated", "", "card 0")
        assert files_of(faults) == {"1.png": 1, "2.png": 1, "3.png": 1}


def test_a_file_that_says_so_is_left_out_and_another_rule_fetches_nothing_anew(run: Run) -> None:
    store = cards(4)
    store.posts[0]["tags"] = "a midjourney"
    store.files["1.png"] = png(parameters="x\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1")
    with gallery(store) as (url, faults):
        reject, keep = ({"a": {"url": f"{url}a", "ai": rule}} for rule in ("reject", "keep"))
        told = {"card 0": "tag midjourney", "card 1": "PNG chunk parameters", "card 2": "", "card 3": ""}
        for source, left, asked in ((reject, 2, "123"), (keep, 0, "0123"), (reject, 2, "0123"), (keep, 0, "0123")):
            table = run(source)
            assert reasons(table) == {"": 4 - left} | ({"made by a machine": left} if left else {})
            assert dict(zip(table["title"], table["ai"], strict=True)) == told
            # what the list tells of is no file of the collection, also where it was fetched by the other rule
            assert (table.set_index("title")["id"]["card 0"] == "") == (left > 0)
            assert files_of(faults) == {f"{n}.png": 1 for n in asked}


def test_another_rule_holds_for_a_collection_that_is_not_complete(run: Run) -> None:
    store = cards(3)
    store.posts[0]["tags"] = "a aiart"
    with gallery(store) as (url, faults):
        source = {"url": f"{url}a", "per_day": 1}
        for rule, missing in (("reject", 1), ("keep", 2), ("reject", 1)):
            with pytest.raises(Unfinished, match=f"a: 1 images; missing: {missing} not tried yet"):
                run({"a": source | {"ai": rule}})
        assert reasons(run({"a": source | {"ai": "keep", "per_day": 9}})) == {"": 3}
        assert files_of(faults) == {f"{n}.png": 1 for n in range(3)}
        assert lists_of(faults) == 1  # it is not read again either


# --- one list, each file once, limits of size ---


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
