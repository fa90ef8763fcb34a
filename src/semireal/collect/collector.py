"""Fetch the images of several sources side by side, within their budgets, so that nothing is lost or fetched twice.

One gallery-dl per source (`semireal.collect.gallerydl`) asks before each image. The answer waits for the turn of the
source at its site, where one download at a time runs, for its budget, and for the site to calm down after it refused.
What is known of each image is in a journal beside the files; a file with its final name is complete.
"""

import errno
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tqdm import tqdm

from semireal.collect import gallerydl
from semireal.collect.gallerydl import Ask, Child, Done, Ended, Event, Failed
from semireal.collect.journal import Journal
from semireal.collect.listing import describe, name_of, opted_out
from semireal.errors import UserError

REPEATS = 200  # known images in a row after which a list is taken to go round in circles; two pages of most sites
MARKED = 100  # files in a row that come with a mark against their use, after which a source is taken to have no others
HOLD_S = 900  # for longer waits gallery-dl is ended: addresses of files grow stale
MOST_TEXT = 160  # of a message of gallery-dl that is shown
USUAL = ("jpg", "png", "webp", "gif")  # extensions; to find any other one takes longer
GRACE_S = 5  # for the file that is being fetched when a run ends
HOUR_S, DAY_S = 3600, 86400


@dataclass(frozen=True)
class Patience:
    """How a run deals with failures; waits in seconds."""

    minutes: float | None = 720  # wall-clock limit of a run; None: as long as it takes
    first_wait: float = 30  # after a failure; doubled after each further one ...
    longest_wait: float = 3600  # ... up to this
    strikes: int = 6  # so many failures of a source without an image in between end its part of the run
    tries: int = 3  # per image, over all runs
    silence: float = 900  # without a sign of life from gallery-dl counts as a failure

    def wait(self, failures: int) -> float:
        """Seconds to wait after the given number of failures."""
        return min(self.longest_wait, self.first_wait * 2.0 ** (failures - 1))


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
    respect: bool = True  # opt-outs


