from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import texture
from semireal.manifest import Row
from semireal.metrics import extractors
from semireal.stylegan2 import parallel
from semireal.stylegan2.order import Groups, order
from semireal.training import balance
from semireal.training.balance import MOST

CPU = torch.device("cpu")


def rows_of(artists: Sequence[str], domain: str = "portrait") -> list[Row]:
    return [{"id": f"{domain}{n:04}", "domain": domain, "artist": artist} for n, artist in enumerate(artists)]


def by_name(names: Sequence[str], groups: Groups) -> dict[str, int]:
    """How many images of each name three passes show, divided by three."""
    found = dict.fromkeys(names, 0)
    for turn in range(3):
        for number in order(0, turn, len(names), groups):
            found[names[number]] += 1
    return {name: count // 3 for name, count in found.items()}


def test_an_artist_of_nine_tenths_is_shown_as_often_as_the_others_or_these_four_times_as_often() -> None:
    leaning = ["rest"] * 90 + ["a"] * 6 + ["b"] * 4
    groups = balance.groups(rows_of(leaning), torch.empty(0), "artist", None, CPU)
    assert by_name(leaning, groups) == {"rest": 60, "a": 24, "b": 16}  # 4 x 6 and 4 x 4
    mild = ["rest"] * 60 + ["a"] * 24 + ["b"] * 16
    groups = balance.groups(rows_of(mild), torch.empty(0), "artist", None, CPU)
    assert by_name(mild, groups) == {"rest": 34, "a": 33, "b": 33}
    assert balance.told(groups, "artist") == (
        "train.balance: 3 groups by artist; the largest has 60% of the images and 34% of the showings; images are "
        "shown 0.57 to 2.1 times as often as without"
    )


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_parts_are_as_even_as_the_bound_lets_them_be(sizes: list[int]) -> None:
    shown = balance.evenly(sizes)
    assert sum(shown) == sum(sizes)
    assert all(1 <= part <= MOST * size for part, size in zip(shown, sizes, strict=True))
    most = max(shown)
    assert all(part >= most - 1 or part == MOST * size for part, size in zip(shown, sizes, strict=True))


def test_photos_and_portraits_keep_their_ratio_in_every_pass() -> None:
    photos, portraits = rows_of(["", "", "", ""], "photo"), rows_of(["one"] * 9 + ["two"] * 3)
    rows = [*portraits[:5], *photos, *portraits[5:]]
    groups = balance.share(balance.artists(rows))
    for turn in range(4):
        shown = [rows[number]["domain"] for number in order(0, turn, len(rows), groups)]
        assert shown.count("photo") == 4
    assert groups.times()[5:9].tolist() == [1, 1, 1, 1]  # a photographer of all would be no artist here
    # an artist of both domains has a part of each
    both = balance.share(balance.artists([*rows_of(["one"], "photo"), *rows_of(["one"])]))
    assert len(both.members) == 2


def test_images_without_an_artist_are_each_by_somebody_else() -> None:
    rows = rows_of(["a", " A ", "", "", "b\u00a0c", "B C"])
    assert balance.artists(rows) == [
        *("portrait by a", "portrait by a", "portrait portrait0002", "portrait portrait0003"),
        *("portrait by b c", "portrait by b c"),
    ]
    for missing in ({}, {"artist": None}):
        assert len(set(balance.artists([{"id": name, "domain": "photo"} | missing for name in "xyz"]))) == 3
    plain = balance.share(balance.artists(rows_of([""] * 5)))
    assert plain.times().tolist() == [1] * 5


def test_clusters_find_looks_that_are_apart_and_always_the_same() -> None:
    rng = np.random.default_rng(0)
    planted = np.repeat([0, 1, 2, 3], [8, 8, 8, 8])
    features = rng.normal(size=(32, 40)) + 10 * np.eye(4, 40)[planted]
    found = balance.clusters(features)
    assert len(set(found)) == 4  # sqrt(32 / 2)
    assert len(set(zip(found, planted.tolist(), strict=True))) == 4
    np.random.seed(1)  # noqa: NPY002 - the global generator does not matter
    assert balance.clusters(features) == found
    assert balance.clusters(features[:1]) == [0]
    assert balance.clusters(np.ones((9, 3))) == [0] * 9  # one and the same, nine times
    assert max(balance.clusters(rng.normal(size=(9000, 2)))) == balance.CLUSTERS - 1


def test_looks_are_grouped_within_each_domain(work_root: Path) -> None:
    """Eight versions of one picture and four others, in each domain."""
    kinds = [np.clip(texture(0, 32, 32).astype(int) + n, 0, 255).astype(np.uint8) for n in range(8)]
    kinds += [texture(n, 32, 32) // n for n in range(1, 5)]
    rows = [*rows_of([""] * 12), *rows_of([""] * 12, "photo")]
    images = torch.from_numpy(np.stack([*kinds, *kinds])).permute(0, 3, 1, 2)
    groups = balance.groups(rows, images, "cluster", None, CPU)
    assert [len(members) for members in groups.members] != [12, 12]
    assert sorted(number for members in groups.members for number in members.tolist()) == list(range(24))
    for members in groups.members:
        assert len({rows[number]["domain"] for number in members}) == 1
    alike = next(members for members in groups.members if 0 in members)
    assert set(range(8)) <= set(alike.tolist())
    assert groups.times()[0] < 1 < groups.times()[8:12].max() <= MOST
    assert balance.groups(rows, images, "cluster", None, CPU).key == groups.key


@pytest.mark.parametrize("how", ["artist", "cluster"])
def test_only_the_first_process_looks(how: str, work_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are told, and need no features."""
    rows, images = rows_of(["a", "b"] * 4), torch.zeros(8, 3, 16, 16, dtype=torch.uint8)
    told = balance.groups(rows, images, how, None, CPU)
    names = [""] * 8
    for place, members in enumerate(told.members):
        for number in members:
            names[number] = f"portrait {place}"
    monkeypatch.setattr(parallel, "rank", lambda: 1)
    monkeypatch.setattr(parallel, "tell", lambda _: names)
    monkeypatch.delattr(extractors, "cached")
    assert [one.tolist() for one in balance.groups(rows, images, how, None, CPU).members] == [
        one.tolist() for one in told.members
    ]
