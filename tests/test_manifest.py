import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semireal import manifest
from semireal.errors import UserError

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=20)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
def test_any_text_survives(pairs: list[tuple[str, str]]) -> None:
    rows = [
        manifest.kept({"id": f"{n:04}", "title": title, "artist": artist, "domain": "photo", "source": "s"}, file="f")
        for n, (title, artist) in enumerate(pairs)
    ]
    with TemporaryDirectory() as folder:
        manifest.write(Path(folder), rows)
        back = manifest.read_kept(Path(folder))
    assert [(row["title"], row["artist"]) for row in back] == pairs


def test_ids_stay_text_and_numbers_numbers(tmp_path: Path) -> None:
    row = {"id": "00000000000012e3", "score": 0.25, "title": "NA", "domain": "photo", "source": "s"}
    manifest.write(
        tmp_path, [manifest.kept(row, file="x"), manifest.rejected(row | {"id": "1"}, "no face", score=None)]
    )
    (back,) = manifest.read_kept(tmp_path)
    assert (back["id"], back["score"], back["title"]) == ("00000000000012e3", 0.25, "NA")


def test_rows_are_sorted_by_id(tmp_path: Path) -> None:
    rows = [manifest.kept({"id": i, "domain": "photo", "source": "s"}, file=i) for i in ("b", "a", "c")]
    manifest.write(tmp_path, rows)
    assert [row["id"] for row in manifest.read_kept(tmp_path)] == ["a", "b", "c"]


def test_counts_add_up(tmp_path: Path) -> None:
    base = {"domain": "photo", "source": "s"}
    rows = [
        manifest.kept(base | {"id": "1"}, file="1"),
        manifest.kept(base | {"id": "2", "domain": "portrait"}, file="2"),
    ]
    rows += [
        manifest.rejected(base | {"id": "3"}, "no face"),
        manifest.rejected(base | {"id": "4"}, "no face"),
    ]
    manifest.save(tmp_path, rows, "crop", "")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report == {
        "in": 4,
        "kept": 2,
        "rejected": {"no face": 2},
        "domain": {"photo": 1, "portrait": 1},
        "source": {"s": 2},
    }


def test_nothing_kept_is_an_error_with_reasons(tmp_path: Path) -> None:
    rows = [manifest.rejected({"id": "3", "domain": "photo", "source": "s"}, "no face")]
    with pytest.raises(UserError, match=r"crop: none of 1 images kept \(no face 1\)\. Lower it"):
        manifest.save(tmp_path, rows, "crop", "Lower it")
    with pytest.raises(UserError, match="no input"):
        manifest.save(tmp_path, [], "crop", "Lower it")


def test_undeclared_column_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="colour"):
        manifest.write(tmp_path, [{"id": "1", "file": "", "colour": "red"}])


def test_missing_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc pull"):
        manifest.read(tmp_path)