class Collector:
    """One source: its journal and files, and its gallery-dl while one runs."""

    def __init__(self, order: Order, patience: Patience, secrets: Any) -> None:
        self.order, self.patience, self.secrets = order, patience, secrets
        order.folder.mkdir(parents=True, exist_ok=True)
        self.journal = Journal.load(order.folder.parent / "journal.jsonl")
        if not order.respect:
            self.journal.refused, self.journal.marked = set(), set()
        self.files: dict[str, Path] = {}
        self._look()
        self.child: Child | None = None
        self.question: str | None = None  # the image that waits for its turn
        self.not_before = 0.0
        self.site_until = 0.0  # no source of this site goes on before
        self.problem = ""  # the last failure of the site
        self.stopped = False  # for this run
        self._strikes = 0
        self._fetching: str | None = None
        self._heard = time.monotonic()
        self._listed_now: set[str] = set()
        self._repeats = 0
        self._marked = 0  # files in a row

    # -- what is left to do

    def finished(self) -> bool:
        """Whether all that can be had is here."""
        return self.through() and not any(self._missing(name) for name in self.journal.wanted(self.order.limit))

    def missing(self) -> dict[str, str]:
        """Images that are listed and neither here nor given up, each with its failure, "" if it was not tried."""
        names = [name for name in self.journal.wanted(self.order.limit) if self._missing(name)]
        return {name: self.journal.failures.get(name, ("", 0))[0] for name in names}

    def _missing(self, name: str) -> bool:
        if name in self.files or name in self.journal.refused:
            return False
        kind, tries = self.journal.failures.get(name, ("", 0))
        return not tries or (kind not in gallerydl.FINAL and tries < self.patience.tries)

    def through(self) -> bool:
        """Whether the list was read as far as the limit asks."""
        return self.journal.listed or (self.order.limit is not None and self.journal.count() >= self.order.limit)

    def due(self, now: float) -> float:
        """When the next download may begin, s since 1970: after a failure, and within the budgets."""
        moment = max(now, self.not_before)
        for most, span in ((self.order.per_hour, HOUR_S), (self.order.per_day, DAY_S)):
            if most is not None and len(self.journal.begun) >= most:
                moment = max(moment, self.journal.begun[-most] + span)
        return moment

    def why(self, now: float) -> str:
        """Why nothing is fetched right now; "" if something could be."""
        if self.stopped or self.not_before > now or self.due(now) <= now:
            return self.problem
        budgets = (self.order.per_hour, "hour"), (self.order.per_day, "day")
        return "the budget of " + " and ".join(f"{most} per {span}" for most, span in budgets if most) + " is used up"

    def silent(self) -> bool:
        """Whether gallery-dl should have said something long ago."""
        return time.monotonic() - self._heard > self.patience.silence

    # -- what happens

    def go_on(self) -> None:
        """Use the turn at the site: fetch the image that was asked about, or begin to read the list."""
        self._heard = time.monotonic()
        if self.child is None:
            self._listed_now, self._repeats = set(), 0
            log = self.order.folder.parent / "gallery-dl.log"
            self.child = Child(self.order.url, self.order.config, self.order.hosts, self.secrets, log)
            return
        assert self.question is not None
        name, self.question = self.question, None
        self._fetching = name
        self.journal.add("begun", name, at=time.time(), version=gallerydl.VERSION)
        self.child.answer(name)

    def read(self) -> None:
        """Take in what gallery-dl has said."""
        for event in self.child.events() if self.child else []:
            self._heard = time.monotonic()
            self._handle(event)
            if self.child is None:  # ended by what it said
                return
        if self.through() and self.finished():
            self.end()

    def strike(self, problem: str, *, final: bool = False) -> None:
        """Wait after a failure of the site, longer each time, and stop after too many."""
        self._strikes += 1
        self.problem = problem
        self.not_before = time.time() + self.patience.wait(self._strikes)
        if problem.startswith(gallerydl.BLOCKED):
            self.site_until = self.not_before
        if final or self._strikes >= self.patience.strikes:
            self.stopped = True
            self.end()

    def end(self, grace_s: float = GRACE_S) -> None:
        """End gallery-dl, if it runs, after the file that it is fetching if that takes no longer than grace_s."""
        if self.child is not None:
            self.child.stop(grace_s)
            self.child, self.question = None, None
            self._look()

    def _handle(self, event: Event) -> None:
        crashed = self._fetching if isinstance(event, Ended) else None
        self._fetching = None
        match event:
            case Ask(meta):
                self._asked(meta)
            case Done(name):
                usual = [path for end in USUAL if (path := self.order.folder / f"{name}.{end}").is_file()]
                self._found(usual or self.order.folder.glob(f"{name}.*"))
                if name in self.files:
                    self._fetched(name)
                else:
                    self.journal.add("failed", name, kind=gallerydl.BROKEN)
            case Failed(name, kind):
                self.journal.add("failed", name, kind=kind)
                if kind in gallerydl.BLOCKED:
                    self.strike(kind)
            case Ended():
                self._ended(event, crashed)

    def _fetched(self, name: str) -> None:
        """Look at a new file; a source that gives nothing but marked ones is not fetched to its end for nothing."""
        self._check(name)
        self._strikes, self.problem = 0, ""
        self._marked = self._marked + 1 if name in self.journal.refused else 0
        if self._marked >= MARKED:
            self.journal.add("end")
            self.end()
            text = f"scrape: {self.order.name}: {MARKED} files in a row are marked against such use, the rest is left"
            tqdm.write(text, file=sys.stderr)

    def _asked(self, meta: dict[str, Any]) -> None:
        assert self.child is not None
        name, journal, limit = name_of(meta), self.journal, self.order.limit
        self._repeats = self._repeats + 1 if name in self._listed_now else 0
        self._listed_now.add(name)
        if self._repeats >= REPEATS:
            journal.add("end")
        if self._repeats >= REPEATS or (name not in journal.rows and limit is not None and journal.count() >= limit):
            self.end()
            self._plan_retries()
            return
        row = describe(meta)
        if row != journal.rows.get(name):
            journal.add("listed", name, row=row)
        if self.order.respect and opted_out(meta):
            self._refuse(name, marked=False)
        if self._missing(name) and not gallerydl.allowed(str(meta.get(gallerydl.LINK, "")), self.order.hosts):
            journal.add("failed", name, kind=gallerydl.HOST)
        if self._missing(name) and (limit is None or journal.count() <= limit or name in journal.wanted(limit)):
            self.question = name
        else:
            self.child.answer("")

    def _ended(self, ended: Ended, crashed: str | None) -> None:
        assert self.child is not None
        self.child.close()
        self.child, self.question = None, None
        if ended.kind == gallerydl.DISK:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.order.folder))
        if ended.code in (32, 64) and not self.journal.rows:
            text = f"no site that gallery-dl knows, or not one of its pages: {self.order.url}. {ended.text}"
            raise UserError(f"scrape: source {self.order.name}: {text}")
        if crashed is not None:  # on this image: one that does so again and again must not keep the others away
            self.journal.add("failed", crashed, kind=gallerydl.CRASH)
        if ended.kind is None:
            self.journal.add("end")
            self._plan_retries()
        else:
            text = ended.text.partition(" Please run gallery-dl again")[0]
            problem = f"{ended.kind}: {text}" if ended.kind else text
            problem = problem if len(problem) < MOST_TEXT else f"{problem[:MOST_TEXT]}..."
            self.strike(problem, final=ended.kind in (gallerydl.GONE, gallerydl.LOGIN))

    def _plan_retries(self) -> None:
        """Wait before the list is read again for what failed."""
        failures = [self.journal.failures[name] for name in self.missing() if name in self.journal.failures]
        if failures:
            self.problem = f"{len(failures)} failed ({failures[0][0]})"
            self.not_before = max(self.not_before, time.time() + self.patience.wait(max(n for _, n in failures)))

    def _look(self) -> None:
        """Take in what is in the folder."""
        self._found(self.order.folder.iterdir())
        for name in [name for name in self.files if name not in self.journal.checked]:
            self._check(name)

    def _found(self, paths: Iterable[Path]) -> None:
        self.files |= {p.name.partition(".")[0]: p for p in paths if p.suffix != ".part" and p.stat().st_size > 0}

    def _check(self, name: str) -> None:
        """Look for marks that came with a file."""
        if self.order.respect and (gallerydl.marks(self.order.folder) / name).exists():
            self._refuse(name, marked=True)
        self.journal.add("checked", name)

    def _refuse(self, name: str, *, marked: bool) -> None:
        if name not in self.journal.refused:
            self.journal.add("refused", name, marked=marked)
        path = self.files.pop(name, None)
        if path is not None:
            path.unlink()


