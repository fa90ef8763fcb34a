"""Several processes that share the work of a batch, as `torchrun` starts them on one node or several; alone without it.

Only the first process reads and writes what a training leaves; the others are told. So they need no disk of their own
for it, and none that is shared.
"""

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from semireal import parents
from semireal.errors import UserError

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)  # with the others, while the first process measures or writes, or one still loads


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Join the processes of `torchrun` while the block runs, and give this one's device: its own GPU, or the CPU.

    Raises UserError where its node has fewer GPUs than processes, and where another process is lost meanwhile.
    """
    together = "LOCAL_RANK" in os.environ
    own = _own_gpu() if device == "cuda" else torch.device(device)
    if not together:
        yield own
        return
    parents.end_with(os.getppid())
    dist.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield own
    except RuntimeError as error:
        if not _tells_of_loss(error):
            raise
        if int(os.environ["LOCAL_RANK"]):
            sys.exit(2)  # one line a node is enough
        raise UserError(
            "train: another process of this training has ended; its own message says why. The same commands go on "
            "from the last saved state"
        ) from error
    finally:
        dist.destroy_process_group()


def _own_gpu() -> torch.device:
    number, there = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if number >= there:
        raise UserError(
            f"{socket.gethostname()}: found {os.environ['LOCAL_WORLD_SIZE']} processes for {there} GPUs. Set "
            "--nproc-per-node of torchrun, or the setting processes of this machine, to at most that"
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def _tells_of_loss(error: RuntimeError) -> bool:
    """Whether a message could not reach another process: NCCL and the store say it by a type, gloo in words."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def wait() -> None:
    """Wait until all processes are here."""
    if dist.is_initialized():
        dist.barrier()


def tell(value: T) -> T:
    """Give what the first process has to all of them; anything that can be pickled."""
    if size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def gather(value: T) -> list[T]:
    """What each process has, in their order."""
    if size() == 1:
        return [value]
    found: list[T] = [value] * size()
    dist.all_gather_object(found, value)
    return found


@contextmanager
def agreed() -> Iterator[None]:
    """End all processes where the block ends with a UserError in one: in one line, which the first process says."""
    fault = ""
    try:
        yield
    except UserError as error:
        fault = str(error)
        if size() == 1:
            raise
    faults = gather((socket.gethostname(), fault))
    bad = [(host, text) for host, text in faults if text]
    if not bad:
        return
    if rank():
        sys.exit(2)  # as after a UserError
    host, text = bad[0]
    raise UserError(text if len(bad) == size() else f"{host}: {text}")


def add_up(tensor: Tensor) -> None:
    """Replace a contiguous tensor by its sum over all processes."""
    if size() > 1:
        dist.all_reduce(tensor)


def micro_batches(count: int, group: int, at_once: int | None) -> Sequence[Tensor]:
    """The samples of a batch that are this process's, in micro-batches of at most `at_once` (None = all in one).

    Samples n, n + count/group, ... form a group of the minibatch standard deviation; groups stay whole and in
    that order, so that processes and micro-batches change nothing but rounding. A process may get no samples.
    """
    groups = torch.arange(count).reshape(group, count // group)  # a group is a column
    mine = groups.tensor_split(size(), dim=1)[rank()]
    most = mine.shape[1] if at_once is None else max(at_once // group, 1)
    return [part.flatten() for part in torch.split(mine, max(most, 1), dim=1) if part.numel()]
