from pathlib import Path

import numpy as np

import reference


def test_subset_is_small_and_what_is_chosen_of_the_full_set(full_reference: Path, tmp_path: Path) -> None:
    reference.write_subset(full_reference, tmp_path)
    for name in (reference.NETWORKS, reference.OPS):
        again, here = (reference.load(folder, name) for folder in (tmp_path, reference.SUBSET))
        assert again.keys() == here.keys()
        for key, value in here.items():  # not the bytes of the file: versions of Python pack it differently
            np.testing.assert_array_equal(again[key], value, err_msg=key)
    assert sum(path.stat().st_size for path in reference.SUBSET.iterdir()) < 2_000_000


def test_networks_drawn_again_are_those_of_the_full_set(full_reference: Path) -> None:
    found, full = (reference.load(folder, reference.NETWORKS) for folder in (reference.SUBSET, full_reference))
    names = [name for name in full if name.startswith(("G/", "D/"))]
    assert names
    for name in names:
        np.testing.assert_allclose(found[name], full[name], rtol=1e-5, atol=1e-6, err_msg=name)
