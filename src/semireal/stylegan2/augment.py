"""Adaptive discriminator augmentation (ADA, arXiv:2006.06676): what the discriminator sees is transformed at random.

Each transform is applied to each image with probability p, and p follows from how sure the discriminator is of
the real images. All of it is differentiable twice, for R1.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from semireal.schema import param
from semireal.tensors import carried

GROUPS = {  # of arXiv:2006.06676, appendix B; turns are left to the user, since faces have an up and a down
    "b": ("xflip", "xint"),  # blit
    "g": ("scale", "angle", "aniso", "angle_after", "xfrac"),  # geometric
    "c": ("brightness", "contrast", "lumaflip", "hue", "saturation"),  # colour
}
# Low-pass filter of the wavelet sym6 (Daubechies, Ten Lectures on Wavelets, table 6.3), for resampling.
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
BORDER = len(SYM6) // 2  # pixels that the filters reach beyond the image


@dataclasses.dataclass(frozen=True)
class Transform:
    """One transform per image; None leaves that step out, which spares the resampling.

    It lies on the host, which must know how far the images reach before a GPU is given anything, and only what the
    device computes with is carried over.

    inverse: [N,3,3] from output pixels to input pixels, origin at the image centre, x to the right, y down;
    colour: [N,4,4] on (r, g, b, 1).
    """

    inverse: Tensor | None
    colour: Tensor | None

    def __getitem__(self, index: Tensor) -> "Transform":
        """The transforms of some of the images."""
        return Transform(*(None if m is None else m[index] for m in (self.inverse, self.colour)))

    def __call__(self, images: Tensor) -> Tensor:
        """Transform images [N,3,H,W], which may lie on any device."""
        if self.inverse is not None:
            images = warp(images, self.inverse.to(images.dtype))
        if self.colour is not None:
            images = recolour(images, carried(self.colour.to(images.dtype), images.device))
        return images


def names(groups: str, rotate90: bool) -> tuple[str, ...]:
    """The transforms of groups, such as `bgc` (blit, geometric and colour), and perhaps turns by 90 degrees."""
    return tuple(name for group in groups for name in GROUPS[group]) + (("turns",) if rotate90 else ())


def draw(
    count: int, size: tuple[int, int], enabled: tuple[str, ...], p: float, generator: torch.Generator
) -> Transform:
    """Draw the transforms of `count` images of (width, height) pixels: each of `enabled` with probability p.

    generator: of the host. Strengths are those of arXiv:2006.06676, appendix B.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand([count, *shape], generator=generator, device=generator.device)

    def normal(*shape: int) -> Tensor:
        return torch.randn([count, *shape], generator=generator, device=generator.device)

    makers: dict[str, tuple[Callable[[], Tensor], float]] = {  # the strength, and what leaves the image as it is
        "xflip": (lambda: (uniform() * 2).floor(), 0),
        "turns": (lambda: (uniform() * 4).floor(), 0),
        "xint": (lambda: uniform(2) * 0.25 - 0.125, 0),
        "scale": (lambda: (normal() * 0.2).exp2(), 1),
        "angle": (lambda: (uniform() * 2 - 1) * math.pi, 0),
        "aniso": (lambda: (normal() * 0.2).exp2(), 1),
        "angle_after": (lambda: (uniform() * 2 - 1) * math.pi, 0),
        "xfrac": (lambda: normal(2) * 0.125, 0),
        "brightness": (lambda: normal() * 0.2, 0),
        "contrast": (lambda: (normal() * 0.5).exp2(), 1),
        "lumaflip": (lambda: (uniform() * 2).floor(), 0),
        "hue": (lambda: (uniform() * 2 - 1) * math.pi, 0),
        "saturation": (lambda: normal().exp2(), 1),
    }
    # The two rotations, before and after the anisotropic scaling, are together as likely as another transform.
    p_rotation = 1 - math.sqrt(1 - p)
    geometry: dict[str, Tensor] = {}
    colour: dict[str, Tensor] = {}
    for name in (name for name in makers if name in enabled):
        make, identity = makers[name]
        value = make()
        gate = uniform() < (p_rotation if name.startswith("angle") else p)
        into = colour if name in GROUPS["c"] else geometry
        into[name] = torch.where(gate if value.ndim == 1 else gate[:, None], value, identity)
    return Transform(inverse_of(geometry, size) if geometry else None, colour_of(colour) if colour else None)


