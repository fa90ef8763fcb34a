"""Damage of any kind to a real manifest and to real parameters: they are refused in one line, or still make sense."""

import dataclasses
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from hypothesis import example, given
from hypothesis import strategies as st

from conftest import ROOT
from semireal import manifest
from semireal.errors import UserError
from semireal.params import whole

# what has a meaning in one of the two
ODD = [b"\0", b"\r", b"\n", b'"', b",", b"'", b"\xef\xbb\xbf", b"\xff", b"../", b"/", b"=", b"\t", b" ", b"-"]
ODD += [b": ", b"- ", b"&a ", b"*a", b"<<: ", b"!!int ", b"!!set ", b"{", b"}", b"[", b"]", b"#", b"? ", b"|\n"]
ODD += [b"9" * 30, b"1e999", b"nan", b"inf", b".inf", b"null", b"no", b"2024-01-01", b"1:30", b"\xe2\x80\xa8"]
ODD += [b"kept", b"rejected", b"---\n"]
PARAMS = (ROOT / "params.yaml").read_bytes()


def table() -> bytes:
    """A manifest with every column."""
    base = {name: 1.5 if name in manifest.NUMBERS else "x" for name in manifest.COLUMNS}
    base |= {"box": "1 2 3 4", "crop_box": "1 2 3 4", "landmarks": "1 2 3 4 5 6 7 8 9 10", "domain": "photo"}
    rows = [manifest.kept(base | {"id": f"{n}-0"}, file=f"images/{n}-0.png") for n in range(3)]
    rows.append(manifest.rejected(base | {"id": "3"}, 'title, with "quotes"\nand lines', score=None))
    with tempfile.TemporaryDirectory() as folder:
        manifest.write(Path(folder), rows)
        return (Path(folder) / manifest.FILE).read_bytes()


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with a few pieces left out, written twice, put elsewhere, or odd ones put in."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.sampled_from([0, 1, 2, 5, 20, 100])))
        piece = draw(st.sampled_from([b"", content[start:stop] * 2, *ODD]) | st.binary(max_size=4))
        content = content[:start] + piece + content[stop:]
    return content


def one_line(error: UserError) -> None:
    assert str(error).isprintable() or "\n" not in str(error)


@given(damaged(table()))
@example(table())
@example(b"\r" + table())  # found by this test: the header ends there, for the module csv
def test_a_damaged_manifest_is_refused_or_makes_sense(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / manifest.FILE).write_bytes(content)
        try:
            rows = manifest.read_kept(folder, "domain", "source")
        except UserError as error:
            one_line(error)
            return
        for row in rows:
            path = PurePosixPath(row["file"])
            assert not path.is_absolute()
            assert ".." not in path.parts
            assert "/" not in row["id"]
            assert row["domain"] in manifest.DOMAINS
            assert not any(math.isinf(row[number]) for number in manifest.NUMBERS & row.keys())
            (folder / f"{row['id']}.jpg").touch()  # as stages name what they write
        if rows:
            manifest.write(folder, rows)
            again = manifest.read_kept(folder, "domain", "source")
            order = ["id", "file"]
            pd.testing.assert_frame_equal(
                pd.DataFrame(again).sort_values(order, ignore_index=True),
                pd.DataFrame(rows).sort_values(order, ignore_index=True),
                check_like=True,
                check_dtype=False,
            )


def leaves(value: Any) -> Iterator[Any]:
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name))
    else:
        yield from value if isinstance(value, tuple) else (value,)


@given(damaged(PARAMS))
@example(PARAMS)
def test_damaged_parameters_are_refused_or_make_sense(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "params.yaml"
        path.write_bytes(content)
        try:
            found = whole.load(path)
        except UserError as error:
            one_line(error)
            return
        for value in leaves(found):
            assert isinstance(value, (str, bool, int, float, type(None)))
            assert not isinstance(value, (int, float)) or abs(value) < 2**63
