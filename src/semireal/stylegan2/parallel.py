"""Several processes that share the work of a batch, as `torchrun` starts them; alone without it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Join the processes of `torchrun` while the block runs, and give this one's device: its own GPU, or the CPU."""
    together = "LOCAL_RANK" in os.environ
    own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if device == "cuda" else torch.device(device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    if together:
        dist.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield own
    finally:
        if together:
            dist.destroy_process_group()


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


def add_up(*tensors: Tensor) -> None:
    """Replace tensors of one type by their sums over all processes; all of them in one message."""
    if size() == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, summed in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(summed.view_as(tensor))


def micro_batches(count: int, group: int, at_once: int | None) -> Sequence[Tensor]:
    """The samples of a batch that are this process's, in micro-batches of at most `at_once` (None = all in one).

    Samples n, n + count/group, ... form a group of the minibatch standard deviation; groups stay whole and in
    that order, so that processes and micro-batches change nothing but rounding. A process may get no samples.
    """
    groups = torch.arange(count).reshape(group, count // group)  # a group is a column
    mine = groups.tensor_split(size(), dim=1)[rank()]
    most = mine.shape[1] if at_once is None else max(at_once // group, 1)
    return [part.flatten() for part in torch.split(mine, max(most, 1), dim=1) if part.numel()]
