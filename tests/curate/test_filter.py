import dataclasses
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from conftest import ROOT, texture
from reviewing import make_heads, path_of
from semireal import images, manifest, workers
from semireal.classifiers import style as style_training
from semireal.collect.gallery.catalogue import Kind, Post, posts, render, truth
from semireal.collect.gallery.faces import CHARACTERS, draw
from semireal.curate import character, decisions, dedupe, filter, resize, style
from semireal.curate.decisions import Decision
from semireal.curate.filter import lit, measures, verdict
from semireal.curate.filter import run as run_filter
from semireal.curate.quality import sharpness
from semireal.faces import crop
from semireal.images import Pixels
from semireal.params import whole
from semireal.params.filter import Filter
from semireal.training import dataset

PARAMS = Filter(
    min_bytes=1000,
    min_side=100,
    min_sharpness=0.45,
    min_detail=40,
    max_blocks=0.4,
    max_line_art=0.5,
    max_anime=0.5,
    max_turn=1,
    max_tilt=45,
    min_agreement=0.2,
    min_character=None,
    max_others=0,
    max_marks=None,
)
ANY_STYLE = Filter(1000, 100, 0, None, None, None, None, None, None, None, None, None, None)
STYLE = {"p_photo": 0.6, "p_portrait": 0.4, "p_line_art": 0.0, "p_anime": 0.0}
GOOD = STYLE | {
    "crop_side": 200,
    "bytes": 5000,
    "sharpness": 0.7,
    "blocks": 0.1,
    "detail": 120,
    "turn": 0.1,
    "tilt": 5.0,
    "domain": "photo",
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"crop_side": 99}, "source too small"),
        ({"bytes": 999}, "file too small"),
        ({"sharpness": 0.44}, "blurred"),
        ({"crop_side": 100, "bytes": 1000, "sharpness": 0.45}, ""),
        ({"detail": 39}, "upscaled"),
        ({"blocks": 0.41}, "blocky"),
        ({"p_line_art": 0.51}, "line art"),
        ({"p_anime": 0.51}, "flat anime"),
        ({"turn": 1.1}, "extreme pose"),
        ({"tilt": 46}, "extreme pose"),
        ({"others": 1}, "several faces"),
        ({"others": 0}, ""),
        ({"others": math.nan}, ""),  # of a manifest from before it was counted
        ({"p_photo": 0.05, "p_portrait": 0.9}, "other domain than declared"),
        ({"p_photo": 0.3, "p_portrait": 0.7}, ""),
        # the first reason is the one that explains the others
        ({"crop_side": 99, "sharpness": 0.1, "p_line_art": 1}, "source too small"),
        ({"p_line_art": 0.9, "bytes": 1}, "line art"),
    ],
)
def test_verdict(change: dict[str, Any], reason: str) -> None:
    assert verdict(GOOD | change, PARAMS) == reason


def test_null_switches_a_rule_off() -> None:
    poor = GOOD | {"detail": 0, "p_line_art": 1, "p_anime": 1, "turn": 9, "tilt": 180, "p_photo": 0}
    assert verdict(poor, ANY_STYLE) == ""


def test_a_face_without_landmarks_has_no_pose() -> None:
    row = {key: value for key, value in GOOD.items() if key not in ("turn", "tilt")}
    assert verdict(row, PARAMS) == ""
    assert verdict(row | {"turn": float("nan")}, PARAMS) == ""


def test_light_and_hair_are_looked_at_where_the_landmarks_are() -> None:
    """In the finished square, which lay turned in its raw image."""
    img = np.full((200, 200, 3), 120, np.uint8)
    img[:60] = (150, 66, 34)
    img[:, 100:] //= 2
    eyes_nose_mouth = np.array([[80, 100], [120, 100], [100, 120], [86, 140], [114, 140]])
    straight = {"landmarks": " ".join(map(str, eyes_nose_mouth.ravel())), "crop_box": "0 0 200 200", "angle": 0.0}
    found = lit(img, straight)
    assert found == {"light": pytest.approx(39, abs=2), "side": pytest.approx(-24, abs=3), "hair": "red"}
    quarter = np.column_stack([200 - eyes_nose_mouth[:, 1], eyes_nose_mouth[:, 0]])
    assert lit(img, straight | {"landmarks": " ".join(map(str, quarter.ravel())), "angle": 90.0}) == found
    far = straight | {"crop_box": "900 900 1000 1000"}
    assert lit(img, far) == {"hair": ""}


