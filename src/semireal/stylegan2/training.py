"""The training loop of StyleGAN2: exact resume, lazy regularisation, averaged generator, grids, history.

Nothing depends on the state of a random generator: every step seeds its own from (seed, step), and each pass
over the data is shuffled by (seed, pass). A run that is killed and resumed equals one that is not, bit for
bit on a CPU with the same number of threads.
"""

import copy
import ctypes
import dataclasses
import functools
import hashlib
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from semireal.errors import UserError
from semireal.images import Pixels, grid, save_png, to_float, to_uint8
from semireal.stylegan2 import loss
from semireal.stylegan2.checkpoint import State, load_state, load_weights, save_state
from semireal.stylegan2.networks import Config, Generator, build_discriminator, build_generator

EPOCH = 1000  # images shown
SAVE_SECONDS = 60  # between saved states, where no snapshot is due
STATE = "state.safetensors"
GRIDS = "grids"


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Parameters of a training run; a UserError names the first that makes no sense.

    batch: images per step; lr: of both Adams; r1_gamma: weight of R1, applied every r1_interval steps;
    pl_weight: weight of the path length penalty, applied every pl_interval steps on batch / pl_batch_shrink
    images; a weight of 0 turns that regulariser off; ema_kimg: half-life of the averaged generator in
    thousands of images, at most ema_rampup (None = no limit) times the images seen; style_mixing_prob:
    probability of mixing two latents in a step; mirror: flip half of the real images; epochs: of 1000 images
    shown; grid: number of images in a grid; snapshot_epochs: epochs between grids and sure saves.
    """

    network: Config
    epochs: int
    batch: int = 16
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
    grid: int = 64
    snapshot_epochs: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch", "r1_interval", "pl_interval", "pl_batch_shrink", "grid", "snapshot_epochs"):
            if getattr(self, name) < 1:
                raise UserError(f"train: {name}: found {getattr(self, name)}, need at least 1")
        group = min(self.batch, self.network.mbstd_group_size)
        if self.batch % group:
            raise UserError(f"train: batch: found {self.batch}, need a multiple of {group}")
        if self.lr <= 0:
            raise UserError(f"train: lr: found {self.lr}, need more than 0")


def run_key(
    config: TrainConfig,
    data_key: str,
    start_generator: Mapping[str, Tensor] | None = None,
    start_discriminator: Mapping[str, Tensor] | None = None,
) -> str:
    """Name, as 64 hex digits, everything that decides the result of a run except where it stops."""
    fields = dataclasses.asdict(config)
    del fields["epochs"]
    digest = hashlib.sha256(json.dumps([fields, data_key], sort_keys=True).encode())
    for tensors in (start_generator, start_discriminator):
        for name, tensor in sorted((tensors or {}).items()):
            digest.update(f"{name} {list(tensor.shape)} ".encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        digest.update(b".")
    return digest.hexdigest()


def train(
    images: Tensor,
    config: TrainConfig,
    workdir: Path,
    data_key: str,
    device: str = "cpu",
    start_generator: Mapping[str, Tensor] | None = None,
    start_discriminator: Mapping[str, Tensor] | None = None,
    on_epoch: Callable[[dict[str, float], Generator], None] | None = None,
) -> State:
    """Train until config.epochs, going on from workdir/state.safetensors if there is one that is not past it.

    images: uint8 [N,3,H,W]; data_key: a name that changes with them; start_*: state dicts to start from
    (transfer learning); on_epoch: called with each new row of the history and the averaged generator. Also
    writes workdir/grids/{reals,fakes_<epoch>}.png. Raises UserError where the images do not fit the network,
    where the state belongs to another run, and where a loss stops being finite; the last saved state stays
    valid.
    """
    _keep_memory()
    resolution = config.network.img_resolution
    if images.ndim != 4 or images.shape[0] < 1 or images.shape[1:] != (3, resolution, resolution):
        raise UserError(f"train: images: found {list(images.shape)}, need [N, 3, {resolution}, {resolution}]")

    # Networks, optimisers and the state to go on from.
    G = build_generator(config.network, _seed(config.seed, "generator"))
    D = build_discriminator(config.network, _seed(config.seed, "discriminator"))
    if start_generator is not None:
        load_weights(G, start_generator, "train: start generator")
    if start_discriminator is not None:
        load_weights(D, start_discriminator, "train: start discriminator")
    G.to(device)
    D.to(device)
    G_ema = copy.deepcopy(G).eval().requires_grad_(False)
    state = State(
        G=G,
        D=D,
        G_ema=G_ema,
        opt_g=_adam(G, config.lr, config.pl_interval if config.pl_weight else None),
        opt_d=_adam(D, config.lr, config.r1_interval if config.r1_gamma else None),
        pl_mean=torch.zeros([], device=device),
        key=run_key(config, data_key, start_generator, start_discriminator),
    )
    (workdir / GRIDS).mkdir(parents=True, exist_ok=True)
    found = (workdir / STATE).exists()
    resumed = found and load_state(workdir / STATE, state, config.epochs)
    if not resumed:
        if found:
            tqdm.write(f"train: the saved state is past epoch {config.epochs}: starting over", sys.stderr)
        shown = images[_order(config.seed, 0, len(images))[: config.grid]].permute(0, 2, 3, 1)
        save_png(workdir / GRIDS / "reals.png", _square(shown.numpy()))
        _save_fakes(workdir, state.G_ema, config, epoch=0)
    last_save = time.monotonic()
    rng = torch.Generator(device)

    def generate(count: int) -> tuple[Tensor, Tensor]:
        """Images of new latents and noise, with the styles they came from."""
        z, z_mix = torch.randn([2, count, config.network.z_dim], generator=rng, device=device)
        ws = G.mapping(z)
        G.mapping.update_w_avg(ws[:, 0])
        ws = loss.mix_styles(ws, G.mapping(z_mix), config.style_mixing_prob, rng)
        return G.synthesis(ws, noise="random", generator=rng), ws

    first = len(state.history) + 1
    total = config.epochs * EPOCH
    bar = tqdm(desc="train", total=total, initial=state.nimg, unit="img", unit_scale=True, mininterval=1)
    for epoch in range(first, config.epochs + 1):
        seen: dict[str, list[Tensor]] = defaultdict(list)
        while state.nimg < epoch * EPOCH:
            rng.manual_seed(_seed(config.seed, "step", state.step))

            # Generator: adversarial loss.
            D.requires_grad_(False)
            fake, _ = generate(config.batch)
            loss_g = loss.g_main(D(fake))
            torch.autograd.backward(loss_g)
            _update(state.opt_g)
            seen["loss_g"].append(loss_g.detach())

            # Generator: path length.
            if config.pl_weight and state.step % config.pl_interval == 0:
                fake, ws = generate(max(config.batch // config.pl_batch_shrink, 1))
                noise = torch.randn(fake.shape, generator=rng, device=device)
                penalty, pl_mean = loss.path_length(fake, ws, noise, state.pl_mean)
                torch.autograd.backward(penalty.mean() * config.pl_weight * config.pl_interval)
                _update(state.opt_g)
                state.pl_mean = pl_mean.detach()
                seen["pl"].append(penalty.detach().mean())

            # Discriminator: adversarial loss.
            D.requires_grad_(True)
            with torch.no_grad():
                fake, _ = generate(config.batch)
            real = _real_batch(images, config, state.nimg, rng).to(device)
            fake_logits, real_logits = D(fake), D(real)
            loss_fake, loss_real = loss.d_main(fake_logits, real_logits)
            torch.autograd.backward(loss_fake + loss_real)
            _update(state.opt_d)
            seen["loss_d"].append((loss_fake + loss_real).detach())
            seen["logits_fake"].append(fake_logits.detach().mean())
            seen["logits_real"].append(real_logits.detach().mean())

            # Discriminator: gradient penalty.
            if config.r1_gamma and state.step % config.r1_interval == 0:
                real.requires_grad_(True)
                penalty = loss.r1_penalty(D(real), real)
                torch.autograd.backward(penalty.mean() * (config.r1_gamma / 2) * config.r1_interval)
                _update(state.opt_d)
                seen["r1"].append(penalty.detach().mean())

            _average(G_ema, G, config, state.nimg)
            state.nimg += config.batch
            state.step += 1
            bar.update(config.batch)

        # The row of this epoch; what was not computed in it keeps its last value.
        previous = state.history[-1] if state.history else {}
        row = {"epoch": epoch, "kimg": state.nimg / 1000}
        for name in ("loss_g", "loss_d", "logits_fake", "logits_real", "r1", "pl"):
            row[name] = float(torch.stack(seen[name]).double().mean()) if seen[name] else previous.get(name, 0.0)
        bad = [name for name, value in row.items() if not math.isfinite(value)]
        if bad:
            raise UserError(
                f"train: epoch {epoch}: found {', '.join(bad)} not finite. "
                "Lower train.lr or raise train.r1_gamma; the last saved state is kept"
            )
        state.history.append(row)
        bar.set_postfix({name: f"{row[name]:.3g}" for name in ("loss_g", "loss_d", "r1", "pl")})
        snapshot = epoch % config.snapshot_epochs == 0
        if snapshot:
            _save_fakes(workdir, G_ema, config, epoch)
        if snapshot or epoch == config.epochs or time.monotonic() - last_save > SAVE_SECONDS:
            save_state(workdir / STATE, state)
            last_save = time.monotonic()
        if on_epoch is not None:
            on_epoch(row, G_ema)
    bar.close()
    return state


def _seed(*path: int | str) -> int:
    """Derive a seed from a path such as (seed, "step", 17)."""
    return int.from_bytes(hashlib.sha256(json.dumps(path).encode()).digest()[:4])


@functools.lru_cache(maxsize=2)
def _order(seed: int, turn: int, count: int) -> NDArray[np.int64]:
    """The order of the images in one pass over the data."""
    return np.random.default_rng(_seed(seed, "order", turn)).permutation(count)


def _real_batch(images: Tensor, config: TrainConfig, start: int, rng: torch.Generator) -> Tensor:
    """The batch that follows `start` images shown: float32 [batch,3,H,W] in [-1,1], some mirrored."""
    places = [divmod(position, len(images)) for position in range(start, start + config.batch)]
    chosen = [_order(config.seed, turn, len(images))[place] for turn, place in places]
    real = to_float(images[torch.as_tensor(np.array(chosen))])
    if not config.mirror:
        return real
    mirrored = torch.rand([config.batch, 1, 1, 1], generator=rng, device=rng.device).to(real.device) < 0.5
    return torch.where(mirrored, real.flip(3), real)


def _adam(network: torch.nn.Module, lr: float, interval: int | None) -> torch.optim.Adam:
    """Adam that allows for the extra step every `interval` steps (arXiv:1912.04958, appendix B)."""
    share = 1.0 if interval is None else interval / (interval + 1)
    return torch.optim.Adam(network.parameters(), lr=lr * share, betas=(0.0, 0.99**share), eps=1e-8, fused=True)


def _update(optimizer: torch.optim.Optimizer) -> None:
    """Take a step with the gradients, made finite, and clear them."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is None:  # not part of this loss; the moments decay all the same
                p.grad = torch.zeros_like(p)
            torch.nan_to_num(p.grad, nan=0, posinf=1e5, neginf=-1e5, out=p.grad)
    optimizer.step()
    optimizer.zero_grad()


