from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from conftest import texture
from semireal import images
from semireal.images import Pixels
from semireal.vision import copies
from semireal.vision.copies import LIMIT, Form


def pictures(start: int, count: int, size: int = 64) -> Pixels:
    return np.stack([texture(n, size, size) for n in range(start, start + count)])


def shaped(
    img: Pixels, mirrored: bool = False, zoom: float = 1, turn: float = 0, shift: tuple[float, float] = (0, 0)
) -> Pixels:
    """As `Form.apply`, but by OpenCV's own matrix, whose angles are counter-clockwise."""
    side = img.shape[0]
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), -turn, zoom)
    matrix[:, 2] += np.array(shift) * side
    start = np.ascontiguousarray(img[:, ::-1]) if mirrored else img
    return np.asarray(
        cv2.warpAffine(start, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT), np.uint8
    )


def mixed(img: Pixels, other: Pixels) -> Pixels:
    return (0.6 * img + 0.4 * other).astype(np.uint8)


def replaced(img: Pixels, other: Pixels, y: int, x: int) -> Pixels:
    half, out = img.shape[0] // 2, img.copy()
    out[y * half : (y + 1) * half, x * half : (x + 1) * half] = other[
        y * half : (y + 1) * half, x * half : (x + 1) * half
    ]
    return out


FORMS = {
    "": Form(),
    "mirrored": Form(True),
    "shifted 8%": Form(shift=(0.06, -0.05)),
    "zoomed 1.05": Form(zoom=1.05),
    "zoomed 1.15": Form(zoom=1.15),
    "zoomed 0.87": Form(zoom=1 / 1.15),
    "turned 3 degrees": Form(turn=3),
    "turned -10 degrees": Form(turn=-10),
    "mirrored, zoomed 1.10, turned 5 degrees": Form(True, 1.1, 5),
    "mirrored, turned -8 degrees, shifted 5%": Form(True, 1.0, -8, (-0.03, 0.04)),
}


@pytest.mark.parametrize(("words", "form"), FORMS.items(), ids=[name or "unchanged" for name in FORMS])
@pytest.mark.parametrize("size", [64, 160])
def test_transformed_copies_are_found_with_their_form(words: str, form: Form, size: int) -> None:
    known = pictures(0, 20, size)
    made = np.stack([shaped(img, form.mirrored, form.zoom, form.turn, form.shift) for img in known[:8]])
    match = copies.find(made, known)
    assert match.index.tolist() == list(range(8))
    assert (match.score > 0.8).all()
    for found in match.form:
        assert found.mirrored == form.mirrored
        assert found.zoom == pytest.approx(form.zoom, abs=0.01)
        assert found.turn == pytest.approx(form.turn, abs=0.7)
        assert found.shift == pytest.approx(form.shift, abs=0.008)
    assert str(form) == words


def test_other_pictures_are_no_copies() -> None:
    match = copies.find(pictures(100, 40), pictures(0, 40))
    assert (match.score < LIMIT).all()