def test_light_and_contrast_do_not_change_sharpness() -> None:
    img = np.asarray(draw("elf", "photo", np.random.default_rng(0)))
    for darker in (img * 0.15, img * 0.5, 90 + img * 0.3):
        assert sharpness(darker.round().astype(np.uint8)) == pytest.approx(sharpness(img), rel=0.1)
    soft = np.asarray(cv2.GaussianBlur(img, (0, 0), img.shape[0] / 64), np.uint8)
    assert sharpness(soft) < 0.45 < sharpness(img)
    blocks = np.asarray(Image.open(io.BytesIO(images.encode_jpeg(soft, 20))))
    assert sharpness(blocks) < 0.45


def test_blur_lowers_sharpness_and_size_does_not_matter_much() -> None:
    img = texture(0, 512, 512)
    noisy = np.clip(img.astype(int) + np.random.default_rng(0).integers(-30, 30, img.shape), 0, 255).astype(np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(noisy, (0, 0), 4), dtype=np.uint8)
    assert sharpness(blurred) < sharpness(noisy)
    assert sharpness(np.full((64, 64, 3), 77, np.uint8)) == 0


def answers(monkeypatch: pytest.MonkeyPatch, by_brightness: dict[int, float]) -> None:
    """Replace the classifier: the probability of a photo is looked up by the grey of the picture, else 0.6.

    For that, images are worked on in this process.
    """

    class Fake:
        def __call__(self, img: Pixels) -> dict[str, float]:
            photo = by_brightness.get(round(float(img.mean()), -1), 0.6)  # type: ignore[call-overload]
            return {"photo": photo, "portrait": 1 - photo, "line_art": 0.0, "anime": 0.0}

    monkeypatch.setattr(filter, "_classifiers", workers.Pool(Fake))
    monkeypatch.setenv("SEMIREAL_WORKERS", "1")


OFF = dataclasses.replace(PARAMS, min_bytes=0, min_side=1, min_sharpness=0, min_detail=None, min_agreement=None)


def greys(make_dataset: Callable[..., Path], *domains: str) -> Path:
    """Pictures of grey 50, 100, 150, ..., with these domains."""
    pictures = [(np.full((64, 64, 3), 50 * (n + 1), np.uint8), {"domain": domain}) for n, domain in enumerate(domains)]
    return make_dataset("resized", pictures)


def test_domain_is_checked_and_reported(
    make_dataset: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, {50: 0.9, 100: 0.1, 150: 0.2, 200: 0.3})
    out = tmp_path / "out"
    out.mkdir()
    run_filter(greys(make_dataset, "photo", "photo", "portrait", "portrait"), out, OFF)
    report = json.loads((out / "report.json").read_text())
    assert report["domains"] == {
        "auto": 0,
        "declared_photo_share": 0.5,
        "measured_photo_share": 0.25,
        "disagreements": 1,
    }
    rows = manifest.read_kept(out)
    assert [row["domain"] for row in rows] == ["photo", "photo", "portrait", "portrait"]  # only looked at
    assert [row["style"] for row in rows] == ["photo", "portrait", "portrait", "portrait"]
    assert [row["p_photo"] for row in rows] == [0.9, 0.1, 0.2, 0.3]


def test_auto_becomes_the_measured_domain(
    make_dataset: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, {50: 0.9, 100: 0.1, 150: 0.2})
    out = tmp_path / "out"
    out.mkdir()
    run_filter(greys(make_dataset, "auto", "auto", "portrait"), out, OFF)
    rows = manifest.read_kept(out)
    assert [(row["declared"], row["domain"]) for row in rows] == [
        ("auto", "photo"),
        ("auto", "portrait"),
        ("portrait", "portrait"),
    ]
    report = json.loads((out / "report.json").read_text())
    assert report["domain"] == {"photo": 1, "portrait": 2}
    assert report["domains"] == {
        "auto": 2,
        "declared_photo_share": 0.0,
        "measured_photo_share": 0.3333,
        "disagreements": 0,
    }
    # the stages behind see photos and portraits
    assert len(dataset.select(rows, 0.5, 0)) == 2


