import json
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from semireal import manifest
from semireal.errors import UserError

# any character, and often those that mean something in a table
TEXT = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from('\r\n",\x00\x1a\ufeff')), max_size=20)


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


def test_columns_are_in_the_declared_order_and_no_others(tmp_path: Path) -> None:
    row = {"tilt": 1.5, "title": "x", "id": "2", "domain": "photo"}
    manifest.write(tmp_path, [manifest.kept(row, file="b"), manifest.kept(row, file="a")])
    assert (tmp_path / "manifest.csv").read_text() == (
        '"id","status","reason","domain","file","title","tilt"\n'
        '"2","kept","","photo","a","x",1.5\n"2","kept","","photo","b","x",1.5\n'
    )


@pytest.mark.parametrize(
    "content",
    [
        "id,status,reason,file\nx,,,\n",
        "id,status,reason,file\n,kept,,a.png\n",
        "id,status,reason,file\nx,kept,,\n",
        "id,status\nx,kept\n",
        "id,status,reason,file\nx,kept,,a,b,c\n",
        "id,status,reason,file,score\nx,kept,,a,high\n",
        "\xff\xfe\0",
    ],
)
def test_a_damaged_manifest_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"manifest\.csv: damaged \("):
        manifest.read(tmp_path)


def test_every_column_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert set(manifest.COLUMNS) >= manifest.NUMBERS
    row = {name: 1.5 if name in manifest.NUMBERS else "007" for name in manifest.COLUMNS}
    manifest.write(tmp_path, [manifest.kept(row)])
    assert manifest.read_kept(tmp_path) == [row | {"status": "kept", "reason": ""}]


def test_a_rejected_image_has_a_reason_and_no_file(tmp_path: Path) -> None:
    row = manifest.rejected({"id": "1", "file": "x.png"}, "blurred", sharpness=3.0)
    assert row == {"id": "1", "file": "", "status": "rejected", "reason": "blurred", "sharpness": 3.0}


def test_more_may_be_counted(tmp_path: Path) -> None:
    manifest.save(tmp_path, [manifest.kept({"domain": "photo", "source": "s", "id": "1"}, file="x")], "x", "", hours=2)
    assert json.loads((tmp_path / "report.json").read_text())["hours"] == 2


def test_only_what_is_needed_is_read(tmp_path: Path) -> None:
    row = {name: 1.5 if name in manifest.NUMBERS else "007" for name in manifest.COLUMNS}
    manifest.write(tmp_path, [manifest.kept(row)])
    assert list(manifest.read(tmp_path, ["score", "title"])) == [*manifest.BASIC, "title", "score"]


@given(st.text("./a\0", max_size=8))
@example("..")
@example("a/..")
@example("...")
@example("//a")
def test_inside_is_what_paths_say(name: str) -> None:
    path = PurePosixPath(name)
    assert manifest.is_inside(name) == (not path.is_absolute() and ".." not in path.parts and "\0" not in name)


@pytest.mark.parametrize("cell", ["nan", "inf", "1e999", "True", "high", "9 9"])
def test_a_number_that_is_none_is_named_as_it_stands(tmp_path: Path, cell: str) -> None:
    rows = "".join(f"{n},kept,,a,{cell if n == 2 else n}\n" for n in range(3))
    (tmp_path / "manifest.csv").write_text(f"id,status,reason,file,score\n{rows}")
    with pytest.raises(UserError, match=f"image 3: score: found '{cell}', need a number"):
        manifest.read(tmp_path)
