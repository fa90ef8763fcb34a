import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import texture
from heads import head
from semireal import images, manifest
from semireal.classifiers import marks as teaching
from semireal.classifiers import style
from semireal.curate import filter, marks
from semireal.curate.decisions import Decision
from semireal.images import Pixels
from semireal.params import whole
from semireal.params.filter import Filter

ROOT = Path(__file__).resolve().parents[2]
LAX: Filter = dataclasses.replace(
    whole.load(ROOT / "params.yaml").filter, min_bytes=0, min_side=1, min_sharpness=0, min_detail=None, max_blocks=None
)


@pytest.fixture(scope="module")
def finder() -> marks.Finder:
    return marks.Finder()


def lettered(img: Pixels, text: str = "SAMPLE 2024", share: float = 0.5) -> Pixels:
    """A word across a picture, drawn by OpenCV: letters that no model here was taught with."""
    side = img.shape[0]
    over = img.copy()
    at, size = (side // 20, side // 2), side / 300
    cv2.putText(over, text, at, cv2.FONT_HERSHEY_DUPLEX, size, (255, 255, 255), max(1, side // 120), cv2.LINE_AA)
    return np.asarray(cv2.addWeighted(over, share, img, 1 - share, 0), np.uint8)


@pytest.mark.parametrize(
    "img", [texture(0, 512, 512), np.zeros((300, 300, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)]
)
def test_any_square_has_a_probability(finder: marks.Finder, img: Pixels) -> None:
    assert 0 <= finder(img) <= 1
    assert finder(img) == finder(img)


def test_words_that_were_never_taught_are_found(shared: Path, finder: marks.Finder) -> None:
    heads = [style.finished(one.img) for one in teaching.heads_of(shared / "faces")[::12]]
    clean, marked = ([finder(img) for img in some] for some in (heads, [lettered(img) for img in heads]))
    assert np.mean(np.array(clean) > 0.5) <= 0.06
    assert np.mean(np.array(marked) > 0.5) >= 0.8


def test_watermarks_that_somebody_else_put_there_are_found(shared: Path, finder: marks.Finder) -> None:
    """Left out of what the model was taught with, because the cross-validated one had found them."""
    used = {one.name for one in teaching.heads_of(shared / "faces")}
    found = [
        finder(style.finished(one.img))
        for one in style.real(shared / "faces")
        if one.label < 2 and one.name not in used
    ]
    assert len(found) == 5
    assert min(found) > 0.5


def test_the_rule_leaves_out_what_is_marked_unless_a_person_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEMIREAL_WORKERS", "1")  # processes take longer to begin
    (tmp_path / "r/images").mkdir(parents=True)
    rows = []
    for name, share in (("a", 0.0), ("b", 0.7), ("c", 0.7), ("d", 0.7)):
        images.save_png(tmp_path / f"r/images/{name}.png", lettered(head("geralt", "photo", 5, 512), share=share))
        row = {"id": name, "status": manifest.KEPT, "reason": "", "file": f"images/{name}.png", "domain": "photo"}
        style_ = {"p_photo": 1.0, "p_portrait": 0.0, "p_line_art": 0.9 if name == "d" else 0.0, "p_anime": 0.0}
        measured = {"crop_side": 400, "sharpness": 1.0, "detail": 300, "bytes": 90000, "declared": "photo"}
        rows.append(row | style_ | measured | {"source": "s", "rule": ""})
    asked = dataclasses.replace(LAX, max_marks=0.5)
    looked = marks.looked_for(tmp_path / "r", rows, asked)
    assert ["marks" in row for row in looked] == [True, True, True, False]  # nobody looks at what is rejected anyway
    (tmp_path / "out").mkdir()
    filter.write(tmp_path / "r", tmp_path / "out", looked, asked, {"c": Decision("keep")})
    table = manifest.read(tmp_path / "out")
    assert table["reason"].tolist() == ["", "marked over", "", "line art"]
