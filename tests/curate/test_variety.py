import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semireal.curate import variety
from semireal.manifest import Row


def rows_of(column: str, *values: Any, **more: Any) -> list[Row]:
    return [{"status": "kept", column: value} | more for value in values]


def test_effective_numbers_of_known_distributions() -> None:
    assert variety.effective([7]) == 1
    assert variety.effective([3, 3, 3, 3]) == pytest.approx(4)
    # three quarters and a quarter: 4 / 3^(3/4)
    assert variety.effective([30, 10]) == pytest.approx(4 / 3**0.75)
    assert variety.effective([9000, *[1] * 10]) < 1.02


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30))
def test_an_effective_number_is_between_one_and_all_and_doubles_with_the_classes(counts: list[int]) -> None:
    found = variety.effective(counts)
    assert 1 - 1e-9 <= found <= len(counts) + 1e-9
    assert variety.effective([2 * count for count in counts]) == pytest.approx(found)
    assert variety.effective(counts * 2) == pytest.approx(2 * found)


def test_artists_the_largest_first_and_the_rest_in_one() -> None:
    artists = ["one"] * 20 + ["two"] * 5 + list("abcdefgh") + ["", None]
    found = variety.summary(rows_of("artist", *artists))["artist"]
    assert found["images"] == {"one": 20, "two": 5, "a": 1, "b": 1, "c": 1, "d": 1, "others": 4}
    assert (found["classes"], found["unknown"]) == (10, 2)
    assert found["effective"] == round(variety.effective([20, 5, *[1] * 8]), 2)
    assert variety.told("artist", found) == "artist: 10, effective 4.21, largest 61%; not known of 2"


def test_what_is_left_out_and_what_nobody_measured_does_not_count() -> None:
    rows = [*rows_of("hair", "dark", "dark", "red", ""), {"status": "rejected", "hair": "grey", "artist": "x"}]
    assert variety.summary(rows) == {
        "hair": {
            "classes": 2,
            "effective": round(variety.effective([2, 1]), 2),
            "images": {"dark": 2, "red": 1},
            "unknown": 1,
        }
    }
    assert variety.summary([]) == {}


@pytest.mark.parametrize(
    ("column", "name", "values", "expected"),
    [
        ("turn", "turn", (0.0, 0.3, 0.5, 1.7), {"towards the viewer": 2, "half turned": 1, "turned": 1}),
        ("tilt", "tilt", (0.0, 12.0, 170.0), {"tilted": 1, "upright": 1, "very tilted": 1}),
        ("light", "light", (30.0, 50.0, 70.0), {"bright": 1, "dark": 1, "medium": 1}),
        ("side", "side light", (-9.0, 0.0, 5.0), {"even": 1, "from the left": 1, "from the right": 1}),
    ],
)
def test_classes_of_numbers(column: str, name: str, values: tuple[float, ...], expected: dict[str, int]) -> None:
    found = variety.summary(rows_of(column, *values, math.nan, None))
    assert found[name]["images"] == expected
    assert found[name]["unknown"] == 2


def test_names_of_others_stay_on_one_line() -> None:
    found = variety.summary(rows_of("artist", "a\nb\x1b[31m", "<b>"))["artist"]
    assert list(found["images"]) == ["<b>", "a b [31m"]
