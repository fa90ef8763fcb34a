"""gallery-dl at work on the list of a source: what it waits for, how far it got, whether it goes round in circles."""

import time
from pathlib import Path
from typing import Any

from semireal.collect import gallerydl
from semireal.collect.gallerydl import Child, Event, File, Ill, Turn
from semireal.collect.orders import Order

REPEATS = 200  # known files in a row after which a list is taken to go round in circles; two pages of most sites
GRACE_S = 5  # for gallery-dl to end by itself


class Reading:
    """The list of a source, read again from its start by each gallery-dl; one runs at a time, or none."""

    def __init__(self, order: Order, secrets: Any, log: Path) -> None:
        self._order, self._secrets, self._log = order, secrets, log
        self.child: Child | None = None
        self.held: Turn | File | Ill | None = None  # what gallery-dl waits to be answered
        self.turns = 0  # its requests
        self._furthest = 0  # of all that have run
        self._heard = time.monotonic()
        self._seen: set[str] = set()
        self._repeats = 0  # in a row

    def begin(self) -> None:
        """Start gallery-dl."""
        self._heard = time.monotonic()
        self._seen, self._repeats, self.turns = set(), 0, 0
        self.child = Child(self._order.url, self._order.config, self._order.hosts, self._secrets, self._log)

    def busy(self) -> bool:
        """Whether gallery-dl is at work."""
        return self.child is not None and self.held is None

    def silent(self, silence: float) -> bool:
        """Whether gallery-dl should have said something long ago."""
        return self.busy() and time.monotonic() - self._heard > silence

    def asks(self) -> bool:
        """Whether gallery-dl waits for the turn at the site."""
        return isinstance(self.held, Turn | Ill)

    def answer(self, word: str = gallerydl.GO) -> None:
        """Answer what gallery-dl waits for."""
        assert self.child is not None
        self._heard = time.monotonic()
        self.held = None
        self.child.answer(word)

    def events(self) -> list[Event]:
        """What gallery-dl has said since the last call."""
        events = self.child.events() if self.child is not None else []
        if events:
            self._heard = time.monotonic()
        return events

    def take(self, event: Turn | File | Ill) -> bool:
        """Hold an event until it is answered; tells whether the list was never read so far in this run."""
        self.held = event
        if not isinstance(event, Turn):
            return False
        further = self.turns > self._furthest
        self._furthest = max(self._furthest, self.turns)
        self.turns += 1
        return further

    def circles(self, name: str) -> bool:
        """Take in the name of a file; tells whether the list has gone round."""
        self._repeats = self._repeats + 1 if name in self._seen else 0
        self._seen.add(name)
        return self._repeats >= REPEATS

    def close(self) -> None:
        """Take in that gallery-dl has ended."""
        assert self.child is not None
        self.child.close()
        self.child, self.held = None, None

    def end(self, grace_s: float = GRACE_S) -> None:
        """End gallery-dl, if it runs."""
        if self.child is not None:
            self.child.stop(grace_s)
            self.child, self.held = None, None
