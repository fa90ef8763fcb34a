"""Several sources side by side: one thing at a time at each site, and nothing there while the site is ill.

Sources of one site take turns, file by file. Nothing is lost or fetched twice, however a run ends.
"""

import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tqdm import tqdm

from semireal.collect import download, failures
from semireal.collect.collector import AGAIN, FIRST_TRY, LIST, Collector, Offer, Question
from semireal.collect.download import Fetcher
from semireal.collect.failures import Failure
from semireal.collect.health import Health, Patience
from semireal.collect.orders import Clock, Order

Proposal = tuple[float, int, int, Offer]  # from when on, its rank, the place of its source, what it is
BEFORE_ALL = -1  # as the place of a source
GRACE_S = 5  # for the file that is being fetched when a run ends


@dataclass
class Site:
    """The sources of one site, what is known of its health, and the one thing that is fetched there."""

    collectors: deque[Collector]
    patience: Patience
    clock: Clock
    fetcher: Fetcher

    def __post_init__(self) -> None:
        self.health = Health(self.patience)  # of its files
        # it wants nothing at all before, s since 1970
        self.until = max(c.journal.until for c in self.collectors)
        self.problem = next((c.journal.problem for c in self.collectors if c.journal.until == self.until), "")
        self.until = min(self.until, self.clock.now() + download.LONGEST_WAIT_S)
        self._end: Callable[[Any], None] | None = None
        self.suspects: list[tuple[Collector, str]] = []  # files whose failure may be the site's
        for collector in self.collectors:
            collector.site = self

    def start(self, work: Callable[[Any], Any], end: Callable[[Any], None]) -> None:
        """Do something at the site in its thread; `end` takes the outcome."""
        self._end = end
        self.fetcher.start(work)

    def read(self) -> None:
        """Take in what has come of what was begun."""
        outcome = self.fetcher.outcome()
        if outcome is not None:
            end, self._end = self._end, None
            assert end is not None
            end(outcome)
        for collector in list(self.collectors):
            collector.read()

    def ill(self, health: Health, failure: Failure, owner: Collector, *, alone: bool) -> None:
        """Something failed, and it may be the site's fault."""
        now = self.clock.now()
        asked_s = download.seconds(failure.retry_after, now)
        health.ill(failure, now, asked_s, alone=alone)
        if asked_s or failure.kind in failures.BLOCKED:
            self.until, self.problem = max(self.until, health.until), health.problem
            owner.journal.add("wait", until=self.until, problem=self.problem)

    def ill_file(self, failure: Failure, owner: Collector, name: str = "") -> None:
        """A file could not be had, perhaps by the site's fault."""
        self.ill(self.health, failure, owner, alone=True)
        if name:
            self.suspects.append((owner, name))

    def well(self) -> None:
        """A file was had: one failure before it was that file's own fault, several were the site's."""
        alone = self.health.strikes == 1
        self.health.well()
        suspects, self.suspects = self.suspects, []
        for collector, name in suspects:
            if alone:
                collector.blame(name)
            else:
                collector.clear(name)

    def busy(self) -> bool:
        """Whether something is under way at the site."""
        return self.fetcher.busy or any(collector.reading.busy() for collector in self.collectors)

    def turn(self) -> float | None:
        """Let the next thing happen; returns when to look again, None if all is done or stopped."""
        now = self.clock.now()
        for collector in self.collectors:
            if collector.reading.silent(self.patience.silence):
                collector.time_out()
        if self.busy():
            return now + 1
        offers = [
            (max(offer.at, self.until, offer.health.until), offer.rank, number, offer)
            for number, collector in enumerate(self.collectors)
            for offer in collector.offers(now)
            if not offer.health.stopped()
        ]
        if self.suspects and not self.health.stopped():
            offers = self._telling(offers, now)
        ready = [one for one in offers if one[0] <= now]
        if not ready:
            return min((at for at, *_ in offers), default=None)
        _, _, number, offer = min(ready, key=lambda one: (one[2], one[1]))  # of the next source
        offer.act()
        self.collectors.rotate(-1 - number % len(self.collectors))
        return now

    def _telling(self, offers: list[Proposal], now: float) -> list[Proposal]:
        """What tells whose fault the last failures were: anything but the suspects.

        After two failures in a row that is a file that the site is known to have, or a run of bad files would block the
        good ones behind them.
        """
        others = [one for one in offers if one[1] != AGAIN]
        known = next((found for c in self.collectors if (found := c.known_good())), None)
        if known is not None and self.health.strikes > 1:
            others = [one for one in others if one[3].health is not self.health]
        elif any(one[1] in (FIRST_TRY, LIST) and one[0] <= max(now, self.until) for one in others):
            return others  # a list may bring more files
        at = known[0].rested_at if known is not None else self.suspects[0][0].due(now)
        probe = Offer(AGAIN, at, self.health, lambda: self._probe(known))
        return [*others, (max(at, self.until, self.health.until), AGAIN, BEFORE_ALL, probe)]

    def _probe(self, known: Question | None) -> None:
        """Ask for something that the site is known to have; without that, for the suspect again."""
        if known is None:
            owner, name = self.suspects.pop(0)
            owner.fetch(name)
            return
        owner, ask = known

        def end(failure: Failure | None) -> None:
            owner.probed(failure)
            if failure is None:
                self.well()
            else:
                self.ill_file(failure, owner)

        self.start(lambda _: (ask(),), lambda found: end(found[0]))


