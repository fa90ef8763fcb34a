"""What a training step asks of the host, counted without a GPU: operators, transfers, and waits for the device.

    python benchmarks/host_work.py --json benchmarks/results/host-work.json

The networks lie on PyTorch's `meta` device, which computes nothing and plays the GPU; what belongs to the host is
computed as always. So each step takes the way that it takes on a GPU, and all that passes between the two is seen:

- operators: calls that start one kernel of the device or a few; views and empty memory are not counted
- up, down: transfers that are queued; the host goes on, since its side is pinned memory
- waits: whatever keeps the host until the device has done all that it was given: numbers asked back (`item`, `tolist`,
  comparisons, boolean masks), transfers from or to memory that is not pinned, tensors made of Python's numbers

What a kernel costs, how many one operator starts and whether a GPU ever waits for its host is not seen here.
"""

import argparse
import collections
import dataclasses
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from semireal import machine
from semireal.params import whole
from semireal.params.train import PRECISIONS, Train
from semireal.pipeline.compose import compose
from semireal.stylegan2 import training
from semireal.stylegan2.step import ADA_INTERVAL, Step

ROOT = Path(__file__).resolve().parents[1]
SRC = str(ROOT / "src")
DEVICE = torch.device("meta")
HOST = torch.device("cpu")
COPIES = {"aten::_to_copy", "aten::copy_"}
MADE = {"aten::lift_fresh", "aten::lift_fresh_copy"}  # of Python's numbers
ASKED = {  # what needs numbers of the device to go on
    *("aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::equal", "aten::allclose", "aten::nonzero"),
    *("aten::masked_select", "aten::_unique2", "aten::unique_consecutive", "aten::bincount"),
}
FREE = {  # starts no kernel
    *("aten::empty", "aten::empty_strided", "aten::empty_like", "aten::new_empty", "aten::new_empty_strided"),
    *("aten::detach", "aten::alias", "aten::_unsafe_view", "aten::_reshape_alias", "aten::resize_", "aten::set_"),
}


@dataclasses.dataclass
class Found:
    """What was counted; waits: where, and how often there."""

    operators: int = 0
    on_the_host: int = 0
    up: int = 0
    down: int = 0
    bytes_up: int = 0
    waits: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def numbers(self) -> dict[str, int]:
        """The counts, with waits as one number."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {"waits": self.waits.total()}


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts into `found` what passes through PyTorch's dispatcher."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = Found()
        self.pinned: list[Tensor] = []  # kept, so that none is taken for another

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        if name in COPIES:
            return self._copy(func, args, kwargs)
        if name in ASKED and any(map(_is_there, given)):
            self._wait(name)
            return {"aten::equal": True}.get(name, 0) if name != "aten::nonzero" else func(*args, **kwargs)
        if name == "aten::_fused_adam_" and _is_there(given[0]):  # has no kernel for meta
            self.found.operators += 1
            return None
        made = func(*args, **kwargs)
        results = [one for one in tree_leaves(made) if isinstance(one, Tensor)]
        there = any(map(_is_there, [*given, *results]))
        if there and name in MADE:
            self._wait("a tensor made of numbers")
        if there and any(one.dim() and not _is_there(one) for one in given):
            self._wait(f"{name} with a tensor of the host")
        if not (func.is_view or name in FREE or name in MADE):
            if there:
                self.found.operators += 1
            else:
                self.found.on_the_host += 1
        return made

    def _copy(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func._schema.name == "aten::copy_":
            target, source, queued = args[0].device, args[1], _argument(func, args, kwargs, "non_blocking")
        else:
            source = args[0]
            target, queued = kwargs.get("device") or source.device, kwargs.get("non_blocking", False)
        if _is_there(source) == (target.type == DEVICE.type):
            if _is_there(source):
                self.found.operators += 1
            else:
                self.found.on_the_host += 1
            return func(*args, **kwargs)
        if _is_there(source):
            if queued:
                self.found.down += 1
            else:
                self._wait("a tensor brought to the host")
            if func._schema.name == "aten::copy_":
                return args[0].zero_()
            return torch.zeros(source.shape, dtype=kwargs.get("dtype") or source.dtype)
        if queued and any(source is one for one in self.pinned):
            self.found.up += 1
            self.found.bytes_up += source.nbytes
        else:
            self._wait("a transfer from memory that is not pinned, or that is not queued")
        return func(*args, **kwargs)

    def pin(self, tensor: Tensor, *_: Any) -> Tensor:
        """Stands for Tensor.pin_memory, which needs a driver."""
        self.pinned.append(tensor.clone())
        return self.pinned[-1]

    def _wait(self, what: str) -> None:
        frame: FrameType | None = sys._getframe()
        while frame is not None and not frame.f_code.co_filename.startswith(SRC):
            frame = frame.f_back
        where = "elsewhere" if frame is None else f"{Path(frame.f_code.co_filename).name} {frame.f_code.co_name}"
        self.found.waits[f"{where}: {what}"] += 1


def _nothing(*_: Any, **__: Any) -> None:
    pass


def _is_there(tensor: Tensor) -> bool:
    return tensor.device.type == DEVICE.type


def _argument(func: Any, args: Any, kwargs: Any, name: str) -> Any:
    """An argument by name, wherever it was given, or its default."""
    for position, one in enumerate(func._schema.arguments):
        if one.name == name:
            return args[position] if position < len(args) else kwargs.get(name, one.default_value)
    raise KeyError(name)


class Pretended(torch.Generator):
    """A generator of random numbers that says it is the device's: `meta` has none, and draws nothing."""

    def __new__(cls, device: Any = HOST) -> "Pretended":
        """As torch.Generator, for any device."""
        made: Pretended = super().__new__(cls, HOST)  # type: ignore[call-arg]
        made.__dict__["of"] = torch.device(device)
        return made

    def __init__(self, _: Any = HOST) -> None:
        super().__init__()

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """What it was made for."""
        return self.__dict__["of"]  # type: ignore[no-any-return]


