"""One step of training: the four passes over a batch, on this process's share of it, in micro-batches that fit memory.

Nothing depends on the state of a random generator: every step seeds its own from (seed, step), and each pass
over the data is shuffled by (seed, pass). All processes draw the randomness of the whole batch and use their
part of it, so that their number, like the size of the micro-batches, changes nothing but rounding.
"""

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from semireal.machine import DEFAULT, Machine
from semireal.params.train import Train
from semireal.stylegan2 import augment, loss, parallel
from semireal.stylegan2.augment import Transform
from semireal.stylegan2.checkpoint import State
from semireal.stylegan2.networks import Discriminator, Generator
from semireal.stylegan2.order import Groups, next_images, seed_of
from semireal.tensors import carried, to_float

ADA_INTERVAL = 4  # steps between changes of p
PL_BATCH_SHRINK = 2  # the path length penalty takes a batch so many times smaller


@dataclasses.dataclass(frozen=True)
class Latents:
    """What generated images are made from; styles from `cutoff` on come from z_mix."""

    z: Tensor
    z_mix: Tensor
    cutoff: int
    noise: list[Tensor]

    def __getitem__(self, index: Tensor | slice) -> "Latents":
        """The latents of some of the images."""
        return Latents(self.z[index], self.z_mix[index], self.cutoff, [one[index] for one in self.noise])


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """The samples of a micro-batch, in their order: on the host, and as what picks them from tensors of the device."""

    host: Tensor
    index: Tensor | slice

    def __len__(self) -> int:
        return len(self.host)


