"""Whether a site is well, and how long it is left alone.

A circuit breaker (Nygard, "Release It!", 2007, ch. 5). Whether a failure is the site's or the file's shows in what
comes next: a good answer to anything else lays it at the file's door, and the file has used one of its tries; a second
failure in a row is the site's. Then nothing is asked until a wait is over, and again a wait, twice as long, while the
one thing that is asked fails; no file's tries are spent meanwhile.
"""

from dataclasses import dataclass

from semireal.collect import failures
from semireal.collect.failures import Failure


@dataclass(frozen=True)
class Patience:
    """How a run deals with failures; waits in seconds."""

    minutes: float | None = 720  # wall-clock limit of a run; None: as long as it takes
    first_wait: float = 30  # after a failure; doubled after each further one ...
    longest_wait: float = 3600  # ... up to this
    strikes: int = 8  # so many failures of a site in a row end its part of the run
    tries: int = 5  # per file, over all runs
    silence: float = 900  # without a sign of life from gallery-dl counts as a failure
    turn: float = 120  # a longer download is set aside, and goes on when the others are done ...
    longest: float = 3600  # ... until it took so long in all

    def wait(self, count: int) -> float:
        """Seconds to wait after the given number of failures."""
        return min(self.longest_wait, self.first_wait * 2.0 ** (count - 1))


@dataclass
class Health:
    """What the answers to one kind of question say: for files of a site, or for the list of one of its sources."""

    patience: Patience
    strikes: int = 0  # failures in a row
    until: float = 0  # nothing is asked before, s since 1970
    problem: str = ""  # the last failure, "" if all is well

    def stopped(self) -> bool:
        """Whether nothing more is asked in this run."""
        return self.strikes >= self.patience.strikes

    def ill(self, failure: Failure, now: float, asked_s: float, *, alone: bool) -> None:
        """Take in a failure.

        asked_s: how long the site asks to wait, 0 if it does not say; alone: a first failure says nothing about the
        next question, so that one may be asked at once.
        """
        self.strikes += 1
        count = self.strikes - 1 if alone and failure.kind not in failures.BLOCKED else self.strikes
        self.until = now + max(asked_s, self.patience.wait(count) if count else 0)
        self.problem = failure.shown
        if asked_s:
            self.problem += f", the site asks to wait {asked_s:.0f} s"

    def well(self) -> None:
        """Take in a good answer."""
        self.strikes, self.until, self.problem = 0, 0, ""
