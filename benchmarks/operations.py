"""The single operations that the demo's training step consists of, and other ways to compute them, in turns.

    python benchmarks/operations.py

Milliseconds of CPU (`time.process_time`, one thread), the least of nine rounds in which all ways take turns; batch 8.
`last` and `first` are the memory formats (channels), `weights` and `input` the two gradients.
"""

import functools
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from semireal.stylegan2 import ops, training

BATCH, ROUNDS = 8, 9
FORMATS = {"last": torch.channels_last, "first": torch.contiguous_format}
Way = Callable[[], object]


def in_turns(title: str, ways: dict[str, Way]) -> None:
    """Print the time of each way."""
    least = dict.fromkeys(ways, float("inf"))
    for turn in range(ROUNDS + 2):  # the first two fill caches
        for name, way in ways.items():
            before = time.process_time()
            way()
            if turn > 1:
                least[name] = min(least[name], time.process_time() - before)
    print(f"{title}: " + ", ".join(f"{name} {value * 1000:.1f}" for name, value in least.items()), flush=True)


def maps(channels: int, side: int, layout: torch.memory_format) -> Tensor:
    """Random features."""
    return torch.randn(BATCH, channels, side, side).contiguous(memory_format=layout)


def convolution(inner: int, outer: int, side: int, kernel: int) -> None:
    """Forward and both gradients, of k x k; the 1 x 1 one as a matrix product, too."""
    weight, pad, ways = torch.randn(outer, inner, kernel, kernel), kernel // 2, dict[str, Way]()
    for name, layout in FORMATS.items():
        x, grad = maps(inner, side, layout), maps(outer, side, layout)
        ways[f"{name} forward"] = functools.partial(F.conv2d, x, weight, padding=pad)
        for what, mask in (("input", [True, False, False]), ("weights", [False, True, False])):
            fixed = (grad, x, weight, None, [1, 1], [pad, pad], [1, 1], False, [0, 0], 1, mask)
            ways[f"{name} {what}"] = functools.partial(torch.ops.aten.convolution_backward, *fixed)
    if kernel == 1:
        rows, grads = (maps(n, side, torch.channels_last).permute(0, 2, 3, 1).reshape(-1, n) for n in (inner, outer))
        ways["product forward"] = functools.partial(F.linear, rows, weight[:, :, 0, 0])
        ways["product input"] = functools.partial(torch.mm, grads, weight[:, :, 0, 0])
        ways["product weights"] = functools.partial(torch.mm, grads.T, rows)
    in_turns(f"convolution {kernel} x {kernel}, {inner} to {outer} channels at {side}", ways)


def shifted(x: Tensor) -> Tensor:
    """The low-pass filter as sums of shifted maps."""
    x = F.pad(x, [2, 2, 2, 2])
    x = (x[:, :, :-3] + x[:, :, 3:]).add_(x[:, :, 1:-2], alpha=3).add_(x[:, :, 2:-1], alpha=3)
    return (x[..., :-3] + x[..., 3:]).add_(x[..., 1:-2], alpha=3).add_(x[..., 2:-1], alpha=3).mul_(1 / 64)


def pooled(x: Tensor) -> Tensor:
    """The same as three means of 2 x 2."""
    x = F.pad(x, [2, 2, 2, 2])
    for _ in range(3):
        x = F.avg_pool2d(x, 2, 1)
    return x


def separable(x: Tensor) -> Tensor:
    """The same as a row and a column."""
    taps, count = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8, x.shape[1]
    x = F.conv2d(x, taps.reshape(1, 1, 1, 4).expand(count, -1, -1, -1), padding=(0, 2), groups=count)
    return F.conv2d(x, taps.reshape(1, 1, 4, 1).expand(count, -1, -1, -1), padding=(2, 0), groups=count)


def low_pass(channels: int, side: int) -> None:
    """The depthwise 4 x 4 filter, in five ways that give the same."""
    ways: dict[str, Way] = {}
    for name, layout in FORMATS.items():
        x = maps(channels, side, layout)
        usual = functools.partial(ops.filter2d, x, ops.fir_filter(), padding=2)
        ways[f"{name} 4 x 4"] = usual
        for other in (separable, shifted, pooled):
            torch.testing.assert_close(other(x), usual())
            ways[f"{name} {other.__name__}"] = functools.partial(other, x)
    in_turns(f"filter, {channels} channels at {side}", ways)


def main() -> None:
    """Print one line for each operation."""
    torch.set_num_threads(1)
    training.prepare(tf32=False)
    for channels, side in ((16, 128), (32, 64), (64, 32)):
        convolution(channels, channels, side, 3)
        low_pass(channels, side)
    for inner, outer, side in ((16, 3, 128), (3, 16, 128), (16, 32, 64), (32, 64, 32)):
        convolution(inner, outer, side, 1)


if __name__ == "__main__":
    main()
