"""What is known of the images of a source, in a file that survives anything."""

import errno
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semireal.manifest import Row


@dataclass
class Journal:
    """What is known about the images of a source: a file with one line of JSON per event, only ever added to.

    Half a line at the end, of a run that was killed or found the disk full, is dropped.
    """

    path: Path
    rows: dict[str, Row] = field(default_factory=dict)  # by name, in the order of their first listing
    failures: dict[str, tuple[str, int]] = field(default_factory=dict)  # the last kind, and how many
    refused: set[str] = field(default_factory=set)  # opted out, of `rows`
    marked: set[str] = field(default_factory=set)  # opted out by a mark of the file, which the list does not show
    checked: set[str] = field(default_factory=set)  # files whose marks were looked at
    begun: list[float] = field(default_factory=list)  # when each download was begun, s since 1970 ...
    versions: dict[str, str] = field(default_factory=dict)  # ... and by which gallery-dl
    listed: bool = False  # the list was read to its end

    @classmethod
    def load(cls, path: Path) -> "Journal":
        """Read the journal, or begin one."""
        journal = cls(path)
        if path.exists():
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):
                os.truncate(path, len(whole))
            for line in whole.split(b"\n")[:-1]:
                with suppress(ValueError):  # a machine that stopped may leave zeros; the files tell the rest
                    journal._apply(json.loads(line))
        return journal

    def add(self, event: str, name: str = "", **more: Any) -> None:
        """Write an event down, then take it in."""
        entry = {"event": event, "name": name} | more
        line = json.dumps(entry).encode() + b"\n"
        with self.path.open("ab", buffering=0) as file:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._apply(entry)

    def _apply(self, entry: dict[str, Any]) -> None:
        name = entry["name"]
        match entry["event"]:
            case "listed":
                self.rows[name] = entry["row"]
                if name in self.marked:
                    self.refused.add(name)
            case "begun":
                self.begun.append(entry["at"])
                self.versions[name] = entry["version"]
            case "failed":
                self.failures[name] = (entry["kind"], self.failures.get(name, ("", 0))[1] + 1)
            case "refused":
                self.refused.add(name)
                if entry["marked"]:
                    self.marked.add(name)
            case "checked":
                self.checked.add(name)
            case "end":
                self.listed = True
            case "anew":  # the collection was handed over: the next run lists again, and tries again what failed
                self.rows, self.failures, self.refused, self.listed = {}, {}, set(), False

    def count(self) -> int:
        """How many listed images are not opted out."""
        return len(self.rows) - len(self.refused)

    def wanted(self, limit: int | None) -> list[str]:
        """Names of the listed images, up to a limit that does not count those opted out."""
        if limit is None or self.count() <= limit:
            return list(self.rows)
        names, count = [], 0
        for name in self.rows:
            count += name not in self.refused
            if count > limit:
                break
            names.append(name)
        return names
