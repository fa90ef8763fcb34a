"""The training loop of StyleGAN2: exact resume, history, grids, the best snapshot, and what goes wrong.

A run that is killed and resumed equals one that is not, bit for bit on a CPU with the same number of threads.
"""

import copy
import ctypes
import dataclasses
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from semireal.errors import UserError
from semireal.images import Pixels, grid, save_png
from semireal.machine import DEFAULT, Machine
from semireal.params.train import Train
from semireal.stylegan2 import parallel
from semireal.stylegan2.checkpoint import (
    Networks,
    State,
    history_of,
    load_state,
    save_networks,
    save_state,
    share_state,
    take_matching,
)
from semireal.stylegan2.config import network_of, run_key
from semireal.stylegan2.networks import Generator, build_discriminator, build_generator, set_precision
from semireal.stylegan2.order import Groups, order, seed_of
from semireal.stylegan2.step import Step, adam
from semireal.tensors import to_uint8

EPOCH = 1000  # images shown
SAVE_SECONDS = 60  # between saved states, where no snapshot is due
STATE = "state.safetensors"
ASIDE = "longer"  # folder for the state of a run with more epochs, while one with fewer is asked for
GRIDS = "grids"
GRID = 64  # images in a grid
MEANS = ("loss_g", "loss_d", "logits_fake", "logits_real", "r1", "pl")  # of the steps of an epoch
CHOOSES = "snapshot_distance"  # the best snapshot has least of it
VARIETY = "snapshot_diversity"
SEEN = tuple(f"snapshot_{name}" for name in ("whole", "layout", "eyes", "colour"))
MEASURES = (CHOOSES, *SEEN, "snapshot_kid", VARIETY)  # what a monitor may give; the first it must
COLUMNS = ("epoch", "kimg", *MEANS, "ada_p", *MEASURES)  # of the history, in this order
SHOWN = ("loss_g", "loss_d", "r1", "ada_p", CHOOSES)  # beside the progress bar
COLLAPSED = 0.25  # of the greatest diversity so far

Row = dict[str, float]
Monitor = Callable[[Generator], Mapping[str, float]]


def train(
    images: Tensor,
    given: Train,
    seed: int,
    workdir: Path,
    data_key: str,
    device: str | torch.device = "cpu",
    machine: Machine = DEFAULT,
    start: Networks | None = None,
    monitor: Monitor | None = None,
    on_epoch: Callable[[Row, Generator], None] | None = None,
    groups: Groups | None = None,
) -> State:
    """Train until given.epochs, going on from workdir/state.safetensors if there is one that is not past the end.

    images: uint8 [N,3,H,W]; data_key: a name that changes with them; machine: of which micro_batch and compile count
    here; start: networks to start from (transfer learning), which is what given.init stands for; monitor: some
    of MEASURES by name, asked at every snapshot; on_epoch: called with each new row of the history
    and the averaged generator; groups: of the images, that share each pass over them. Also writes
    workdir/grids/{reals,fakes_<epoch>}.png and the snapshot with the least CHOOSES (see `best_file`). Under torchrun
    the processes share each batch, and the first one alone reads and writes in workdir. Raises UserError where the
    images do not fit the network, where the state belongs to another run, and where a loss stops being finite; the last
    saved state stays valid.
    """
    prepare(given.tf32)
    if start is not None:  # the average begins with what is to be kept, and not with noise to be forgotten
        given = dataclasses.replace(given, ema_rampup=None)
    resolution = given.resolution
    if images.ndim != 4 or images.shape[0] < 1 or images.shape[1:] != (3, resolution, resolution):
        raise UserError(f"train: images: found {list(images.shape)}, need [N, 3, {resolution}, {resolution}]")
    first_process = parallel.rank() == 0
    state = new_state(given, seed, data_key, torch.device(device), start, groups)
    with parallel.agreed():
        goes_on = first_process and _resume(workdir, state, given)
    share_state(state)
    if goes_on:
        _say(f"going on from epoch {len(state.history)}")
    elif first_process:
        _begin(workdir, images, state, given, seed, groups)

    step = Step(state, given, seed, images, machine, groups)
    last_save = time.monotonic()
    bar = tqdm(
        desc="train",
        total=given.epochs * EPOCH,
        initial=state.nimg,
        unit="img",
        unit_scale=True,
        mininterval=1,
        disable=not first_process,
    )
    while not has_ended(state.history, given):
        epoch = len(state.history) + 1
        while state.nimg < epoch * EPOCH:
            step()
            bar.update(given.batch)
        step.count_signs()
        means = step.means()
        with parallel.agreed():
            row = _row(epoch, state, means, workdir)
        snapshot = epoch % given.snapshot_epochs == 0
        if snapshot and monitor is not None:
            row |= _measure(monitor, state.G_ema)
        state.history.append(row)
        bar.set_postfix({name: f"{row[name]:.3g}" for name in SHOWN if name in row})
        if first_process:
            if snapshot:
                _snapshot(workdir, state, given.batch, seed)
            if snapshot or epoch == given.epochs or time.monotonic() - last_save > SAVE_SECONDS:
                _save(workdir, state)
                last_save = time.monotonic()
            if on_epoch is not None:
                on_epoch(row, state.G_ema)
    bar.close()
    if len(state.history) < given.epochs:
        _say(f"no better snapshot in {given.patience} measurements: stopped at epoch {len(state.history)}")
    return state


