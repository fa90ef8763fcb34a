"""Exact search for pairs of hashes that differ in few bits, without comparing all with all.

Multi-index hashing: the bits are dealt into chunks, and two hashes within a distance agree in at least one chunk up to
a few bits, since the distance does not suffice to part them in all (Norouzi, Punjani and Fleet, Fast Exact Search in
Hamming Space with Multi-Index Hashing, PAMI 2014, section 3). So it is enough to look up each chunk with up to so many
bits flipped, and to compare what is found there. How often that will be is counted beforehand; where it is more work
than comparing all with all, as with great distances, few hashes or chunks in which too many agree, all are compared.

The results depend on nothing but the hashes, and memory grows with their number and that of the pairs that are asked
for, never with that of the pairs that are looked at.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations, pairwise
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from semireal import workers

AT_ONCE = 1 << 19  # pairs that are compared at a time; bounds the memory
ROWS = 256  # hashes that are compared with all others at a time
FEW = 1 << 20  # pairs that are kept before only their groups are remembered
WIDEST = 22  # bits of a chunk; there is a table of all its values

# ns (one core of an AMD EPYC with AVX-512) per row and flipped chunk, per pair in a chunk, per value that a chunk may
# have, and per pair where all are compared; only their ratios matter, and only for the time
PROBE, PAIR, VALUE, PLAIN = 10.0, 20.0, 100.0, 5.0

Words = NDArray[np.uint64]  # [N, W], 64 bits each
Places = NDArray[np.int64]
Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Chunk:
    """Some of the bits of a hash; those of near ones differ in at most `radius` bits in one of the chunks at least."""

    bits: tuple[int, ...]
    radius: int

    def mask(self, words: int) -> Words:
        """Its bits, set in a hash [W]."""
        found = np.zeros(words, np.uint64)
        for bit in self.bits:
            found[bit // 64] |= np.uint64(1 << bit % 64)
        return found

    def values(self, words: Words) -> NDArray[np.int32]:
        """What stands in the chunk of each hash [N]."""
        found = np.zeros(len(words), np.int32)
        for place, bit in enumerate(self.bits):
            found |= ((words[:, bit // 64] >> np.uint64(bit % 64)) & np.uint64(1)).astype(np.int32) << place
        return found


def pairs(words: Words, distance: int) -> Places:
    """All pairs of hashes [N, W] that differ in at most `distance` bits: [P, 2], i < j, sorted."""
    found = np.concatenate([np.zeros((0, 2), np.int64), *_search(words, distance, _all)])
    return found[np.lexsort(found.T[::-1])]


def groups(words: Words, distance: int) -> Places:
    """A number for each hash [N, W], the same for hashes that are linked by pairs within `distance` bits.

    Groups are numbered by their first hash, from 0. Memory is linear in N, however many are alike.
    """
    if not len(words):
        return np.zeros(0, np.int64)
    distinct, which = _distinct(words)
    found = _search(distinct, distance, lambda blocks: _linking(len(distinct), blocks))
    return _numbered(_labels(len(distinct), np.concatenate([np.zeros((0, 2), np.int64), *found]))[which])


def joined(*kinds: Places) -> Places:
    """Numbers of groups [N] of things that are linked by any of their hashes, numbered by their first member.

    kinds: for each kind of hash the groups [N, K] of the K ones that each thing has.
    """
    nodes = count = len(kinds[0])
    links = []
    for groups_of in kinds:
        links += [np.stack([np.arange(count), nodes + column], axis=1) for column in groups_of.T]
        nodes += int(groups_of.max(initial=-1)) + 1
    return _numbered(_labels(nodes, np.concatenate(links))[:count])


def _numbered(labels: Places) -> Places:
    """The same groups, numbered by their first member."""
    _, first, number = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]


def _distinct(words: Words) -> tuple[Words, Places]:
    """Each hash once, and which of them each is."""
    order = np.lexsort(words.T)
    ordered = words[order]
    new = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    which = np.empty(len(words), np.int64)
    which[order] = np.cumsum(new) - 1
    return ordered[new], which


def _all(blocks: Iterator[Places]) -> Places:
    return np.concatenate([np.zeros((0, 2), np.int64), *blocks])


def _labels(count: int, found: Places) -> Places:
    graph = coo_matrix((np.ones(len(found), bool), (found[:, 0], found[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _linking(count: int, blocks: Iterator[Places]) -> Places:
    """Fewer pairs that link the same."""
    kept = np.zeros((0, 2), np.int64)
    waiting: list[Places] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) > FEW:
            labels = _labels(count, np.concatenate([kept, *waiting]))
            first = np.unique(labels, return_index=True)[1][labels]
            linked = np.flatnonzero(first != np.arange(count))
            kept, waiting = np.column_stack([first[linked], linked]), []
    return np.concatenate([kept, *waiting])


def _search(words: Words, distance: int, keep: Callable[[Iterator[Places]], Places]) -> list[Places]:
    """What `keep` makes of the pairs; each pair is given once."""
    ways = _ways(words, distance)
    return list(workers.each(lambda way: keep(way()), ways, "search"))


def _ways(words: Words, distance: int) -> list[Callable[[], Iterator[Places]]]:
    """Independent parts of the search; each gives blocks of pairs."""
    used = np.flatnonzero(np.unpackbits(_differing(words).view(np.uint8), bitorder="little"))
    chunks = [Chunk(tuple(used[list(c.bits)].tolist()), c.radius) for c in plan(len(words), len(used), distance)]
    if not chunks or sum(_work(words, chunk) for chunk in chunks) > PLAIN * len(words) ** 2 / 2:
        return [partial(_striped, words, distance, start) for start in range(0, len(words), ROWS)]
    masks = [chunk.mask(words.shape[1]) for chunk in chunks]
    return [partial(_once, words, distance, chunks[: n + 1], masks) for n in range(len(chunks))]


def _differing(words: Words) -> Words:
    """Bits [W] in which not all agree."""
    return np.asarray(np.bitwise_or.reduce(words, axis=0) & ~np.bitwise_and.reduce(words, axis=0), np.uint64)


def plan(count: int, bits: int, distance: int) -> list[Chunk]:
    """The chunks with which `count` random hashes are searched with the least work; none to compare all with all.

    If c chunks have radius r1 .. rc, hashes that differ in more than ri bits in all of them differ in at least
    (r1 + 1) + .. + (rc + 1) bits, which has to be more than the distance.
    """
    best: list[Chunk] = []
    least = PLAIN * count**2 / 2
    for number in range(max(-(-bits // WIDEST), 1), bits + 1):
        each, more = divmod(distance + 1, number)
        radii = [each] * more + [each - 1] * (number - more)
        widths = [len(range(n, bits, number)) for n in range(number)]
        work = sum(_expected(count, width, radius) for width, radius in zip(widths, radii, strict=True))
        if work < least:
            # the bits are neighbours in the picture, and alike: those of a chunk are taken from all over
            mixed = np.random.default_rng(0).permutation(bits)
            chunks = [Chunk(tuple(mixed[n::number].tolist()), radius) for n, radius in enumerate(radii)]
            best, least = [chunk for chunk in chunks if chunk.radius >= 0], work
    return best


def _expected(count: int, width: int, radius: int) -> float:
    """Work for one chunk of random hashes, in ns."""
    flips = sum(comb(width, flipped) for flipped in range(radius + 1))
    return flips * (PROBE * count + PAIR * float(count) ** 2 / 2.0**width) / 2 + VALUE * 2.0**width


def _work(words: Words, chunk: Chunk) -> float:
    """Work for one chunk of these hashes, in ns.

    How many pairs differ by which flips is the convolution, under exclusive or, of the counts of values with
    themselves; the Walsh-Hadamard transform, which is its own inverse but for a factor, makes a product of it.
    """
    width = len(chunk.bits)
    flips = _flips(width, chunk.radius)
    counts = np.bincount(chunk.values(words), minlength=2**width).astype(np.float64)
    apart = _hadamard(_hadamard(counts) ** 2) / 2**width
    return float(PROBE * len(flips) * len(words) + PAIR * apart[flips].sum()) / 2


def _hadamard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Walsh-Hadamard transform of [2^b] values."""
    step = 1
    while step < len(values):
        low, high = values.reshape(-1, 2, step).transpose(1, 0, 2)
        values = np.stack([low + high, low - high], axis=1).ravel()
        step *= 2
    return values


