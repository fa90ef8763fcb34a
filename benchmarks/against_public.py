"""Training and sampling speed side by side with the public implementation, in turns, in one process, on the CPU.

    python benchmarks/against_public.py DIR [--resolution 64 --batch 16 --channel-base 8192 --channel-max 128] [--ada]

DIR holds the public code of stylegan3, whose folders `training` and `torch_utils` are imported from there; it is not
part of this repository and has its own licence. Both get the same allocator settings (`training.prepare`), the same
sizes, losses, lazy intervals and, with --ada, all twelve transforms at p = 0.5. The public side uses its form of the
modulated convolution that is meant for training (scaled activations, no grouped convolution).
"""

import argparse
import copy
import dataclasses
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semireal.params import whole
from semireal.pipeline.compose import compose
from semireal.stylegan2 import training
from semireal.stylegan2.step import Step

ROOT = Path(__file__).resolve().parents[1]
PERIOD = 16  # steps between two R1 penalties
Z_DIM = 512
ADA = (
    *("xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac"),
    *("brightness", "contrast", "lumaflip", "hue", "saturation"),
)


class Public:
    """The public networks, loss and loop, as far as they cost time."""

    def __init__(self, given: argparse.Namespace, images: Tensor) -> None:
        sys.path.insert(0, str(given.public))
        networks, loss, augment = (
            importlib.import_module(f"training.{name}") for name in (given.networks, "loss", "augment")
        )
        size: dict[str, Any] = {"channel_base": given.channel_base, "channel_max": given.channel_max}
        size |= {"num_fp16_res": 0, "conv_clamp": None}
        more = {"mapping_kwargs": {"num_layers": 8}, "fused_modconv_default": "inference_only"}
        self.G: nn.Module = networks.Generator(Z_DIM, 0, Z_DIM, given.resolution, 3, **more, **size).train()
        self.D: nn.Module = networks.Discriminator(0, given.resolution, 3, **size).train()
        self.G_ema = copy.deepcopy(self.G).eval()
        pipe = None
        if given.ada:
            pipe = augment.AugmentPipe(**dict.fromkeys(ADA, 1)).train().requires_grad_(False)
            pipe.p.copy_(torch.tensor(0.5))
        self.loss = loss.StyleGAN2Loss("cpu", self.G, self.D, pipe, r1_gamma=1, style_mixing_prob=0.9, pl_weight=2)
        self.optimizers = {
            self.G: torch.optim.Adam(self.G.parameters(), lr=0.002, betas=(0.0, 0.99**0.8), eps=1e-8),
            self.D: torch.optim.Adam(self.D.parameters(), lr=0.0023, betas=(0.0, 0.99 ** (16 / 17)), eps=1e-8),
        }
        self.images = images
        self.label = torch.zeros(given.batch, 0)
        self.z = torch.randn(given.batch, Z_DIM)
        self.done = 0

    def step(self) -> None:
        """One step: the four phases at their rates, and the averaged generator."""
        batch = len(self.z)
        real = self.images[torch.randint(0, len(self.images), (batch,))].float() / 127.5 - 1
        phases = (("Gmain", self.G, 1), ("Greg", self.G, 4), ("Dmain", self.D, 1), ("Dreg", self.D, 16))
        for phase, network, every in phases:
            if self.done % every == 0:
                self._phase(phase, network, every, real)
        with torch.no_grad():
            for old, new in zip(self.G_ema.parameters(), self.G.parameters(), strict=True):
                old.copy_(new.lerp(old, 0.99))
        self.done += 1

    def _phase(self, phase: str, network: nn.Module, gain: int, real: Tensor) -> None:
        optimizer = self.optimizers[network]
        optimizer.zero_grad(set_to_none=True)
        for one in (self.G, self.D):
            one.requires_grad_(one is network)
        z = torch.randn(len(self.z), Z_DIM)
        self.loss.accumulate_gradients(phase, real, self.label, z, self.label, gain, 0)
        for p in network.parameters():
            if p.grad is not None:
                torch.nan_to_num(p.grad, nan=0, posinf=1e5, neginf=-1e5, out=p.grad)
        optimizer.step()

    @torch.no_grad()
    def sample(self) -> None:
        """One batch of images."""
        self.G_ema(self.z, self.label, truncation_psi=0.5, noise_mode="const")


class Ours:
    """The same with this repository."""

    def __init__(self, given: argparse.Namespace, images: Tensor) -> None:
        train = dataclasses.replace(
            whole.check(compose(ROOT, "profile=full")).train,
            resolution=given.resolution,
            z_dim=Z_DIM,
            w_dim=Z_DIM,
            mapping_layers=8,
            channel_base=given.channel_base,
            channel_max=given.channel_max,
            conv_clamp=None,
            batch=given.batch,
            r1_interval=PERIOD,
            ada_target=0.6 if given.ada else None,
            ada_kimg=1e9,  # p stays where it is put
            ada_rotate90=True,
            precision="float32",
        )
        self.state = training.new_state(train, 0, "benchmark", torch.device("cpu"), None)
        self.state.ada.p = 0.5 if given.ada else 0.0
        self.step = Step(self.state, train, 0, images)
        self.z = torch.randn(given.batch, Z_DIM)

    @torch.no_grad()
    def sample(self) -> None:
        """One batch of images."""
        G = self.state.G_ema
        G.synthesis(G.mapping(self.z, psi=0.5), noise="const")


def rate(work: Callable[[], None], batch: int) -> float:
    """Images per second over one period."""
    start = time.perf_counter()
    for _ in range(PERIOD):
        work()
    return PERIOD * batch / (time.perf_counter() - start)


def main() -> None:
    """Print one line of JSON: medians of the rates, and the ratios of the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("public", type=Path, metavar="DIR")
    parser.add_argument("--networks", default="networks_stylegan2", help="module of the public networks")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--channel-base", type=int, default=8192)
    parser.add_argument("--channel-max", type=int, default=128)
    parser.add_argument("--ada", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    training.prepare(tf32=False)
    shape = (4 * given.batch, 3, given.resolution, given.resolution)
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    public, ours = Public(given, images), Ours(given, images)
    works: dict[str, Callable[[], None]] = {
        "public_train": public.step,
        "train": ours.step,
        "public_sample": public.sample,
        "sample": ours.sample,
    }
    for work in works.values():
        work()  # caches and memory fill up
    public.done, ours.state.step = 0, 0
    rates = [{name: rate(work, given.batch) for name, work in works.items()} for _ in range(given.rounds)]
    found: dict[str, Any] = {f"{name}_img_per_s": round(statistics.median(r[name] for r in rates), 2) for name in works}
    for what in ("train", "sample"):
        found[f"{what}_ratios"] = [round(r[what] / r[f"public_{what}"], 2) for r in rates]
    print(json.dumps({**{k: str(v) for k, v in vars(given).items() if k != "public"}, **found}))


if __name__ == "__main__":
    main()