def has_ended(history: Sequence[Row], given: Train) -> bool:
    """Whether a run with these epochs behind it is over: all of them done, or out of patience."""
    best = best_epoch(history)
    return len(history) >= given.epochs or (
        given.patience is not None
        and best is not None
        and sum(CHOOSES in row for row in history if row["epoch"] > best) >= given.patience
    )


def is_past_the_end(history: Sequence[Row], given: Train) -> bool:
    """Whether a run with these epochs should have ended at an earlier epoch, with other bits than these."""
    return any(has_ended(history[:epoch], given) for epoch in range(len(history)))


def columns(history: Sequence[Row]) -> list[str]:
    """The columns that the history has, in an order that does not depend on where it was saved and read again."""
    return [name for name in COLUMNS if any(name in row for row in history)]


def best_epoch(history: Sequence[Row]) -> int | None:
    """The first epoch with the least CHOOSES; None where none was measured."""
    measured = [row for row in history if CHOOSES in row]
    return int(min(measured, key=lambda row: row[CHOOSES])["epoch"]) if measured else None


def collapsed_epochs(history: Sequence[Row]) -> list[int]:
    """Epochs at which the images were much more alike than at an earlier one."""
    found, most = [], 0.0
    for row in history:
        diversity = row.get(VARIETY, most)
        most = max(most, diversity)
        if diversity < COLLAPSED * most:
            found.append(int(row["epoch"]))
    return found


def prepare(tf32: bool) -> None:
    """Set what holds for the whole process: memory, and the precision of float32 on GPUs."""
    _keep_memory()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32


def best_file(workdir: Path, epoch: int) -> Path:
    """The averaged generator of the epoch, kept while it is the best snapshot: one file, and two while saving."""
    return workdir / f"best_{epoch:05d}.safetensors"


def new_state(
    given: Train,
    seed: int,
    data_key: str,
    device: torch.device,
    start: Networks | None,
    groups: Groups | None = None,
) -> State:
    """The state before the first step."""
    network = network_of(given)
    G = build_generator(network, seed_of(seed, "generator"))
    D = build_discriminator(network, seed_of(seed, "discriminator"))
    if start is not None:
        _say(f"generator starts with {take_matching(G, start.generator, 'start generator')}")
        if start.discriminator is not None:
            _say(f"discriminator starts with {take_matching(D, start.discriminator, 'start discriminator')}")
    for module in (G, D):
        set_precision(module, getattr(torch, given.precision), given.low_precision_res, given.channels_last)
        module.to(device)
    return State(
        G=G,
        D=D,
        G_ema=copy.deepcopy(G).eval().requires_grad_(False),
        opt_g=adam(G, given.lr, given.pl_interval if given.pl_weight else None),
        opt_d=adam(D, given.lr, given.r1_interval if given.r1_gamma else None),
        pl_mean=torch.zeros([], device=device),
        key=run_key(given, seed, data_key, start, groups),
    )


def _resume(workdir: Path, state: State, given: Train) -> bool:
    """Read the longest saved state that is not past the end; one that is, is put aside for a run that asks for more."""
    aside = workdir / ASIDE
    done = {folder: len(history_of(folder / STATE)) for folder in (workdir, aside) if (folder / STATE).exists()}
    for folder in sorted(done, key=lambda folder: -done[folder]):
        if load_state(folder / STATE, state, lambda history: is_past_the_end(history, given)):
            _check_counts(folder / STATE, state, given)
            if folder == aside:
                _move_run(aside, workdir)
            return True
    if workdir in done:
        _say(f"the saved state is past the end of this run, with {done[workdir]} epochs: kept aside, starting over")
        if done[workdir] > done.get(aside, 0):
            _move_run(workdir, aside)
    return False


