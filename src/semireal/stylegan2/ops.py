"""The tensor operations of StyleGAN2, fast on a CPU and differentiable twice.

All of them keep the channels-last memory format of their input: there a depthwise 4x4 filter costs a third of
what it costs in the default format, and every convolution is 10 to 40 % faster (measured with oneDNN on two
AVX-512 cores; separable filters, matrix products and per-sample weights were all slower).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SQRT2 = math.sqrt(2)
SLOPE = 0.2  # of the leaky ReLU


def fir_filter() -> Tensor:
    """Give the low-pass filter [4,4] of all resampling: outer([1,3,3,1], [1,3,3,1]) / 64."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) / 64


def upfirdn2d(
    x: Tensor,
    f: Tensor,
    up: Sequence[int] = (1, 1),
    down: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0, 0, 0),
    flip_filter: bool = False,
    gain: float = 1,
) -> Tensor:
    """Insert zeros, pad, filter and decimate: the slow general form that the fast ones are tested against.

    x: [N,C,H,W]; f: [h,w], or [n] for a separable filter; up, down: (x, y), each pixel followed by up-1
    zeros, every down-th kept; padding: (x0, x1, y0, y1) of the up-sampled image, negative = crop;
    flip_filter: correlate instead of convolving.
    """
    f = (torch.outer(f, f) if f.ndim == 1 else f).to(x) * gain
    n, c, h, w = x.shape
    x = x.reshape(n, c, h, 1, w, 1)
    x = F.pad(x, [0, up[0] - 1, 0, 0, 0, up[1] - 1]).reshape(n, c, h * up[1], w * up[0])
    x = F.pad(x, list(padding))
    kernel = f if flip_filter else f.flip([0, 1])
    x = F.conv2d(x, kernel.expand(c, 1, *kernel.shape), groups=c)
    return x[:, :, :: down[1], :: down[0]]


