"""A short soak; `python tests/drills/soak.py` goes on for as long as one likes."""

from pathlib import Path

import pytest

from drills.soak import Round, soak
from tiny import copy


@pytest.mark.slow
def test_changed_and_killed_at_random_nothing_differs_and_nothing_piles_up(made: Path, tmp_path: Path) -> None:
    done: list[Round] = list(soak(copy(made, tmp_path / "repo"), rounds=3, seed=1))
    assert [(one.number, one.faults) for one in done] == [(1, []), (2, []), (3, [])]
