"""One source: its list is read once, by gallery-dl, into a journal beside the files, and files are fetched from there.

What a source would do next it offers to its site (`semireal.collect.turns`), which says when. A file with its final
name is complete.
"""

import errno
import os
import random
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar
from multiprocessing.connection import wait
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from semireal.collect import download, failures, gallerydl, robots
from semireal.collect.download import Fetched, Limits, Outcome, SetAside, Wanted
from semireal.collect.failures import Failure
from semireal.collect.gallerydl import Child, Ended, Event, File, Ill, Turn
from semireal.collect.health import Health, Patience
from semireal.collect.journal import Journal
from semireal.collect.listing import item_of, opted_out
from semireal.errors import UserError

if TYPE_CHECKING:
    from semireal.collect.turns import Site

REPEATS = 200  # known files in a row after which a list is taken to go round in circles; two pages of most sites
WORTH = 0.05  # of a list: so many requests, or so many files with addresses that may have changed, make it read anew
MARKED = 100  # files in a row that come with a mark against their use, after which a source is taken to have no others
STALE_S = 600  # an address that was listed so long ago may have changed
MOST_TEXT = 160  # of a message that is shown
GRACE_S = 5  # for gallery-dl to end by itself
HOUR_S, DAY_S = 3600, 86400
NO_PICTURES = frozenset(
    [
        "mp4",
        "webm",
        "mov",
        "avi",
        "mkv",
        "ogv",
        "ogg",
        "oga",
        "mp3",
        "wav",
        "flac",
        "mid",
        "swf",
        "zip",
        "rar",
        "7z",
        "gz",
        "cbz",
        "pdf",
        "psd",
        "djvu",
        "svg",
        "stl",
        "html",
        "htm",
    ]
)


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
    file_bytes: int = 100_000_000  # a larger file is left
    total_bytes: int = 50_000_000_000  # of all files of the source; what comes after them is left
    local: str = ""  # address of the embedded gallery; what is stored says `demo:` for it, since its port changes
    cookies: CookieJar | None = None
    agent: str = gallerydl.PROJECT  # how we name ourselves


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


class Offer(NamedTuple):
    """What a source would do with the turn at its site: lower `rank` goes first, and not before `at`."""

    rank: int
    at: float
    health: Health
    act: Callable[[], None]


ROBOTS, FIRST_TRY, LIST, ASIDE, AGAIN = range(5)  # ranks of offers


