"""What a site says about an image becomes a safe name and plain columns."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semireal.collect.gallerydl import LINK
from semireal.collect.listing import describe, name_of, opted_out

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