def test_counts_and_copies(make_dataset: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.full((256, 256, 3), 128, np.uint8)
    resized = make_dataset(
        "resized",
        [
            (texture(0, 256, 256), {"bytes": 5000}),
            (texture(1, 256, 256), {"bytes": 10}),
            (flat, {"bytes": 5000}),
            (texture(2, 256, 256), {"bytes": 5000, "crop_side": 50}),
        ],
        ".jpg",
    )
    answers(monkeypatch, {})
    out = tmp_path / "out"
    out.mkdir()
    run_filter(resized, out, dataclasses.replace(PARAMS, min_sharpness=0.2))
    report = json.loads((out / "report.json").read_text())
    assert report["rejected"] == {"file too small": 1, "blurred": 1, "source too small": 1}
    assert (report["in"], report["kept"]) == (4, 1)
    (row,) = manifest.read_kept(out)
    assert (out / row["file"]).read_bytes() == (resized / "images/0000.jpg").read_bytes()
    assert [f.name for f in (out / "images").iterdir()] == ["0000.jpg"]


def test_decisions_win_over_the_rules_and_are_counted(
    make_dataset: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, poor = {"bytes": 5000}, {"bytes": 10}
    resized = make_dataset("resized", [(texture(n, 256, 256), poor if n in (1, 3) else good) for n in range(6)], ".jpg")
    decided = {
        "0000": Decision("reject", "", "a sketch"),
        "0001": Decision("keep"),
        "0002": Decision("", "portrait"),
        "0003": Decision("reject", "portrait"),
        "0004": Decision("keep", "portrait", "fine"),
        "gone": Decision("keep"),
    }
    out = tmp_path / "out"
    out.mkdir()
    run_filter(resized, out, ANY_STYLE, decided)
    rows = manifest.read(out).set_index("id")
    assert rows[["status", "reason", "domain", "rule", "note"]].to_dict("split")["data"] == [
        ["rejected", "rejected by hand", "photo", "", "a sketch"],
        ["kept", "", "photo", "file too small", "kept by hand"],
        ["kept", "", "portrait", "", "domain by hand"],
        ["rejected", "rejected by hand", "portrait", "file too small", ""],
        ["kept", "", "portrait", "", "kept by hand"],
        ["kept", "", "photo", "", ""],
    ]
    assert {f.stem for f in (out / "images").iterdir()} == {"0001", "0002", "0004", "0005"}
    report = json.loads((out / "report.json").read_text())
    assert report["by_hand"] == {"brought_back": 1, "left_out": 1, "domain": 3, "unknown": 1}
    assert report["rules"] == {"file too small": 2}
    assert report["domain"] == {"photo": 2, "portrait": 2}
    assert (report["in"], report["kept"], report["rejected"]) == (6, 4, {"rejected by hand": 2})
    assert "1 of 6 decisions are about images that are not here" in capsys.readouterr().err


def test_without_decisions_the_rules_decide(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    resized = make_dataset("resized", [(texture(n, 256, 256), {"bytes": 5000 * n}) for n in range(2)], ".jpg")
    for name, decided in (("a", None), ("b", {"0000": decisions.NONE})):
        (tmp_path / name).mkdir()
        run_filter(resized, tmp_path / name, ANY_STYLE, decided)
    assert (tmp_path / "a/manifest.csv").read_text() == (tmp_path / "b/manifest.csv").read_text()
    assert manifest.read(tmp_path / "a")["reason"].tolist() == ["file too small", ""]


def test_who_is_somebody_else_is_learned_from_decisions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMIREAL_WORKERS", "1")  # processes take longer to begin
    truth = make_heads(tmp_path, 18, 3)
    resized = path_of(tmp_path, "dataset")
    one, other, third = (key for key, geralt in truth.items() if not geralt)
    own = [key for key, geralt in truth.items() if geralt]
    looked = [row | GOOD | {"declared": "photo"} for row in manifest.read_kept(resized)]
    asked = dataclasses.replace(ANY_STYLE, min_character=0.5)

    def reasons(params: Filter, decided: dict[str, Decision]) -> dict[str, str]:
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        rows = looked if params.min_character is None else character.recognised(resized, looked, params, decided)
        filter.write(resized, out, rows, params, decided)
        return {row["id"]: row["reason"] for row in manifest.read(out).to_dict("records") if row["reason"]}

    somebody_else = Decision("reject", "", decisions.STRANGER)
    taught = {one: somebody_else, other: somebody_else} | dict.fromkeys(own[:4], Decision("keep"))
    by_hand = dict.fromkeys((one, other), "rejected by hand")
    assert reasons(ANY_STYLE, taught) == by_hand
    assert "min_character" not in capsys.readouterr().err
    assert reasons(asked, taught) == by_hand | {third: "another character"}
    # a person has the last word, and what was rejected for another reason teaches nothing
    assert reasons(asked, taught | {third: Decision("keep")}) == by_hand
    assert reasons(asked, {one: Decision("reject", "", "sketch")}) == {one: "rejected by hand"}
    assert "filter.min_character has nothing to go by: nobody was rejected as 'wrong subject' yet" in (
        capsys.readouterr().err
    )


GALLERY: dict[Kind, int] = {  # of each style
    "good": 8,  # besides the originals of the duplicates
    "noface": 3,
    "sketch": 3,
    "anime": 3,
    "duplicate": 4,
    "tiny": 2,
    "blurred": 3,
    "truncated": 2,
    "intruder": 2,
}
REASONS: dict[Kind, set[str]] = {
    "good": {"kept", "near-duplicate"},
    "noface": {"no face"},
    "sketch": {"line art", "no face"},
    "anime": {"flat anime", "no face"},
    "duplicate": {"near-duplicate"},
    "tiny": {"source too small", "face too small", "no face"},
    "blurred": {"blurred", "no face"},
    "truncated": {"damaged file"},
    "intruder": {"kept"},  # by the rules alone; who it is a person says
}


def part_of_the_gallery(character: str) -> list[Post]:
    """GALLERY's numbers of the newest posts, and the originals of the duplicates."""
    found: list[Post] = []
    every = posts(character)
    for look in ("photo", "portrait"):
        for kind, count in GALLERY.items():
            found += [post for post in every if (post.style, post.kind) == (look, kind)][:count]
    copied = {truth(post).group for post in found if post.kind == "duplicate"}
    originals = [post for post in every if post.kind == "good" and truth(post).group in copied]
    return found + [post for post in originals if post not in found]


def test_the_gallery_is_judged_as_it_was_made(tmp_path: Path) -> None:
    """The demo from the file to the dataset, with the committed parameters, against what was drawn."""
    given = whole.load(ROOT / "params.yaml")
    raw, crops, resized, filtered, out = folders = [tmp_path / f"{n}" for n in range(5)]
    for folder in folders:
        folder.mkdir()
    made = {f"{post.kind}-{post.id}": post for post in part_of_the_gallery("elf")}
    for name, post in made.items():
        (raw / f"{name}.{post.extension}").write_bytes(render(post))
    rows = [
        manifest.kept({"id": name, "domain": post.style, "source": post.kind}, file=f"{name}.{post.extension}")
        for name, post in made.items()
    ]
    manifest.save(raw, rows, "test", "")
    crop.run(raw, crops, given.crop, given.resize)
    resize.run(crops, resized, given.resize)
    run_filter(resized, filtered, given.filter)
    dedupe.run(filtered, out, given.dedupe)
    found = {}
    for folder in (crops, filtered, out):
        for row in manifest.read(folder).to_dict("records"):
            found[row["image_id"]] = row["reason"] or row["status"]
    assert found.keys() == made.keys()  # every image is accounted for
    wrong = {name: reason for name, reason in found.items() if reason not in REASONS[made[name].kind]}
    # the larger of two near-duplicates stays, which may be the copy
    kept = [made[name] for name, reason in found.items() if reason == "kept"]
    groups = [truth(post).group for post in kept if post.kind != "intruder"]
    assert not wrong
    assert len(groups) == len(set(groups))
    good = {truth(post).group for post in made.values() if post.kind == "good"}
    assert len(groups) >= 0.95 * len(good)
    assert {"line art", "flat anime", "blurred", "near-duplicate"} <= set(found.values())


@pytest.mark.parametrize(("kind", "reason"), [("anime", "flat anime"), ("sketch", "line art"), ("good", "")])
def test_drawings_that_pass_a_detector_are_told_apart(kind: Kind, reason: str) -> None:
    given = whole.load(ROOT / "params.yaml").filter
    classifier = style.Classifier()
    for name in CHARACTERS:
        chosen = [post for post in posts(name) if post.kind == kind and post.encoding == "jpeg"]
        for post in chosen[:3]:
            img = style_training.finished(style_training.middle(images.decode(render(post))))
            row = {"crop_side": 512, "bytes": 50_000, "domain": post.style}
            assert verdict(row | measures(img, row, classifier), given) == reason, post.id