def _flips(width: int, radius: int) -> NDArray[np.int32]:
    """All numbers below 2^width with at most `radius` bits, sorted."""
    chosen = (bits for flipped in range(radius + 1) for bits in combinations(range(width), flipped))
    return np.array(sorted(sum(1 << bit for bit in bits) for bits in chosen), np.int32)


def _once(words: Words, distance: int, chunks: list[Chunk], masks: list[Words]) -> Iterator[Places]:
    """The pairs that are near in the last one of the chunks, but in none before."""
    for block in _in_chunk(words, distance, chunks[-1]):
        apart = words[block[:, 0]] ^ words[block[:, 1]]
        seen = np.zeros(len(block), bool)
        for chunk, mask in zip(chunks[:-1], masks, strict=False):
            seen |= np.bitwise_count(apart & mask).sum(axis=1) <= chunk.radius
        yield block[~seen]


def _in_chunk(words: Words, distance: int, chunk: Chunk) -> Iterator[Places]:
    """The pairs that are near, and near in the chunk.

    In the order of their values, the hashes of one value lie side by side, and those of a flipped one too.
    """
    values = chunk.values(words)
    order = np.argsort(values, kind="stable")
    values = values[order]
    columns = [np.ascontiguousarray(column) for column in words[order].T]
    starts = np.concatenate([[0], np.cumsum(np.bincount(values, minlength=2 ** len(chunk.bits)))]).astype(np.int32)
    rows, top = np.arange(len(words), dtype=np.int32), -1
    for flip in _flips(len(chunk.bits), chunk.radius).tolist():
        if flip and flip.bit_length() != top:  # of the two values the one without the highest of the flipped bits
            top = flip.bit_length()
            rows = np.flatnonzero((values >> (top - 1) & 1) == 0).astype(np.int32)
        other = values[rows] ^ flip
        begin, end = starts[other] if flip else rows + 1, starts[other + 1]
        for i, j in _expanded(rows, begin, end - begin):
            near = _near(columns, i, j, distance)
            if len(near):
                yield np.sort(np.column_stack([order[i[near]], order[j[near]]]), axis=1)