SPOILED: dict[str, Callable[[Pixels, Pixels], Pixels]] = {
    "mixed": mixed,
    "mirrored and mixed": lambda img, other: mixed(img[:, ::-1], other),
    **{
        f"{place} quarter replaced": lambda img, other, y=y, x=x: replaced(img, other, y, x)  # type: ignore[misc]
        for place, y, x in (("first", 0, 0), ("second", 0, 1), ("third", 1, 0), ("fourth", 1, 1))
    },
    "mirrored, blurred, shifted": lambda img, _: shaped(cv2.GaussianBlur(img, (0, 0), 1), True, shift=(0.03, 0.04)),  # type: ignore[arg-type]
    "dark, flat and red": lambda img, _: (img * [0.6, 0.5, 0.4] + 30).astype(np.uint8),
    "noisy": lambda img, _: (img + np.random.default_rng(0).normal(0, 10, img.shape)).clip(0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_spoiled_copies_are_found(spoil: Callable[[Pixels, Pixels], Pixels]) -> None:
    known, others = pictures(0, 20), pictures(200, 20)
    match = copies.find(np.stack([spoil(img, other) for img, other in zip(known, others, strict=True)]), known)
    right = (match.index == np.arange(20)) & (match.score >= LIMIT)
    assert right.mean() >= 0.9


def test_a_quarter_does_not_decide() -> None:
    """A replaced quarter hardly counts; three make another picture."""
    a, b = pictures(0, 10), pictures(50, 10)
    three = np.stack([replaced(replaced(replaced(x, y, 0, 0), y, 0, 1), y, 1, 0) for x, y in zip(a, b, strict=True)])
    one = np.stack([replaced(x, y, 0, 1) for x, y in zip(a, b, strict=True)])
    scores = [copies.find(made, a).score.mean() for made in (a, one, three, b)]
    assert scores[0] > 0.9
    assert scores[1] > 0.85
    assert scores[2] < LIMIT
    assert scores[3] < LIMIT


def test_the_form_lays_the_reference_over_the_picture() -> None:
    known = pictures(0, 5, 128)
    made = np.stack([shaped(img, True, 1.1, 6, (0.03, -0.02)) for img in known])
    match = copies.find(made, known)
    inside = slice(20, -20)  # other rules for the border
    for img, reference, form in zip(made, known[match.index], match.form, strict=True):
        laid = form.apply(reference)
        assert laid.shape == img.shape
        near = np.abs(laid.astype(float) - img)[inside, inside].mean()
        assert near < 0.25 * np.abs(reference.astype(float) - img)[inside, inside].mean()


def test_forms_turn_clockwise_and_shift_right_and_down() -> None:
    img = np.zeros((65, 65, 3), np.uint8)
    img[30:35, 50:55] = 255  # to the right of the middle

    def middle(form: Form) -> tuple[float, float]:
        y, x = np.nonzero(form.apply(img)[:, :, 0] > 128)
        return x.mean() - 32, y.mean() - 32

    assert middle(Form()) == pytest.approx((20, 0), abs=0.3)
    assert middle(Form(turn=90)) == pytest.approx((0, 20), abs=0.3)
    assert middle(Form(True)) == pytest.approx((-20, 0), abs=0.3)
    assert middle(Form(True, turn=90)) == pytest.approx((0, -20), abs=0.3)
    assert middle(Form(zoom=0.9, shift=(0.1, 0.1))) == pytest.approx((24.5, 6.5), abs=0.3)


def test_held_out_pictures_are_not_their_own_copies() -> None:
    known = pictures(0, 24)
    usual = copies.find(known, known, held_out=True)
    assert (usual.index != np.arange(24)).all()
    assert (usual.score < LIMIT).all()
    known[20] = shaped(known[3], True, 1.05, 4)
    planted = copies.find(known, known, held_out=True)
    assert np.flatnonzero(planted.score >= LIMIT).tolist() == [3, 20]
    assert planted.index[[3, 20]].tolist() == [20, 3]
    everything = copies.find(known, known)
    assert everything.index.tolist() == list(range(24))
    assert (everything.score > 0.95).all()


def test_nothing_depends_on_order_or_company(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found for a picture, not what it is found beside, nor how many are looked at together."""
    known = pictures(0, 40)
    asked = np.concatenate([np.stack([shaped(img, True, 1.07, 4) for img in known[:6]]), pictures(300, 6)])
    once = copies.find(asked, known)
    order = np.random.default_rng(0).permutation(40)
    swapped = copies.find(asked[::-1], known[order])
    assert order[swapped.index][::-1].tolist() == once.index.tolist()
    assert swapped.score[::-1].tolist() == once.score.tolist()
    assert swapped.form[::-1] == once.form
    monkeypatch.setattr(copies, "PARTS", 7)
    few = copies.find(asked[3:], known)
    assert few.index.tolist() == once.index[3:].tolist()
    assert few.score.tolist() == once.score[3:].tolist()
    assert few.form == once.form[3:]


def test_pictures_may_have_other_sizes_than_references() -> None:
    known = pictures(0, 10, 200)
    asked = np.stack([images.resize(img, 80) for img in known])
    match = copies.find(asked, known)
    assert match.index.tolist() == list(range(10))
    assert (match.score > 0.8).all()
    assert all(str(form) == "" for form in match.form)


def test_pictures_without_structure_are_no_copies() -> None:
    flat = np.full((3, 64, 64, 3), 128, np.uint8)
    flat[1, :16, :16] = texture(0, 16, 16)  # a little
    rng = np.random.default_rng(0)
    flat[2] += rng.integers(0, 2, (64, 64, 3), dtype=np.uint8)
    assert copies.find(flat, flat).score.tolist() == [0, 0, 0]
    assert (copies.find(flat, pictures(0, 6)).score < 0.1).all()


def test_few_references() -> None:
    known = pictures(0, 2)
    assert copies.find(known, known[:1]).index.tolist() == [0, 0]
    assert copies.find(known, known, held_out=True).index.tolist() == [1, 0]
    with pytest.raises(ValueError, match="too few"):
        copies.find(known, known[:0])
    with pytest.raises(ValueError, match="too few"):
        copies.find(known[:1], known[:1], held_out=True)
    none = copies.find(known[:0], known)
    assert len(none.index) == len(none.score) == len(none.form) == 0


def faces(folder: Path, count: int) -> Pixels:
    """Faces of so many persons, one each."""
    table = pd.read_csv(folder / "faces.csv")
    table = table[table["class"].isin(["photo", "portrait"]) & (table["has_face"] == 1)]
    # spread over the whole table, which is sorted by kind
    table = table.drop_duplicates("group").iloc[:: len(table["group"].unique()) // count].iloc[:count]
    cut = []
    for row in table.to_dict("records"):
        img = images.load_rgb(folder / row["path"])
        side = int(min(1.5 * row["w"], *img.shape[:2]))
        left, top = int(row["x"] + row["w"] / 2 - side / 2), int(row["y"] + row["h"] / 2 - side / 2)
        x, y = max(min(left, img.shape[1] - side), 0), max(min(top, img.shape[0] - side), 0)
        cut.append(images.resize(np.ascontiguousarray(img[y : y + side, x : x + side]), 64))
    return np.stack(cut)


def test_real_faces_are_found_and_others_are_no_copies(shared: Path) -> None:
    """That two pictures show a face at the same place is not enough."""
    people = faces(shared / "faces", 60)
    known, others = people[::2], people[1::2]
    assert (copies.find(others, known).score >= LIMIT).mean() <= 0.05
    made = [
        [shaped(img, True, 1.1, 5) for img in known],
        [mixed(img, other) for img, other in zip(known, others, strict=True)],
        [replaced(img, other, n % 2, n // 2 % 2) for n, (img, other) in enumerate(zip(known, others, strict=True))],
    ]
    for some in made:
        match = copies.find(np.stack(some), known)
        assert ((match.index == np.arange(len(known))) & (match.score >= LIMIT)).mean() >= 0.9
