"""How long a site is left alone after which failures."""

import pytest

from semireal.collect import failures
from semireal.collect.failures import Failure
from semireal.collect.health import Health, Patience

PATIENCE = Patience(first_wait=30, longest_wait=100, strikes=5)


@pytest.mark.parametrize(
    ("kind", "alone", "waits"),
    [
        (failures.SERVER, True, [0, 30, 60, 100, 100]),  # the first may be the file's own
        (failures.SERVER, False, [30, 60, 100, 100, 100]),
        (failures.RATE, True, [30, 60, 100, 100, 100]),  # of that the site alone speaks
    ],
)
def test_waits_grow_up_to_the_longest_until_the_site_is_left(kind: str, alone: bool, waits: list[int]) -> None:
    health = Health(PATIENCE)
    for wait in waits:
        assert not health.stopped()
        health.ill(Failure(kind), 1000, 0, alone=alone)
        assert health.until == 1000 + wait
    assert health.stopped()
    health.well()
    assert (health.until, health.problem, health.stopped()) == (0, "", False)


@pytest.mark.parametrize(("asked", "wait"), [(7, 30), (900, 900)])
def test_the_longer_of_our_wait_and_the_sites_counts_and_is_said(asked: float, wait: float) -> None:
    health = Health(PATIENCE)
    health.ill(Failure(failures.RATE), 1000, asked, alone=True)
    assert health.until == 1000 + wait
    assert health.problem == f"rate limited, the site asks to wait {asked:.0f} s"