def inverse_of(values: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
    """Multiply the geometric transforms up to [N,3,3], from output to input pixels.

    values: each [N] unless said: xflip in {0,1}; turns: of 90 degrees; xint, xfrac [N,2]: shift as a share of
    (width, height), xint rounded to pixels; scale, aniso: factors; angle, angle_after: radians. What is
    missing is the identity.
    """
    width, height = size
    sides = next(iter(values.values())).new_tensor([width, height])
    inverse = torch.eye(3, dtype=sides.dtype, device=sides.device)
    if "xflip" in values:
        inverse = inverse @ _scale(1 - 2 * values["xflip"], torch.ones_like(values["xflip"]))
    if "turns" in values:
        inverse = inverse @ _rotation(values["turns"] * (math.pi / 2))
    if "xint" in values:
        inverse = inverse @ _shift(-(values["xint"] * sides).round())
    if "scale" in values:
        inverse = inverse @ _scale(1 / values["scale"], 1 / values["scale"])
    if "angle" in values:
        inverse = inverse @ _rotation(values["angle"])
    if "aniso" in values:
        inverse = inverse @ _scale(1 / values["aniso"], values["aniso"])
    if "angle_after" in values:
        inverse = inverse @ _rotation(values["angle_after"])
    if "xfrac" in values:
        inverse = inverse @ _shift(-values["xfrac"] * sides)
    return inverse


def colour_of(values: dict[str, Tensor]) -> Tensor:
    """Multiply the colour transforms up to [N,4,4], acting on (r, g, b, 1).

    values, each [N]: brightness: added; contrast, saturation: factors; lumaflip in {0,1}; hue: radians. What is
    missing is the identity.
    """
    some = next(iter(values.values()))
    eye = torch.eye(4, dtype=some.dtype, device=some.device)
    grey = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=some.dtype, device=some.device) / math.sqrt(3)
    luma = torch.outer(grey, grey)
    matrix = eye
    if "brightness" in values:
        added = torch.zeros(len(some), 4, 4, dtype=some.dtype, device=some.device)
        added[:, :3, 3] = values["brightness"][:, None]
        matrix = (eye + added) @ matrix
    if "contrast" in values:
        factors = torch.stack([values["contrast"]] * 3 + [torch.ones_like(some)], dim=1)
        matrix = torch.diag_embed(factors) @ matrix
    if "lumaflip" in values:
        matrix = (eye - 2 * luma * values["lumaflip"][:, None, None]) @ matrix
    if "hue" in values:
        matrix = _about_grey(values["hue"]) @ matrix
    if "saturation" in values:
        matrix = (luma + (eye - luma) * values["saturation"][:, None, None]) @ matrix
    return matrix


def warp(images: Tensor, inverse: Tensor) -> Tensor:
    """Resample images [N,C,H,W] at inverse [N,3,3], on the host, of each output pixel; the surroundings are mirrored.

    Twice the resolution, bilinear, and back, both with the filter sym6 (arXiv:2006.06676, appendix B).
    """
    height, width = images.shape[2:]
    x0, y0, x1, y1 = _margins(inverse, width, height)
    x = F.pad(images, [x0, x1, y0, y1], mode="reflect").contiguous(memory_format=torch.channels_last)
    inverse = _shift(inverse.new_tensor([[(x0 - x1) / 2, (y0 - y1) / 2]])) @ inverse

    # Up: two transposed convolutions, which insert the zeros.
    taps = _sym6(x.dtype, x.device)
    channels = x.shape[1]
    across, down = (taps.reshape(1, 1, *shape).expand(channels, -1, -1, -1) for shape in ((1, -1), (-1, 1)))
    edge = BORDER - 1
    x = F.conv_transpose2d(x, across * 2, stride=(1, 2), padding=(0, edge), groups=channels)
    x = F.conv_transpose2d(x, down * 2, stride=(2, 1), padding=(edge, 0), groups=channels)

    # Sample what the filter of the way back needs.
    out = [2 * side + len(taps) - 2 for side in (width, height)]
    half = inverse.new_tensor([[-0.5, -0.5]])  # pixel centres
    inverse = _scale_all(inverse, 2) @ inverse @ _scale_all(inverse, 0.5)
    inverse = _shift(half) @ inverse @ _shift(-half)
    to_unit = torch.diag(inverse.new_tensor([2 / x.shape[3], 2 / x.shape[2], 1]))
    from_unit = torch.diag(inverse.new_tensor([out[0] / 2, out[1] / 2, 1]))
    theta = carried((to_unit @ inverse @ from_unit)[:, :2], x.device)
    grid = F.affine_grid(theta, [len(x), channels, out[1], out[0]], align_corners=False)
    x = _Sample.apply(x, grid)

    # Down.
    x = F.conv2d(x, across, stride=(1, 2), groups=channels)
    return F.conv2d(x, down, stride=(2, 1), groups=channels)


