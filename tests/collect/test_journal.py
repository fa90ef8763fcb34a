"""What is known of a source survives a machine that stops, and does not grow with what is no longer true."""

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from semireal.collect import journal as journals
from semireal.collect.journal import Journal
from semireal.collect.listing import Item


def item(name: str, title: str = "", ai: str = "") -> Item:
    row = {"title": title or name, "ai": ai}
    return Item(name, [f"https://example.org/{name}.png"], {"User-Agent": "x"}, {}, row)


def test_half_a_line_is_dropped(tmp_path: Path) -> None:
    journal = Journal.load(tmp_path / "journal.jsonl")
    journal.listed_item(item("x"))
    journal.add("failed", "x", kind="gone")
    whole = journal.path.read_bytes()
    for length in range(len(whole)):
        journal.path.write_bytes(whole[:length])
        found = Journal.load(journal.path)
        assert found.lines == whole[:length].count(b"\n")
        assert found.path.stat().st_size == whole[:length].rfind(b"\n") + 1
        found.listed_item(item("y"))
        assert "y" in Journal.load(journal.path).entries
    journal.path.write_bytes(whole.replace(b'"failed"', b"\0" * 8) + bytes(9) + b"\n" + whole)
    found = Journal.load(journal.path)
    assert (found.entries["x"].failure, found.entries["x"].tries) == ("gone", 1)


def test_what_a_site_says_later_does_not_change_the_row_of_a_file_that_is_here(tmp_path: Path) -> None:
    journal = Journal.load(tmp_path / "journal.jsonl")
    for name in "xy":
        journal.listed_item(item(name, "first"))
    journal.add("done", "x", file="x.png", address="https://example.org/x.png", version="1")
    journal.add("anew")
    for name in "xy":
        journal.listed_item(item(name, "second"))
    for known in (journal, Journal.load(journal.path)):
        assert [known.item(name)["row"]["title"] for name in "xy"] == ["first", "second"]
        assert known.wanted(None) == ["x", "y"]
        assert known.count == 2


def test_what_a_site_says_later_about_machines_counts_for_a_file_that_is_here(tmp_path: Path) -> None:
    journal = Journal.load(tmp_path / "journal.jsonl", spare=True)
    journal.listed_item(item("x", "first"))
    journal.add("done", "x", file="x.png", address="https://example.org/x.png", version="1")
    for ai, count in (("tag aiart", 0), ("", 1), ("tag aiart", 0)):
        journal.add("anew")
        journal.listed_item(item("x", "second", ai))
        for known in (journal, Journal.load(journal.path, spare=True)):
            assert known.item("x")["row"] == {"title": "first", "ai": ai}
            assert (known.count, known.entries["x"].spared) == (count, not count)
    assert Journal.load(journal.path).count == 1


def test_a_list_that_says_nothing_new_adds_no_line(tmp_path: Path) -> None:
    journal = Journal.load(tmp_path / "journal.jsonl")
    for title in ("first", "first", "second", "second"):
        journal.listed_item(item("x", title))
    journal.add("done", "x", file="x.png", address="https://example.org/x.png", version="1")
    journal.listed_item(item("x", "third"))
    assert journal.path.read_bytes().count(b'"listed"') == 2


def state(journal: Journal) -> dict[str, Any]:
    """What matters of a journal."""
    whole = {key: value for key, value in vars(journal).items() if key not in ("path", "lines", "entries")}
    entries = [
        (n, e.item, e.listed, e.refused, e.spared, e.marked, e.file, e.failure, e.tries)
        for n, e in journal.entries.items()
    ]
    listed = [entry for entry in entries if entry[2]]
    # the order of what is not listed does not matter
    return whole | {"listed": listed, "others": sorted(entry for entry in entries if not entry[2])}


NAMES = st.sampled_from("abcdef")
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("listed"), NAMES, st.sampled_from(["one", "two", "tag aiart"])),
        st.tuples(
            st.sampled_from(["begun", "done", "failed", "spent", "refused", "marked", "noted"]), NAMES, st.just("")
        ),
        st.tuples(st.sampled_from(["end", "again", "anew", "wait"]), st.just(""), st.just("")),
    ),
    max_size=40,
)
MORE: dict[str, dict[str, Any]] = {
    "begun": {"at": 1e9},
    "done": {"file": "f.png", "address": "https://example.org/f.png", "version": "1"},
    "failed": {"kind": "gone"},
    "spent": {"seconds": 7.0},
    "end": {"requests": 3},
    "again": {},
    "anew": {},
    "wait": {"until": 2e9, "problem": "rate limited"},
}


@settings(max_examples=300, deadline=None)
@given(EVENTS, st.booleans())
def test_a_journal_that_is_written_anew_says_the_same(
    tmp_path_factory: Any, events: list[tuple[str, str, str]], spare: bool
) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal") / "journal.jsonl", spare)
    for event, name, title in events:
        if event == "listed":
            journal.listed_item(item(name, title, title if title.startswith("tag") else ""))
        elif name and name not in journal.entries:
            continue
        elif event == "noted":
            journal.add("marked", name)
        elif event in ("refused", "marked") and not journal.entries[name].listed:
            continue  # what a list does not name is not refused
        elif event in ("refused", "marked"):
            journal.add("refused", name, marked=event == "marked")
        elif event != "done" or not journal.entries[name].refused:
            journal.add(event, name, **MORE[event])
    assert journal.count == sum(e.listed and not e.refused and not e.spared for e in journal.entries.values())
    said, other = state(journal), Journal.load(journal.path, spare=not spare)
    assert state(Journal.load(journal.path, spare=spare)) == said if events and journal.lines else True
    assert other.count == sum(e.listed and not e.refused and not e.spared for e in other.entries.values())
    assert [known.item for known in other.entries.values()] == [known.item for known in journal.entries.values()]
    journal._write_anew()
    assert state(Journal.load(journal.path, spare=spare)) == said


def test_a_journal_does_not_grow_with_what_is_over(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(journals, "SPARE", 10)
    path = tmp_path / "journal.jsonl"
    sizes = []
    for _ in range(30):
        journal = Journal.load(path)
        journal.add("listing", version="1", at=1.0)
        for number in range(20):
            journal.listed_item(item(str(number)))
            if not journal.entries[str(number)].file:
                journal.add("done", str(number), file=f"{number}.png", address="", version="1")
        journal.add("anew")
        sizes.append(path.stat().st_size)
    assert max(sizes) < 4 * sizes[0]
    assert Journal.load(path).entries.keys() == {str(number) for number in range(20)}
    assert all(json.loads(line) for line in path.read_bytes().splitlines())
