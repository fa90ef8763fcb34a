"""Something on one side of all heads of a set."""

import numpy as np
import pytest
import torch

from heads import head
from semireal.vision import efficientnet, sides

CPU = torch.device("cpu")


@pytest.mark.parametrize("seed", range(5))
def test_vectors_of_any_sign_are_chance_and_a_common_part_is_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    differences = rng.normal(size=(100, 400)) * np.linspace(2, 0.1, 400)
    assert abs(sides.deviation(differences)) < 4
    common = differences + 0.3 * rng.normal(size=400)
    assert sides.deviation(common) > sides.SURE
    np.testing.assert_allclose(sides.deviation(common), sides.deviation(-common))


def test_the_formula_is_that_of_all_signs() -> None:
    """Against every choice of signs of eight vectors."""
    differences = np.random.default_rng(0).normal(size=(8, 3)) + 0.5
    signs = np.array(np.meshgrid(*[(-1, 1)] * 8)).reshape(8, -1).T
    lengths = ((signs @ differences) ** 2).sum(axis=1)
    expected = ((differences.sum(axis=0) ** 2).sum() - lengths.mean()) / lengths.std()
    assert sides.deviation(differences) == pytest.approx(expected)


def test_none_and_equal_sides_are_no_mark() -> None:
    assert sides.deviation(np.zeros((5, 3))) == 0
    assert sides.deviation(np.ones((1, 3))) == 0


@pytest.mark.parametrize(("who", "marked"), [("geralt", True), ("elf", False), ("wonder_woman", False)])
def test_a_scar_is_seen_and_nothing_else(who: str, marked: bool) -> None:
    net = efficientnet.load()
    heads = np.stack([head(who, ("photo", "portrait")[seed % 2], seed, 128) for seed in range(40)])
    assert (sides.one_sided(net, heads, CPU) > sides.SURE) == marked
    assert (sides.one_sided(net, np.ascontiguousarray(heads[:, :, ::-1]), CPU) > sides.SURE) == marked
    either = np.concatenate([heads[::2], heads[1::2, :, ::-1]])
    assert sides.one_sided(net, either, CPU) < sides.SURE