@torch.no_grad()
def _average(G_ema: Generator, G: Generator, config: TrainConfig, nimg: int) -> None:
    """Move the parameters of G_ema towards those of G and copy the buffers."""
    half_life = config.ema_kimg * 1000
    if config.ema_rampup is not None:
        half_life = min(half_life, nimg * config.ema_rampup)
    beta = 0.5 ** (config.batch / max(half_life, 1e-8))
    torch._foreach_lerp_(list(G_ema.parameters()), list(G.parameters()), 1 - beta)
    for old, new in zip(G_ema.buffers(), G.buffers(), strict=True):
        old.copy_(new)


@torch.no_grad()
def _save_fakes(workdir: Path, G: Generator, config: TrainConfig, epoch: int) -> None:
    """Draw the same latents each time."""
    rng = torch.Generator().manual_seed(_seed(config.seed, "grid"))
    z = torch.randn([config.grid, config.network.z_dim], generator=rng).to(G.mapping.w_avg)
    fakes = np.concatenate([to_uint8(G(part, noise="const")) for part in torch.split(z, config.batch)])
    save_png(workdir / GRIDS / f"fakes_{epoch:05d}.png", _square(fakes))


def _square(pictures: Pixels) -> Pixels:
    return grid(pictures, columns=math.ceil(math.sqrt(len(pictures))))


def _keep_memory() -> None:
    """Let glibc keep freed memory instead of giving it back to the kernel.

    Otherwise each tensor over 32 MiB is mapped and its pages are zeroed anew at every use: 64x64 images with
    channel_base 8192, batch 16, two cores: 11.2 images/s with this, 2.7 to 3.9 without.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # not in musl
        m_trim_threshold, m_mmap_max = -1, -4
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, -1)  # never
