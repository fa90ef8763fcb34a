"""What a site says about an image becomes a safe name and plain columns."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semireal.collect import failures, listing
from semireal.collect.gallerydl import LINK
from semireal.collect.listing import describe, item_of, opted_out, plain_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = [
    "id",
    "index",
    "filename",
    "num",
    "category",
    "asset",
    "tags",
    "title",
    "artist",
    "user",
    "owner",
    "date",
    "url",
]
KEYS += ["license", "extmetadata", "robots", "label", "file_url", LINK]
METAS = st.dictionaries(st.sampled_from(KEYS), VALUES)


def name_of(meta: dict[str, Any]) -> str:
    return item_of(meta).name


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(METAS)
def test_anything_becomes_a_name_and_one_line_texts(meta: dict[str, Any]) -> None:
    name = name_of(meta)
    assert 1 <= len(name) <= 80
    assert name.isascii()
    assert name.replace("_", "a").isalnum()
    assert name == name_of(meta)
    for value in describe(meta).values():
        assert isinstance(value, str)
        value.encode()
        assert value.splitlines() in ([], [value])
    assert opted_out(meta) in (True, False)


@given(st.text(), st.text())
def test_two_ids_have_two_names(one: str, other: str) -> None:
    names = {name_of({"category": "x", "id": text}) for text in (one, other) if text}
    assert len(names) == len({one, other} - {""})


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (
            {
                "category": "deviantart",
                "index": 7,
                "url": "https://www.deviantart.com/a/art/x-7",
                "author": {"username": "anna"},
                "is_original": False,
                "date": "2024-05-06 07:08:09",
                "tags": ["elf", "NoAI"],
                LINK: "https://images.wixmp.com/x.png?token=1",
            },
            {"page_url": "https://www.deviantart.com/a/art/x-7", "artist": "anna", "rendition": "preview"}
            | {"posted": "2024-05-06T07:08:09", "file_url": "https://images.wixmp.com/x.png?token=1"},
        ),
        (
            {
                "category": "pinterest",
                "id": "5",
                "url": "https://i.pinimg.com/originals/x.jpg",
                "pinner": {"username": "b"},
            }
            | {LINK: "https://i.pinimg.com/originals/x.jpg"},
            {"page_url": "https://www.pinterest.com/pin/5/", "artist": "b", "rendition": "original"},
        ),
        (
            {"category": "flickr", "id": "9", "owner": {"nsid": "1@N", "username": "c"}, "license": "4"}
            | {
                "license_name": "Attribution License",
                "label": "Original",
                "url": "https://live.staticflickr.com/9.jpg",
            },
            {"page_url": "https://www.flickr.com/photos/1@N/9", "artist": "c", "licence": "Attribution License"}
            | {"rendition": "original"},
        ),
        (
            {
                "category": "wikimediacommons",
                "filename": "Elf",
                "descriptionurl": "https://commons.wikimedia.org/wiki/Elf",
            }
            | {"url": "https://upload.wikimedia.org/Elf.jpg", LINK: "https://upload.wikimedia.org/Elf.jpg", "user": "d"}
            | {"extmetadata": {"LicenseShortName": {"value": "CC BY-SA 4.0"}}},
            {"page_url": "https://commons.wikimedia.org/wiki/Elf", "licence": "CC BY-SA 4.0", "rendition": "original"},
        ),
    ],
    ids=lambda value: value.get("category"),
)
def test_columns_of_the_sites(meta: dict[str, Any], expected: dict[str, str]) -> None:
    assert expected.items() <= describe(meta).items()


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({"tags": "elf NoAI"}, True),
        ({"tags": ["no-ai", "elf"]}, True),
        ({"tags": [{"name": "NoImageAI"}]}, True),
        ({"robots": "noindex, noimageai"}, True),
        ({"isAiUseDisallowed": True}, True),
        ({"noai": False, "tags": "noair piano"}, False),
    ],
)
def test_opt_outs_are_seen(meta: dict[str, Any], expected: bool) -> None:
    assert opted_out(meta) == expected


def test_two_assets_of_a_project_are_two_images() -> None:
    project = {"category": "artstation", "id": 3}
    assert name_of(project | {"asset": {"id": 1}, "num": 1}) != name_of(project | {"asset": {"id": 2}, "num": 2})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({LINK: "https://x.org/a/x.jpg", "filename": "x"}, {LINK: "https://x.org/b/x.jpg", "filename": "x"}),
        ({LINK: "https://x.org/Twin.jpg", "filename": "Twin"}, {LINK: "https://x.org/Twin.png", "filename": "Twin"}),
        (
            {"id": 1, LINK: "https://x.org/1.jpg", "md5": "0" * 32},
            {"id": 1, LINK: "https://x.org/1.jpg", "md5": "1" * 32},
        ),
        ({LINK: "https://x.org/show?id=1"}, {LINK: "https://x.org/show?id=2"}),
        ({LINK: "https://x.org/1.jpg"}, {LINK: "https://y.org/1.jpg"}),
    ],
)
def test_other_files_have_other_names(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert name_of(one) != name_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"id": 1, LINK: "https://cdna.x.org/1.jpg?token=a"}, {"id": 1, LINK: "https://cdnb.x.org/1.jpg?token=b"}),
        (
            {"id": 1, "title": "old", LINK: "https://x.org/1.jpg"},
            {"id": 1, "title": "new", LINK: "https://x.org/1.jpg"},
        ),
    ],
)
def test_the_same_file_has_the_same_name_in_another_list(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert name_of(one) == name_of(other)


def test_a_hash_counts_for_the_rendition_that_it_is_of() -> None:
    post = {"id": 1, "md5": "a" * 32, "file_url": "/image/1.png"}
    assert item_of(post | {LINK: "http://x.org/image/1.png"}).hashes == {"md5": "a" * 32}
    assert item_of(post | {LINK: "http://x.org/sample/1.jpg"}).hashes == {}
    assert item_of(post | {LINK: "http://x.org/image/1.png", "md5": "unknown"}).hashes == {}


def test_pinterest_has_a_smaller_rendition_where_the_original_is_refused() -> None:
    item = item_of({"id": "1", LINK: "https://i.pinimg.com/originals/a/b.jpg"})
    assert item.addresses == ["https://i.pinimg.com/originals/a/b.jpg", "https://i.pinimg.com/736x/a/b.jpg"]


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ('<a href="/wiki/User:Ann" title="x">Ann &amp; Bob</a>', "Ann & Bob"),
        ("<style>.a{color:red}</style><script>x()</script><b>Ann</b>", "Ann"),
        ('<bdi><a>Unknown author</a></bdi><span style="display: none;">Unknown <b>author</b></span>', "Unknown author"),
        ("Ann<br>Bob<p>Eve", "Ann Bob Eve"),
        ("&amp;amp;", "&amp;"),
        ("a < b", "a < b"),
        ("plain", "plain"),
        ("Ann <![foo[ <b>Bob</b>", "Ann Bob"),  # html.parser gives up here
    ],
)
def test_markup_becomes_the_text_that_a_person_sees(markup: str, expected: str) -> None:
    assert plain_text(markup) == expected


@given(st.text())
def test_any_markup_becomes_one_line(markup: str) -> None:
    found = plain_text(markup)
    assert found.splitlines() in ([], [found])


def test_entities_are_resolved_once_and_addresses_keep_their_ampersands() -> None:
    row = describe({"title": "Elf &amp; Co &lt;3", "artist": "A&amp;amp;B", "source": "https://x.org/?a=1&copy=2"})
    assert (row["title"], row["artist"], row["page_url"]) == ("Elf & Co <3", "A&amp;B", "https://x.org/?a=1&copy=2")


def test_a_licence_has_its_address_and_restrictions() -> None:
    said = {"LicenseUrl": {"value": "https://cc.org/by/4.0"}, "Restrictions": {"value": "personality"}}
    row = describe({"extmetadata": said | {"LicenseShortName": {"value": "CC BY 4.0"}}})
    assert (row["licence"], row["licence_url"], row["restrictions"]) == (
        "CC BY 4.0",
        "https://cc.org/by/4.0",
        "personality",
    )


@pytest.mark.parametrize(
    ("meta", "addresses", "expected"),
    [
        ({}, ["https://a.org/x.png"], None),
        ({}, ["https://b.org/x.png", "https://a.org/x.png"], None),  # the smaller rendition may be had
        ({}, ["https://b.org/x.png"], failures.HOST),
        ({}, ["https://a.org/x.mp4"], failures.TYPE),
        ({"file_size": 1000}, ["https://a.org/x.png"], None),
        ({"file_size": 1001}, ["https://a.org/x.png"], failures.LONG),
    ],
)
def test_what_a_list_shows_to_be_hopeless_is_told(
    meta: dict[str, Any], addresses: list[str], expected: str | None
) -> None:
    assert listing.hopeless(meta, addresses, ["a.org"], 1000) == expected