def _check_counts(path: Path, state: State, given: Train) -> None:
    """Refuse a state that says it has seen other images than its epochs and steps have."""
    kimg = state.history[-1]["kimg"] if state.history else 0
    if kimg != state.nimg / 1000 or state.nimg != state.step * given.batch:
        found = f"{state.nimg} images in {state.step} steps of {given.batch}, and {kimg} thousand in its history"
        raise UserError(f"{path}: damaged: found {found}. Remove it to start over")


def _move_run(source: Path, target: Path) -> None:
    """Move a saved state and the best snapshot that it names; the state last, since it tells that all is there."""
    target.mkdir(exist_ok=True)
    for path in [*sorted(source.glob("best_*.safetensors")), source / STATE]:
        path.replace(target / path.name)


def _begin(workdir: Path, images: Tensor, state: State, given: Train, seed: int, groups: Groups | None) -> None:
    """Show the real images and the untouched start."""
    (workdir / GRIDS).mkdir(parents=True, exist_ok=True)
    shown = images[order(seed, 0, len(images), groups)[:GRID]].permute(0, 2, 3, 1)
    save_png(workdir / GRIDS / "reals.png", _square(shown.cpu().numpy()))
    _save_fakes(workdir, state.G_ema, given.batch, seed, epoch=0)


def _row(epoch: int, state: State, means: Row, workdir: Path) -> Row:
    """The numbers of an epoch; what was not computed in it keeps its last value."""
    previous = state.history[-1] if state.history else {}
    row: Row = {"epoch": epoch, "kimg": state.nimg / 1000}
    for name in MEANS:
        row[name] = means.get(name, previous.get(name, 0.0))
    row["ada_p"] = state.ada.p
    bad = [name for name, value in row.items() if not math.isfinite(value)]
    if bad:
        raise UserError(
            f"train: epoch {epoch}: found {', '.join(bad)} not finite. Lower train.lr or raise train.r1_gamma. "
            + _how_to_keep(workdir / STATE)
        )
    return row


def _how_to_keep(path: Path) -> str:
    """How to start a run with other settings, which has a state of its own, from what this one has learned."""
    if not path.exists():
        return "Nothing was saved yet"
    return (
        f"What epoch {len(history_of(path))} had learned is in {path}: copy that to a name such as "
        "data/start.safetensors and set train.init to it, or the run with other settings begins anew"
    )


def _measure(monitor: Monitor, G_ema: Generator) -> Row:
    """Ask the monitor, on the first process alone, and tell the others."""
    values = torch.zeros(len(MEASURES), dtype=torch.float64, device=G_ema.mapping.w_avg.device)
    if parallel.rank() == 0:
        found = monitor(G_ema)
        values += torch.tensor([found.get(name, math.nan) for name in MEASURES], device=values.device)
    parallel.add_up(values)
    return {name: value for name, value in zip(MEASURES, values.tolist(), strict=True) if not math.isnan(value)}


def _snapshot(workdir: Path, state: State, batch: int, seed: int) -> None:
    epoch = len(state.history)
    _save_fakes(workdir, state.G_ema, batch, seed, epoch)
    if best_epoch(state.history) == epoch:
        G = state.G_ema
        save_networks(best_file(workdir, epoch), G.config, G.state_dict(), None, {"epochs": epoch})
    if epoch in collapsed_epochs(state.history):
        _say(f"epoch {epoch}: the images are nearly all alike: the training has collapsed. Raise train.r1_gamma")


def _save(workdir: Path, state: State) -> None:
    """Save the state, and only then let go of the snapshots that were better once: a kill finds all that it needs."""
    save_state(workdir / STATE, state)
    best = best_epoch(state.history)
    for path in workdir.glob("best_*.safetensors"):
        if best is None or path != best_file(workdir, best):
            path.unlink()


@torch.no_grad()
def _save_fakes(workdir: Path, G: Generator, batch: int, seed: int, epoch: int) -> None:
    """Draw the same latents each time."""
    rng = torch.Generator().manual_seed(seed_of(seed, "grid"))
    z = torch.randn([GRID, G.config.z_dim], generator=rng).to(G.mapping.w_avg)
    fakes = np.concatenate([to_uint8(G(part, noise="const")) for part in torch.split(z, batch)])
    save_png(workdir / GRIDS / f"fakes_{epoch:05d}.png", _square(fakes))


def _square(pictures: Pixels) -> Pixels:
    return grid(pictures, columns=math.ceil(math.sqrt(len(pictures))))


def _say(text: str) -> None:
    if parallel.rank() == 0:
        tqdm.write(f"train: {text}", sys.stderr)


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
