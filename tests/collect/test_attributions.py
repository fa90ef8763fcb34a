import csv
import io
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selenium import webdriver

import payloads
from conftest import ROOT, log_of, texture
from semireal import manifest
from semireal.collect import attributions
from semireal.collect.attributions import Credit
from semireal.errors import UserError

ROWS: list[dict[str, Any]] = [
    {"sha256": "1", "artist": "zoë", "title": "Elf", "licence": "CC BY 4.0", "page_url": "https://www.a.org/1"},
    {"sha256": "2", "artist": "Ann", "title": "B", "licence": "CC0", "page_url": "", "file_url": "https://b.org/2.png"},
    {"sha256": "3", "artist": "", "title": "", "licence": "", "page_url": "", "file_url": "mine/3.png"},
    {"sha256": "1", "artist": "zoë", "title": "Elf", "licence": "CC BY 4.0", "page_url": "https://www.a.org/1"},
    {"sha256": "4", "artist": "Ann", "title": "A", "licence": "CC0", "page_url": "https://a.org/4"},
]


class Page(HTMLParser):
    """The links, the tags and the visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_one_entry_per_image_grouped_by_artist() -> None:
    found = attributions.credits_of([{"source": "folder"} | row for row in ROWS])
    assert [(one.artist, one.title, one.licence, one.site) for one in found] == [
        ("Ann", "A", "CC0", "a.org"),
        ("Ann", "B", "CC0", "b.org"),
        ("zoë", "Elf", "CC BY 4.0", "a.org"),
        ("", "", "", "folder"),
    ]


def test_files_of_a_dataset(
    make_dataset: Callable[..., Path], work_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset("set", [(texture(n), row) for n, row in enumerate(ROWS)])
    rows: list[dict[str, Any]] = manifest.read(dataset).to_dict("records")  # type: ignore[assignment]
    manifest.write(dataset, [*rows[:4], manifest.rejected(rows[4], "near-duplicate")])
    attributions.run(dataset, Path("credits"))
    assert capsys.readouterr().err == "credits/attributions.html and attributions.csv: 3 images\n"
    with Path("credits/attributions.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["artist"] for row in table] == ["Ann", "zoë", ""]
    assert table[1] == {
        "artist": "zoë",
        "title": "Elf",
        "licence": "CC BY 4.0",
        "licence_url": "",
        "restrictions": "",
        "site": "a.org",
        "page_url": "https://www.a.org/1",
        "sha256": "1",
    }
    page = Page(Path("credits/attributions.html").read_text())
    assert page.links == ["https://www.a.org/1"]
    assert f"Credits of {dataset}" in page.text
    assert "3 images by 2 artists, some not known." in page.text
    first = Path("credits/attributions.html").read_bytes()
    attributions.write(dataset, Path("credits"), str(dataset))
    assert Path("credits/attributions.html").read_bytes() == first


def test_a_licence_is_linked_and_restrictions_are_told() -> None:
    row = {"sha256": "5", "artist": "Ann & Bob", "title": "A", "page_url": "https://a.org/5", "source": "a"}
    row |= {"licence": "CC BY 4.0", "licence_url": "https://cc.org/by", "restrictions": "personality rights"}
    page = attributions.as_page(
        attributions.credits_of([row, row | {"sha256": "6", "licence_url": "javascript:alert(1)"}]), "elf"
    )
    assert page.count('<a href="https://cc.org/by" rel="noreferrer">CC BY 4.0</a>') == 1
    assert page.count("personality rights") == 2
    assert "javascript" not in page
    assert "Ann &amp; Bob" in page
    assert "&amp;amp;" not in page


def test_a_dataset_that_is_not_there_is_one_clear_line(work_root: Path) -> None:
    (work_root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    with pytest.raises(UserError, match=r"^data/dataset/manifest\.csv: not found\. Run `dvc repro`"):
        attributions.run(None, None)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "//x.org", "http://[", "x"]
)
def test_only_web_addresses_become_links(url: str) -> None:
    (one,) = attributions.credits_of([{"sha256": "1", "page_url": url, "source": "s"}])
    assert Page(attributions.as_page([one], "x")).links == []


wild = st.text(max_size=12) | st.sampled_from(
    ["<script>x</script>", "</ul><h1>", '"><img src=x onerror=y>', "=1+1", "{x}"]
)


linked = wild.map("https://a.org/{}".format)


@given(st.lists(st.builds(Credit, wild, wild, wild, linked, wild, wild, linked, wild), max_size=5))
def test_what_strangers_wrote_is_only_text(found: list[Credit]) -> None:
    page = Page(attributions.as_page(found, "<x>"))
    own = Page(attributions.as_page([Credit("a", "é", "c", "https://a.org/l", "r", "d", "https://a.org", "f")], "x"))
    assert page.tags <= own.tags
    assert all(link.startswith("https://a.org/") for link in page.links)
    cells = [cell for row in csv.reader(io.StringIO(attributions.as_csv(found), newline="")) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def payload_page(texts: Callable[[str], str]) -> str:
    """The credits of one image per payload, which stands wherever strangers write."""
    rows = []
    for n, payload in enumerate(payloads.PAYLOADS):
        given = texts(payload)
        row = {"sha256": str(n), "artist": f"{n:03}{given}", "title": given, "licence": f"{n:03}{given}"}
        # an address as they are, and one that begins like one
        urls = {"page_url": f"https://a.org/{given}", "licence_url": given, "file_url": given}
        rows.append(row | urls | {"restrictions": given, "source": f"{n:03}{given}"})
    return attributions.as_page(attributions.credits_of(rows), texts(payloads.PAYLOADS[0]))


def test_no_payload_becomes_an_element_or_an_address() -> None:
    hostile, plain = (payloads.Page(payload_page(texts)) for texts in (str, payloads.harmless))
    links = len(payloads.PAYLOADS)
    as_links = [p for p in payloads.PAYLOADS if p.startswith("https://")]
    assert len(hostile.addresses) == links + len(as_links)
    assert all(link.startswith("https://a.org") for link in hostile.addresses)
    assert [e for e in hostile.elements if e[0] != "a"] == [e for e in plain.elements if e[0] != "a"]
    assert {e for e in hostile.elements if e[0] == "a"} == {("a", "href", "rel")}
    for payload in payloads.PAYLOADS:
        assert " ".join(payload.split()) in hostile.text, payload


@pytest.mark.slow
def test_no_payload_does_anything_in_the_browser(tmp_path: Path, chromium: webdriver.Chrome) -> None:
    found = []
    kinds: dict[str, Callable[[str], str]] = {"hostile": str, "plain": payloads.harmless}
    for name, texts in kinds.items():
        path = tmp_path / f"{name}.html"
        path.write_bytes(payload_page(texts).encode(errors="replace"))
        found.append(payloads.untouched(chromium, path.as_uri(), lambda: payloads.dom(chromium)))
        assert log_of(chromium) == []
    hostile, plain = ([e for e in one if e != "A href rel"] for one in found)
    assert hostile == plain
    assert chromium.execute_script("return document.querySelectorAll('meta[http-equiv]').length") == 1
