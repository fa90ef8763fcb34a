"""Who does not belong to a set of heads."""

import numpy as np
import pytest

from heads import head
from semireal.vision import efficientnet, identity
from semireal.vision.identity import Heads, compared, probabilities, to_ask

KINDS = 30  # numbers that a made-up head is known by


def made(rng: np.random.Generator, count: int, strangers: int) -> tuple[np.ndarray, list[str]]:
    """Photos and portraits, which differ more than anybody in them, of one character, and at the end of others."""
    known = rng.normal(size=(count, KINDS)) * np.linspace(1, 0.3, KINDS)
    known[-strangers:, :4] += rng.choice([-1, 1], size=(strangers, 4)) * 2.5
    domains = ["photo" if n % 3 else "portrait" for n in range(count)]
    known[[one == "portrait" for one in domains]] += 10
    return known, domains


@pytest.mark.parametrize("seed", range(5))
def test_strangers_are_odd_and_what_is_rarer_is_not(seed: int) -> None:
    known, domains = made(np.random.default_rng(seed), 200, 16)
    odd = compared(known, domains).odd
    assert (odd[-16:, None] > odd[:-16]).mean() > 0.95
    portraits = np.array(domains[:-16]) == "portrait"
    assert abs(odd[:-16][portraits].mean() - odd[:-16][~portraits].mean()) < 0.3


@pytest.mark.parametrize("seed", range(5))
def test_answers_teach_and_are_few(seed: int) -> None:
    """A person who answers 30 times, ten at a time, has found the strangers, and the rest is known."""
    known, domains = made(np.random.default_rng(seed), 200, 16)
    truth = np.arange(200) < 184
    heads = compared(known, domains)
    answers: dict[int, bool] = {}
    learned = None
    for _ in range(3):
        asked = to_ask(heads, learned, answers, 10)
        assert len(set(asked)) == 10
        assert not answers.keys() & set(asked)
        answers |= {number: bool(truth[number]) for number in asked}
        learned = probabilities(heads, answers)
    assert learned is not None
    kept = learned >= 0.5
    kept[list(answers)] = list(answers.values())
    assert truth[kept].mean() >= 0.99
    assert kept[truth].mean() >= 0.97


def test_nothing_is_learned_before_somebody_was_rejected() -> None:
    heads = compared(*made(np.random.default_rng(0), 50, 5))
    assert probabilities(heads, {}) is None
    assert probabilities(heads, {3: True}) is None
    assert to_ask(heads, None, {}, 5) == list(np.argsort(-heads.odd)[:5])
    np.testing.assert_array_equal(probabilities(heads, dict.fromkeys(range(50), False)), 0)
    assert to_ask(heads, None, dict.fromkeys(range(50), True), 5) == []


def test_few_and_equal_heads_are_no_error() -> None:
    for known in (np.zeros((2, KINDS)), np.ones((3, KINDS)), np.random.default_rng(0).normal(size=(2, KINDS))):
        heads = compared(known, ["photo"] * len(known))
        assert np.isfinite(heads.odd).all()
        assert np.isfinite(heads.places).all()
        assert probabilities(heads, {0: False}) is not None


def test_a_stranger_among_drawn_heads_is_the_oddest() -> None:
    """And what a head is known by does not depend on those beside it."""
    heads = [head("geralt", "photo", number, 256) for number in range(11)] + [head("elf", "photo", 0, 256)]
    known = identity.features(efficientnet.load(), np.stack(heads))
    assert known.shape == (12, identity.SIZE)
    found: Heads = compared(known, ["photo"] * 12)
    assert int(found.odd.argmax()) == 11
    alone = identity.features(efficientnet.load(), heads[-1][None])[0]
    np.testing.assert_allclose(alone.astype(float), known[-1].astype(float), atol=0.01)
