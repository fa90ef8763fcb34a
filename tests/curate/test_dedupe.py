from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import texture
from semireal import images, manifest
from semireal.curate import dedupe
from semireal.params.dedupe import Dedupe


@given(st.lists(st.binary(min_size=4, max_size=4), max_size=40), st.integers(0, 16))
def test_clusters_agree_with_a_slow_search(codes: list[bytes], distance: int) -> None:
    hashes = [np.unpackbits(np.frombuffer(code, dtype=np.uint8)).astype(bool) for code in codes]
    groups = list(range(len(codes)))  # label of each hash; linked ones get the same
    for i in range(len(codes)):
        for j in range(i):
            apart = (int.from_bytes(codes[i]) ^ int.from_bytes(codes[j])).bit_count()
            if apart <= distance:
                old, new = groups[i], groups[j]
                groups = [new if label == old else label for label in groups]
    slow = sorted([i for i, label in enumerate(groups) if label == wanted] for wanted in set(groups))
    assert dedupe.clusters(hashes, distance) == slow


def test_clusters_over_several_stripes() -> None:
    rng = np.random.default_rng(0)
    base = rng.random((600, 256)) < 0.5
    hashes = [*base, base[599], base[0]]
    groups = dedupe.clusters(hashes, 10)
    assert [0, 601] in groups
    assert [599, 600] in groups
    assert len(groups) == 600


def test_survivor_is_the_largest_then_the_sharpest_then_the_first() -> None:
    rows = [
        {"id": "d", "crop_side": 300, "sharpness": 9.0, "file": "d"},
        {"id": "c", "crop_side": 300, "sharpness": 9.0, "file": "c"},
        {"id": "b", "crop_side": 300, "sharpness": 1.0, "file": "b"},
        {"id": "a", "crop_side": 200, "sharpness": 99.0, "file": "a"},
    ]
    for group in (rows, rows[::-1]):
        decided = dedupe.decide(group)
        assert [row["id"] for row in decided if row["status"] == "kept"] == ["c"]
        assert {(row["cluster"], row["survivor"]) for row in decided} == {("a", "c")}


def test_what_a_person_kept_survives() -> None:
    rows = [
        {"id": "a", "crop_side": 300, "sharpness": 9.0, "file": "a", "note": ""},
        {"id": "b", "crop_side": 200, "sharpness": 9.0, "file": "b", "note": "kept by hand"},
        {"id": "c", "crop_side": 100, "sharpness": 9.0, "file": "c", "note": "kept by hand"},
        {"id": "d", "crop_side": 400, "sharpness": 9.0, "file": "d", "note": "domain by hand"},
    ]
    decided = dedupe.decide(rows)
    assert [row["id"] for row in decided if row["status"] == "kept"] == ["b", "c"]
    assert {row["survivor"] for row in decided} == {"b"}


def test_copies_are_found_and_different_pictures_kept(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    one, two = texture(1, 256, 256), texture(2, 256, 256)
    smaller = np.asarray(Image.fromarray(one).resize((140, 140)).resize((256, 256)))
    noisy = np.clip(one.astype(int) + np.random.default_rng(0).integers(-9, 9, one.shape), 0, 255).astype(np.uint8)
    more = {"sharpness": 5.0}
    pictures = [
        (smaller, more | {"crop_side": 140}),
        (one, more),
        (two, more),
        (noisy, more | {"crop_side": 250}),
    ]
    filtered = make_dataset("filtered", pictures, ".jpg")
    out = tmp_path / "out"
    out.mkdir()
    dedupe.run(filtered, out, Dedupe(max_distance=24))
    table = manifest.read(out).set_index("id")
    assert table["status"].to_dict() == {
        "0000": "rejected",
        "0001": "kept",
        "0002": "kept",
        "0003": "rejected",
    }
    assert table.loc["0003", "survivor"] == "0001"
    assert table.loc["0002", "cluster"] == ""
    assert sorted(f.name for f in (out / "images").iterdir()) == ["0001.jpg", "0002.jpg"]
    assert np.array_equal(images.load_rgb(out / "images/0001.jpg"), images.load_rgb(filtered / "images/0001.jpg"))