class Collector:
    """One source: its journal and files, what is left to fetch, and its gallery-dl while one runs."""

    def __init__(self, order: Order, patience: Patience, secrets: Any, clock: Clock = CLOCK) -> None:
        self.order, self.patience, self.secrets, self.clock = order, patience, secrets, clock
        order.folder.mkdir(parents=True, exist_ok=True)
        self.journal = Journal.load(order.folder.parent / "journal.jsonl")
        self.site: Site | None = None
        self.list_health = Health(patience)
        self.here = self.bytes = 0  # files, and what they take
        self._last = ""  # the newest file
        self._vanished: set[str] = set()  # files that are here and were not there when they were asked for
        self.new: deque[str] = deque()  # files that were not tried
        self.again: dict[str, float] = {}  # that failed, and when to try again
        self.aside: deque[str] = deque()  # that take long
        self.stale: set[str] = set()  # whose addresses may have changed
        self.suspects: set[str] = set()  # whose failure may be the site's
        self.kinds: dict[str, str] = {}  # of failures in this run, whoever was to blame
        self.stopped = ""  # for this run, and why
        self.refused = False  # by the site as a whole
        self.child: Child | None = None
        self.held: Turn | File | Ill | None = None  # what gallery-dl waits to be answered
        self._heard = time.monotonic()
        self._at = 0.0  # when the pause is over
        self._seen: set[str] = set()  # names of the list that is being read
        self._repeats = self._marked = 0  # in a row
        self._turns = self._furthest = 0  # requests of gallery-dl for the list: of this reading, of the longest one
        self._read_again = False  # in this run
        self._ask_robots = order.respect and not order.local
        self.session = requests.Session()
        self.session.auth = download.no_password
        self.session.headers["User-Agent"] = order.agent
        if order.cookies is not None:
            self.session.cookies.update(order.cookies)
        self._look()

    def _look(self) -> None:
        """Take in what is in the folder, and what is left to do."""
        journal, respect = self.journal, self.order.respect
        here = {path.name: path for path in self.order.folder.iterdir() if not path.name.endswith(download.NOT_WHOLE)}
        for known in journal.entries.values():
            if not respect:
                journal.count += known.listed and known.refused
                known.refused = known.marked = False
            if known.file and known.file not in here:
                known.file = ""  # someone removed it
        for path in here.values():
            name, size = path.stem, path.stat().st_size
            known_entry = journal.entries.get(name)
            if known_entry is None or not size:
                continue
            if known_entry.refused or known_entry.marked:  # it came when marks were not to be heeded
                journal.add("refused", name, marked=known_entry.marked)
                path.unlink()
                continue
            if not known_entry.file:  # the machine stopped before this was written down
                self._done(name, path, journal.item(name)["addresses"][0])
            self._last = name
            if known_entry.listed:
                self.here, self.bytes = self.here + 1, self.bytes + size
        for name in journal.wanted(self.order.limit):
            known_entry = journal.entries[name]
            if not self._missing(name):
                continue
            if known_entry.spent_s:
                self.aside.append(name)
            elif known_entry.tries:
                self.again[name] = 0
            else:
                self.new.append(name)

    def path(self, name: str) -> Path | None:
        """Where a file is, None if it is not here."""
        known = self.journal.entries.get(name)
        return self.order.folder / known.file if known is not None and known.file and not known.refused else None

    # -- what is left to do

    def finished(self) -> bool:
        """Whether all that can be had is here."""
        left = self.new or self.again or self.aside or self.stale or self.suspects
        return self.refused or self.full() or (self.through() and not left)

    def full(self) -> bool:
        """Whether the files of this source take as much room as they may."""
        return self.bytes >= self.order.total_bytes

    def missing(self) -> dict[str, str]:
        """Files that are listed and neither here nor given up, each with its failure, "" if it was not tried."""
        names = [name for name in self.journal.wanted(self.order.limit) if self._missing(name)]
        return {name: self.failure(name) for name in names}

    def failure(self, name: str) -> str:
        """Why a file is not here, "" if it was not tried."""
        return self.kinds.get(name) or self.journal.entries[name].failure

    def _missing(self, name: str) -> bool:
        known = self.journal.entries[name]
        if known.file or known.refused:
            return False
        return not known.tries or (known.failure not in failures.FINAL and known.tries < self.patience.tries)

    def through(self) -> bool:
        """Whether the list was read as far as the limit asks."""
        return self.journal.listed or (self.order.limit is not None and self.journal.count >= self.order.limit)

    def due(self, now: float) -> float:
        """When the next download may begin, s since 1970, within the budgets and after the pause."""
        moment, begun = max(now, self._at), self.journal.begun
        for most, span in ((self.order.per_hour, HOUR_S), (self.order.per_day, DAY_S)):
            if most is not None and len(begun) >= most:
                moment = max(moment, begun[-most] + span)
        return moment

    def opens(self, now: float) -> float:
        """When this source goes on, s since 1970, as far as is known."""
        site, moments = self.site, []
        if site is None:
            return now
        if self.new or self.again or self.aside or self.suspects:
            first = 0.0 if self.new or self.aside or self.suspects else min(self.again.values())
            moments.append(max(self.due(now), site.health.until, first))
        if not self.through():
            moments.append(self.list_health.until)
        return max(now, site.until, min(moments, default=now))

    def why(self, now: float) -> str:
        """Why nothing is fetched right now; "" if something could be."""
        if self.site is None:
            return ""
        problem = self.stopped or self.list_health.problem or self.site.health.problem
        if problem or self.site.until > now:
            return problem or self.site.problem
        if self.due(now) > now + max(self.order.pause):
            budgets = (self.order.per_hour, "hour"), (self.order.per_day, "day")
            return "the budget of " + " and ".join(f"{n} per {span}" for n, span in budgets if n) + " is used up"
        kinds = [known.failure for name in self.again if (known := self.journal.entries[name]).failure]
        return f"{len(kinds)} failed ({kinds[0]})" if kinds else ""

    def silent(self) -> bool:
        """Whether gallery-dl should have said something long ago."""
        at_work = self.child is not None and self.held is None
        return at_work and time.monotonic() - self._heard > self.patience.silence

    def busy(self) -> bool:
        """Whether gallery-dl is at work."""
        return self.child is not None and self.held is None

    def offers(self, now: float) -> list[Offer]:
        """What could be done at the site, each with the moment from which on."""
        if self.refused or self.full():
            return []
        if self._ask_robots and not self.finished():
            return [Offer(ROBOTS, now, self.list_health, self._robots)]
        assert self.site is not None
        found: list[Offer] = []
        files, fetch_at = self.site.health, self.due(now)
        if self.new:
            found.append(Offer(FIRST_TRY, fetch_at, files, lambda: self._fetch(self.new.popleft())))
        if not self.through() and not self.stopped:
            found.append(Offer(LIST, self._list_at(now), self.list_health, self._list))
        if self.aside and not self.new:
            found.append(Offer(ASIDE, fetch_at, files, lambda: self._fetch(self.aside.popleft())))
        if self.again:
            name = min(self.again, key=lambda one: self.again[one])
            at = max(fetch_at, self.again[name])
            found.append(Offer(AGAIN, at, files, lambda: self._retry(name)))
        if self.stale and not found and not self.suspects:
            self._give_up_stale()
            if not self.stale:
                return self.offers(now)
            found.append(Offer(LIST, now, self.list_health, self._list_again))
        return found

    def _list_at(self, now: float) -> float:
        """When the list may go on: a request keeps the pause, what is read of a page does not."""
        return max(now, self._at) if isinstance(self.held, Turn | Ill) else now

    def _retry(self, name: str) -> None:
        del self.again[name]
        self._fetch(name)

    def _give_up_stale(self) -> None:
        """Blame files for what may be the age of their addresses, where reading the list anew is not worth it."""
        journal = self.journal
        many = len(self.stale) >= WORTH * journal.count
        cheap = journal.listed and journal.requests <= WORTH * journal.count + 2
        if self._read_again or not (many or cheap):
            self._read_again = True  # what is blamed now is not looked for again
            stale, self.stale = sorted(self.stale), set()
            for name in stale:
                self.blame(name)

    def _robots(self) -> None:
        """Ask whether the site refuses the use for training as a whole."""
        assert self.site is not None
        self._ask_robots = False
        headers = {"User-Agent": self.order.agent}
        self.site.start(lambda _: (robots.asked(self.order.url, headers, self.order.hosts, self.session),), self._heed)

    def _heed(self, refused: tuple[bool]) -> None:
        if refused[0]:
            self.refused = True
            text = "robots.txt of the site refuses the use for training; nothing is fetched"
            tqdm.write(f"scrape: {self.order.name}: {text}", file=sys.stderr)

    # -- the list

    def _list(self) -> None:
        """Let gallery-dl go on with the list, or begin to read it."""
        self._heard = time.monotonic()
        if self.child is None:
            self._seen, self._repeats, self._turns = set(), 0, 0
            self.journal.add("listing", version=gallerydl.VERSION, at=self.clock.now())
            log = self.order.folder.parent / "gallery-dl.log"
            self.child = Child(self.order.url, self.order.config, self.order.hosts, self.secrets, log)
            return
        if isinstance(self.held, Turn | Ill):
            self._pause()
        self.held = None
        self.child.answer(gallerydl.GO)

    def _pause(self) -> None:
        """The next request waits."""
        self._at = self.clock.now() + random.uniform(*self.order.pause)

    def _list_again(self) -> None:
        """Read the list anew for addresses that have changed, once in a run."""
        self._read_again = True
        self.end()
        self.journal.add("again")
        self._list()

    def read(self) -> None:
        """Take in what gallery-dl has said."""
        for event in self.child.events() if self.child else []:
            self._heard = time.monotonic()
            self._handle(event)
            if self.child is None:  # ended by what it said
                return
        if self.finished():
            self.end()

    def _handle(self, event: Event) -> None:
        assert self.child is not None
        assert self.site is not None
        if isinstance(event, Ended):
            self._ended(event)
            return
        self.held = event
        if isinstance(event, Ill):
            if event.failure.kind == failures.HOST:
                self.held = None
                self.child.answer(gallerydl.LEAVE)
            else:
                self._list_ill(event.failure)
            return
        if isinstance(event, Turn):
            if self._turns > self._furthest:  # so far the list was never read in this run
                self._furthest = self._turns
                self.list_health.well()
            self._turns += 1
        if isinstance(event, File):
            self._listed(event.meta)
            if self.child is not None and not self.through():
                self.held = None  # what comes next from this page costs the site nothing
                self.child.answer(gallerydl.GO)

    def _listed(self, meta: dict[str, Any]) -> None:
        """Write a file of the list down, and queue it unless it is here, given up or not wanted."""
        journal, item = self.journal, item_of(self._stored(meta))
        self._repeats = self._repeats + 1 if item.name in self._seen else 0
        self._seen.add(item.name)
        if self._repeats >= REPEATS:
            self._end_list()
            return
        known = journal.entries.get(item.name)
        fresh = known is None or not known.listed
        journal.listed_item(item)
        refused = self.order.respect and opted_out(meta)
        known = journal.entries[item.name]
        path = self.path(item.name)
        if fresh and path is not None:  # of an earlier collection
            self.here, self.bytes = self.here + 1, self.bytes + path.stat().st_size
        if refused:
            self._refuse(item.name, marked=False)
        if not self._missing(item.name):
            self.stale.discard(item.name)
            return
        hopeless = self._hopeless(meta, item.addresses)
        if hopeless:
            journal.add("failed", item.name, kind=hopeless)
            self.stale.discard(item.name)
        elif fresh or item.name in self.stale:
            self.stale.discard(item.name)
            if item.name not in self.again and item.name not in self.suspects:
                self.new.append(item.name)

    def _hopeless(self, meta: Mapping[str, Any], addresses: list[str]) -> str | None:
        """Why a file need not be asked for, by what its list says; None: it may be had."""
        if not any(gallerydl.allowed(self._real(address), self.order.hosts) for address in addresses):
            return failures.HOST
        if PurePosixPath(_path(addresses[0])).suffix[1:].lower() in NO_PICTURES:
            return failures.TYPE
        size = meta.get("file_size") or meta.get("filesize") or meta.get("size")
        return failures.LONG if isinstance(size, int) and size > self.order.file_bytes else None

    def _stored(self, meta: dict[str, Any]) -> dict[str, Any]:
        """What the embedded gallery says, without its port."""
        local = self.order.local
        if not local:
            return meta
        return {k: v.replace(f"{local}/", gallerydl.DEMO) if isinstance(v, str) else v for k, v in meta.items()}

    def _real(self, address: str) -> str:
        local = self.order.local
        return (
            f"{local}/{address.removeprefix(gallerydl.DEMO)}"
            if local and address.startswith(gallerydl.DEMO)
            else address
        )

    def _end_list(self) -> None:
        """The list was read to its end."""
        self.journal.add("end", requests=self._turns)
        self.list_health.well()
        # what was listed again is queued by now, and what was not is not to be had
        self.stale = {name for name in self.stale if self.journal.entries[name].listed}
        self.end()

    def _ended(self, ended: Ended) -> None:
        assert self.child is not None
        assert self.site is not None
        self.child.close()
        self.child, self.held = None, None
        if ended.kind == failures.DISK:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.order.folder))
        if ended.code in (32, 64) and not self.journal.entries:
            text = f"no site that gallery-dl knows, or not one of its pages: {self.order.url}. {ended.text}"
            raise UserError(f"scrape: source {self.order.name}: {text}")
        if ended.kind is None:
            self._end_list()
            return
        text = ended.text.partition(" Please run gallery-dl again")[0]
        failure = Failure(ended.kind, words=text if len(text) < MOST_TEXT else f"{text[:MOST_TEXT]}...")
        if ended.kind in (failures.GONE, failures.LOGIN):
            self.stopped = failure.shown
        else:
            self._list_ill(failure)

    def _list_ill(self, failure: Failure) -> None:
        """The list could not be read on: wait, longer each time, and stop after too many."""
        assert self.site is not None
        self.site.ill(self.list_health, failure, self, alone=False)
        if self.list_health.stopped():
            self.end(0)

    def time_out(self) -> None:
        """Gallery-dl says nothing any more."""
        self.end(0)
        self._list_ill(Failure(failures.TIME_OUT))

    # -- the files

    def _fetch(self, name: str) -> None:
        """Fetch a file in the thread of the site, or take it from another source that has it."""
        assert self.site is not None
        self.suspects.discard(name)
        if not self._missing(name):  # opted out meanwhile
            return
        item, site = self.journal.item(name), self.site
        other = next((path for c in site.collectors if (path := c.path(name))), None)
        if other is not None:
            path = self.order.folder / f"{name}{other.suffix}"
            shutil.copyfile(other, path.with_suffix(download.PARTIAL))
            path.with_suffix(download.PARTIAL).replace(path)
            self._take(name, path, item["addresses"][0])
            return
        now, order, spent = self.clock.now(), self.order, self.journal.entries[name].spent_s
        turn = max(self.patience.turn, 2 * spent)  # not every server can go on in the middle
        wanted = Wanted(
            name=name,
            addresses=tuple(self._real(address) for address in item["addresses"]),
            headers={key: value for key, value in item["headers"].items() if "***" not in value},
            hashes=item["hashes"],
            hosts=order.hosts,
            folder=order.folder,
            limits=Limits(order.file_bytes, turn, self.patience.longest),
            respect=order.respect,
            spent_s=spent,
        )
        self.journal.add("begun", at=now)
        site.start(lambda stop: download.fetch(wanted, self.session, stop), lambda end: self._fetched(name, end))

    def _fetched(self, name: str, outcome: Outcome) -> None:
        """Take in what became of a file."""
        assert self.site is not None
        self._pause()
        if isinstance(outcome, Failure):
            self.kinds[name] = outcome.kind
        match outcome:
            case Fetched(None):
                self.site.well()
                self._refuse(name, marked=True)
                self._count_marked()
            case Fetched(path, address, marked) if path is not None:
                self.site.well()
                self._marked = 0
                if marked:  # and marks are not to be heeded now
                    self.journal.add("marked", name)
                self._take(name, path, self._unreal(address))
            case SetAside(spent):
                self.site.well()
                self.journal.add("spent", name, seconds=spent)
                self.aside.append(name)
            case Failure(failures.DISK):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.order.folder))
            case Failure(kind) if kind in failures.SITE:
                self.suspects.add(name)
                self.site.ill_file(outcome, self, name)
            case Failure():
                self.blame(name)

    def _changed(self, name: str, kind: str) -> bool:
        """Whether the address of a file is to be looked for anew."""
        if kind not in failures.STALE or self._read_again:
            return False
        if kind == failures.WRONG:
            return self.journal.entries[name].tries > 0
        return self.clock.now() > self.journal.listed_at + STALE_S

    def _unreal(self, address: str) -> str:
        local = self.order.local
        return address.replace(f"{local}/", gallerydl.DEMO) if local else address

    def blame(self, name: str) -> None:
        """A try of this file has failed, by its own fault."""
        self.suspects.discard(name)
        if self._changed(name, self.kinds[name]):
            self.stale.add(name)
            return
        self.journal.add("failed", name, kind=self.kinds[name])
        if self._missing(name):
            self.again[name] = self.clock.now() + self.patience.wait(self.journal.entries[name].tries)
        else:
            download.forget(self.order.folder / f"{name}{download.PARTIAL}")

    def known_good(self) -> tuple["Collector", Callable[[], Failure | None]] | None:
        """A question that a site which is well answers: for a file that came from there."""
        entries = self.journal.entries
        if not self._last:
            here = (name for name in reversed(entries) if name not in self._vanished and self.path(name))
            self._last = next(here, "")
        known = entries.get(self._last)
        if known is None or not known.address or self._last in self._vanished:
            return None
        headers, real = self.journal.item(self._last)["headers"], self._real(known.address)
        return self, lambda: download.probe(real, self.order.hosts, headers, self.session)

    def pause_until(self) -> float:
        """When the pause after the last request is over, s since 1970."""
        return self._at

    def probed(self, failure: Failure | None) -> None:
        """Take in the answer; a file that was not there may have vanished, so it is not asked for again."""
        self._pause()
        if failure is not None:
            self._vanished.add(self._last)
            self._last = ""

    def clear(self, name: str) -> None:
        """The site was to blame: this file is tried again, after the others."""
        self.suspects.discard(name)
        self.again[name] = self.clock.now()

    def _take(self, name: str, path: Path, address: str) -> None:
        assert self.site is not None
        self._done(name, path, address)
        self.here, self.bytes, self._last = self.here + 1, self.bytes + path.stat().st_size, name
        if self.full():
            tqdm.write(
                f"scrape: {self.order.name}: {self.bytes / 1e9:.1f} GB are here, the rest is left", file=sys.stderr
            )

    def _done(self, name: str, path: Path, address: str) -> None:
        self.journal.add("done", name, file=path.name, address=address, version=self.journal.version)

    def _count_marked(self) -> None:
        """A source that gives nothing but marked files is not fetched to its end for nothing."""
        self._marked += 1
        if self._marked >= MARKED:
            self._end_list()
            self.new.clear()
            for name, known in self.journal.entries.items():
                if known.listed and not known.file and not known.refused and not known.tries:
                    self.journal.add("failed", name, kind=failures.LEFT)
            text = f"scrape: {self.order.name}: {MARKED} files in a row are marked against such use, the rest is left"
            tqdm.write(text, file=sys.stderr)

    def _refuse(self, name: str, *, marked: bool) -> None:
        path = self.path(name)
        if not self.journal.entries[name].refused:
            self.journal.add("refused", name, marked=marked)
        if path is not None:
            self.here, self.bytes = self.here - 1, self.bytes - path.stat().st_size
            path.unlink()

    def end(self, grace_s: float = GRACE_S) -> None:
        """End gallery-dl, if it runs."""
        if self.child is not None:
            self.child.stop(grace_s)
            self.child, self.held = None, None


def _path(address: str) -> str:
    try:
        return urlsplit(address).path
    except ValueError:
        return ""
