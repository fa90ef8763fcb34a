"""What lies between two networks: which blocks move, and how far."""

import dataclasses
import itertools

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from semireal.errors import UserError
from semireal.stylegan2 import Config, Generator
from semireal.stylegan2.between import are_kin, blended, check
from semireal.stylegan2.networks import build_generator

SMALL = Config(32, z_dim=4, w_dim=6, mapping_layers=2, channel_base=64, channel_max=8)
AMOUNTS = st.floats(0, 1)
RESOLUTIONS = st.sampled_from(SMALL.block_resolutions())
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
UNTRAINED = ("noise_const", "resample_filter")
Weights = dict[str, Tensor]


def changed(weights: Weights, by: float, seed: int) -> Weights:
    """Weights after a training: another number everywhere but in what no training changes."""
    rng = torch.Generator().manual_seed(seed)
    return {
        name: tensor if name.endswith(UNTRAINED) else tensor + by * torch.randn(tensor.shape, generator=rng)
        for name, tensor in weights.items()
    }


BASE = changed(build_generator(SMALL, 0).state_dict(), 0.3, 1)  # noise that is seen, biases, w_avg
CHILD = changed(BASE, 0.3, 2)
STRANGER = changed(build_generator(SMALL, 3).state_dict(), 0.3, 4)


def generator(weights: Weights) -> Generator:
    G = build_generator(SMALL, 5).eval().requires_grad_(False)
    G.load_state_dict(weights)
    return G


def drawn(weights: Weights, psi: float = 0.7) -> Tensor:
    z = torch.randn([3, SMALL.z_dim], generator=torch.Generator().manual_seed(0))
    img: Tensor = generator(weights)(z, psi)
    return img


@pytest.mark.parametrize("child", [CHILD, STRANGER], ids=["child", "stranger"])
@pytest.mark.parametrize("first", SMALL.block_resolutions())
def test_amount_0_is_the_base(child: Weights, first: int) -> None:
    assert torch.equal(drawn(blended(BASE, child, first, 0)), drawn(BASE))


@pytest.mark.parametrize("child", [CHILD, STRANGER], ids=["child", "stranger"])
def test_all_the_way_from_4_is_the_synthesis_of_the_child_with_the_mapping_of_the_base(child: Weights) -> None:
    found, A, B = generator(blended(BASE, child, 4, 1)), generator(BASE), generator(child)
    z = torch.randn([3, SMALL.z_dim], generator=torch.Generator().manual_seed(0))
    for psi in (0.5, 1):
        ws = A.mapping(z, psi)
        assert torch.equal(found.mapping(z, psi), ws)
        assert torch.equal(found(z, psi), B.synthesis(ws))
        assert not torch.equal(found(z, psi), B(z, psi))


@pytest.mark.parametrize("first", SMALL.block_resolutions())
def test_blocks_below_are_those_of_the_base_and_the_others_those_of_the_child(first: int) -> None:
    found = blended(BASE, CHILD, first, 1)
    for name, tensor in found.items():
        block = name.split(".")[1]
        resolution = int(block[1:]) if name.startswith("synthesis.") else 0
        assert torch.equal(tensor, (CHILD if resolution >= first else BASE)[name]), name
    assert found.keys() == BASE.keys()


def test_amounts_share_the_features_below() -> None:
    """What makes them the same face: the input of the first block that moves is equal to the last bit."""
    seen = []
    for amount in (0.25, 0.75):
        G = generator(blended(BASE, CHILD, 16, amount))
        G.synthesis.blocks()[2].register_forward_pre_hook(lambda _, given: seen.append(given[:2]))
        G(torch.ones(1, SMALL.z_dim), 0.5)
    (x, img), (other_x, other_img) = seen
    assert torch.equal(x, other_x)
    assert torch.equal(img, other_img)


@given(AMOUNTS, RESOLUTIONS)
def test_between_a_network_and_itself_is_itself(amount: float, first: int) -> None:
    for name, tensor in blended(STRANGER, STRANGER, first, amount).items():
        assert torch.equal(tensor, STRANGER[name])


def test_the_way_is_straight() -> None:
    for name, tensor in blended(BASE, CHILD, 4, 0.25).items():
        moved = 0.25 if name.startswith("synthesis.") else 0
        assert torch.allclose(tensor, BASE[name] + moved * (CHILD[name] - BASE[name]), atol=1e-6), name


@given(FLOATS, FLOATS, st.tuples(AMOUNTS, AMOUNTS))
@example(2.0**127, -(2.0**127), (0.25, 0.5))
def test_no_number_is_beyond_its_ends_or_turns_back(a: float, b: float, amounts: tuple[float, float]) -> None:
    """The largest numbers, too, whose difference float32 does not hold."""
    name = "synthesis.b4.const"
    values = [
        blended({name: torch.tensor([a])}, {name: torch.tensor([b])}, 4, amount)[name].item()
        for amount in (0, *sorted(amounts), 1)
    ]
    assert values[0] == a
    assert values[-1] == b
    slack = 1e-15 * max(abs(a), abs(b))  # of float64
    for one, next_one in itertools.pairwise(values):
        assert (next_one - one) * (1 if b >= a else -1) >= -slack


def test_pictures_leave_the_base_step_by_step() -> None:
    near = changed(BASE, 0.05, 2)
    steps = [drawn(blended(BASE, near, 8, amount)) for amount in (0, 0.25, 0.5, 0.75, 1)]
    from_base = [(img - steps[0]).square().mean().item() for img in steps]
    to_end = [(img - steps[-1]).square().mean().item() for img in steps]
    assert from_base == sorted(from_base)
    assert to_end == sorted(to_end, reverse=True)
    assert len(set(from_base)) == len(steps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"img_resolution": 64}, "img_resolution 32 and 64"),
        ({"z_dim": 5, "channel_max": 4}, "z_dim 4 and 5, channel_max 8 and 4"),
        ({"conv_clamp": 256.0}, "conv_clamp None and 256.0"),
    ],
)
def test_other_shapes_are_named(change: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=rf"^x and y: found {message}\. Name a network and its child"):
        check(SMALL, dataclasses.replace(SMALL, **change), 16, 0.5, "x and y")


def test_what_only_a_discriminator_has_does_not_matter() -> None:
    check(SMALL, dataclasses.replace(SMALL, mbstd_group_size=2), 16, 0.5, "x and y")


@pytest.mark.parametrize("first", [-4, 1, 2, 12, 64])
def test_other_resolutions_are_refused(first: int) -> None:
    with pytest.raises(UserError, match=f"^--from: found {first}, need one of 0, 4, 8, 16, 32$"):
        check(SMALL, SMALL, first, 0.5, "x and y")


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan"), float("inf")])
def test_other_amounts_are_refused(amount: float) -> None:
    with pytest.raises(UserError, match=f"^--amount: found {amount}, need a number from 0 to 1$"):
        check(SMALL, SMALL, 16, amount, "x and y")


def test_strangers_are_told_by_their_noise() -> None:
    assert are_kin(BASE, CHILD)
    assert are_kin(BASE, {name: tensor.half().float() for name, tensor in CHILD.items()})
    assert not are_kin(BASE, STRANGER)
    name = "synthesis.b32.conv1.noise_const"
    assert not are_kin(BASE, CHILD | {name: STRANGER[name]})
