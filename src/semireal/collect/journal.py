"""What is known of the files of a source, in a file that survives anything."""

import errno
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semireal.collect.listing import Item

DAY_S = 86400
SPARE = 1000  # lines that do not count when it is decided whether a journal is worth being written anew


@dataclass(slots=True)
class Entry:
    """One file of a source. What its site says is kept as it is written, which takes a tenth of the memory."""

    item: bytes
    listed: bool = True  # by the present list
    refused: bool = False  # opted out
    marked: bool = False  # ... by a mark of the file, which the list does not show
    spared: bool = False  # made by a machine, as the list says, and such are not to be fetched
    file: str = ""  # its name, where it is here
    address: str = ""  # from which it came
    version: str = ""  # of gallery-dl
    failure: str = ""
    tries: int = 0
    spent_s: float = 0  # on a download that takes long

    @property
    def counts(self) -> bool:
        """Whether it is one of the files that a limit is about."""
        return self.listed and not self.refused and not self.spared


@dataclass
class Journal:
    """What is known about the files of a source: a file with one line of JSON per event, only ever added to.

    Half a line at the end, of a run that was killed or found the disk full, is dropped. A journal of which most is no
    longer true is written anew when it is read.
    """

    path: Path
    spare: bool = False  # what the list shows to be made by a machine
    entries: dict[str, Entry] = field(default_factory=dict)  # by name, in the order of their first listing
    begun: list[float] = field(default_factory=list)  # when each download was begun, s since 1970
    headers: dict[str, str] = field(default_factory=dict)  # that the site wants to see with most files
    version: str = ""  # of the gallery-dl that reads the list
    listed_at: float = 0  # when the list was begun to be read, s since 1970
    listed: bool = False  # it was read to its end
    until: float = 0  # the site asks to wait so long, s since 1970
    problem: str = ""  # and why
    count: int = 0  # of listed files that are not left out
    requests: int = 0  # that it took to read the list
    lines: int = 0

    @classmethod
    def load(cls, path: Path, *, spare: bool = False) -> "Journal":
        """Read the journal, or begin one. spare: files that a machine made, as the list says, do not count."""
        journal = cls(path, spare)
        with suppress(FileNotFoundError), path.open("rb") as file:
            whole = 0
            for line in file:
                if not line.endswith(b"\n"):
                    os.truncate(path, whole)
                    break
                whole += len(line)
                with suppress(ValueError, KeyError, TypeError):  # a machine that stopped may leave zeros
                    journal._apply(json.loads(line))
                journal.lines += 1
        if journal.lines > 2 * sum(1 for _ in journal._events()) + SPARE:
            journal._write_anew()
        return journal

    def add(self, event: str, name: str = "", **more: Any) -> None:
        """Write an event down, then take it in."""
        entry = {"event": event, "name": name} | more
        line = json.dumps(entry).encode() + b"\n"
        with self.path.open("ab", buffering=0) as file:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self.lines += 1
        self._apply(entry)

    def listed_item(self, item: Item) -> None:
        """Write down what a list says about a file; a file that is here keeps what was said when it came.

        But what tells that a machine made it is the newest.
        """
        if item.headers != self.headers and not self.entries:
            self.add("headers", headers=item.headers)
        told: dict[str, Any] = {"addresses": item.addresses, "hashes": item.hashes, "row": item.row}
        if item.headers != self.headers:
            told["headers"] = item.headers
        known = self.entries.get(item.name)
        if known is None or not known.listed or (not known.file and known.item != _packed(told)):
            self.add("listed", item.name, item=told)

    def item(self, name: str) -> dict[str, Any]:
        """What the site said about a file: addresses, hashes, row, headers."""
        told: dict[str, Any] = json.loads(self.entries[name].item)
        return {"headers": self.headers} | told

    def _apply(self, event: Mapping[str, Any]) -> None:
        name = event["name"]
        match event["event"]:
            case "headers":
                self.headers = event["headers"]
            case "listing":
                self.version, self.listed_at = event["version"], event["at"]
            case "listed":
                self._apply_listed(name, event["item"])
            case "begun":
                self.begun.append(event["at"])
                del self.begun[: next((n for n, at in enumerate(self.begun) if at > event["at"] - DAY_S), 0)]
            case "done":
                known = self.entries[name]
                known.file, known.address, known.version = event["file"], event["address"], sys.intern(event["version"])
                known.failure, known.tries, known.spent_s = "", 0, 0
            case "failed":
                known = self.entries[name]
                known.failure, known.tries = event["kind"], known.tries + event.get("times", 1)
            case "spent":
                self.entries[name].spent_s = event["seconds"]
            case "refused":
                known = self.entries[name]
                self.count -= known.counts
                known.refused, known.marked, known.file = True, known.marked or event["marked"], ""
            case "marked":  # but here all the same
                self.entries[name].marked = True
            case "wait":
                self.until, self.problem = event["until"], event["problem"]
            case "end":
                self.listed, self.requests = True, event["requests"]
            case "again":  # addresses have changed: the list is read once more, and tells what is still to be had
                self.listed, self.requests = False, 0
                for known in self.entries.values():
                    self.count -= known.counts and not known.file
                    known.listed = known.listed and (bool(known.file) or known.refused)
            case "anew":  # the collection was handed over: the next run lists again, and tries again what failed
                self.listed, self.requests, self.count = False, 0, 0
                for known in self.entries.values():
                    known.listed, known.refused, known.failure, known.tries, known.spent_s = False, False, "", 0, 0

    def _apply_listed(self, name: str, told: dict[str, Any]) -> None:
        by = str(dict(told["row"]).get("ai") or "")
        known = self.entries.setdefault(name, Entry(b"", listed=False))
        self.count -= known.counts
        if not known.listed:  # in the order of the new list
            self.entries[name] = self.entries.pop(name)
            known.listed, known.refused = True, known.marked
        if known.file:
            told = json.loads(known.item)
            told["row"]["ai"] = by
        known.item, known.spared = _packed(told), self.spare and bool(by)
        self.count += known.counts

    def _events(self) -> Iterator[dict[str, Any]]:
        """The fewest events that say what is known."""
        yield {"event": "headers", "name": "", "headers": self.headers}
        yield {"event": "listing", "name": "", "version": self.version, "at": self.listed_at}
        for name, known in self.entries.items():
            yield {"event": "listed", "name": name, "item": json.loads(known.item)}
        old = [name for name, known in self.entries.items() if not known.listed]
        if old:
            yield {"event": "anew", "name": ""}
        for name, known in self.entries.items() if old else ():
            if known.listed:
                yield {"event": "listed", "name": name, "item": json.loads(known.item)}
        for name, known in self.entries.items():
            if known.refused and known.listed:
                yield {"event": "refused", "name": name, "marked": known.marked}
            elif known.marked:
                yield {"event": "marked", "name": name}
            if known.file:  # after a mark that was not heeded
                more = {"file": known.file, "address": known.address, "version": known.version}
                yield {"event": "done", "name": name} | more
            if known.tries:
                yield {"event": "failed", "name": name, "kind": known.failure, "times": known.tries}
            if known.spent_s:
                yield {"event": "spent", "name": name, "seconds": known.spent_s}
        yield from ({"event": "begun", "name": "", "at": at} for at in self.begun)
        if self.until:
            yield {"event": "wait", "name": "", "until": self.until, "problem": self.problem}
        if self.listed:
            yield {"event": "end", "name": "", "requests": self.requests}

    def _write_anew(self) -> None:
        new = self.path.with_suffix(".new")
        with new.open("wb") as file:
            self.lines = 0
            for event in self._events():
                file.write(json.dumps(event).encode() + b"\n")
                self.lines += 1
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)

    def wanted(self, limit: int | None) -> list[str]:
        """Names of the listed files, up to a limit that does not count those left out."""
        names, count = [], 0
        for name, known in self.entries.items():
            if not known.listed:
                continue
            count += known.counts
            if limit is not None and count > limit:
                break
            names.append(name)
        return names


def _packed(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, separators=(",", ":"), sort_keys=True).encode()
