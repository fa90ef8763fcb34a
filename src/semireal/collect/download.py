"""Fetch one file: from its hosts only, resumed where it broke off, within limits, checked against what its site says.

Each file is written under a name that ends in `.part` and gets its final name when it is whole.
"""

import contextlib
import email.utils
import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from semireal import stage
from semireal.collect import failures
from semireal.collect.failures import Failure
from semireal.collect.gallerydl import allowed
from semireal.collect.listing import marked

TIMEOUT_S = 60  # of silence
REDIRECTS = 5
CHUNK = 1 << 16
LONGEST_WAIT_S = 7 * 86400  # that a site may ask for
NO_PICTURES = ("video/", "audio/", "font/", "application/")  # media types
# what a site that is ill says instead
PAGES = ("text/html", "application/xhtml+xml", "application/json", "text/xml", "application/xml")
UNKNOWN = "application/octet-stream"  # is any of them
SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/gif": ".gif"}
PARTIAL = ".part"
NOT_WHOLE = (PARTIAL, f"{PARTIAL}.json")  # ends of names: half a file, and what is known about it


@dataclass(frozen=True)
class Limits:
    """What one file may take."""

    bytes: int
    turn_s: float = 120  # a longer download is set aside, and goes on when the others are done
    longest_s: float = 3600  # of all its turns


@dataclass(frozen=True)
class Wanted:
    """A file to fetch: from the first of the addresses that has it, to `path` without its suffix."""

    name: str
    addresses: tuple[str, ...]
    headers: Mapping[str, str]
    hashes: Mapping[str, str]
    hosts: list[str]
    folder: Path
    limits: Limits
    respect: bool = True  # marks against use
    spent_s: float = 0  # in earlier turns


@dataclass(frozen=True)
class Fetched:
    """A file is here, or it came with a mark against its use and was not taken."""

    path: Path | None
    address: str
    marked: bool = False


@dataclass(frozen=True)
class SetAside:
    """A file takes long: what is here is kept, and it goes on later."""

    spent_s: float


Outcome = Fetched | SetAside | Failure


def fetch(wanted: Wanted, session: requests.Session, stop: threading.Event) -> Outcome:
    """Fetch a file; `stop` ends it early, with what is here kept."""
    failure = Failure(failures.OTHER)
    for address in wanted.addresses:
        try:
            found = _fetch(wanted, address, session, stop)
        except OSError as error:
            if isinstance(error, requests.RequestException):
                found = failures.of_exception(error)
            elif error.errno in stage.NO_SPACE:
                found = Failure(failures.DISK)
            else:
                raise
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            found = failures.of_exception(error)
        if not isinstance(found, Failure):
            return found
        if failure.kind == failures.OTHER or found.kind not in failures.NEXT_ADDRESS:
            failure = found
        if found.kind not in failures.NEXT_ADDRESS:
            break
    return failure


def probe(address: str, hosts: list[str], headers: Mapping[str, str], session: requests.Session) -> Failure | None:
    """Ask for the first byte of a file that the site is known to have; None: the site is well."""
    try:
        response = opened(address, dict(headers) | {"Range": "bytes=0-0"}, hosts, session)
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        return failures.of_exception(error)
    if isinstance(response, Failure):
        return response
    response.close()
    return failures.of_response(response)


