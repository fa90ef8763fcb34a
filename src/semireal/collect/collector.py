"""One source: its list is read once, by gallery-dl, into a journal beside the files, and files are fetched from there.

What a source would do next it offers to its site (`semireal.collect.turns`), which says when. A file with its final
name is complete.
"""

import errno
import os
import random
import shutil
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import requests
from tqdm import tqdm

from semireal.collect import download, failures, gallerydl, robots
from semireal.collect.download import Fetched, Limits, Outcome, SetAside, Wanted
from semireal.collect.failures import Failure
from semireal.collect.gallerydl import Ended, File, Ill, Turn
from semireal.collect.health import Health, Patience
from semireal.collect.journal import Journal
from semireal.collect.listing import hopeless, item_of, opted_out
from semireal.collect.orders import CLOCK, Clock, Order
from semireal.collect.reading import Reading
from semireal.errors import UserError

if TYPE_CHECKING:
    from semireal.collect.turns import Site

WORTH = 0.05  # of a list: so many requests, or so many files with addresses that may have changed, make it read anew
MARKED = 100  # files in a row that come with a mark against their use, after which a source is taken to have no others
STALE_S = 600  # an address that was listed so long ago may have changed
MOST_TEXT = 160  # of a message that is shown
HOUR_S, DAY_S = 3600, 86400


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
        self.order, self.patience, self.clock = order, patience, clock
        order.folder.mkdir(parents=True, exist_ok=True)
        self.journal = Journal.load(order.folder.parent / "journal.jsonl", spare=order.spare)
        self.site: Site | None = None
        self.list_health = Health(patience)
        self.here = self.bytes = 0  # files, and what they take
        self._last = ""  # the newest file
        self._vanished: set[str] = set()  # files that are here and were not there when they were asked for
        self.new: deque[str] = deque()  # files that were not tried
        self.again: dict[str, float] = {}  # that failed, and when to try again
        self.aside: deque[str] = deque()  # that take long
        self.stale: set[str] = set()  # whose addresses may have changed
        self.kinds: dict[str, str] = {}  # of failures in this run, whoever was to blame
        self.stopped = ""  # for this run, and why
        self.refused = False  # by the site as a whole
        self.reading = Reading(order, secrets, order.folder.parent / "gallery-dl.log")
        self.rested_at = 0.0  # when the pause after the last request is over, s since 1970
        self._marked = 0  # files in a row
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
        here = download.whole_files(self.order.folder)
        for known in journal.entries.values():
            if not respect:
                journal.count -= known.counts
                known.refused = known.marked = False
                journal.count += known.counts
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
            if known_entry.counts:
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
        """Where a file is, None if it is not here, or left out."""
        known = self.journal.entries.get(name)
        if known is None or not known.file or known.refused or known.spared:
            return None
        return self.order.folder / known.file

    # -- what is left to do

    def finished(self) -> bool:
        """Whether all that can be had is here."""
        left = self.new or self.again or self.aside or self.stale or self.suspects()
        return self.refused or self.full() or (self.through() and not left)

    def suspects(self) -> list[str]:
        """Files whose failure may be the site's."""
        return [name for owner, name in self.site.suspects if owner is self] if self.site is not None else []

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
        if known.file or known.refused or known.spared:
            return False
        return not known.tries or (known.failure not in failures.FINAL and known.tries < self.patience.tries)

    def through(self) -> bool:
        """Whether the list was read as far as the limit asks."""
        return self.journal.listed or (self.order.limit is not None and self.journal.count >= self.order.limit)

    def due(self, now: float) -> float:
        """When the next download may begin, s since 1970, within the budgets and after the pause."""
        moment, begun = max(now, self.rested_at), self.journal.begun
        for most, span in ((self.order.per_hour, HOUR_S), (self.order.per_day, DAY_S)):
            if most is not None and len(begun) >= most:
                moment = max(moment, begun[-most] + span)
        return moment

    def opens(self, now: float) -> float:
        """When this source goes on, s since 1970, as far as is known."""
        site, moments = self.site, []
        if site is None:
            return now
        suspects = self.suspects()
        if self.new or self.again or self.aside or suspects:
            first = 0.0 if self.new or self.aside or suspects else min(self.again.values())
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
            found.append(Offer(FIRST_TRY, fetch_at, files, lambda: self.fetch(self.new.popleft())))
        if not self.through() and not self.stopped:
            found.append(Offer(LIST, self._list_at(now), self.list_health, self._list))
        if self.aside and not self.new:
            found.append(Offer(ASIDE, fetch_at, files, lambda: self.fetch(self.aside.popleft())))
        if self.again:
            name = min(self.again, key=lambda one: self.again[one])
            at = max(fetch_at, self.again[name])
            found.append(Offer(AGAIN, at, files, lambda: self._retry(name)))
        if self.stale and not found and not self.suspects():
            self._give_up_stale()
            if not self.stale:
                return self.offers(now)
            found.append(Offer(LIST, now, self.list_health, self._list_again))
        return found

    def _list_at(self, now: float) -> float:
        """When the list may go on: a request keeps the pause, what is read of a page does not."""
        return max(now, self.rested_at) if self.reading.asks() else now

    def _retry(self, name: str) -> None:
        del self.again[name]
        self.fetch(name)

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
        if self.reading.child is None:
            self.journal.add("listing", version=gallerydl.VERSION, at=self.clock.now())
            self.reading.begin()
            return
        if self.reading.asks():
            self._pause()
        self.reading.answer()

    def _pause(self) -> None:
        """The next request waits."""
        self.rested_at = self.clock.now() + random.uniform(*self.order.pause)

    def _list_again(self) -> None:
        """Read the list anew for addresses that have changed, once in a run."""
        self._read_again = True
        self.reading.end()
        self.journal.add("again")
        self._list()

    def read(self) -> None:
        """Take in what gallery-dl has said."""
        for event in self.reading.events():
            if isinstance(event, Ended):
                self._ended(event)
                return
            self._handle(event)
            if self.reading.child is None:  # ended by what it said
                return
        if self.finished():
            self.reading.end()

    def _handle(self, event: Turn | File | Ill) -> None:
        if self.reading.take(event):
            self.list_health.well()
        if isinstance(event, Ill) and event.failure.kind == failures.HOST:
            self.reading.answer(gallerydl.LEAVE)
        elif isinstance(event, Ill):
            self._list_ill(event.failure)
        elif isinstance(event, File):
            self._listed(event.meta)
            if self.reading.child is not None and not self.through():
                self.reading.answer()  # what comes next from this page costs the site nothing

    def _listed(self, meta: dict[str, Any]) -> None:
        """Write a file of the list down, and queue it unless it is here, given up or not wanted."""
        journal, order = self.journal, self.order
        item = item_of({k: order.stored(v) if isinstance(v, str) else v for k, v in meta.items()})
        if self.reading.circles(item.name):
            self._end_list()
            return
        known = journal.entries.get(item.name)
        fresh = known is None or not known.listed
        journal.listed_item(item)
        refused = order.respect and opted_out(meta)
        known = journal.entries[item.name]
        path = self.path(item.name)
        if fresh and path is not None:  # of an earlier collection
            self.here, self.bytes = self.here + 1, self.bytes + path.stat().st_size
        if refused:
            self._refuse(item.name, marked=False)
        if not self._missing(item.name):
            self.stale.discard(item.name)
            return
        kind = hopeless(meta, [order.real(address) for address in item.addresses], order.hosts, order.file_bytes)
        if kind is not None:
            journal.add("failed", item.name, kind=kind)
            self.stale.discard(item.name)
        elif fresh or item.name in self.stale:
            self.stale.discard(item.name)
            if item.name not in self.again and item.name not in self.suspects():
                self.new.append(item.name)

    def _end_list(self) -> None:
        """The list was read to its end."""
        self.journal.add("end", requests=self.reading.turns)
        self.list_health.well()
        # what was listed again is queued by now, and what was not is not to be had
        self.stale = {name for name in self.stale if self.journal.entries[name].listed}
        self.reading.end()

    def _ended(self, ended: Ended) -> None:
        self.reading.close()
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
            self.reading.end(0)

    def time_out(self) -> None:
        """Gallery-dl says nothing any more."""
        self.reading.end(0)
        self._list_ill(Failure(failures.TIME_OUT))

    # -- the files

    def fetch(self, name: str) -> None:
        """Fetch a file in the thread of the site, or take it from another source that has it."""
        assert self.site is not None
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
            addresses=tuple(self.order.real(address) for address in item["addresses"]),
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
                self._take(name, path, self.order.stored(address))
            case SetAside(spent):
                self.site.well()
                self.journal.add("spent", name, seconds=spent)
                self.aside.append(name)
            case Failure(failures.DISK):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.order.folder))
            case Failure(kind) if kind in failures.SITE:
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

    def blame(self, name: str) -> None:
        """A try of this file has failed, by its own fault."""
        if self._changed(name, self.kinds[name]):
            self.stale.add(name)
            return
        self.journal.add("failed", name, kind=self.kinds[name])
        if self._missing(name):
            self.again[name] = self.clock.now() + self.patience.wait(self.journal.entries[name].tries)
        else:
            download.forget(self.order.folder / f"{name}{download.PARTIAL}")

    def known_good(self) -> "Question | None":
        """A question that a site which is well answers: for a file that came from there."""
        entries = self.journal.entries
        if not self._last:
            here = (name for name in reversed(entries) if name not in self._vanished and self.path(name))
            self._last = next(here, "")
        known = entries.get(self._last)
        if known is None or not known.address or self._last in self._vanished:
            return None
        headers, real = self.journal.item(self._last)["headers"], self.order.real(known.address)
        return self, lambda: download.probe(real, self.order.hosts, headers, self.session)

    def probed(self, failure: Failure | None) -> None:
        """Take in the answer; a file that was not there may have vanished, so it is not asked for again."""
        self._pause()
        if failure is not None:
            self._vanished.add(self._last)
            self._last = ""

    def clear(self, name: str) -> None:
        """The site was to blame: this file is tried again, after the others."""
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
                if known.counts and not known.file and not known.tries:
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


Question = tuple[Collector, Callable[[], Failure | None]]  # for a file that is known to be there; None: it is
