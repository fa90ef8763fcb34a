"""What can go wrong between a scraper and a site, as switches of the gallery: for tests.

A fault strikes lists or files, all of them or some, always or so many times each. What a hostile site says (names,
addresses, lists without an end) is not here but with the posts that the gallery is given.
"""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Literal

On = Literal["list", "file"]
What = Literal[
    "status", "challenge", "page", "redirect", "hang", "drop", "truncate", "slow", "endless", "type", "marked"
]
CHALLENGE = b"<!DOCTYPE html><html><script>window._cf_chl_opt = {}</script>Checking your browser</html>"
PAGE = b"<!DOCTYPE html><html><body>Please come back later</body></html>"
PIECES = 8  # of a slow answer
LENGTH = 1 << 40  # that an endless answer claims


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    what: "status" answers with `status`; "challenge" with a page that wants a browser; "page" with HTML and 200;
    "redirect" leads to `location`; "hang" says nothing for `seconds`; "drop" closes the connection; "truncate" sends
    half of the body; "slow" sends it in pieces over `seconds`; "endless" sends zeros for `seconds`; "type" sends it as
    `text`; "marked" with the header X-Robots-Tag `text`.
    """

    what: What
    on: On = "file"
    only: frozenset[str] | None = None  # names of files, or lists as "TAGS PAGE"; None: all
    times: int | None = None  # for each of them; None: always
    status: int = 500
    seconds: float = 0
    location: str = ""
    text: str = ""

    def send(self, handler: BaseHTTPRequestHandler, status: int, body: bytes, media_type: str) -> bool:
        """Send what this makes of the true answer; tells whether its body was sent whole."""
        match self.what:
            case "status":
                reply(handler, self.status, b"no\n", "text/plain")
            case "challenge":
                reply(handler, 403, CHALLENGE, "text/html", {"Server": "cloudflare", "cf-mitigated": "challenge"})
            case "page":
                reply(handler, 200, PAGE, "text/html")
            case "redirect":
                reply(handler, 302, b"", "text/plain", {"Location": self.location})
            case "type":
                reply(handler, status, body, self.text)
                return True
            case "marked":
                reply(handler, status, body, media_type, {"X-Robots-Tag": self.text})
                return True
            case "slow":
                size = -(-len(body) // PIECES)
                reply(handler, status, body[:size], media_type, {"Content-Length": str(len(body))})
                for start in range(size, len(body), size):
                    time.sleep(self.seconds / PIECES)
                    handler.wfile.write(body[start : start + size])
                return True
            case "truncate":
                reply(handler, status, body[: len(body) // 2], media_type, {"Content-Length": str(len(body))})
                handler.close_connection = True
            case "endless":
                reply(handler, status, body, media_type, {"Content-Length": str(LENGTH)})
                end = time.monotonic() + self.seconds
                while time.monotonic() < end:
                    handler.wfile.write(bytes(1 << 20))
                handler.close_connection = True
            case "hang" | "drop":
                time.sleep(self.seconds)
                handler.close_connection = True
        return False


@dataclass
class Faults:
    """The faults of a gallery, and the count of what it was asked for and what it has sent whole.

    The first fault that fits a request strikes. Who asks for a part of a file gets it all, and that is not counted as
    sent. Counts are by ("list", "TAGS PAGE") and ("file", NAME).
    """

    faults: list[Fault] = field(default_factory=list)
    asked: Counter[tuple[On, str]] = field(default_factory=Counter)
    served: Counter[tuple[On, str]] = field(default_factory=Counter)
    _struck: Counter[tuple[int, str]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(
        self, handler: BaseHTTPRequestHandler, on: On, name: str, status: int, body: bytes, media_type: str
    ) -> None:
        """Send the true answer to a request, or what a fault makes of it."""
        with self._lock:
            self.asked[on, name] += 1
            fault = self._fitting(on, name)
        if fault is None:
            reply(handler, status, body, media_type)
        elif not fault.send(handler, status, body, media_type):
            return
        with self._lock:
            self.served[on, name] += status == 200 and "Range" not in handler.headers

    def _fitting(self, on: On, name: str) -> Fault | None:
        for number, fault in enumerate(self.faults):
            fits = fault.on == on and (fault.only is None or name in fault.only)
            if fits and (fault.times is None or self._struck[number, name] < fault.times):
                self._struck[number, name] += 1
                return fault
        return None


def reply(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    media_type: str,
    more: Mapping[str, str] | None = None,
) -> None:
    """Send an answer; `more` adds headers or replaces the usual ones."""
    headers = {"Content-Type": media_type, "Content-Length": str(len(body))} | dict(more or {})
    handler.send_response_only(status)
    for key, value in headers.items():
        handler.send_header(key, value)
    handler.end_headers()
    handler.wfile.write(body)