def _fetch(wanted: Wanted, address: str, session: requests.Session, stop: threading.Event) -> Outcome:
    part = wanted.folder / f"{wanted.name}{PARTIAL}"
    start, version = _resumable(part, address, wanted)
    headers = dict(wanted.headers) | {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-"} | ({"If-Range": version} if version else {})
    response = opened(address, headers, wanted.hosts, session)
    if isinstance(response, Failure):
        return response
    with contextlib.closing(response):
        if response.status_code == 416:  # what is here does not fit what is there
            forget(part)
            return Failure(failures.BROKEN)
        failure = failures.of_response(response) or _unwanted(response, wanted.limits)
        if failure:
            return failure
        against = marked(response.headers.get("X-Robots-Tag"))
        if wanted.respect and against:
            forget(part)
            return Fetched(None, address, against)
        if response.status_code == 206 and not _continues(response, start, version):
            forget(part)
            return Failure(failures.BROKEN)  # another part, or of another file, than was asked for
        if response.status_code != 206:
            start = 0
        _remember(part, address, response)
        began = time.monotonic()
        end = _receive(response, part, start, wanted.limits, stop)
    spent = wanted.spent_s + time.monotonic() - began
    if isinstance(end, Failure):
        return end
    if not end:
        return Failure(failures.SLOW) if spent > wanted.limits.longest_s else SetAside(spent)
    return _finish(wanted, part, address, response, against)


def opened(
    address: str, headers: Mapping[str, str], hosts: list[str], session: requests.Session
) -> requests.Response | Failure:
    """The answer for an address, redirects followed within the hosts."""
    for _ in range(REDIRECTS):
        if not allowed(address, hosts):
            return Failure(failures.HOST)
        response = session.get(address, headers=dict(headers), stream=True, allow_redirects=False, timeout=TIMEOUT_S)
        if not response.is_redirect:
            return response
        response.close()
        address = urljoin(address, response.headers["Location"])
    return Failure(failures.OTHER)  # too many redirects


def _unwanted(response: requests.Response, limits: Limits) -> Failure | None:
    """Why the body need not be fetched, told by its header."""
    media_type = response.headers.get("Content-Type", "image/").partition(";")[0].strip().lower()
    if media_type in PAGES:
        return Failure(failures.PAGE)
    if media_type.startswith(NO_PICTURES) and media_type != UNKNOWN:
        return Failure(failures.TYPE)
    size = response.headers.get("Content-Length", "")
    if size.isdecimal() and int(size) > limits.bytes:
        return Failure(failures.LONG)
    return None


def _receive(
    response: requests.Response, part: Path, start: int, limits: Limits, stop: threading.Event
) -> bool | Failure:
    """Append what comes to `part`; False: stopped, or it takes too long for one turn."""
    expected = _expected(response, start)
    size, end = start, time.monotonic() + limits.turn_s
    with part.open("r+b" if start else "wb") as file:
        file.truncate(start)
        file.seek(start)
        while data := response.raw.read1(CHUNK, decode_content=False):
            file.write(data)
            size += len(data)
            if size > limits.bytes:
                file.close()
                forget(part)
                return Failure(failures.LONG)
            if stop.is_set() or (time.monotonic() > end and size != expected):
                return False
    if expected is not None and size != expected:
        return Failure(failures.BROKEN)
    return True if size else Failure(failures.BROKEN)


def _expected(response: requests.Response, start: int) -> int | None:
    """Size of the whole file, as far as it is told: a server may send a smaller part than it was asked for."""
    length, total = response.headers.get("Content-Length", ""), ""
    if response.status_code == 206:
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
    if total.isdecimal():
        return int(total)
    return start + int(length) if length.isdecimal() else None


def _finish(wanted: Wanted, part: Path, address: str, response: requests.Response, against: bool) -> Outcome:
    """Check the hash and give the file its name. Only the wanted rendition is what the site's hash is about."""
    for kind, stated in wanted.hashes.items() if address == wanted.addresses[0] else ():
        with part.open("rb") as file:
            if hashlib.file_digest(file, kind).hexdigest() != stated:
                forget(part)
                return Failure(failures.WRONG)
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    named = Path(urlsplit(address).path).suffix.lower()
    suffix = SUFFIXES.get(media_type) or (named if named[1:].isalnum() and len(named) < 7 and named.isascii() else "")
    path = part.with_suffix(suffix if suffix and suffix not in (PARTIAL, ".json") else ".bin")
    part.replace(path)
    forget(part)
    return Fetched(path, address, against)


def no_password(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """What requests would do about a password: nothing, so that none of ~/.netrc goes anywhere."""
    return request


def forget(part: Path) -> None:
    """Remove half a file and what is known about it."""
    for path in (part, _notes(part)):
        path.unlink(missing_ok=True)


def whole_files(folder: Path) -> dict[str, Path]:
    """The files of a folder that are whole, by name. What a killed run left beside one of them is removed."""
    found = list(folder.iterdir())
    whole = {path.name: path for path in found if not path.name.endswith(NOT_WHOLE)}
    names = {path.stem for path in whole.values()}
    for name in {path.name.partition(".")[0] for path in found if path.name not in whole} & names:
        forget(folder / f"{name}{PARTIAL}")
    return whole


def _notes(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _remember(part: Path, address: str, response: requests.Response) -> None:
    """Note what the bytes are of, so that a later run adds no others to them."""
    _notes(part).write_text(json.dumps({"place": _place(address), "version": _version(response)}))


def _version(response: requests.Response) -> str:
    """What changes with the file."""
    return response.headers.get("ETag") or response.headers.get("Last-Modified") or ""


def _place(address: str) -> str:
    return urlsplit(address)._replace(query="").geturl()


def _resumable(part: Path, address: str, wanted: Wanted) -> tuple[int, str]:
    """How many bytes are here of this very file, and of which version; 0 where that cannot be told."""
    try:
        known = json.loads(_notes(part).read_text())
        size = part.stat().st_size
    except (OSError, ValueError):
        return 0, ""
    version = known.get("version", "")
    if known.get("place") != _place(address) or not (wanted.hashes or version) or version.startswith("W/"):
        return 0, ""
    return size, version


def _continues(response: requests.Response, start: int, version: str) -> bool:
    """Whether a part begins where it should, of the same version: not every server looks at If-Range (aiohttp 3.14)."""
    return _version(response) == version and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


class Fetcher:
    """Fetches one file at a time in a thread of its own; `wake` is called from there when there is an outcome."""

    def __init__(self, wake: Callable[[], Any]) -> None:
        self._wake = wake
        self._stop, self._done = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._outcome: Any = None
        self._error: BaseException | None = None

    def start(self, work: Callable[[threading.Event], Any]) -> None:
        """Begin to work; one thing at a time."""
        assert self._thread is None
        self._stop.clear()
        self._done.clear()
        self._outcome = self._error = None

        def run() -> None:
            try:
                self._outcome = work(self._stop)
            except BaseException as error:
                self._error = error
            self._done.set()
            self._wake()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether work was begun and its outcome not yet taken."""
        return self._thread is not None

    def outcome(self) -> Any:
        """The outcome if the work is done, else None; raises what the work raised."""
        if self._thread is None or not self._done.is_set():
            return None
        self._thread = None
        if self._error is not None:
            raise self._error
        return self._outcome

    def stop(self, grace_s: float) -> None:
        """End the work, after the file that is being fetched if that takes no longer than grace_s seconds."""
        if self._thread is not None:  # not joined: Ctrl-C may have come while it was started, and it never began
            self._done.wait(grace_s)
            self._stop.set()
            self._done.wait(grace_s)


def seconds(retry_after: str | None, now: float) -> float:
    """How long a site asks to wait, by its header Retry-After in either form; 0 where it does not say.

    At most LONGEST_WAIT_S: some send moments, in seconds or milliseconds.
    """
    given = (retry_after or "").strip()
    try:
        if given.isascii() and given.isdecimal():
            return min(float(given), LONGEST_WAIT_S)
        return min(max(0.0, email.utils.parsedate_to_datetime(given).timestamp() - now), LONGEST_WAIT_S)
    except (TypeError, ValueError, OverflowError):
        return 0.0