@contextmanager
def watched() -> Iterator[Watch]:
    """While the block runs, `meta` plays the GPU, and what is asked of the host is counted."""
    watch, adam = Watch(), importlib.import_module("torch.optim.adam")
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch, "Generator", Pretended))
        stack.enter_context(mock.patch.object(Tensor, "pin_memory", lambda tensor, *_: watch.pin(tensor)))
        stack.enter_context(mock.patch.object(adam, "_device_dtype_check_for_fused", _nothing))
        stack.enter_context(watch)
        yield watch


def count(given: Train, at: int, p: float = 0.5, micro_batch: int | None = None) -> Found:
    """Count one step, which is the number `at`, after one that fills caches. p: of the augmentation."""
    images = torch.zeros([2 * given.batch, 3, given.resolution, given.resolution], dtype=torch.uint8)
    with watched() as watch:
        state = training.new_state(given, 0, "count", DEVICE, None)
        here = dataclasses.replace(machine.DEFAULT, micro_batch=micro_batch)
        step = Step(state, given, 0, images, here)
        for number in (at, at):
            state.step, state.nimg, state.ada.p = number, number * given.batch, p
            watch.found = Found()
            step()
    return watch.found


OFF = {"r1_gamma": 0.0, "pl_weight": 0.0, "ada_target": None}
R1 = {"r1_gamma": 6.0, "r1_interval": 1}
PATH_LENGTH = {"pl_weight": 2.0, "pl_interval": 1}
ADA = {"ada_target": 0.6, "ada_kimg": 500.0}
# by name: parameters of `train`, and the number of a step; p changes at the end of every fourth
FIRST = "generator and discriminator"
KINDS: dict[str, tuple[dict[str, Any], int]] = {
    FIRST: (OFF, 1),
    "and R1": (OFF | R1, 1),
    "and path length": (OFF | PATH_LENGTH, 1),
    "and ADA": (OFF | ADA, 1),
    "and ADA, p changes": (OFF | ADA, ADA_INTERVAL - 1),
    "all of these": (R1 | PATH_LENGTH | ADA, ADA_INTERVAL - 1),
}


def rows(base: Train, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """All kinds of steps at each precision."""
    found: list[dict[str, Any]] = []
    for precision in PRECISIONS:
        clamp = None if precision == "float32" else 256
        for kind, (changes, at) in KINDS.items():
            given = dataclasses.replace(base, precision=precision, conv_clamp=clamp, **changes)
            counted = count(given, at)
            found.append({"kind": kind, "precision": precision, **counted.numbers()})
            numbers = found[-1]
            report(
                f"{precision:9} {kind:28} {numbers['operators']:5} operators, {numbers['on_the_host']:4} on the host, "
                f"{numbers['up']:2} up ({numbers['bytes_up'] / 1e6:.1f} MB), {numbers['down']} down, "
                f"{numbers['waits']} waits"
            )
            for where, often in sorted(counted.waits.items()):
                report(f"    {often} x {where}")
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="full", help="of experiments/profile")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    base = whole.check(compose(ROOT, "character=elf", f"profile={given.profile}")).train
    found = rows(base, print)
    if given.json:
        about = {"profile": given.profile, "batch": base.batch, "resolution": base.resolution}
        about |= {"torch": torch.__version__}
        given.json.write_text(json.dumps(about | {"steps": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
