import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from semireal.vision import neighbours
from semireal.vision.neighbours import Places, Words


def slow_pairs(words: Words, distance: int) -> Places:
    apart = np.bitwise_count(words[:, None] ^ words[None]).sum(axis=2, dtype=np.int64)
    found = np.argwhere(apart <= distance)
    return found[found[:, 0] < found[:, 1]]


def slow_groups(words: Words, distance: int) -> Places:
    near = np.bitwise_count(words[:, None] ^ words[None]).sum(axis=2, dtype=np.int64) <= distance
    _, labels = connected_components(near, directed=False)
    seen: dict[int, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in labels.tolist()], np.int64)


def drawn(rng: np.random.Generator, count: int) -> Words:
    return rng.integers(0, 2**64, (count, 4), dtype=np.uint64)


def flipped(rng: np.random.Generator, words: Words, bits: int) -> Words:
    """Each hash with so many random bits flipped."""
    chosen = np.argsort(rng.random((len(words), 256)), axis=1) < bits
    return words ^ np.packbits(chosen, axis=1).view(np.uint64)


def hashes_of(kind: str, rng: np.random.Generator, count: int, distance: int) -> Words:
    """Sets of hashes of which some are hard."""
    words = drawn(rng, count)
    half = count // 2
    if kind == "equal":
        words[:] = words[:1]
    if kind == "at the threshold":
        words[half:] = flipped(rng, words[: count - half], distance)
    if kind == "just above":
        words[half:] = flipped(rng, words[: count - half], distance + 1)
    if kind == "clustered":
        words = flipped(rng, words[rng.integers(0, max(count // 20, 1), count)], 15)
    if kind == "equal in one word":
        words[:, 0] = 7
    if kind == "of few bits":
        words &= np.uint64(0x0101)
    return words


KINDS = ("random", "equal", "at the threshold", "just above", "clustered", "equal in one word", "of few bits")


@pytest.fixture(params=["by chunks", "all with all", "as planned"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which way is taken only time may tell."""
    if request.param != "as planned":
        monkeypatch.setattr(neighbours, "PLAIN", 1e12 if request.param == "by chunks" else 0)
    monkeypatch.setattr(neighbours, "AT_ONCE", 1000)  # blocks end anywhere
    return str(request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distance", [0, 36])
@pytest.mark.parametrize("count", [0, 1, 100])
def test_agrees_with_comparing_all(kind: str, distance: int, count: int) -> None:
    words = hashes_of(kind, np.random.default_rng(count), max(count, 1), distance)[:count]
    assert np.array_equal(neighbours.pairs(words, distance), slow_pairs(words, distance))
    assert np.array_equal(neighbours.groups(words, distance), slow_groups(words, distance))


@settings(deadline=None)  # threads wait for others
@given(st.integers(0, 2**32), st.sampled_from(KINDS), st.integers(0, 200), st.integers(0, 128))
def test_any_distance(seed: int, kind: str, count: int, distance: int) -> None:
    words = hashes_of(kind, np.random.default_rng(seed), max(count, 1), distance)[:count]
    assert np.array_equal(neighbours.pairs(words, distance), slow_pairs(words, distance))
    assert np.array_equal(neighbours.groups(words, distance), slow_groups(words, distance))


@pytest.mark.parametrize("distance", [0, 1, 11, 12, 36, 40, 60])
def test_chunks_find_the_worst_spread_of_bits(distance: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bits that differ, dealt to the chunks so that as many as possible are one bit too far."""
    monkeypatch.setattr(neighbours, "PLAIN", 1e12)
    chunks = neighbours.plan(10**4, 256, distance)
    assert chunks
    bits = [bit for chunk in chunks for bit in chunk.bits]
    assert len(set(bits)) == len(bits)
    # one more flipped bit than the radius in each chunk is beyond the distance, so fewer cannot hide from all of them
    assert sum(chunk.radius + 1 for chunk in chunks) == distance + 1
    one, left = [0, 0, 0, 0], distance
    for chunk in chunks:
        for bit in chunk.bits[: min(chunk.radius + 1, left)]:
            one[bit // 64] |= 1 << bit % 64
        left -= min(chunk.radius + 1, left)
    assert left == 0
    words = np.array([[0, 0, 0, 0], one], np.uint64)
    found = [len(block) for chunk in chunks for block in neighbours._in_chunk(words, distance, chunk)]
    assert sum(found) == 1  # all chunks but one are too far


def test_many_equal_hashes_are_one() -> None:
    """As pairs they would not fit into memory."""
    rng = np.random.default_rng(0)
    words = drawn(rng, 3)[rng.integers(0, 3, 100_000)]
    labels = neighbours.groups(words, 36)
    assert labels.max() == 2
    assert (words[labels == 0] == words[0]).all()


def test_memory_is_bounded_where_nearly_all_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the pairs of a group only those are kept that hold it together."""
    monkeypatch.setattr(neighbours, "FEW", 500)
    rng = np.random.default_rng(0)
    base = drawn(rng, 2)
    words = np.concatenate([flipped(rng, np.repeat(base, 400, axis=0), 8), drawn(rng, 100)])
    most = 0
    labels_of = neighbours._labels

    def seen(count: int, found: Places) -> Places:
        nonlocal most
        most = max(most, len(found))
        return labels_of(count, found)

    monkeypatch.setattr(neighbours, "_labels", seen)
    assert np.array_equal(neighbours.groups(words, 36), slow_groups(words, 36))
    assert len(slow_pairs(words, 36)) > 150_000
    assert most < 90_000  # a stripe at a time, and the links kept of those before


def test_chunks_in_which_too_many_agree_are_not_used() -> None:
    words = hashes_of("random", np.random.default_rng(0), 20_000, 36)
    assert len(neighbours._ways(words, 36)) == len(neighbours.plan(len(words), 256, 36))
    words[:, 1:] = 5
    assert len(neighbours._ways(words, 36)) == -(-len(words) // neighbours.ROWS)
