"""Generator and discriminator of StyleGAN2 (arXiv:1912.04958): skip generator, residual discriminator.

Parameter and buffer names are those of the public implementation, so that its state dicts load unchanged.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semireal import schema
from semireal.errors import UserError
from semireal.schema import param
from semireal.stylegan2 import ops
from semireal.stylegan2.ops import SQRT2

Noise = Literal["const", "random", "none"]

# Far above any real network, and so low that counts of numbers stay below 2**63 and an empty network is made at once.
MOST_UNITS = 10**6  # of a layer
MOST_LAYERS = 256  # of a mapping


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that fix the shape of both networks; a UserError names the first that makes no sense.

    conv_clamp: activations are clamped to +-conv_clamp; None = not clamped.
    """

    img_resolution: int = param(high=MOST_UNITS)
    z_dim: int = param(low=1, high=MOST_UNITS, default=512)
    w_dim: int = param(low=1, high=MOST_UNITS, default=512)
    mapping_layers: int = param(low=1, high=MOST_LAYERS, default=8)
    channel_base: int = param(high=MOST_UNITS**2, default=32768)  # channel_max may be what limits the channels
    channel_max: int = param(low=1, high=MOST_UNITS, default=512)
    conv_clamp: float | None = param(high=1e38, default=None)
    mbstd_group_size: int = param(low=1, high=MOST_UNITS, default=4)

    def __post_init__(self) -> None:
        schema.check(self)
        resolution = self.img_resolution
        if resolution < 8 or resolution & (resolution - 1):
            raise UserError(f"img_resolution: found {resolution}, need a power of two of at least 8")
        if self.channel_base < resolution:
            raise UserError(f"channel_base: found {self.channel_base}, need at least {resolution}, the resolution")
        if self.conv_clamp is not None and self.conv_clamp <= 0:
            raise UserError(f"conv_clamp: found {self.conv_clamp}, need more than 0, or null for no clamp")

    def channels(self, resolution: int) -> int:
        """Number of feature maps at a resolution."""
        return min(self.channel_base // resolution, self.channel_max)

    def block_resolutions(self) -> list[int]:
        """Resolutions of the blocks: 4, 8, ... img_resolution."""
        return [2**i for i in range(2, self.img_resolution.bit_length())]


class FullyConnected(nn.Module):
    """Linear layer with equalised learning rate, which lr_multiplier scales."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activate: bool = False,
        lr_multiplier: float = 1,
        bias_init: float = 0,
    ) -> None:
        super().__init__()
        self.activate = activate
        self.lr_multiplier = lr_multiplier
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], float(bias_init)))

    def forward(self, x: Tensor) -> Tensor:
        """[N,in] -> [N,out]."""
        gain = self.lr_multiplier * (SQRT2 if self.activate else 1)
        x = F.linear(x, self.weight * (gain / math.sqrt(self.weight.shape[1])), self.bias * gain)
        return ops.leaky_relu(x) if self.activate else x


class Mapping(nn.Module):
    """From latents z to styles w, with the running average w_avg as the centre of truncation."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, num_ws: int, num_layers: int) -> None:
        super().__init__()
        self.num_ws = num_ws
        self.num_layers = num_layers
        for i in range(num_layers):
            layer = FullyConnected(z_dim if i == 0 else w_dim, w_dim, activate=True, lr_multiplier=0.01)
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """[N,z_dim] -> ws [N,num_ws,w_dim]; the first cutoff of them are w_avg + psi * (w - w_avg)."""
        x = ops.normalize(z)
        for i in range(self.num_layers):
            x = self.get_submodule(f"fc{i}")(x)
        ws = x.unsqueeze(1).expand(-1, self.num_ws, -1)
        if psi == 1:
            return ws
        cutoff = self.num_ws if cutoff is None else cutoff
        return torch.cat([self.w_avg.lerp(ws[:, :cutoff], psi), ws[:, cutoff:]], dim=1)

    @torch.no_grad()
    def update_w_avg(self, w: Tensor, beta: float = 0.995) -> None:
        """Move w_avg towards the mean of w [N,w_dim]; beta is the weight of the old value."""
        self.w_avg.copy_(w.mean(dim=0).lerp(self.w_avg, beta))


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias and leaky ReLU; doubles the size if up."""

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, resolution: int, up: bool, clamp: float | None
    ) -> None:
        super().__init__()
        self.up = up
        self.clamp = clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", ops.fir_filter())

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """X [N,in,h,h], w [N,w_dim], noise [res,res] or [N,1,res,res] -> [N,out,res,res]."""
        added = None if noise is None else noise * self.noise_strength
        up_filter = self.resample_filter if self.up else None
        x = ops.modulated_conv2d(x, self.weight, self.affine(w), self.bias, added, up_filter, gain=SQRT2)
        return ops.leaky_relu(x, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to three colours, without demodulation."""

    def __init__(self, in_channels: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """X [N,in,h,h], w [N,w_dim] -> [N,3,h,h]."""
        styles = self.affine(w) / math.sqrt(self.weight.shape[1])
        x = ops.modulated_conv2d(x, self.weight, styles, self.bias, demodulate=False)
        x = x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
        return x.to(self.weight.dtype)  # the colours add up at full precision


class SynthesisBlock(nn.Module):
    """All layers of the generator at one resolution; the first block starts from a learned constant.

    dtype: of the features; None = that of the weights.
    """

    resample_filter: Tensor
    dtype: torch.dtype | None = None
    memory_format = torch.channels_last

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, resolution: int, clamp: float | None) -> None:
        super().__init__()
        self.first = in_channels == 0
        self.register_buffer("resample_filter", ops.fir_filter())
        if self.first:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, w_dim, resolution, up=True, clamp=clamp)
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim, resolution, up=False, clamp=clamp)
        self.torgb = ToRGB(out_channels, w_dim, clamp)

    def forward(
        self, x: Tensor | None, img: Tensor | None, ws: Sequence[Tensor], noise: Iterator[Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        """Features, image, styles (2 for the first block, else 3; each [N,w_dim]), noise -> features, image."""
        dtype = self.dtype or self.torgb.weight.dtype
        if x is None or img is None:
            x = self.const.to(dtype).expand(ws[0].shape[0], -1, -1, -1).contiguous(memory_format=self.memory_format)
            x = self.conv1(x, ws[0], next(noise))
            return x, self.torgb(x, ws[1])
        x = self.conv0(x.to(dtype), ws[0], next(noise))
        x = self.conv1(x, ws[1], next(noise))
        return x, self.torgb(x, ws[2]) + ops.upsample2d(img, self.resample_filter)

    def layers(self) -> list[SynthesisLayer]:
        """The layers that add noise, in order."""
        return [self.conv1] if self.first else [self.conv0, self.conv1]


class Synthesis(nn.Module):
    """From styles ws to images."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.block_resolutions = config.block_resolutions()
        self.num_ws = 2 * len(self.block_resolutions)
        in_channels = 0
        for res in self.block_resolutions:
            block = SynthesisBlock(in_channels, config.channels(res), config.w_dim, res, config.conv_clamp)
            self.add_module(f"b{res}", block)
            in_channels = config.channels(res)

    def forward(
        self, ws: Tensor, noise: Noise | Sequence[Tensor] = "const", generator: torch.Generator | None = None
    ) -> Tensor:
        """Ws [N,num_ws,w_dim] -> images [N,3,H,W], about [-1,1].

        noise: the stored maps, fresh ones drawn from generator (None = PyTorch's own), none, or what
        `draw_noise` gave.
        """
        maps: Iterator[Tensor | None]
        if noise == "const":
            maps = (layer.noise_const for block in self.blocks() for layer in block.layers())
        elif noise == "none":
            maps = (None for block in self.blocks() for _ in block.layers())
        else:
            drawn = self.draw_noise(len(ws), generator) if isinstance(noise, str) else noise
            maps = (one.to(ws) for one in drawn)
        x: Tensor | None = None
        img: Tensor | None = None
        styles = ws.unbind(dim=1)
        for i, block in enumerate(self.blocks()):
            first = max(2 * i - 1, 0)  # the last style of a block is also the first of the next
            x, img = block(x, img, styles[first : 2 * i + 2], maps)
        assert img is not None
        return img

    def blocks(self) -> list[SynthesisBlock]:
        """The blocks from 4x4 up."""
        return [getattr(self, f"b{res}") for res in self.block_resolutions]

    def draw_noise(self, count: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """Fresh noise for `count` images: one standard normal map [count,1,res,res] per layer."""
        device = self.blocks()[0].const.device if generator is None else generator.device
        return [
            torch.randn([count, 1, *layer.noise_const.shape], generator=generator, device=device)
            for block in self.blocks()
            for layer in block.layers()
        ]


class Generator(nn.Module):
    """Mapping and synthesis network."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.synthesis = Synthesis(config)
        self.mapping = Mapping(config.z_dim, config.w_dim, self.synthesis.num_ws, config.mapping_layers)

    def forward(
        self,
        z: Tensor,
        psi: float = 1.0,
        cutoff: int | None = None,
        noise: Noise | Sequence[Tensor] = "const",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Latents z [N,z_dim], standard normal -> images [N,3,H,W]; see Mapping and Synthesis."""
        img: Tensor = self.synthesis(self.mapping(z, psi, cutoff), noise, generator)
        return img


class ConvLayer(nn.Module):
    """Convolution with equalised learning rate; halves the size if down; leaky ReLU if there is a bias."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        bias: bool = True,
        down: bool = False,
        clamp: float | None = None,
        gain: float = 1,
    ) -> None:
        super().__init__()
        self.down = down
        self.gain = gain * (SQRT2 if bias else 1)
        self.clamp = None if clamp is None else clamp * gain
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("resample_filter", ops.fir_filter())

    def forward(self, x: Tensor) -> Tensor:
        """[N,in,H,W] -> [N,out,H',W']."""
        weight = (self.weight * (self.gain / math.sqrt(self.weight[0].numel()))).to(x.dtype)
        bias = None if self.bias is None else (self.bias * self.gain).to(x.dtype)
        if self.down:
            x = ops.conv2d_down(x, weight, self.resample_filter, bias)
        else:
            x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        return x if bias is None else ops.leaky_relu(x, self.clamp)


class DiscriminatorBlock(nn.Module):
    """Residual block that halves the size; the first one starts from the image.

    dtype: of the features; None = that of the weights.
    """

    resample_filter: Tensor
    dtype: torch.dtype | None = None

    def __init__(self, in_channels: int, out_channels: int, first: bool, clamp: float | None) -> None:
        super().__init__()
        self.register_buffer("resample_filter", ops.fir_filter())
        self.fromrgb = ConvLayer(3, in_channels, 1, clamp=clamp) if first else None
        self.conv0 = ConvLayer(in_channels, in_channels, 3, clamp=clamp)
        self.conv1 = ConvLayer(in_channels, out_channels, 3, down=True, clamp=clamp, gain=1 / SQRT2)
        self.skip = ConvLayer(in_channels, out_channels, 1, bias=False, down=True, gain=1 / SQRT2)

    def forward(self, x: Tensor) -> Tensor:
        """[N,in,H,W] (first block: [N,3,H,W]) -> [N,out,H/2,W/2]."""
        x = x.to(self.dtype or self.skip.weight.dtype)
        if self.fromrgb is not None:
            x = self.fromrgb(x)
        skip: Tensor = self.skip(x)
        return skip.add_(self.conv1(self.conv0(x)))

    def layers(self) -> list[ConvLayer]:
        """The layers in the order in which freeze-D counts them."""
        return [layer for layer in (self.fromrgb, self.conv0, self.conv1, self.skip) if layer is not None]


class DiscriminatorEpilogue(nn.Module):
    """Minibatch standard deviation and the layers from 4x4 to the logit."""

    def __init__(self, in_channels: int, mbstd_group_size: int, clamp: float | None) -> None:
        super().__init__()
        self.mbstd_group_size = mbstd_group_size
        self.conv = ConvLayer(in_channels + 1, in_channels, 3, clamp=clamp)
        self.fc = FullyConnected(in_channels * 16, in_channels, activate=True)
        self.out = FullyConnected(in_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N,C,4,4] -> [N,1]; UserError where N cannot be divided into groups."""
        if len(x) % min(self.mbstd_group_size, len(x)):
            need = f"a multiple of {self.mbstd_group_size}, or fewer"
            raise UserError(f"discriminator: found {len(x)} images, need {need}: it compares them in groups")
        x = self.conv(ops.minibatch_std(x.to(self.out.weight.dtype), self.mbstd_group_size))
        logits: Tensor = self.out(self.fc(x.flatten(1)))
        return logits


class Discriminator(nn.Module):
    """Residual discriminator; its logits are positive for what looks real."""

    memory_format = torch.channels_last

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.block_resolutions = config.block_resolutions()[::-1]
        for res in self.block_resolutions[:-1]:
            first = res == config.img_resolution
            block = DiscriminatorBlock(config.channels(res), config.channels(res // 2), first, config.conv_clamp)
            self.add_module(f"b{res}", block)
        self.b4 = DiscriminatorEpilogue(config.channels(4), config.mbstd_group_size, config.conv_clamp)

    def forward(self, img: Tensor) -> Tensor:
        """Images [N,3,H,W] in [-1,1], N divisible by min(mbstd_group_size, N) -> logits [N,1]."""
        x = img.contiguous(memory_format=self.memory_format)
        for block in self.blocks():
            x = block(x)
        logits: Tensor = self.b4(x)
        return logits

    def blocks(self) -> list[DiscriminatorBlock]:
        """The blocks from the image down to 8x8."""
        return [getattr(self, f"b{res}") for res in self.block_resolutions[:-1]]


def set_precision(network: Generator | Discriminator, dtype: torch.dtype, count: int, channels_last: bool) -> None:
    """Compute the `count` highest resolutions with dtype (arXiv:2006.06676, appendix D); weights stay as they are.

    channels_last: memory format of the features, else channels first.
    """
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    if isinstance(network, Generator):
        synthesis = network.synthesis.blocks()
        synthesis[0].memory_format = memory_format
        for block in synthesis[::-1][:count]:
            block.dtype = dtype
    else:
        network.memory_format = memory_format
        for layer in network.blocks()[:count]:
            layer.dtype = dtype


def build_generator(config: Config, seed: int) -> Generator:
    """Make a generator whose random initialisation depends on the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Generator(config)


def build_discriminator(config: Config, seed: int) -> Discriminator:
    """Make a discriminator whose random initialisation depends on the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Discriminator(config)
