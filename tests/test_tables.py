from pathlib import Path

import pytest

from semireal import tables
from semireal.errors import UserError

COLUMNS = ["name", "why"]


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "list.csv"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "data",
    [
        b"name,why\na,one\n,two\n",
        b"\xef\xbb\xbfname,why\r\na,one\r\n,two\r\n",  # as spreadsheets save it
        b'name,why\n\n"a","one"\n\n,two',  # by hand
    ],
)
def test_rows_whoever_wrote_them(tmp_path: Path, data: bytes) -> None:
    found = tables.rows(written(tmp_path, data), COLUMNS)
    assert [cells for _, cells in found] == [["a", "one"], ["", "two"]]


def test_places_count_all_lines(tmp_path: Path) -> None:
    path = written(tmp_path, b'name,why\n\na,"two\nlines"\nb,c\n')
    assert [place for place, _ in tables.rows(path, COLUMNS)] == [f"{path}: line 4", f"{path}: line 5"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "line 1 must be name,why"),
        (b"name;why\n", "line 1 must be name,why"),
        (b"name,why,more\n", "line 1 must be name,why"),
        (b"name,why\na,b\nc\n", "line 3: found 'c', need name,why"),
        (b"name,why\na,b,\n", "line 2: found 'a,b,', need name,why"),
        (b'name,why\na,"b\n', "line 2: unexpected end of data"),
        (b'name,why\na,"b"c\n', "line 2: ',' expected after '\"'"),
        ("name,why\nÉlodie,\n".encode("latin-1"), "not UTF-8 text. Save it as UTF-8"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_its_place(tmp_path: Path, data: bytes, message: str) -> None:
    path = written(tmp_path, data)
    with pytest.raises(UserError) as caught:
        tables.rows(path, COLUMNS)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)
