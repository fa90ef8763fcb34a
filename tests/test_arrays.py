import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as made

from semireal import arrays
from semireal.arrays import Array


def parts_of(array: Array, size: int) -> list[Array]:
    return [array[start : start + size] for start in range(0, len(array), size)]


@given(
    made.arrays(st.sampled_from([np.uint8, np.float32, np.float64]), made.array_shapes(max_dims=4)), st.integers(1, 9)
)
def test_what_was_written_in_parts_is_the_array(array: Array, size: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "a.npy"
        arrays.save(path, len(array), parts_of(array, size))
        for found in (arrays.load(path), np.load(path), arrays.aside(Path(scratch), len(array), parts_of(array, size))):
            assert (found.dtype, found.shape) == (array.dtype, array.shape)
            assert found.tobytes() == array.tobytes()


def test_nobody_writes_to_a_mapped_array(tmp_path: Path) -> None:
    arrays.save(tmp_path / "a.npy", 2, [np.zeros((2, 3))])
    for found in (arrays.load(tmp_path / "a.npy"), arrays.aside(tmp_path, 2, [np.zeros((2, 3))])):
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]  # what was put aside has no name


def test_a_mapped_array_stays_where_its_file_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    arrays.save(path, 3, [np.arange(3)])
    found = arrays.load(path)
    arrays.save(path, 3, [np.arange(3) + 7])
    path.unlink()
    assert found.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "parts",
    [[], [np.zeros((2, 3))], [np.zeros((2, 3)), np.zeros((1, 4))], [np.zeros((2, 3)), np.zeros((1, 3), np.float32)]],
)
def test_other_parts_than_promised_leave_nothing(tmp_path: Path, parts: list[Array]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - numpy has no errors of its own
        arrays.save(tmp_path / "a.npy", 3, parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [0, 5, 100, 130, -1])
def test_a_file_that_is_cut_off_is_none(tmp_path: Path, left: int) -> None:
    path = tmp_path / "a.npy"
    arrays.save(path, 2, [np.zeros((2, 3))])
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises((ValueError, EOFError)):
        arrays.load(path)