class Step:
    """Takes training steps on `state`; images: uint8 [N,3,H,W], on any device; groups: that share each pass, if any.

    On a GPU the host waits for nothing within a step, so that it is always ahead: what it must know itself it draws
    itself, what the device needs is sent from pinned memory, and what it is told comes late (`_adapt`). The losses
    stay on the device until `means` asks for them. benchmarks/host_work.py counts that.
    """

    def __init__(
        self,
        state: State,
        given: Train,
        seed: int,
        images: Tensor,
        machine: Machine = DEFAULT,
        groups: Groups | None = None,
    ) -> None:
        self.state = state
        self.given = given
        self.seed = seed
        self.images = images
        self.groups = groups
        self.device = state.pl_mean.device
        self.rng = torch.Generator(self.device)
        self.choices = torch.Generator()  # of the host, which must not wait for a GPU
        self.late = self.device.type != "cpu"  # the device says nothing at once
        self.of_transforms = self.choices if self.late else self.rng
        self.transforms = augment.names(given.ada_transforms, given.ada_rotate90)
        self.signs = Signs(self.device)
        self.micro_batches = self._parts(given.batch, given.group, machine.micro_batch)
        self.pl_batch = max(given.batch // PL_BATCH_SHRINK, 1)
        self.pl_micro_batches = self._parts(self.pl_batch, 1, machine.micro_batch)
        self.seen: dict[str, list[Tensor]] = defaultdict(list)
        # torch.compile cannot differentiate twice: the regularisers take the networks as they are
        self.synthesis: Callable[..., Tensor] = (
            torch.compile(state.G.synthesis) if machine.compile else state.G.synthesis
        )
        self.D: Callable[[Tensor], Tensor] = torch.compile(state.D) if machine.compile else state.D

    def __call__(self) -> None:
        """Take one step."""
        state, given = self.state, self.given
        for rng in (self.rng, self.choices):
            rng.manual_seed(seed_of(self.seed, "step", state.step))
        state.D.requires_grad_(False)
        self._generator_adversarial()
        if given.pl_weight and state.step % given.pl_interval == 0:
            self._generator_path_length()
        state.D.requires_grad_(True)
        freeze(state.D, given.freeze_d)
        real = self._draw_reals()
        self._discriminator_adversarial(real)
        if given.r1_gamma and state.step % given.r1_interval == 0:
            self._discriminator_r1(real)
        average(state.G_ema, state.G, given, state.nimg)
        state.nimg += given.batch
        state.step += 1
        if given.ada_target is not None and state.step % ADA_INTERVAL == 0:
            self._adapt(given.ada_target)

    def count_signs(self) -> None:
        """Bring all signs of all processes into state.ada; waits for the device."""
        for _ in range(2):  # those on their way, and the others
            self._take(self.signs.exchange())

    def _adapt(self, target: float) -> None:
        """Move p by the signs since its last change; on a GPU by those of the interval before, which have arrived."""
        self._take(self.signs.exchange())
        if not self.late:
            self._take(self.signs.exchange())
        self.state.ada.update(target, self.given.ada_kimg)

    def _take(self, arrived: tuple[float, int]) -> None:
        signs, count = arrived
        self.state.ada.signs += signs
        self.state.ada.count += count

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
        latents, transform = self._draw_latents(self.given.batch), self._draw_transform()
        total = torch.zeros([], device=self.device)
        for part in self.micro_batches:
            fake, _ = self._generate(latents[part.index], self.synthesis)
            value = loss.g_main(self.D(transform[part.host](fake))) * (len(part) / self.given.batch)
            torch.autograd.backward(value)
            total += value.detach()
        update(self.state.opt_g)
        self.seen["loss_g"].append(total)

    def _generator_path_length(self) -> None:
        state, given = self.state, self.given
        latents = self._draw_latents(self.pl_batch)
        side = given.resolution
        noise = torch.randn([self.pl_batch, 3, side, side], generator=self.rng, device=self.device)

        def measure(part: Part, create_graph: bool) -> Tensor:
            fake, ws = self._generate(latents[part.index], state.G.synthesis)
            return loss.path_lengths(fake, ws, noise[part.index], create_graph)

        # The penalty needs the lengths of the whole batch: several micro-batches are measured first, then made again.
        again = len(self.pl_micro_batches) > 1
        measured = [measure(part, create_graph=not again) for part in self.pl_micro_batches]
        lengths = torch.zeros(self.pl_batch, device=self.device)
        for part, values in zip(self.pl_micro_batches, measured, strict=True):
            lengths[part.index] = values.detach()
        parallel.add_up(lengths)
        lengths.requires_grad_(True)
        penalty, pl_mean = loss.path_penalty(lengths, state.pl_mean)
        (grads,) = torch.autograd.grad(penalty.mean() * (given.pl_weight * given.pl_interval), lengths)
        for part, values in zip(self.pl_micro_batches, measured, strict=True):
            torch.autograd.backward(measure(part, create_graph=True) if again else values, grads[part.index])
        update(state.opt_g)
        state.pl_mean = pl_mean.detach()
        self.seen["pl"].append(penalty.detach().mean() / parallel.size())

    def _discriminator_adversarial(self, real: Callable[[Part], Tensor]) -> None:
        latents = self._draw_latents(self.given.batch)
        transform_fake, transform_real = self._draw_transform(), self._draw_transform()
        totals = torch.zeros(3, device=self.device)
        for part in self.micro_batches:
            share = len(part) / self.given.batch
            with torch.no_grad():
                fake, _ = self._generate(latents[part.index], self.synthesis)
            fake_logits = self.D(transform_fake[part.host](fake))
            real_logits = self.D(transform_real[part.host](real(part)))
            loss_fake, loss_real = loss.d_main(fake_logits, real_logits)
            value = (loss_fake + loss_real) * share
            torch.autograd.backward(value)
            shown = [value, fake_logits.mean() * share, real_logits.mean() * share]
            totals += torch.stack(shown).detach()
            self.signs.add(real_logits.detach().sign().sum())
        update(self.state.opt_d)
        self.signs.count += self.given.batch
        for name, total in zip(("loss_d", "logits_fake", "logits_real"), totals, strict=True):
            self.seen[name].append(total)

    def _discriminator_r1(self, real: Callable[[Part], Tensor]) -> None:
        given, transform = self.given, self._draw_transform()
        total = torch.zeros([], device=self.device)
        for part in self.micro_batches:
            images = real(part).requires_grad_(True)
            penalty = loss.r1_penalty(self.state.D(transform[part.host](images)), images).sum() / given.batch
            torch.autograd.backward(penalty * (given.r1_gamma / 2 * given.r1_interval))
            total += penalty.detach()
        update(self.state.opt_d)
        self.seen["r1"].append(total)

    # What they are made from.

    def _draw_latents(self, count: int) -> Latents:
        G, given = self.state.G, self.given
        z, z_mix = torch.randn([2, count, given.z_dim], generator=self.rng, device=self.device)
        cutoff = loss.mixing_cutoff(G.mapping.num_ws, given.style_mixing, self.choices)
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
        given, p = self.given, self.state.ada.p
        if given.ada_target is None or p == 0:
            return Transform(None, None)
        side = given.resolution
        return augment.draw(given.batch, (side, side), self.transforms, p, self.of_transforms)

    def _draw_reals(self) -> Callable[[Part], Tensor]:
        """The batch that comes next: a function from micro-batches to float32 [n,3,H,W] in [-1,1], some mirrored."""
        given = self.given
        following = next_images(self.seed, self.state.nimg, given.batch, len(self.images), self.groups)
        numbers = torch.as_tensor(following)
        mirrored = torch.rand([given.batch, 1, 1, 1], generator=self.rng, device=self.device) < 0.5

        @functools.cache  # R1 takes the same images again
        def shown(part: Part) -> Tensor:
            chosen = carried(numbers[part.host], self.images.device)
            return carried(self.images[chosen], self.device)

        def real(part: Part) -> Tensor:
            found = to_float(shown(part))
            return torch.where(mirrored[part.index], found.flip(3), found) if given.mirror else found

        return real

    def _parts(self, count: int, group: int, at_once: int | None) -> list[Part]:
        """The micro-batches of this process; one that is the whole batch takes tensors as they are."""
        parts = parallel.micro_batches(count, group, at_once)
        whole = len(parts) == 1 and len(parts[0]) == count
        return [Part(part, slice(None) if whole else part.to(self.device)) for part in parts]


class Signs:
    """The sum of the signs of the logits of real images, and of how many, on its way from the device to state.ada."""

    def __init__(self, device: torch.device) -> None:
        self.sum = torch.zeros([], device=device)  # of this process
        self.count = 0  # of all processes
        self.sent: tuple[Tensor, int] | None = None
        self.arrival = torch.cuda.Event() if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def add(self, signs: Tensor) -> None:
        """Add signs of this process."""
        self.sum += signs

    def exchange(self) -> tuple[float, int]:
        """Take what was sent last time, which waits where it is still under way, and send what came in since."""
        arrived = (0.0, 0)
        if self.sent is not None:
            if self.arrival is not None:
                self.arrival.synchronize()
            arrived = (self.sent[0].item(), self.sent[1])
        parallel.add_up(self.sum)
        self.sent = self.sum.to("cpu", non_blocking=True, copy=True), self.count
        if self.arrival is not None:
            self.arrival.record()
        self.sum.zero_()
        self.count = 0
        return arrived


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
    # None: not part of this loss; the moments decay all the same
    grads = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained])
    parallel.add_up(grads)
    torch.nan_to_num(grads, nan=0, posinf=1e5, neginf=-1e5, out=grads)
    for p, grad in zip(trained, torch.split(grads, [p.numel() for p in trained]), strict=True):
        p.grad = grad.view_as(p)
    optimizer.step()
    optimizer.zero_grad()


@torch.no_grad()
def average(G_ema: Generator, G: Generator, given: Train, nimg: int) -> None:
    """Move the parameters of G_ema towards those of G and copy the buffers."""
    half_life = given.ema_kimg * 1000
    if given.ema_rampup is not None:
        half_life = min(half_life, nimg * given.ema_rampup)
    beta = 0.5 ** (given.batch / max(half_life, 1e-8))
    torch._foreach_lerp_(list(G_ema.parameters()), list(G.parameters()), 1 - beta)
    torch._foreach_copy_(list(G_ema.buffers()), list(G.buffers()))