class _Filter(torch.autograd.Function):
    """Depthwise convolution with a constant kernel.

    Its gradient is written as a transposed convolution, since the second derivative of a depthwise F.conv2d
    goes through the channels one by one (3 to 8 times slower) for a gradient of the kernel, which nobody
    needs.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, padding: int, stride: int) -> Tensor:
        ctx.save_for_backward(kernel)
        ctx.options = (x.shape, padding, stride)
        return F.conv2d(x, kernel, stride=stride, padding=padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (kernel,), (shape, padding, stride) = ctx.saved_tensors, ctx.options
        rest = [(n + 2 * padding - kernel.shape[-1]) % stride for n in shape[2:]]  # pixels no output saw
        grad = F.conv_transpose2d(grads[0], kernel, None, stride, padding, rest, groups=shape[1])
        return grad, None, None, None


def filter2d(x: Tensor, f: Tensor, padding: int, stride: int = 1) -> Tensor:
    """Convolve each channel of x [N,C,H,W], zero-padded, with a square filter f, keeping every stride-th."""
    kernel = f.to(x.dtype).flip([0, 1]).expand(x.shape[1], 1, *f.shape)
    if not torch.is_grad_enabled():  # TorchScript cannot save a function of Python
        return F.conv2d(x, kernel, stride=stride, padding=padding, groups=x.shape[1])
    filtered: Tensor = _Filter.apply(x, kernel, padding, stride)
    return filtered


def upsample2d(x: Tensor, f: Tensor) -> Tensor:
    """Double the size of x [N,C,H,W] with a filter f [4,4]: zero insertion, padding (2,1), gain 4."""
    # A transposed convolution inserts the zeros and convolves with the unflipped kernel.
    kernel = (f.to(x.dtype) * 4).expand(x.shape[1], 1, *f.shape)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


def conv2d_up(x: Tensor, weight: Tensor, f: Tensor) -> Tensor:
    """Transposed convolution of x [N,I,H,W] with weight [O,I,3,3], stride 2, and filter f: [N,O,2H,2W]."""
    return filter2d(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), f * 4, padding=1)


def conv2d_down(x: Tensor, weight: Tensor, f: Tensor, bias: Tensor | None = None) -> Tensor:
    """Filter f and convolution of x [N,I,H,W] with weight [O,I,k,k], k = 1 or 3, stride 2: [N,O,H/2,W/2]."""
    if weight.shape[-1] == 1:  # the filter first decimates, so that the 1x1 convolution sees a quarter
        return F.conv2d(filter2d(x, f, padding=1, stride=2), weight, bias)
    return F.conv2d(filter2d(x, f, padding=2), weight, bias, stride=2)


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    bias: Tensor | None = None,
    noise: Tensor | None = None,
    up_filter: Tensor | None = None,
    demodulate: bool = True,
    gain: float = 1,
) -> Tensor:
    """Convolution whose input channels are scaled per sample (StyleGAN2, arXiv:1912.04958, eq. 1 and 3).

    x: [N,I,H,W]; weight: [O,I,k,k]; styles: [N,I]; bias: [O]; noise: broadcastable to [N,1,H',W'];
    up_filter: filter [4,4] of a convolution that doubles the size, or None; demodulate: bring each output map
    back to unit variance, assuming that of the input. Gives gain * (convolution + noise + bias).
    """
    if demodulate and x.dtype == torch.float16:
        # Keeps the sums below the largest float16; the demodulation takes these factors out again.
        weight = weight / (weight.abs().amax([1, 2, 3], keepdim=True) * math.sqrt(weight[0].numel()))
        styles = styles / styles.abs().amax(1, keepdim=True)
    # Scaling the activations before and after equals scaling the weights per sample, and needs one
    # convolution for the whole batch instead of one per sample.
    x = x * styles[:, :, None, None].to(x.dtype)
    kernel, pad = weight.to(x.dtype), weight.shape[-1] // 2
    x = F.conv2d(x, kernel, padding=pad) if up_filter is None else conv2d_up(x, kernel, up_filter)
    if demodulate:
        power = styles.square() @ weight.square().sum([2, 3]).T
        scale = ((power + 1e-8).rsqrt()[:, :, None, None] * gain).to(x.dtype)
    else:
        scale = torch.full_like(x[:1, :, :1, :1], gain)
    offset = torch.zeros_like(scale) if bias is None else (bias * gain)[None, :, None, None].to(x.dtype)
    x = torch.addcmul(offset, x, scale)
    return x if noise is None else x.add_((noise * gain).to(x.dtype))


def leaky_relu(x: Tensor, clamp: float | None = None) -> Tensor:
    """Leaky ReLU of slope 0.2 in place, then clamp to +-clamp.

    The factor sqrt(2) that follows it in StyleGAN2 is put into the weights and biases before it, which are
    smaller than the activations; this is the same because the function is positively homogeneous.
    """
    x = F.leaky_relu(x, SLOPE, inplace=True)
    return x if clamp is None else x.clamp(-clamp, clamp)


def minibatch_std(x: Tensor, group_size: int | None, channels: int = 1) -> Tensor:
    """Append channels with the standard deviation within groups of samples (arXiv:1710.10196, section 3).

    x: [N,C,H,W] with N divisible by min(group_size, N); None = the whole batch is one group. A group are the
    samples n, n + N/group, ... Gives [N, C + channels, H, W].
    """
    n, c, h, w = x.shape
    group = n if group_size is None else min(group_size, n)
    y = x.reshape(group, n // group, channels, c // channels, h, w)
    y = (y.var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=[2, 3, 4])  # [N/group, channels]
    y = y.repeat(group, 1)[:, :, None, None].expand(-1, -1, h, w)
    return torch.cat([x, y], dim=1).contiguous(memory_format=torch.channels_last)


def normalize(z: Tensor) -> Tensor:
    """Scale each row of z [N,Z] to a mean square of 1."""
    return z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
