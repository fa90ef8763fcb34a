"""Several runs, several sources: budgets, turns, what a site that is ill costs, and what would block a source."""

import hashlib
import json
import re
import time
import zlib
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from multiprocessing import connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from hostile import Cards, card, cards, files_of, gallery
from proxy import cut, drop, other_bytes, proxied, status, wrong_length
from scraping import HASTY, Run, definition_of, lists_of, reasons, stored
from semireal import manifest
from semireal.collect import collector as collecting
from semireal.collect import download, guard, scrape
from semireal.collect.collector import Collector
from semireal.collect.gallery.faults import Fault
from semireal.collect.health import Patience
from semireal.collect.journal import Journal
from semireal.collect.orders import Clock, Order
from semireal.errors import Unfinished, UserError

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


def test_an_ill_site_costs_no_file_its_only_try(run: Run) -> None:
    ill = Fault("status", status=503, only=frozenset({"3.png", "4.png"}), times=1)
    with gallery(cards(8), ill) as (url, _):
        assert reasons(run({"a": {"url": f"{url}a"}}, replace(HASTY, tries=1, strikes=8))) == {"": 8}


def test_one_bad_file_has_used_its_only_try(run: Run) -> None:
    bad = Fault("status", status=503, only=frozenset({"3.png"}), times=1)
    with gallery(cards(8), bad) as (url, _):
        found = reasons(run({"a": {"url": f"{url}a"}}, replace(HASTY, tries=1, strikes=8)))
        assert found == {"": 7, "download failed: server error": 1}


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


def test_what_tells_whose_fault_it_was_waits_for_no_budget(run: Run) -> None:
    bad = Fault("status", only=frozenset({"1.png"}), status=500)
    with gallery(cards(2), bad) as (url, faults), pytest.raises(Unfinished, match="1 server error"):
        run({"a": {"url": f"{url}a", "per_day": 2}})
    assert faults.asked["file", "0.png"] == 2  # once to have it, and once for what is known to be there
    assert faults.asked["file", "1.png"] == 1


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


def test_a_wait_noted_by_a_wrong_clock_does_not_last_for_ever(run: Run, work_root: Path) -> None:
    with gallery(cards(2)) as (url, _):
        source = {"a": {"url": f"{url}a", "per_day": 1}}
        with pytest.raises(Unfinished):
            run(source)
        (path,) = work_root.glob("work/*/journal.jsonl")
        Journal.load(path).add("wait", until=time.time() + 1e9, problem="rate limited")
        with pytest.raises(Unfinished, match="rate limited") as said:
            run(source)
        (moment,) = re.findall(r"go on after (\S+ \S+)", str(said.value))
        assert datetime.fromisoformat(moment).timestamp() < time.time() + download.LONGEST_WAIT_S + 60


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
    collector.rested_at = 200_000
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
        assert "a: 2 images; missing: 2 rate limited, 1 not tried yet (rate limited)" in lines[0]
        assert lines[1].strip() == "b: 5 images, complete"
        with pytest.raises(UserError, match="found 'c' as a source to accept, need one of a, b, all"):
            run(sources, patience, ("c",))
        table = run(sources, patience, ("a",))
        assert reasons(table) == {"": 7, "download failed: rate limited": 2, "download failed: not tried": 1}
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
        assert set(sent.values()) == {1}
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
    begun, struck = fast.time, list[str]()
    ill_at = [(begun + 200 * n, begun + 200 * n + 90) for n in range(1, 18, 3)]
    waits_at = [(begun + 500 * n, begun + 500 * n + 45) for n in range(1, 8)]

    def choose(path: str, before: int) -> Any:
        if any(start < fast.time < end for start, end in ill_at):
            return status(503)
        for start, end in waits_at:
            if start < fast.time < end:
                return status(429, Retry_After=str(int(end - fast.time) + 1))
        # by what is asked for and how often it was, whatever the threads of two sites do in which order
        chance = np.random.default_rng([zlib.crc32(path.encode()), before])
        if path == "/robots.txt" or chance.random() > 1 / 30:
            return None
        struck.append(path)
        return singles[int(chance.integers(len(singles)))]

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
        # files, pages of the lists, and each request that failed by itself once more: which, no collector can know
        least = 5000 + 3 * 17 + len(struck)
        assert sum(asked.values()) <= 1.1 * least, sum(asked.values()) / least
        assert fast.time - begun > 3600
