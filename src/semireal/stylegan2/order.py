"""Which images come next: each pass over the data is shuffled by (seed, pass); groups of images may share it evenly.

Nothing is kept between passes, so a training that goes on knows what it has shown from the number of images alone.
"""

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Groups:
    """Images in groups of which each fills a fixed part of every pass, whatever its size.

    members: the numbers of the images of each group, all N images once. shown: of each group, how many images are shown
    in a pass, at least one; N together.
    """

    members: Sequence[Numbers]
    shown: Sequence[int]

    @property
    def key(self) -> str:
        """Hex digits that stand for them."""
        content = [[members.tolist() for members in self.members], list(self.shown)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def times(self) -> NDArray[np.float64]:
        """How often each image is shown in a pass, on average [N]."""
        found = np.empty(sum(self.shown))
        for members, shown in zip(self.members, self.shown, strict=True):
            found[members] = shown / len(members)
        return found


def seed_of(*path: int | str) -> int:
    """Derive a seed from a path such as (seed, "step", 17)."""
    return int.from_bytes(hashlib.sha256(json.dumps(path).encode()).digest()[:4])


@functools.lru_cache(maxsize=2)
def order(seed: int, turn: int, count: int, groups: Groups | None = None) -> Numbers:
    """The order of `count` images in one pass over the data, [count]; each once, or as its group's part asks."""
    rng = np.random.default_rng(seed_of(seed, "order", turn))
    if groups is None:
        return rng.permutation(count)
    parts = [_part(seed, turn, group, *one) for group, one in enumerate(zip(groups.members, groups.shown, strict=True))]
    return rng.permutation(np.concatenate(parts))


def _part(seed: int, turn: int, group: int, members: Numbers, shown: int) -> Numbers:
    """What a group shows in one pass, [shown].

    It goes through its images again and again, shuffled anew each time, at its own pace: at any time none of them has
    been shown more than once more often than another.
    """
    cycle, place = np.divmod(np.arange(turn * shown, (turn + 1) * shown), len(members))
    shuffled = {n: _shuffled(seed, group, n, members) for n in np.unique(cycle).tolist()}
    return np.array([shuffled[n][at] for n, at in zip(cycle.tolist(), place.tolist(), strict=True)])


def _shuffled(seed: int, group: int, cycle: int, members: Numbers) -> Numbers:
    return np.random.default_rng(seed_of(seed, "group", group, cycle)).permutation(members)


def next_images(seed: int, shown: int, batch: int, count: int, groups: Groups | None = None) -> Numbers:
    """Numbers [batch] of the images, of `count`, that follow when `shown` have been shown."""
    places = [divmod(position, count) for position in range(shown, shown + batch)]
    return np.array([order(seed, turn, count, groups)[place] for turn, place in places])