def _expanded(rows: Rows, begin: Rows, count: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Pairs of each row and the `count` ones from `begin` on, about AT_ONCE at a time."""
    ends = np.cumsum(count, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    cuts = [*np.searchsorted(ends, np.arange(0, total, AT_ONCE), side="right").tolist(), len(rows)]
    for start, stop in pairwise(cuts):
        part, many = slice(start, stop), count[start:stop]
        before = np.cumsum(many) - many
        j = np.arange(many.sum(), dtype=np.int32) + np.repeat(begin[part] - before.astype(np.int32), many)
        yield np.repeat(rows[part], many), j


def _near(columns: list[Words], i: Rows, j: Rows, distance: int) -> Places:
    """Which of these pairs are near; most are not, and half of the bits says so."""
    half = -(-len(columns) // 2)
    apart = np.zeros(len(i), np.uint16)
    for column in columns[:half]:
        apart += np.bitwise_count(column[i] ^ column[j])
    near = np.flatnonzero(apart <= distance)
    apart = apart[near]
    for column in columns[half:]:
        apart += np.bitwise_count(column[i[near]] ^ column[j[near]])
    return near[apart <= distance]


def _striped(words: Words, distance: int, start: int) -> Iterator[Places]:
    """The pairs of ROWS hashes from `start` on with later ones."""
    columns = [np.ascontiguousarray(column) for column in words.T]
    for first in range(start, len(words), AT_ONCE // ROWS):
        apart = np.zeros((min(ROWS, len(words) - start), min(AT_ONCE // ROWS, len(words) - first)), np.uint16)
        for column in columns:
            mine, others = column[start : start + ROWS], column[first : first + AT_ONCE // ROWS]
            apart += np.bitwise_count(mine[:, None] ^ others[None, :])
        found = np.asarray(np.argwhere(apart <= distance) + np.array([start, first]), np.int64)
        yield found[found[:, 0] < found[:, 1]]
