import contextlib
import dataclasses
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import ROOT, texture
from semireal import manifest
from semireal.collect import scrape, takedowns
from semireal.errors import UserError
from semireal.faces import crop
from semireal.params import whole

HEAD = "url,artist,sha256,reason\n"
SHA = "0123456789abcdef" * 4
ROW = {
    "id": SHA[:16],
    "page_url": "https://www.deviantart.com/Some-One/art/Elf-123",
    "file_url": "https://images.example.org/f/ab/elf.jpg?token=one",
    "artist": "Some-One",
    "sha256": SHA,
}


def listed(tmp_path: Path, *lines: str) -> takedowns.Takedowns:
    path = tmp_path / "takedowns.csv"
    path.write_text(HEAD + "".join(f"{line}\n" for line in lines))
    return takedowns.read(path)


def test_the_committed_list_can_be_read_and_is_empty() -> None:
    assert takedowns.read(ROOT / takedowns.FILE) == takedowns.NOTHING


@pytest.mark.parametrize(
    "line",
    [
        "https://www.deviantart.com/Some-One/art/Elf-123,,,asked",
        "http://deviantart.com/some-one/art/elf-123/#comments,,,",  # scheme, www., case, slash and fragment
        "deviantart.com/some-one/art/elf-123,,,",
        "https://www.deviantart.com/some%2Done,,,",  # all of the artist, written another way
        "https://images.example.org,,,",  # a whole site
        "https://images.example.org/f/ab/elf.jpg?token=another,,,",
        f",,{SHA},",
        f",,{SHA.upper()},by mail",
        ",some-one,,",
        ',"  SOME-ONE ",,"two words, and a comma"',
    ],
)
def test_what_is_listed_is_found(tmp_path: Path, line: str) -> None:
    assert listed(tmp_path, line).matches(ROW)


@pytest.mark.parametrize(
    "line",
    [
        "https://www.deviantart.com/some,,,",  # no whole path segment
        "https://www.deviantart.com/some-one/art/elf-1234,,,",
        "https://www.artstation.com/some-one,,,",
        ",some,,",
        f",,{SHA[::-1]},",
    ],
)
def test_what_is_not_listed_stays(tmp_path: Path, line: str) -> None:
    assert not listed(tmp_path, line).matches(ROW)


def test_pages_told_apart_by_their_query(tmp_path: Path) -> None:
    found = listed(tmp_path, "https://site.org/view.php?id=5,,,")
    assert found.matches({"page_url": "https://site.org/view.php?id=5"})
    assert not found.matches({"page_url": "https://site.org/view.php?id=6"})
    assert listed(tmp_path, "https://site.org/view.php,,,").matches({"page_url": "https://site.org/view.php?id=6"})


def test_rows_without_provenance_match_nothing(tmp_path: Path) -> None:
    found = listed(tmp_path, "https://a.org,,,", ",b,,", f",,{SHA},", "", ",mine,,")
    assert not found.matches({"page_url": "", "file_url": "", "artist": "", "sha256": ""})
    assert not found.matches({})
    assert not found.matches({"artist": None, "page_url": None})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 must be url,artist,sha256,reason"),
        ("url,artist\n", "line 1 must be"),
        (f"{HEAD}a,b\n", r"line 2: found 'a,b', need url,artist,sha256,reason"),
        (f"{HEAD},,,because\n", "line 2: found ',,,because', need one of url, artist and sha256"),
        (f"{HEAD}http://a.org,b,,\n", "line 2: .* need one of url, artist and sha256"),
        (f"{HEAD}https://,,,\n", "line 2: url: found 'https://'"),
        (f"{HEAD},a,,\n,,abc,\n", "line 3: sha256: found 'abc', need 64 hexadecimal digits"),
        (f'{HEAD},"a,,\n', "line 2: unexpected end of data"),
    ],
)
def test_a_list_that_cannot_be_read_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "takedowns.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        takedowns.read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_no_list_or_one_that_is_no_text_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not found\. Take it from git"):
        takedowns.read(tmp_path / "takedowns.csv")
    (tmp_path / "takedowns.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8 text"):
        takedowns.read(tmp_path / "takedowns.csv")


segment = st.text(string.ascii_letters + string.digits + "-_.~ é%", min_size=1, max_size=6)


@given(host=st.from_regex(r"[a-z]{1,5}\.org", fullmatch=True), path=st.lists(segment, max_size=4), data=st.data())
def test_a_url_stands_for_all_below_it(
    host: str, path: list[str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    url = "https://" + "/".join([host, *path])
    above = "https://" + "/".join([host, *path[: data.draw(st.integers(0, len(path)))]])
    folder = tmp_path_factory.mktemp("t")
    assert listed(folder, f"{above},,,").matches({"page_url": url})
    assert not listed(folder, f"{above},,,").matches({"page_url": url.replace("https://", "https://other.")})


@given(content=st.binary(max_size=80) | st.text(max_size=80).map(lambda text: (HEAD + text).encode(errors="ignore")))
def test_no_list_makes_it_stumble(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("t") / "takedowns.csv"
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        found = takedowns.read(path)
        assert not found.matches({"page_url": "", "artist": " ", "sha256": ""})  # never all images


def test_crop_leaves_out_what_is_taken_down(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    """The raw collection stays as it is, as a frozen one does; what follows it does not have the image."""
    rows: list[dict[str, Any]] = [{"artist": "A", "page_url": "https://a.org/1"}, {"artist": "B", "page_url": ""}]
    raw = make_dataset("raw", [(texture(n, 128, 128), row | {"domain": "portrait"}) for n, row in enumerate(rows)])
    given_ = whole.load(ROOT / "params.yaml")
    settings = dataclasses.replace(given_.crop, detector_portrait="yunet")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UserError, match="crop: none of 2 images kept"):  # textures have no face
        crop.run(raw, out, settings, given_.resize, listed(tmp_path, "http://a.org,,,"))
    assert manifest.read(out)["reason"].tolist() == [takedowns.REASON, "no face"]


def test_scrape_leaves_out_what_is_taken_down(work_root: Path) -> None:
    """A new collection does not have the file; the row says why."""
    (work_root / "mine").mkdir()
    for n in range(3):
        Image.fromarray(texture(n)).save(work_root / "mine" / f"{n}.png")
    definition = work_root / "definition.yaml"
    definition.write_text("sources: {a: {folder: mine, domain: photo}}")
    out = work_root / "out"
    out.mkdir()
    scrape.run(definition, out, work_root / "work", taken_down=listed(work_root, "mine/no.png,,,", "1.png,,,asked"))
    rows = manifest.read(out).to_dict("records")
    assert {row["file_url"]: row["reason"] for row in rows} == {"0.png": "", "1.png": takedowns.REASON, "2.png": ""}
    assert sorted(f"images/{f.name}" for f in (out / "images").iterdir()) == sorted(
        r["file"] for r in rows if r["file"]
    )
