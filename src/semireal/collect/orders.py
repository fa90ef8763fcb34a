"""What is to be fetched from a source and how fast, by whose clock."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from semireal.collect import gallerydl


@dataclass(frozen=True)
class Order:
    """What to fetch: a list known to gallery-dl, where the files go, and how fast."""

    name: str
    url: str
    config: Mapping[str, Any]
    folder: Path  # of the files; the journal and the log are beside it
    site: str  # sources of one site take turns
    hosts: list[str]
    limit: int | None = None
    per_hour: int | None = None
    per_day: int | None = None
    pause: tuple[float, float] = (0, 0)  # seconds before each file, drawn between these
    respect: bool = True  # opt-outs
    spare: bool = True  # what the list shows to be made by a machine is not fetched
    file_bytes: int = 100_000_000  # a larger file is left
    total_bytes: int = 50_000_000_000  # of all files of the source; what comes after them is left
    local: str = ""  # address of the embedded gallery; what is stored says `demo:` for it, since its port changes
    cookies: CookieJar | None = None
    agent: str = gallerydl.PROJECT  # how we name ourselves

    def stored(self, text: str) -> str:
        """A text of the embedded gallery as it is kept, without the port."""
        return text.replace(f"{self.local}/", gallerydl.DEMO) if self.local else text

    def real(self, address: str) -> str:
        """Where what is kept as `address` can be had now."""
        if self.local and address.startswith(gallerydl.DEMO):
            return f"{self.local}/{address.removeprefix(gallerydl.DEMO)}"
        return address


class Clock:
    """The time; tests have one that runs faster."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def wait(self, streams: list[Any], timeout: float, *, busy: bool) -> None:  # noqa: ARG002 - for tests
        """Wait until one of the streams can be read, or for `timeout` seconds; busy: something is under way."""
        if streams:
            wait(streams, timeout)
        else:
            time.sleep(timeout)


CLOCK = Clock()