def collect(orders: list[Order], patience: Patience, secrets: Any) -> list[Collector]:
    """Fetch all orders as far as their sites, their budgets and the time allow; returns what became of each.

    Sites are worked on side by side, the sources of one site in turn, image by image. Raises UserError for a URL that
    gallery-dl does not know, OSError when the disk is full. However it ends, no gallery-dl is left running, and the
    same call goes on.
    """
    deadline = float("inf") if patience.minutes is None else time.time() + patience.minutes * 60
    collectors: list[Collector] = []
    with ExitStack() as stack:  # ends every gallery-dl, also if to end one of them fails
        for order in orders:
            collectors.append(Collector(order, patience, secrets))
            stack.callback(collectors[-1].end)
        sites: dict[str, deque[Collector]] = {}
        for collector in collectors:
            sites.setdefault(collector.order.site, deque()).append(collector)
        progress = stack.enter_context(_Progress(collectors))
        while time.time() < deadline:
            moments = [moment for site in sites.values() if (moment := _turn(site)) is not None]
            if not moments or min(moments) > deadline:
                break  # nothing is left to do before the run has to end
            streams = [stream for c in collectors if c.child for stream in c.child.streams()]
            timeout = max(0.0, min(1.0, min(moments) - time.time()))
            if streams:
                wait(streams, timeout)
            else:
                time.sleep(timeout)
            for collector in collectors:
                collector.read()
            progress.show()
    return collectors


def _turn(site: deque[Collector]) -> float | None:
    """Let the next source of a site go on if none is at work; returns when to look again, None if all are through."""
    now = time.time()
    working = next((c for c in site if c.child and c.question is None), None)
    if working:
        if working.silent():
            working.end(0)
            working.strike(gallerydl.TIME_OUT)
        return now + 1
    calm = max(c.site_until for c in site)
    moments = {c.order.name: max(calm, c.due(now)) for c in site if not c.stopped and not c.finished()}
    for collector in [c for c in site if c.order.name in moments]:
        moment = moments[collector.order.name]
        if moment <= now:
            site.remove(collector)
            site.append(collector)
            collector.go_on()
            return now + 1
        if moment > now + HOLD_S:
            collector.end()
    return min(moments.values(), default=None)


class _Progress:
    """The bar: images, rate and expected end over all sources, and who waits for how long."""

    def __init__(self, collectors: list[Collector]) -> None:
        self._collectors = collectors
        limits = [c.order.limit for c in collectors]
        total = None if None in limits else sum(limit for limit in limits if limit)
        often = 1 if sys.stderr.isatty() else 30  # seconds; a log of days should stay short
        self._bar = tqdm(desc="scrape", total=total, initial=self._count(), unit="img", mininterval=often)
        self._told: dict[str, float] = {}

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.update(self._count() - self._bar.n)
        self._bar.close()

    def _count(self) -> int:
        return sum(len(c.files) for c in self._collectors)

    def show(self) -> None:
        """Bring the bar up to date; tell once about each wait of more than a few seconds."""
        now = time.time()
        self._bar.update(self._count() - self._bar.n)
        waits = {c.order.name: (c, c.due(now)) for c in self._collectors if not c.stopped and c.due(now) > now + 5}
        for name, (collector, moment) in waits.items():
            if abs(self._told.get(name, 0) - moment) > 5 and not collector.finished():
                self._told[name] = moment
                tqdm.write(f"scrape: {name} waits until {clock(moment)}: {collector.why(now)}", file=sys.stderr)
        text = ", ".join(f"{name} waits {moment - now:.0f} s" for name, (_, moment) in waits.items())
        self._bar.set_postfix_str(text, refresh=False)


def clock(moment: float) -> str:
    """A moment as a person reads it, in local time."""
    return datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M")