def collect(
    orders: list[Order], patience: Patience, secrets: Any, clock: Clock, collectors: dict[str, Collector]
) -> None:
    """Fetch all orders as far as their sites, their budgets and the time allow; `collectors` has what became of each.

    Sites are worked on side by side, the sources of one site in turn, file by file. Raises UserError for a URL that
    gallery-dl does not know, OSError when the disk is full. However it ends, no gallery-dl is left running, and the
    same call goes on.
    """
    deadline = float("inf") if patience.minutes is None else clock.now() + patience.minutes * 60
    awake, wake = socket.socketpair()  # not a pipe: a thread that ends late must not write to another file's number
    awake.setblocking(False)

    def wake_up() -> None:
        with suppress(OSError):
            wake.send(b".")

    with ExitStack() as stack:  # ends every gallery-dl, also if to end one of them fails
        stack.callback(awake.close)
        stack.callback(wake.close)
        by_site: dict[str, deque[Collector]] = {}
        for order in orders:
            collectors[order.name] = Collector(order, patience, secrets, clock)
            stack.callback(collectors[order.name].reading.end)
            by_site.setdefault(order.site, deque()).append(collectors[order.name])
        sites = []
        for theirs in by_site.values():
            sites.append(Site(theirs, patience, clock, Fetcher(wake_up)))
            stack.callback(sites[-1].fetcher.stop, GRACE_S)
        progress = stack.enter_context(_Progress(list(collectors.values())))
        while clock.now() < deadline:
            moments = [moment for site in sites if (moment := site.turn()) is not None]
            if not moments or min(moments) > deadline:
                break  # nothing is left to do before the run has to end
            timeout = max(0.0, min(1.0, min(moments) - clock.now()))
            running = [c.reading.child for c in collectors.values() if c.reading.child is not None]
            children = [stream for child in running for stream in child.streams()]
            clock.wait([awake, *children], timeout, busy=any(site.busy() for site in sites))
            with suppress(BlockingIOError):
                awake.recv(1 << 10)
            for site in sites:
                site.read()
            progress.show()
        for site in sites:
            site.fetcher.stop(GRACE_S)
            site.read()


class _Progress:
    """The bar: images, rate and expected end over all sources, and who waits for how long."""

    def __init__(self, collectors: list[Collector]) -> None:
        self._collectors = collectors
        limits = [c.order.limit for c in collectors]
        total = None if None in limits else sum(limit for limit in limits if limit)
        often = 1 if sys.stderr.isatty() else 30  # seconds; a log of days should stay short
        self._bar = tqdm(desc="scrape", total=total, initial=self._count(), unit="img", mininterval=often)
        self._told: dict[str, float] = {}
        self._next = 0.0

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.update(self._count() - self._bar.n)
        self._bar.close()

    def _count(self) -> int:
        return sum(c.here for c in self._collectors)

    def show(self) -> None:
        """Bring the bar up to date; tell once about each wait of more than a few seconds."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 0.2
        self._bar.update(self._count() - self._bar.n)
        waits = {}
        for collector in self._collectors:
            now = collector.clock.now()
            moment = collector.opens(now)
            if not collector.stopped and not collector.finished() and moment > now + 5 + max(collector.order.pause):
                waits[collector.order.name] = moment - now
                if abs(self._told.get(collector.order.name, 0) - moment) > 5:
                    self._told[collector.order.name] = moment
                    text = f"scrape: {collector.order.name} waits until {clock(moment)}: {collector.why(now)}"
                    tqdm.write(text, file=sys.stderr)
        self._bar.set_postfix_str(", ".join(f"{name} waits {s:.0f} s" for name, s in waits.items()), refresh=False)


def clock(moment: float) -> str:
    """A moment as a person reads it, in local time."""
    return datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M")
