"""What a step asks of the host, counted on a pretended GPU (benchmarks/host_work.py), and that the count sees it."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import host_work
from conftest import ROOT
from host_work import FIRST, KINDS, count
from semireal.params import whole
from semireal.params.train import PRECISIONS, Train
from semireal.pipeline.compose import compose
from semireal.stylegan2 import parallel, step, training
from semireal.stylegan2.step import ADA_INTERVAL, Signs, Step
from semireal.tensors import carried
from tiny import TRAIN

SMALL = dataclasses.replace(TRAIN, batch=8)
BATCH = 8 * 3 * 8 * 8  # bytes
# how many transforms are drawn, each of which sends two matrices an image; R1 draws one more
TRANSFORMS = {"and ADA": 3, "and ADA, p changes": 3, "all of these": 4}
MATRICES = 8 * 4 * (2 * 3 + 4 * 4)  # bytes


def of(kind: str, base: Train = SMALL, **changes: Any) -> tuple[Train, int]:
    settings, at = KINDS[kind]
    return dataclasses.replace(base, **(settings | changes)), at


@pytest.mark.parametrize("kind", KINDS)
def test_the_host_waits_for_nothing_and_sends_each_image_once(kind: str) -> None:
    found = count(*of(kind))
    assert not found.waits
    transforms = TRANSFORMS.get(kind, 0)
    assert found.up == 1 + 2 * transforms
    assert found.bytes_up == BATCH + MATRICES * transforms
    assert found.down == (kind in ("and ADA, p changes", "all of these"))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_precision_and_no_micro_batch_makes_it_wait(precision: str) -> None:
    given, at = of("all of these", precision=precision, conv_clamp=256)
    found = count(given, at, micro_batch=4)
    assert not found.waits
    assert found.bytes_up == BATCH + MATRICES * 4


def add(faulty: Callable[[Tensor], Any]) -> Callable[[torch.optim.Optimizer], None]:
    """The update of the weights, after something that it must not do."""

    def update(optimizer: torch.optim.Optimizer, right: Callable[..., None] = step.update) -> None:
        faulty(optimizer.param_groups[0]["params"][0].grad.detach())
        right(optimizer)

    return update


@pytest.mark.parametrize(
    "faulty",
    [
        lambda grad: grad.sum().item(),
        lambda grad: float(grad.sum()),
        lambda grad: bool(grad.isfinite().all()),
        lambda grad: grad.flatten()[:2].tolist(),
        lambda grad: grad.cpu(),
        lambda grad: torch.equal(grad, grad + 1),
        lambda grad: torch.zeros(3).to(grad.device),
        lambda grad: torch.zeros(3).to(grad.device, non_blocking=True),  # of paged memory
        lambda grad: torch.tensor([1.0, 2.0], device=grad.device),
        lambda grad: grad.new_tensor([1.0, 2.0]),
        lambda grad: grad.flatten()[torch.tensor([0, 1])],
        lambda grad: grad.flatten()[:2].copy_(torch.zeros(2)),
    ],
)
def test_a_planted_wait_is_found(monkeypatch: pytest.MonkeyPatch, faulty: Callable[[Tensor], Any]) -> None:
    monkeypatch.setattr(step, "update", add(faulty))
    assert count(*of(FIRST)).waits.total() == 2  # both networks are updated


def test_more_operators_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = count(*of(FIRST))
    monkeypatch.setattr(step, "update", add(lambda grad: grad.square().sum()))
    assert count(*of(FIRST)).operators == before.operators + 4


@pytest.mark.slow
def test_the_committed_table_is_that_of_the_code() -> None:
    """At 512 x 512; what the operators are is a matter of PyTorch, so only more of them is a fault."""
    written = json.loads((ROOT / "benchmarks/results/host-work.json").read_text())
    assert {row["kind"] for row in written["steps"]} == set(KINDS)
    assert {row["precision"] for row in written["steps"]} == set(PRECISIONS)
    assert not any(row["waits"] for row in written["steps"])
    base = whole.check(compose(ROOT, "character=elf", f"profile={written['profile']}")).train
    given, at = of(FIRST, base, precision="float32", conv_clamp=None)
    found = count(given, at).numbers()
    row = next(row for row in written["steps"] if row["precision"] == "float32" and row["kind"] == FIRST)
    assert found["operators"] <= row["operators"] * 1.02
    assert found["up"] == row["up"] == 1


def test_the_host_carries_through_memory_that_is_not_paged(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[Tensor] = []

    def pin(tensor: Tensor) -> Tensor:
        pinned.append(tensor)
        return tensor

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    here = torch.ones(3)
    assert carried(here, torch.device("cpu")) is here
    assert not pinned
    assert carried(here, host_work.DEVICE).device == host_work.DEVICE
    assert pinned[0] is here
    assert len(pinned) == 1


def stepped(steps: int, late: bool) -> Step:
    """A training whose discriminator is sure of all images: p rises at each change."""
    given = dataclasses.replace(TRAIN, lr=1e-8, r1_gamma=0, pl_weight=0, ada_target=0.5, ada_kimg=1.0)
    state = training.new_state(given, 0, "key", torch.device("cpu"), None)
    state.D.b4.out.bias.data.fill_(100)
    taken = Step(state, given, 0, torch.zeros([8, 3, 8, 8], dtype=torch.uint8))
    taken.late = late
    for _ in range(steps):
        taken()
    return taken


def test_on_a_gpu_the_augmentation_follows_one_interval_later() -> None:
    interval = ADA_INTERVAL * TRAIN.batch / 1000  # how far p moves
    for steps, at_once, later in ((3, 0, 0), (4, 1, 0), (8, 2, 1), (13, 3, 2)):
        assert stepped(steps, late=False).state.ada.p == pytest.approx(at_once * interval)
        assert stepped(steps, late=True).state.ada.p == pytest.approx(later * interval)


def test_what_is_under_way_is_saved_with_the_state() -> None:
    for steps in (3, 5, 8):
        late = stepped(steps, late=True)
        late.count_signs()
        moved = round(late.state.ada.p * 1000)
        assert late.state.ada.count + moved == steps * TRAIN.batch
        before = dataclasses.replace(late.state.ada)
        late.count_signs()
        assert late.state.ada == before


def test_signs_arrive_once() -> None:
    signs = Signs(torch.device("cpu"))
    signs.add(torch.tensor(3.0))
    signs.count = 4
    assert signs.exchange() == (0, 0)
    signs.add(torch.tensor(-1.0))
    signs.count = 2
    assert signs.exchange() == (3, 4)
    assert signs.exchange() == (-1, 2)
    assert signs.exchange() == (0, 0)


def test_one_process_adds_up_nothing() -> None:
    one = torch.ones(2)
    parallel.add_up(one)
    assert one.tolist() == [1, 1]
