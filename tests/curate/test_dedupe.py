from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import ROOT, texture
from semireal import images, manifest
from semireal.collect.gallery import faces as gallery
from semireal.collect.gallery.catalogue import posts, render
from semireal.curate import dedupe, resize
from semireal.curate.quality import sharpness
from semireal.faces import crop
from semireal.manifest import Row
from semireal.params import whole
from semireal.params.dedupe import Dedupe
from semireal.vision import hashes, landmarks

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
    dedupe.run(filtered, out, Dedupe(max_distance=36, max_head_distance=26))
    assert manifest.read(out).set_index("crop_side")["status"].to_dict() == {510: "rejected", 170: "kept"}


@pytest.mark.parametrize("numbers", [(20261, 20156), (20235, 20169), (20247, 20088), (20175, 20164)])
def test_one_face_drawn_in_two_ways_is_two_pictures(tmp_path: Path, numbers: tuple[int, int]) -> None:
    """With the parameters of the demo: hair, light and background differ, the drawn eyes and mouth hardly do."""
    settings = whole.load(ROOT / "params.yaml")
    raw, crops, resized, out = folders = [tmp_path / name for name in ("raw", "crops", "resized", "out")]
    for folder in folders:
        folder.mkdir()
    shown = [post for post in posts("geralt") if post.id in numbers]
    for post in shown:
        (raw / str(post.id)).write_bytes(render(post))
    rows = [
        manifest.kept({"id": f"{post.id}", "domain": post.style, "source": "s"}, file=f"{post.id}") for post in shown
    ]
    manifest.save(raw, rows, "test", "")
    crop.run(raw, crops, settings.crop, settings.resize)
    resize.run(crops, resized, settings.resize)
    table = [row | {"sharpness": 0.7} for row in manifest.read_kept(resized)]
    manifest.write(resized, table)
    dedupe.run(resized, out, settings.dedupe)
    assert list(manifest.read(out)["status"]) == ["kept", "kept"]


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
    dedupe.run(filtered, out, Dedupe(max_distance=24, max_head_distance=26))
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


def linked(pairs: set[frozenset[str]]) -> dedupe.Copies:
    return lambda row, others: [other for other in others if frozenset((row["id"], other["id"])) in pairs]


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[Row], set[frozenset[str]]]:
    """Pictures of all kinds, and which of them are linked."""
    ids = [f"{number:02}" for number in range(draw(st.integers(1, 8)))]
    rows = [
        {
            "id": name,
            "domain": draw(st.sampled_from(["photo", "portrait"])),
            "crop_side": draw(st.sampled_from([100, 200, 400])),
            "fine": draw(st.sampled_from([100, 110, 300])),
            "sharpness": draw(st.sampled_from([0.5, 0.7])),
            "note": draw(st.sampled_from(["", "", "", "kept by hand"])),
            "p_photo": 0.9,
            "p_portrait": 0.1,
            "file": name,
        }
        for name in ids
    ]
    pairs = {frozenset((a, b)) for a in ids for b in ids if a < b and draw(st.booleans())}
    return rows, pairs


@given(groups(), st.randoms(use_true_random=False))
def test_no_picture_is_left_out_that_is_no_copy_of_its_survivor(
    given_: tuple[list[Row], set[frozenset[str]]], random: "np.random.Generator"
) -> None:
    rows, pairs = given_
    decided = {row["id"]: row for row in dedupe.decide(rows, linked(pairs))}
    assert set(decided) == {row["id"] for row in rows}
    kept = [row["id"] for row in decided.values() if row["status"] == "kept"]
    by_hand = {row["id"] for row in rows if row["note"] == "kept by hand"}
    assert by_hand <= set(kept)
    for row in decided.values():
        if row["status"] == "rejected":
            assert frozenset((row["id"], row["survivor"])) in pairs
            assert decided[row["survivor"]]["status"] == "kept"
            assert decided[row["survivor"]]["cluster"] == row["cluster"] != ""
    # of two copies one is enough, unless a person kept both
    assert not [(a, b) for a in kept for b in kept if frozenset((a, b)) in pairs and not {a, b} <= by_hand]
    random.shuffle(rows)
    assert {row["id"]: row for row in dedupe.decide(rows, linked(pairs))} == decided


