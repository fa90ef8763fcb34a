"""Features of DINOv2 (Oquab et al. 2023) for the Frechet and kernel distance of Stein et al. 2023, FD and KD on DINOv2.

Stein et al. ("Exposing flaws of generative model evaluation metrics", and their program dgm-eval) take ViT-L/14, the
class token behind the last normalization, [N, 1024]; so does this. Pictures are resized and normalized as by
torch-fidelity for its `dinov2-vit-l-14`, and features equal its own. (dgm-eval resizes by Pillow's bicubic filter
instead, so its distances differ.)

torch-fidelity fetches the network itself, code and weights, from the newest state of a repository, runs that code, and
takes no file: `feature_extractor_weights_path` is NotImplementedError. So the network is written down here, with the
names of the published weights, which are loaded as numbers only. torch-fidelity is imported only to resize.
"""

import functools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from semireal.images import Pixels
from semireal.metrics.distances import Features
from semireal.tensors import to_nchw
from semireal.vision import weights

ENV = "SEMIREAL_DINOV2"  # where the weights are, on machines that are offline
EXTRACTOR = "dinov2-vit-l-14"  # torch-fidelity's name of the network
TITLE = "DINOv2 ViT-L/14 (1024 values)"
WIDTH, DEPTH, HEADS = 1024, 24, 16  # of ViT-L; the first is the number of features
BATCH = 16
SIDE = 224  # px, of the pictures as the network sees them
PATCH = 14  # px, side of a patch
GRID = 37  # patches in each direction for which the network has learned places: pictures of 518 px
OFFSET = 0.1  # patches, by which the published network stretches these places when it resizes them
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue in 0..1
EPS = 1e-6  # of all normalizations


def find(given: str | None) -> Path | None:
    """The checked weights that evaluate.dinov2 asks for: a path, `download`, or None for none.

    `download` takes the file that $SEMIREAL_DINOV2 names, or the cache, or the network (1.2 GB). Raises UserError if
    torch-fidelity or the file is not there, or if the file is another.
    """
    return weights.asked(given, "evaluate.dinov2", ENV, weights.DINOV2, "fd_dinov2 and kd_dinov2")


@torch.no_grad()
def extract(path: Path, pictures: Pixels, device: torch.device, batch: int = BATCH) -> Features:
    """Features of NHWC uint8 pictures of any size, [N, WIDTH] float32, about -10..10; path: weights from `find`.

    The size of the batches matters only by rounding.
    """
    net = _network(path).to(device)
    parts = [
        net(_seen(to_nchw(list(pictures[start : start + batch])).to(device))).cpu().numpy()
        for start in range(0, len(pictures), batch)
    ]
    return np.concatenate(parts)


@functools.cache
def _network(path: Path) -> "DinoV2":
    # numbers only: a pickle that asks for anything else is refused before it runs
    state = torch.load(path, map_location="cpu", weights_only=True)
    state.pop("mask_token")  # only training uses it
    with torch.device("meta"):  # without numbers, which the file brings
        net = DinoV2(WIDTH, DEPTH, HEADS)
    net.load_state_dict(state, assign=True)
    return net.requires_grad_(False).eval()


def _seen(x: torch.Tensor) -> torch.Tensor:
    """NCHW uint8 to what the network takes, [N, 3, SIDE, SIDE] float32, as torch-fidelity does it."""
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as resized

    mean, std = (255 * torch.tensor(values, device=x.device).view(3, 1, 1) for values in (MEAN, STD))
    seen: torch.Tensor = (resized(x.float(), size=(SIDE, SIDE), align_corners=False) - mean) / std
    return seen


class Scale(nn.Module):
    """A factor for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return x * self.gamma


class Attention(nn.Module):
    """Each place takes from all others what fits, [N, places, width] to the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        taken = F.scaled_dot_product_attention(query, key, value)
        mixed: torch.Tensor = self.proj(taken.transpose(1, 2).flatten(2))
        return mixed


class Mlp(nn.Module):
    """Two layers at each place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        y: torch.Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


class Block(nn.Module):
    """Attention and two layers, each added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, EPS)
        self.attn = Attention(width, heads)
        self.ls1 = Scale(width)
        self.norm2 = nn.LayerNorm(width, EPS)
        self.mlp = Mlp(width)
        self.ls2 = Scale(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        x = x + self.ls1(self.attn(self.norm1(x)))
        y: torch.Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return y


class Patches(nn.Module):
    """Each patch of a picture as one vector, [N, 3, H, W] to [N, patches, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        y: torch.Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return y


class DinoV2(nn.Module):
    """Features [N, width] of pictures [N, 3, SIDE, SIDE], normalized with MEAN and STD.

    The network of facebookresearch/dinov2, without registers; parameters have its names.
    """

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.patch_embed = Patches(width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + GRID**2, width))
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        patches = self.patch_embed(x)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], dim=1) + self._places()
        features: torch.Tensor = self.norm(self.blocks(tokens)[:, 0])
        return features

    def _places(self) -> torch.Tensor:
        """What is added for each place, [1, 1 + patches, width]: learned for larger pictures, so resized."""
        grid = self.pos_embed[:, 1:].mT.reshape(1, -1, GRID, GRID)
        # a factor and not the size, for the offset counts: the published weights were trained and are used with it
        fitted = F.interpolate(grid, scale_factor=(SIDE // PATCH + OFFSET) / GRID, mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], fitted.flatten(2).transpose(1, 2)], dim=1)
