"""Ways from one point to the next, in the latents z or in the styles w."""

from collections.abc import Callable

import torch
from torch import Tensor

STRAIGHT = 1e-6  # sine of an angle below which an arc differs from a line by less than float32 tells

Between = Callable[[Tensor, Tensor, Tensor], Tensor]


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points on the arc from a to b, [dim] each, at t [n] from 0 to 1 -> [n, dim].

    White 2016 (arXiv:1609.04468), with the angle s between a and b:

        sin((1 - t) s) / sin(s) * a + sin(t s) / sin(s) * b

    for the directions of a and b; the length goes from that of a to that of b on a line, so none between is shorter or
    longer than both. At t = 0 and 1 they are a and b themselves. The angle is Kahan's, 2 atan2(|u - v|, |u + v|) of
    vectors of one length, since arccos loses half of the digits of a small one. Nearly parallel vectors are joined by a
    line, which is then the arc; so are opposite ones, between which there is no arc to choose.
    """
    start, end, share = a.double(), b.double(), t.double()[:, None]
    long_a, long_b = start.norm(), end.norm()
    u, v = start * long_b, end * long_a
    angle = 2 * torch.atan2((u - v).norm(), (u + v).norm())
    sine = angle.sin()
    if sine < STRAIGHT:
        return line(a, b, t)
    length = (1 - share) * long_a + share * long_b
    towards_a = ((1 - share) * angle).sin() / sine * length / long_a
    towards_b = (share * angle).sin() / sine * length / long_b
    points: Tensor = towards_a * start + towards_b * end
    return points.to(a.dtype)


def line(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points on the line from a to b, [dim] each, at t [n] from 0 to 1 -> [n, dim]."""
    return torch.lerp(a, b, t.to(a)[:, None])


def way(points: Tensor, steps: int, loop: bool, between: Between) -> Tensor:
    """A way through points [n, dim], `steps` from one to the next -> [frames, dim]; see `length_of` for how many.

    loop: from the last on to the first, which does not come twice: shown again and again, each step is like the others.
    Else the way ends at the last point.
    """
    t = torch.arange(steps, dtype=torch.float64, device=points.device) / steps
    ends = points.roll(-1, dims=0) if loop else points[1:]
    legs = [between(a, b, t) for a, b in zip(points, ends, strict=False)]  # the last is no start, but of a loop
    return torch.cat(legs if loop else [*legs, points[-1:]])


def length_of(points: int, steps: int, loop: bool) -> int:
    """How many frames `way` has."""
    return points * steps if loop else (points - 1) * steps + 1
