"""One step of training: the four passes over a batch, on this process's share of it, in lots that fit the memory.

Nothing depends on the state of a random generator: every step seeds its own from (seed, step), and each pass
over the data is shuffled by (seed, pass). All processes draw the randomness of the whole batch and use their
part of it, so that their number, like the size of the lots, changes nothing but rounding.
"""

import dataclasses
import functools
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semireal.stylegan2 import augment, loss, parallel
from semireal.stylegan2.augment import Transform
from semireal.stylegan2.checkpoint import State
from semireal.stylegan2.config import TrainConfig
from semireal.stylegan2.networks import Discriminator, Generator
from semireal.tensors import to_float

ADA_INTERVAL = 4  # steps between changes of p


@dataclasses.dataclass(frozen=True)
class Latents:
    """What generated images are made from; styles from `cutoff` on come from z_mix."""

    z: Tensor
    z_mix: Tensor
    cutoff: int
    noise: list[Tensor]

    def __getitem__(self, index: Tensor) -> "Latents":
        """The latents of some of the images."""
        return Latents(self.z[index], self.z_mix[index], self.cutoff, [one[index] for one in self.noise])


class Step:
    """Takes training steps on `state`; images: uint8 [N,3,H,W], on any device."""

    def __init__(self, state: State, config: TrainConfig, images: Tensor) -> None:
        self.state = state
        self.config = config
        self.images = images
        self.device = state.pl_mean.device
        self.rng = torch.Generator(self.device)
        self.choices = torch.Generator()  # of the host, which must not wait for a GPU
        self.transforms = augment.names(config.ada_groups, config.ada_rotate90)
        self.signs = torch.zeros([], device=self.device)  # of the real logits of this process, not yet in state.ada
        self.lots = parallel.parts(config.batch, config.group, config.micro_batch)
        self.pl_batch = max(config.batch // config.pl_batch_shrink, 1)
        self.pl_lots = parallel.parts(self.pl_batch, 1, config.micro_batch)
        self.seen: dict[str, list[Tensor]] = defaultdict(list)
        # torch.compile cannot differentiate twice: the regularisers take the networks as they are
        self.synthesis: Callable[..., Tensor] = (
            torch.compile(state.G.synthesis) if config.compile else state.G.synthesis
        )
        self.D: Callable[[Tensor], Tensor] = torch.compile(state.D) if config.compile else state.D

    def __call__(self) -> None:
        """Take one step."""
        state, config = self.state, self.config
        for rng in (self.rng, self.choices):
            rng.manual_seed(seed_of(config.seed, "step", state.step))
        state.D.requires_grad_(False)
        self._generator_adversarial()
        if config.pl_weight and state.step % config.pl_interval == 0:
            self._generator_path_length()
        state.D.requires_grad_(True)
        freeze(state.D, config.freeze_d)
        real = self._draw_reals()
        self._discriminator_adversarial(real)
        if config.r1_gamma and state.step % config.r1_interval == 0:
            self._discriminator_r1(real)
        average(state.G_ema, state.G, config, state.nimg)
        state.nimg += config.batch
        state.step += 1
        if config.ada_target is not None and state.step % ADA_INTERVAL == 0:
            self.count_signs()
            state.ada.update(config.ada_target, config.ada_kimg)

    def count_signs(self) -> None:
        """Bring the signs of all processes into state.ada."""
        parallel.add_up(self.signs)
        state = self.state
        state.ada.signs += self.signs.item()
        self.signs.zero_()

    def means(self) -> dict[str, float]:
        """Means of what was seen since the last call, over steps and processes."""
        names = sorted(self.seen)
        if not names:
            return {}
        values = torch.stack([torch.stack(self.seen[name]).double().mean() for name in names])
        parallel.add_up(values)
        self.seen.clear()
        return dict(zip(names, values.tolist(), strict=True))

    # The four passes.

    def _generator_adversarial(self) -> None:
        latents, transform = self._draw_latents(self.config.batch), self._draw_transform()
        total = torch.zeros([], device=self.device)
        for lot in self.lots:
            fake, _ = self._generate(latents[lot], self.synthesis)
            value = loss.g_main(self.D(transform[lot](fake))) * (len(lot) / self.config.batch)
            torch.autograd.backward(value)
            total += value.detach()
        update(self.state.opt_g)
        self.seen["loss_g"].append(total)

    def _generator_path_length(self) -> None:
        state, config = self.state, self.config
        latents = self._draw_latents(self.pl_batch)
        side = config.network.img_resolution
        noise = torch.randn([self.pl_batch, 3, side, side], generator=self.rng, device=self.device)

        def measure(lot: Tensor, create_graph: bool) -> Tensor:
            fake, ws = self._generate(latents[lot], state.G.synthesis)
            return loss.path_lengths(fake, ws, noise[lot], create_graph)

        # The penalty needs the lengths of the whole batch; several lots are measured first and then made again.
        again = len(self.pl_lots) > 1
        measured = [measure(lot, create_graph=not again) for lot in self.pl_lots]
        lengths = torch.zeros(self.pl_batch, device=self.device)
        for lot, values in zip(self.pl_lots, measured, strict=True):
            lengths[lot] = values.detach()
        parallel.add_up(lengths)
        lengths.requires_grad_(True)
        penalty, pl_mean = loss.path_penalty(lengths, state.pl_mean)
        (grads,) = torch.autograd.grad(penalty.mean() * (config.pl_weight * config.pl_interval), lengths)
        for lot, values in zip(self.pl_lots, measured, strict=True):
            torch.autograd.backward(measure(lot, create_graph=True) if again else values, grads[lot])
        update(state.opt_g)
        state.pl_mean = pl_mean.detach()
        self.seen["pl"].append(penalty.detach().mean() / parallel.size())

    def _discriminator_adversarial(self, real: Callable[[Tensor], Tensor]) -> None:
        latents = self._draw_latents(self.config.batch)
        transform_fake, transform_real = self._draw_transform(), self._draw_transform()
        totals = torch.zeros(3, device=self.device)
        for lot in self.lots:
            share = len(lot) / self.config.batch
            with torch.no_grad():
                fake, _ = self._generate(latents[lot], self.synthesis)
            fake_logits, real_logits = self.D(transform_fake[lot](fake)), self.D(transform_real[lot](real(lot)))
            loss_fake, loss_real = loss.d_main(fake_logits, real_logits)
            value = (loss_fake + loss_real) * share
            torch.autograd.backward(value)
            shown = [value, fake_logits.mean() * share, real_logits.mean() * share]
            totals += torch.stack(shown).detach()
            self.signs += real_logits.detach().sign().sum()
        update(self.state.opt_d)
        self.state.ada.count += self.config.batch
        for name, total in zip(("loss_d", "logits_fake", "logits_real"), totals, strict=True):
            self.seen[name].append(total)

    def _discriminator_r1(self, real: Callable[[Tensor], Tensor]) -> None:
        config, transform = self.config, self._draw_transform()
        total = torch.zeros([], device=self.device)
        for lot in self.lots:
            images = real(lot).requires_grad_(True)
            penalty = loss.r1_penalty(self.state.D(transform[lot](images)), images).sum() / config.batch
            torch.autograd.backward(penalty * (config.r1_gamma / 2 * config.r1_interval))
            total += penalty.detach()
        update(self.state.opt_d)
        self.seen["r1"].append(total)

    # What they are made from.

    def _draw_latents(self, count: int) -> Latents:
        G, config = self.state.G, self.config
        z, z_mix = torch.randn([2, count, config.network.z_dim], generator=self.rng, device=self.device)
        cutoff = loss.mixing_cutoff(G.mapping.num_ws, config.style_mixing_prob, self.choices)
        with torch.no_grad():
            G.mapping.update_w_avg(G.mapping(z)[:, 0])
        return Latents(z, z_mix, cutoff, G.synthesis.draw_noise(count, self.rng))

    def _generate(self, latents: Latents, synthesis: Callable[..., Tensor]) -> tuple[Tensor, Tensor]:
        """Images, with the styles they came from."""
        ws = self.state.G.mapping(latents.z)
        if latents.cutoff < ws.shape[1]:
            mixed = self.state.G.mapping(latents.z_mix)
            ws = torch.cat([ws[:, : latents.cutoff], mixed[:, latents.cutoff :]], dim=1)
        return synthesis(ws, latents.noise), ws

    def _draw_transform(self) -> Transform:
        config, p = self.config, self.state.ada.p
        if config.ada_target is None or p == 0:
            return Transform(None, None)
        side = config.network.img_resolution
        return augment.draw(config.batch, (side, side), self.transforms, p, self.rng)

    def _draw_reals(self) -> Callable[[Tensor], Tensor]:
        """The batch that comes next: a function from sample numbers to float32 [n,3,H,W] in [-1,1], some mirrored."""
        config = self.config
        numbers = torch.as_tensor(next_images(config.seed, self.state.nimg, config.batch, len(self.images)))
        mirrored = torch.rand([config.batch, 1, 1, 1], generator=self.rng, device=self.device) < 0.5

        def real(lot: Tensor) -> Tensor:
            found = to_float(self.images[numbers[lot]].to(self.device, non_blocking=True))
            return torch.where(mirrored[lot], found.flip(3), found) if config.mirror else found

        return real


def seed_of(*path: int | str) -> int:
    """Derive a seed from a path such as (seed, "step", 17)."""
    return int.from_bytes(hashlib.sha256(json.dumps(path).encode()).digest()[:4])


@functools.lru_cache(maxsize=2)
def order(seed: int, turn: int, count: int) -> NDArray[np.int64]:
    """The order of `count` images in one pass over the data."""
    return np.random.default_rng(seed_of(seed, "order", turn)).permutation(count)


def next_images(seed: int, shown: int, batch: int, count: int) -> NDArray[np.int64]:
    """Numbers [batch] of the images, of `count`, that follow when `shown` have been shown."""
    places = [divmod(position, count) for position in range(shown, shown + batch)]
    return np.array([order(seed, turn, count)[place] for turn, place in places])


def adam(network: nn.Module, lr: float, interval: int | None) -> torch.optim.Adam:
    """Adam that allows for the extra step every `interval` steps (arXiv:1912.04958, appendix B)."""
    share = 1.0 if interval is None else interval / (interval + 1)
    return torch.optim.Adam(network.parameters(), lr=lr * share, betas=(0.0, 0.99**share), eps=1e-8, fused=True)


def freeze(D: Discriminator, count: int) -> None:
    """Freeze the first `count` layers, from the image on (freeze-D, arXiv:2002.10964)."""
    layers = [layer for block in D.blocks() for layer in block.layers()]
    for layer in layers[:count]:
        layer.requires_grad_(False)


def update(optimizer: torch.optim.Optimizer) -> None:
    """Take a step with the gradients of all processes, made finite, and clear them."""
    trained: list[Any] = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    for p in trained:
        if p.grad is None:  # not part of this loss; the moments decay all the same
            p.grad = torch.zeros_like(p)
    parallel.add_up(*(p.grad for p in trained))
    for p in trained:
        torch.nan_to_num(p.grad, nan=0, posinf=1e5, neginf=-1e5, out=p.grad)
    optimizer.step()
    optimizer.zero_grad()


@torch.no_grad()
def average(G_ema: Generator, G: Generator, config: TrainConfig, nimg: int) -> None:
    """Move the parameters of G_ema towards those of G and copy the buffers."""
    half_life = config.ema_kimg * 1000
    if config.ema_rampup is not None:
        half_life = min(half_life, nimg * config.ema_rampup)
    beta = 0.5 ** (config.batch / max(half_life, 1e-8))
    torch._foreach_lerp_(list(G_ema.parameters()), list(G.parameters()), 1 - beta)
    for old, new in zip(G_ema.buffers(), G.buffers(), strict=True):
        old.copy_(new)
