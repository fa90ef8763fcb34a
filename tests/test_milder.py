from typing import Any

import pytest

from semireal import milder
from semireal.curate import filter as sieve
from semireal.params.filter import Filter

PARAMS = Filter(0, 128, 0.45, 48.0, None, None, None, 1.0, None, None, None, None, None)
GOOD: dict[str, Any] = {
    "crop_side": 200,
    "bytes": 50_000,
    "sharpness": 0.7,
    "detail": 120,
    "p_photo": 1.0,
    "p_portrait": 0.0,
}
GOOD |= {"p_line_art": 0.0, "p_anime": 0.0, "domain": "photo"}


def of(**changes: Any) -> dict[str, Any]:
    return GOOD | changes


def test_what_a_milder_threshold_would_bring_back(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [of(crop_side=100)] * 5 + [of(crop_side=60)] * 3 + [of(crop_side=100, sharpness=0.1)] * 2
    rows += [of(turn=1.2)] * 4 + [of()] * 6
    found = milder.brings_back(rows, PARAMS, sieve.MILDER, sieve.verdict)
    assert found == {"min_side: 96": 5, "max_turn: 1.25": 4}
    milder.say("filter", found, PARAMS)
    assert "filter: filter.min_side: 96 instead of 128 would bring back 5 images\n" in capsys.readouterr().err


def test_nothing_is_said_where_little_would_come_back() -> None:
    rows = [of(crop_side=100)] + [of()] * 99
    assert milder.brings_back(rows, PARAMS, sieve.MILDER, sieve.verdict) == {}
    assert milder.brings_back([], PARAMS, sieve.MILDER, sieve.verdict) == {}


def test_null_has_no_milder_value() -> None:
    names = set(milder.settings(PARAMS, sieve.MILDER))
    assert names == {"min_side: 96", "min_detail: 36.0", "min_sharpness: 0.36", "max_turn: 1.25"}