def test_a_cross_fade_does_not_end_as_one_picture(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    """Each frame is a copy of the next one, but the last one none of the first."""
    first, last = texture(1, 128, 128).astype(np.float64), texture(2, 128, 128)
    frames = [(first + (last - first) * n / 127).round().astype(np.uint8) for n in range(128)]
    filtered = make_dataset("filtered", [(frame, {"sharpness": 1.0}) for frame in frames], ".jpg")
    out = tmp_path / "out"
    out.mkdir()
    dedupe.run(filtered, out, Dedupe(max_distance=36, max_head_distance=None))
    table = manifest.read(out).set_index("id")
    words = hashes.packed(np.stack([hashes.of(images.load_rgb(filtered / f"images/{id_}.jpg")) for id_ in table.index]))
    place = {id_: number for number, id_ in enumerate(table.index)}
    assert np.bitwise_count(words[0] ^ words[-1]).sum() >= 98
    kept = [place[id_] for id_ in table.index[table["status"] == "kept"]]
    assert 2 <= len(kept) < 30
    for id_, survivor in table["survivor"].items():
        if survivor:
            assert np.bitwise_count(words[place[id_]] ^ words[place[survivor]]).sum() <= 36
    for a in kept:
        assert all(a == b or np.bitwise_count(words[a] ^ words[b]).sum() > 36 for b in kept)


def head(seed: int) -> images.Pixels:
    return images.resize(np.asarray(gallery.draw("elf", "photo", np.random.default_rng(seed))), 256)


def changed(img: images.Pixels, way: str) -> images.Pixels:
    if way == "mirrored":
        return np.ascontiguousarray(img[:, ::-1])
    side = len(img)
    zoom, turn = {"cut": (1.06, 0), "turned": (1.0, 5)}[way]
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), turn, zoom)
    return np.asarray(cv2.warpAffine(img, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


@pytest.mark.parametrize("way", ["mirrored", "cut", "turned"])
def test_heads_find_what_the_hash_of_the_picture_does_not(
    way: str, make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    one, other = head(1), texture(1, 256, 256)
    copy = changed(one, way)
    assert (hashes.of(one) != hashes.of(copy)).sum() > 36
    filtered = make_dataset("filtered", [(img, {"sharpness": 1.0}) for img in (one, copy, other)], ".jpg")
    for distance, statuses in ((26, ["kept", "rejected", "kept"]), (None, ["kept"] * 3)):
        out = tmp_path / f"out {distance}"
        out.mkdir()
        dedupe.run(filtered, out, Dedupe(max_distance=36, max_head_distance=distance))
        assert manifest.read(out)["status"].tolist() == statuses


def test_pixels_have_the_last_word(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    """Pictures whose coarse structures agree, but not their details."""
    rng = np.random.default_rng(0)
    coarse = cv2.GaussianBlur(texture(3, 256, 256), (0, 0), 8).astype(np.float64)
    noise = [cv2.GaussianBlur(np.asarray(rng.normal(0, 60, coarse.shape)), (0, 0), 2) for _ in range(2)]
    pictures = [(coarse + one * 3).clip(0, 255).astype(np.uint8) for one in noise]
    near = [hashes.packed(hashes.heads(img, None)) for img in pictures]
    assert np.bitwise_count(near[0] ^ near[1]).sum(axis=1).min() <= 64
    filtered, out = make_dataset("filtered", [(img, {"sharpness": 1.0}) for img in pictures], ".jpg"), tmp_path / "out"
    out.mkdir()
    dedupe.run(filtered, out, Dedupe(max_distance=0, max_head_distance=64))
    assert manifest.read(out)["status"].tolist() == ["kept", "kept"]


def test_a_head_is_hashed_where_its_landmarks_are() -> None:
    """The same head at another place, size and turn in the finished crop, by the columns of stage crop."""
    img = texture(4, 512, 512)
    points = np.array([[200, 220], [300, 220], [250, 270], [210, 320], [290, 320]], np.float64)
    found = []
    for centre, side, angle in (((256.0, 256.0), 400, 0.0), ((250.0, 270.0), 460, 8.0)):
        crop = images.resize(images.cut(img, centre, side, angle, cv2.BORDER_REFLECT), 256)
        box = [centre[0] - side / 2, centre[1] - side / 2, centre[0] + side / 2, centre[1] + side / 2]
        row = {
            "landmarks": " ".join(map(str, points.ravel())),
            "crop_box": " ".join(map(str, box)),
            "angle": angle,
        }
        found.append(hashes.heads(crop, landmarks.of(row))[0])
    assert (found[0] != found[1]).sum() <= 10
