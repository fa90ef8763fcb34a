"""The parameters of a training run, and the name of all that decides its result."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor

from semireal.errors import UserError
from semireal.stylegan2.augment import GROUPS
from semireal.stylegan2.checkpoint import Networks
from semireal.stylegan2.networks import Config

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Parameters of a training run; a UserError names the first that makes no sense.

    batch: images per step, of all processes together; micro_batch: images that a process works on at once
    (None = its whole share), which changes nothing but rounding; lr: of both Adams; r1_gamma: weight of R1,
    applied every r1_interval steps; pl_weight: weight of the path length penalty, applied every pl_interval
    steps on batch / pl_batch_shrink images; a weight of 0 turns that regulariser off; ema_kimg: half-life of
    the averaged generator in thousands of images, at most ema_rampup (None = no limit) times the images seen;
    style_mixing_prob: probability of mixing two latents in a step; mirror: flip half of the real images;
    ada_target: share of real images with a positive logit that the augmentation aims at (None = no
    augmentation), reached from p = 0 to 1 in ada_kimg thousand images at the fastest, with the transforms of
    ada_groups and, if ada_rotate90, turns by 90 degrees; freeze_d: so many of the first layers of the
    discriminator stay as they start (arXiv:2002.10964); precision: of the features at the low_precision_res
    highest resolutions; channels_last: memory format of the features; tf32: faster, rougher float32 on GPUs;
    compile: torch.compile where no second derivative is needed; epochs: of 1000 images shown; grid: number of
    images in a grid; snapshot_epochs: epochs between grids, measurements and sure saves; patience: so many
    measurements without a better one end the run (None = never).
    """

    network: Config
    epochs: int
    batch: int = 16
    micro_batch: int | None = None
    lr: float = 0.0025
    r1_gamma: float = 1.0
    r1_interval: int = 16
    pl_weight: float = 2.0
    pl_interval: int = 4
    pl_batch_shrink: int = 2
    ema_kimg: float = 5.0
    ema_rampup: float | None = 0.05
    style_mixing_prob: float = 0.9
    mirror: bool = True
    ada_target: float | None = None
    ada_kimg: float = 500
    ada_groups: tuple[str, ...] = tuple(GROUPS)
    ada_rotate90: bool = False
    freeze_d: int = 0
    precision: str = "float32"
    low_precision_res: int = 4
    channels_last: bool = True
    tf32: bool = False
    compile: bool = False
    grid: int = 64
    snapshot_epochs: int = 1
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch", "r1_interval", "pl_interval", "pl_batch_shrink", "grid", "snapshot_epochs"):
            if getattr(self, name) < 1:
                raise UserError(f"train: {name}: found {getattr(self, name)}, need at least 1")
        if self.batch % self.group:
            raise UserError(f"train: batch: found {self.batch}, need a multiple of {self.group}")
        if self.micro_batch is not None and (self.micro_batch < 1 or self.micro_batch % self.group):
            raise UserError(f"train: micro_batch: found {self.micro_batch}, need a multiple of {self.group}")
        if self.lr <= 0:
            raise UserError(f"train: lr: found {self.lr}, need more than 0")
        unknown = set(self.ada_groups) - set(GROUPS)
        if unknown:
            raise UserError(f"train: ada_groups: found {', '.join(sorted(unknown))}, need some of {', '.join(GROUPS)}")
        if self.precision not in PRECISIONS:
            raise UserError(f"train: precision: found {self.precision}, need one of {', '.join(PRECISIONS)}")
        if self.precision == "float16" and self.network.conv_clamp is None:
            raise UserError("train: precision: float16 needs a conv_clamp (256), or its largest number is exceeded")

    @property
    def group(self) -> int:
        """Images in a group of the minibatch standard deviation."""
        return min(self.batch, self.network.mbstd_group_size)


def run_key(config: TrainConfig, data_key: str, start: Networks | None = None) -> str:
    """Name, as 64 hex digits, everything that decides the result of a run except where it stops.

    micro_batch is left out too: who runs out of memory lowers it and goes on.
    """
    fields = dataclasses.asdict(config)
    for name in ("epochs", "patience", "micro_batch"):
        del fields[name]
    digest = hashlib.sha256(json.dumps([fields, data_key], sort_keys=True).encode())
    for tensors in (start.generator, start.discriminator) if start else ():
        _add(digest, tensors or {})
        digest.update(b".")
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {list(tensor.shape)} ".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
