import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from semireal.training import interpolate
from semireal.training.interpolate import line, slerp, way

NUMBERS = st.floats(-100, 100, width=32)
SHARES = st.floats(0, 1)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Two vectors of one dimension that is not too small to have a direction."""
    dim = draw(st.integers(1, 8))
    a, b = (torch.tensor(draw(st.lists(NUMBERS, min_size=dim, max_size=dim))) for _ in range(2))
    assume(min(a.norm(), b.norm()) > 1e-3)
    return a, b


def at(a: Tensor, b: Tensor, *shares: float) -> Tensor:
    return slerp(a, b, torch.tensor(shares, dtype=torch.float64))


def angle(a: Tensor, b: Tensor) -> float:
    u, v = a.double() / a.double().norm(), b.double() / b.double().norm()
    return 2 * math.atan2(float((u - v).norm()), float((u + v).norm()))


@given(pairs())
def test_ends_are_the_points_themselves(pair: tuple[Tensor, Tensor]) -> None:
    for between in (slerp, line):
        assert torch.equal(between(*pair, torch.tensor([0.0, 1.0])), torch.stack(pair))


@given(pairs(), SHARES)
def test_no_point_is_shorter_or_longer_than_both_ends(pair: tuple[Tensor, Tensor], share: float) -> None:
    a, b = pair
    assume(angle(a, b) < math.pi - 1e-3)  # there is no arc between opposite vectors
    short, long = sorted((float(a.norm()), float(b.norm())))
    assert short * (1 - 1e-5) <= float(at(a, b, share).norm()) <= long * (1 + 1e-5)


@given(pairs(), SHARES)
def test_there_and_back_are_one_arc(pair: tuple[Tensor, Tensor], share: float) -> None:
    a, b = pair
    assume(angle(a, b) < math.pi - 1e-3)
    assert torch.allclose(at(a, b, share), at(b, a, 1 - share), rtol=1e-4, atol=1e-4 * float(max(a.norm(), b.norm())))


@given(pairs(), SHARES)
def test_the_angle_grows_evenly(pair: tuple[Tensor, Tensor], share: float) -> None:
    a, b = pair
    whole = angle(a, b)
    assume(whole < math.pi - 1e-3)
    assert angle(a, at(a, b, share)[0]) == pytest.approx(share * whole, abs=1e-5)


def test_a_quarter_turn_by_hand() -> None:
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    expected = torch.tensor([[2 * math.cos(math.pi / 6), 1.0], [math.sqrt(2), math.sqrt(2)]])
    assert torch.allclose(at(a, b, 1 / 3, 0.5), expected)
    assert torch.allclose(line(a, b, torch.tensor([0.5])), torch.ones(1, 2))
    # White's formula for vectors of one length, in float64 as it stands
    a, b = (torch.nn.functional.normalize(torch.randn(64, dtype=torch.float64), dim=0) for _ in range(2))
    turn = float(torch.dot(a, b).arccos())
    white = (math.sin(0.7 * turn) * a + math.sin(0.3 * turn) * b) / math.sin(turn)
    assert torch.allclose(at(a, b, 0.3)[0], white, rtol=0, atol=1e-12)


@pytest.mark.parametrize("apart", [0.0, 1e-12, 1e-9, 1e-7, 2e-6, 1e-4])
def test_nearly_parallel_vectors_are_no_trouble(apart: float) -> None:
    """Above and below where the arc becomes a line, both are the same to all digits of float32."""
    a = torch.tensor([3.0, 4.0, 0.0], dtype=torch.float64)
    b = a + torch.tensor([0.0, 0.0, 5 * apart], dtype=torch.float64)
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    assert torch.allclose(slerp(a, b, t), line(a, b, t), rtol=1e-8, atol=5 * apart * 1e-6)


@pytest.mark.parametrize("apart", [1e-5, 1e-3, 0.05, 1.0])
def test_an_arc_is_round_however_short(apart: float) -> None:
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    b = torch.tensor([math.cos(apart), math.sin(apart)], dtype=torch.float64)
    assert torch.allclose(at(a, b, 0.2, 0.5, 0.9).norm(dim=1), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-12)


def test_opposite_vectors_and_nothing_are_joined_by_a_line() -> None:
    a = torch.tensor([1.0, 2.0])
    for b in (-a, -3 * a, torch.zeros(2)):
        assert torch.equal(at(a, b, 0.25), line(a, b, torch.tensor([0.25])))


@pytest.mark.parametrize("between", [slerp, line])
@pytest.mark.parametrize("loop", [False, True])
def test_a_way_visits_all_points_in_order(between: Any, loop: bool) -> None:
    points = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    found = way(points, 5, loop, between)
    assert len(found) == interpolate.length_of(4, 5, loop) == (20 if loop else 16)
    assert torch.equal(found[::5][:4], points)
    assert torch.equal(way(points, 1, loop, between), points)


@pytest.mark.parametrize("between", [slerp, line])
def test_the_last_step_of_a_loop_is_like_the_others(between: Any) -> None:
    points = torch.nn.functional.normalize(torch.randn(5, 32, generator=torch.Generator().manual_seed(1)))
    found = way(points, 12, True, between)
    steps = (found.roll(-1, dims=0) - found).norm(dim=1)
    assert steps[-1] <= steps[:-1].max()
    # those of the last leg are all alike, the one that closes it too
    assert torch.allclose(steps[-12:], steps[-12], rtol=1e-4)