def recolour(images: Tensor, matrix: Tensor) -> Tensor:
    """Transform the colours of images [N,C,H,W], C = 1 or 3, with matrix [N,4,4]."""
    if images.shape[1] == 1:  # grey: the mean of what the three colours become
        row = matrix[:, :3].mean(dim=1)
        return images * row[:, :3].sum(dim=1)[:, None, None, None] + row[:, 3, None, None, None]
    flat = images.reshape(len(images), 3, -1)
    return (matrix[:, :3, :3] @ flat + matrix[:, :3, 3:]).reshape(images.shape)


class _Sample(torch.autograd.Function):
    """Bilinear sampling with zeros outside, linear in the image, so that it can be differentiated twice.

    PyTorch gives grid_sample no second derivative.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = x.shape
        return _sample(x, grid)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _SampleBack.apply(grads[0], grid, ctx.shape), None


class _SampleBack(torch.autograd.Function):
    """The transpose of _Sample: its gradient is _Sample again."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        with torch.enable_grad():
            x = torch.empty(shape, dtype=grad.dtype, device=grad.device).requires_grad_(True)
            x = x.contiguous(memory_format=torch.channels_last)
            (out,) = torch.autograd.grad(_sample(x, grid), x, grad)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Sample.apply(grads[0], grid), None, None


def _sample(x: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _margins(inverse: Tensor, width: int, height: int) -> tuple[int, int, int, int]:
    """How far the images have to be continued to the left, top, right and bottom, for all of the batch."""
    cx, cy = (width - 1) / 2, (height - 1) / 2
    corners = inverse.new_tensor([[-cx, -cy, 1], [cx, -cy, 1], [cx, cy, 1], [-cx, cy, 1]])
    points = (inverse @ corners.T)[:, :2]  # [N,2,4]
    ends = torch.cat([-points, points], dim=1).amax(dim=[0, 2])  # x0, y0, x1, y1
    ends = ends + BORDER - inverse.new_tensor([cx, cy, cx, cy])
    most = inverse.new_tensor([width - 1, height - 1] * 2)  # mirroring cannot give more
    x0, y0, x1, y1 = torch.minimum(ends.clamp(min=0), most).ceil().int().tolist()
    return x0, y0, x1, y1


@functools.cache
def _sym6(dtype: torch.dtype, device: torch.device) -> Tensor:
    taps = torch.tensor(SYM6)
    return (taps / taps.sum()).to(device, dtype)


def _matrix(rows: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def _scale(x: Tensor, y: Tensor) -> Tensor:
    o, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrix([[x, o, o], [o, y, o], [o, o, one]])


def _scale_all(like: Tensor, factor: float) -> Tensor:
    return torch.diag(like.new_tensor([factor, factor, 1]))


def _shift(by: Tensor) -> Tensor:
    x, y = by.unbind(dim=1)
    o, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrix([[one, o, x], [o, one, y], [o, o, one]])


def _rotation(angle: Tensor) -> Tensor:
    c, s, o, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return _matrix([[c, -s, o], [s, c, o], [o, o, one]])


def _about_grey(angle: Tensor) -> Tensor:
    """Rotation [N,4,4] of colours about the grey axis (Rodrigues)."""
    c, s, o = angle.cos(), angle.sin() / math.sqrt(3), torch.zeros_like(angle)
    third = (1 - c) / 3
    one = torch.ones_like(angle)
    return _matrix(
        [
            [c + third, third - s, third + s, o],
            [third + s, c + third, third - s, o],
            [third - s, third + s, c + third, o],
            [o, o, o, one],
        ]
    )


@dataclasses.dataclass
class Ada:
    """The probability p and the sums that it follows from (arXiv:2006.06676, section 3.1).

    signs: sum of the signs of D's logits of real images since the last change of p, of `count` images.
    """

    p: float = param(low=0, high=1, default=0.0)
    signs: float = param(low=-(2**53), high=2**53, default=0.0)
    count: int = param(low=0, high=2**53, default=0)

    def update(self, target: float, kimg: float) -> None:
        """Move p towards the share of signs `target`, as fast as from 0 to 1 in kimg thousand images."""
        if self.count:
            step = self.count / (kimg * 1000)
            mean = self.signs / self.count
            self.p = min(max(self.p + math.copysign(step, mean - target) * (mean != target), 0.0), 1.0)
        self.signs, self.count = 0.0, 0
