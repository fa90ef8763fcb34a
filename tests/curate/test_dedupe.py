from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import texture
from semireal import images, manifest
from semireal.collect.gallery import faces as gallery
from semireal.curate import dedupe
from semireal.curate.quality import sharpness
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


ROW = {"domain": "photo", "sharpness": 0.7, "fine": 300}


def test_survivor_is_the_largest_then_the_sharpest_then_the_first() -> None:
    rows: list[manifest.Row] = [
        ROW | {"id": "e", "crop_side": 900, "fine": 205, "sharpness": 0.9, "file": "e"},  # no finer than the smallest
        ROW | {"id": "d", "crop_side": 300, "fine": 300, "sharpness": 0.8, "file": "d"},
        ROW | {"id": "c", "crop_side": 300, "fine": 300, "sharpness": 0.8, "file": "c"},
        ROW | {"id": "b", "crop_side": 300, "fine": 300, "sharpness": 0.7, "file": "b"},
        ROW | {"id": "a", "crop_side": 200, "fine": 200, "sharpness": 0.9, "file": "a"},
    ]
    for group in (rows, rows[::-1]):
        decided = dedupe.decide(group)
        assert [row["id"] for row in decided if row["status"] == "kept"] == ["c"]
        assert {(row["cluster"], row["survivor"]) for row in decided} == {("a", "c")}


def test_what_a_person_kept_survives() -> None:
    rows = [
        ROW | {"id": "a", "crop_side": 300, "file": "a", "note": ""},
        ROW | {"id": "b", "crop_side": 200, "file": "b", "note": "kept by hand"},
        ROW | {"id": "c", "crop_side": 100, "fine": 100, "file": "c", "note": "kept by hand"},
        ROW | {"id": "d", "crop_side": 400, "fine": 400, "file": "d", "note": "domain by hand"},
    ]
    decided = dedupe.decide(rows)
    assert [row["id"] for row in decided if row["status"] == "kept"] == ["b", "c"]
    assert {row["survivor"] for row in decided} == {"b"}


def test_an_enlarged_copy_does_not_survive_its_original(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    head = Image.fromarray(np.asarray(gallery.draw("elf", "photo", np.random.default_rng(1))))
    original = np.asarray(head.resize((170, 170), Image.Resampling.LANCZOS))
    enlarged = np.asarray(Image.fromarray(original).resize((510, 510), Image.Resampling.BICUBIC))
    pictures = [
        (images.resize(img, 512), {"crop_side": img.shape[0], "sharpness": sharpness(images.resize(img, 512))})
        for img in (enlarged, original)
    ]
    filtered, out = make_dataset("filtered", pictures, ".jpg"), tmp_path / "out"
    out.mkdir()
    dedupe.run(filtered, out, Dedupe(max_distance=36))
    assert manifest.read(out).set_index("crop_side")["status"].to_dict() == {510: "rejected", 170: "kept"}


def test_copies_declared_as_photo_and_portrait_get_the_measured_domain() -> None:
    photo = {"p_photo": 0.9, "p_portrait": 0.1, "p_line_art": 0.0, "p_anime": 0.0}
    rows = [
        photo | {"id": name, "domain": domain, "crop_side": 300, "fine": 300, "sharpness": sharp, "file": name}
        for name, domain, sharp in (("a", "photo", 1.0), ("b", "portrait", 2.0))
    ]
    for group in (rows, rows[::-1]):
        decided = {row["id"]: row for row in dedupe.decide(group)}
        assert (decided["b"]["status"], decided["b"]["domain"]) == ("kept", "photo")
        assert decided["a"]["reason"] == "near-duplicate, declared as another domain"


def test_what_a_person_said_of_the_domain_wins_over_what_is_measured() -> None:
    photo = {"p_photo": 0.9, "p_portrait": 0.1, "crop_side": 300, "fine": 300}
    rows = [
        photo | {"id": "a", "domain": "photo", "sharpness": 0.6, "file": "a", "note": ""},
        photo | {"id": "b", "domain": "portrait", "sharpness": 0.7, "file": "b", "note": "domain by hand"},
    ]
    for sharp in (0.7, 0.5):  # whichever of the two survives
        rows[1]["sharpness"] = sharp
        (kept,) = (row for row in dedupe.decide(rows) if row["status"] == "kept")
        assert (kept["id"], kept["domain"]) == ("b" if sharp == 0.7 else "a", "portrait")


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
