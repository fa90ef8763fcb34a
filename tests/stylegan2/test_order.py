import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semireal.stylegan2.order import Groups, next_images, order, seed_of

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def groups_of(sizes: list[int], shown: list[int]) -> Groups:
    """Groups of so many images, whose numbers are mixed."""
    numbers = np.random.default_rng(0).permutation(sum(sizes))
    return Groups(np.split(numbers, np.cumsum(sizes)[:-1]), shown)


def test_without_groups_it_is_the_order_of_all_earlier_versions() -> None:
    for turn in range(3):
        expected = np.random.default_rng(seed_of(5, "order", turn)).permutation(7)
        assert order(5, turn, 7).tolist() == expected.tolist()
    assert seed_of(5, "order", 1) == 1475929368


def test_each_group_fills_its_part_of_every_pass() -> None:
    groups = groups_of([9, 2, 1], [4, 4, 4])
    for turn in range(5):
        shown = order(1, turn, 12, groups)
        assert [np.isin(shown, members).sum() for members in groups.members] == [4, 4, 4]
    assert order(1, 0, 12, groups).tolist() != order(2, 0, 12, groups).tolist()
    assert [np.unique(groups.times()[members]).tolist() for members in groups.members] == [[4 / 9], [2.0], [4.0]]


def test_a_group_is_shuffled_anew_each_time_that_it_is_through() -> None:
    groups = groups_of([9, 3], [3, 9])
    firsts = [set(order(1, turn, 12, groups).tolist()) & set(groups.members[0].tolist()) for turn in (0, 3, 6, 9)]
    assert all(len(first) == 3 for first in firsts)
    assert len({frozenset(first) for first in firsts}) > 1


@given(SIZES, st.data())
def test_no_image_of_a_group_gets_ahead_of_another(sizes: list[int], data: st.DataObject) -> None:
    cuts = st.integers(1, sum(sizes))
    shown = [1] * len(sizes)
    for _ in range(sum(sizes) - len(sizes)):
        shown[data.draw(cuts) % len(sizes)] += 1
    groups = groups_of(sizes, shown)
    counts = np.zeros(sum(sizes), int)
    for turn in range(7):
        counts += np.bincount(order(3, turn, sum(sizes), groups), minlength=sum(sizes))
        for members, part in zip(groups.members, shown, strict=True):
            assert counts[members].sum() == part * (turn + 1)
            assert np.ptp(counts[members]) <= 1


def test_going_on_from_anywhere_gives_what_would_have_come() -> None:
    groups = groups_of([9, 2, 1], [5, 4, 3])
    straight = next_images(1, 0, 60, 12, groups).tolist()
    for place in (1, 12, 31):
        order.cache_clear()
        assert next_images(1, place, 60 - place, 12, groups).tolist() == straight[place:]


@pytest.mark.parametrize(
    ("sizes", "shown"), [([9, 2, 1], [5, 4, 3]), ([9, 1, 2], [4, 4, 4])], ids=["other parts", "other groups"]
)
def test_the_key_tells_groups_apart(sizes: list[int], shown: list[int]) -> None:
    assert groups_of(sizes, shown).key != groups_of([9, 2, 1], [4, 4, 4]).key
    assert groups_of([9, 2, 1], [4, 4, 4]).key == groups_of([9, 2, 1], [4, 4, 4]).key
