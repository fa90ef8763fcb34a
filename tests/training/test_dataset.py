from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import texture
from semireal.errors import UserError
from semireal.manifest import Row
from semireal.training import dataset


def rows_of(photos: int, portraits: int) -> list[Row]:
    domains = ["photo"] * photos + ["portrait"] * portraits
    return [{"id": f"{n:04}", "domain": domain, "file": f"images/{n:04}.jpg"} for n, domain in enumerate(domains)]


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1))
def test_mixture_has_the_ratio_and_cannot_be_larger(photos: int, portraits: int, ratio: float) -> None:
    chosen = dataset.select(rows_of(photos, portraits), ratio, seed=0)
    found = sum(row["domain"] == "photo" for row in chosen)
    assert abs(found - ratio * len(chosen)) <= 1
    assert [row["id"] for row in chosen] == sorted({row["id"] for row in chosen})
    # one of the two domains is used up, to within rounding
    assert found >= photos - 1 or len(chosen) - found >= portraits - 1


def test_mixture_examples() -> None:
    assert dataset.select(rows_of(3, 9), None, 0) == rows_of(3, 9)
    half = dataset.select(rows_of(3, 9), 0.5, 0)
    assert [row["domain"] for row in half] == ["photo"] * 3 + ["portrait"] * 3
    assert dataset.select(rows_of(3, 9), 0.5, 0) == half
    assert dataset.select(rows_of(3, 9), 0.5, 1) != half
    assert len(dataset.select(rows_of(3, 9), 1, 0)) == 3
    assert len(dataset.select(rows_of(3, 9), 0, 0)) == 9
    assert len(dataset.select(rows_of(72, 128), 0.36, 0)) == 200  # Wonder Woman of the report: all of it


def test_one_image_more_changes_one_image() -> None:
    before = {row["id"] for row in dataset.select(rows_of(20, 100), 0.5, 0)}
    after = {row["id"] for row in dataset.select(rows_of(20, 101), 0.5, 0)}
    assert len(before ^ after) <= 2


def test_empty_domain_is_named() -> None:
    with pytest.raises(UserError, match=r"train\.photo_ratio: found 0\.5 for 0 photos and 4 portraits"):
        dataset.select(rows_of(0, 4), 0.5, 0)


def test_load_scales_and_keeps_order(make_dataset: Callable[..., Path]) -> None:
    folder = make_dataset("set", [(np.full((64, 64, 3), 40 * n, np.uint8), {}) for n in range(4)])
    tensor, rows = dataset.load(folder, 16, None, 0)
    assert tensor.shape == (4, 3, 16, 16)
    assert tensor.dtype == torch.uint8
    assert tensor[:, 0, 0, 0].tolist() == [0, 40, 80, 120]
    assert [row["id"] for row in rows] == ["0000", "0001", "0002", "0003"]


def test_all_damaged_files_are_named(make_dataset: Callable[..., Path]) -> None:
    folder = make_dataset("set", [(texture(n), {}) for n in range(5)])
    (folder / "images/0001.png").write_bytes(b"x")
    (folder / "images/0003.png").unlink()
    with pytest.raises(UserError, match=r"images/0001\.png, images/0003\.png"):
        dataset.load(folder, 16, None, 0)


def test_one_image_is_no_training_set(make_dataset: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="1 images to train on, need 2"):
        dataset.load(make_dataset("set", [(texture(0), {})]), 16, None, 0)
