"""The source definitions of the live sites, against the real gallery-dl without a network.

`tests/offline` answers its requests. The answers have the form that the extractors of the installed gallery-dl expect,
so what is shown is that our configuration is right for it; not that a site still answers like this.
"""

import base64
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from PIL import Image

from conftest import ROOT, texture
from semireal import manifest
from semireal.collect import gallerydl, scrape
from semireal.collect.gallerydl import hosts_of
from semireal.collect.health import Patience
from semireal.collect.source import load_sources
from semireal.errors import Unfinished, UserError

OFFLINE = ROOT / "tests" / "offline"
DEFINITIONS = sorted(path for kind in ("web", "open") for path in (ROOT / "experiments/sources" / kind).glob("*.yaml"))
EXTRACTORS = {  # what gallery-dl calls the sites: category and subcategory
    "www.deviantart.com": ("deviantart", "tag"),
    "www.artstation.com": ("artstation", "search"),
    "www.pinterest.com": ("pinterest", "search"),
    "commons.wikimedia.org": ("wikimediacommons", "category"),
    "www.flickr.com": ("flickr", "search"),
}
DOCUMENTED_AS = {"wikimediacommons": "wikimedia"}
PATIENCE = Patience(minutes=0.5, first_wait=0.01, longest_wait=0.02, strikes=3, tries=2)


def sources_of(path: Path) -> dict[str, Any]:
    """The sources of a definition as they are written, and those that a comment offers."""
    text = path.read_text()
    offered = re.findall(r"(?m)^  # ((?:  )?\w+:.*)$", text)
    found: dict[str, Any] = yaml.safe_load(text)["sources"] | yaml.safe_load("\n".join(offered) or "{}")
    return found


ALL = [pytest.param(s, id=f"{p.parent.name}-{p.stem}-{n}") for p in DEFINITIONS for n, s in sources_of(p).items()]


@pytest.fixture(scope="module")
def extractors() -> dict[str, tuple[str, str] | None]:
    """What gallery-dl takes each URL for."""
    urls = sorted({param.values[0]["url"] for param in ALL})  # type: ignore[index]
    code = (
        "import json, sys\nfrom gallery_dl import extractor\n"
        "found = {url: extractor.find(url) for url in json.load(sys.stdin)}\n"
        "print(json.dumps({url: one and (one.category, one.subcategory) for url, one in found.items()}))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(urls), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result: dict[str, tuple[str, str] | None] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def documented() -> set[str]:
    """Names of all options in the manual that comes with gallery-dl."""
    files = importlib.metadata.files("gallery-dl") or []
    manual = next(Path(str(file.locate())) for file in files if file.name == "gallery-dl.conf.5")
    names = re.findall(r"(?m)^\.SS (\S+)(?: & \.(\S+))?$", manual.read_text())
    both = {first for first, _ in names} | {f"{first.rpartition('.')[0]}.{second}" for first, second in names if second}
    assert "extractor.*.cookies" in both
    return both


def options(given: dict[str, Any]) -> list[str]:
    """The names of the options of one site; those of one kind of page have it before them."""
    nested = [f"{key}.{inner}" for key, value in given.items() if isinstance(value, dict) for inner in value]
    return nested + [key for key, value in given.items() if not isinstance(value, dict)]


@pytest.mark.parametrize("source", ALL)
def test_every_url_has_its_extractor_and_every_option_is_in_the_manual(
    source: dict[str, Any], extractors: dict[str, tuple[str, str] | None], documented: set[str]
) -> None:
    found = extractors[source["url"]]
    assert found is not None
    host = source["url"].split("/")[2]
    expected = ("pinterest", "board") if source["url"].endswith("/USER/BOARD/") else EXTRACTORS[host]
    assert tuple(found) == expected
    assert list(source["options"]) == [found[0]]
    for name in options(source["options"][found[0]]):
        assert f"extractor.{DOCUMENTED_AS.get(found[0], found[0])}.{name}" in documented


def test_gallery_dl_knows_the_sites_that_the_manual_adds(tmp_path: Path) -> None:
    text = (ROOT / "docs/collecting.md").read_text()
    blocks = re.findall(r"(?s)```yaml\n(.*?)```", text)
    definition = tmp_path / "definition.yaml"
    definition.write_text("".join(blocks))
    urls = {name: source.url for name, source in load_sources(definition).items()}
    code = (
        "import sys\nfrom gallery_dl import extractor\n"
        "print(*[extractor.find(url).basecategory for url in sys.argv[1:]])"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, urls.values())], capture_output=True, text=True)
    assert dict(zip(urls, done.stdout.split(), strict=True)) == {"wiki": "wikimedia", "booru": "shimmie2"}, done.stderr
    assert hosts_of(urls["wiki"] or "") == ["wiki.example.org"]


def test_the_example_of_secrets_has_options_of_the_manual(documented: set[str]) -> None:
    text = (ROOT / "secrets.example.yaml").read_text()
    example = yaml.safe_load(re.sub(r"(?m)^# (?=\w+: +#|  [\w-]+: )", "", text))
    assert set(example) == {"deviantart", "artstation", "pinterest", "flickr"}
    for site, given in example.items():
        for name in given:
            assert {f"extractor.{site}.{name}", f"extractor.*.{name}"} & documented, name
    files = ["secrets.yaml", "secrets/cookies.txt"]
    ignored = subprocess.run(["git", "check-ignore", *files], cwd=ROOT, capture_output=True, text=True)
    assert ignored.stdout.split() == files


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_source_states_limits_and_a_licence(path: Path) -> None:
    sources = load_sources(path)
    for source in sources.values():
        assert source.limit
        assert source.per_hour
        assert source.pause
        assert source.licence
        assert source.noai == "respect"
    domains = {source.domain for source in sources.values()}
    assert "photo" in domains
    assert domains & {"portrait", "auto"}
    if path.parent.name == "open":
        assert all("open" in (source.licence or "") for source in sources.values())


# --- what becomes of the answers of each site --------------------------------------------------------------


def picture(seed: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(texture(seed)).save(buffer, "JPEG")
    return base64.b64encode(buffer.getvalue()).decode()


JPEG = {"Content-Type": "image/jpeg"}


def deviation(number: int, licence: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A deviation as /browse/tags has it, and its entry of /deviation/metadata."""
    listed = {
        "deviationid": f"ID-{number}",
        "url": f"https://www.deviantart.com/ann/art/Elf-{number}",
        "title": "Elf",
        "author": {"username": "Ann"},
        "is_deleted": False,
        "is_downloadable": True,
        "is_mature": False,
        "published_time": "1600000000",
        "content": {"src": f"https://images-wixmp-ed30.wixmp.com/f/a/{number}.jpg/v1/fill/w_8,q_70/e.jpg?token=x"},
    }
    return listed, {"title": "Elf", "license": licence, "tags": [{"tag_name": "elf"}, {"tag_name": "ears"}]}


DEVIATIONS = [deviation(900000001, "Creative Commons Attribution 3.0 License"), deviation(900000002, "No License")]
DEVIANTART = [
    {"url": r"/oauth2/token$", "json": {"access_token": "t"}},
    {"url": r"/browse/tags\?", "json": {"has_more": False, "results": [a for a, _ in DEVIATIONS]}},
    {"url": r"/deviation/metadata\?", "json": {"metadata": [b for _, b in DEVIATIONS]}},
    {"url": r"wixmp\.com/f/a/900000001\.jpg/v1/fill/w_8,q_100/", "body": picture(1), "headers": JPEG},
    {"url": r"wixmp\.com/f/a/900000002\.jpg", "body": picture(2), "headers": JPEG | {"X-Robots-Tag": "noai"}},
]


def project(name: str, tags: list[str]) -> dict[str, Any]:
    asset = {
        "id": len(name),
        "has_image": True,
        "has_embedded_player": False,
        "image_url": f"https://cdna.artstation.com/p/assets/images/images/000/000/001/large/{name}.jpg?1",
    }
    return {
        "id": len(name) * 10,
        "title": f"Elf {name}",
        "description": "",
        "created_at": "2024-01-02T03:04:05.000-06:00",
        "permalink": f"https://www.artstation.com/artwork/{name}",
        "user": {"username": "ann", "full_name": "Ann B"},
        "tags": tags,
        "assets": [asset],
    }


ARTSTATION = [
    {"url": r"csrf_protection/token\.json$", "json": {"public_csrf_token": "t"}},
    {"url": r"search/projects\.json$", "json": {"data": [{"hash_id": "x"}, {"hash_id": "yy"}], "total_count": 2}},
    {"url": r"/projects/x\.json$", "json": project("x", ["elf", "ears"])},
    {"url": r"/projects/yy\.json$", "json": project("yy", ["elf", "NoAI"])},
    {"url": r"/4k/x\.jpg", "body": picture(3), "headers": JPEG},
    {"url": r"/8k/x\.jpg", "status": 404},
]

PIN = {
    "id": "77",
    "title": "Elf",
    "pinner": {"username": "somebody"},
    "created_at": "Thu, 02 Jan 2020 03:04:05 +0000",
    "link": "https://shop.example.org/elf",
    "images": {"orig": {"url": "https://i.pinimg.com/originals/a/b/c.jpg", "width": 8, "height": 8}},
}
END = {"options": {"bookmarks": ["-end-"]}}
PINTEREST = [
    {"url": r"BaseSearchResource/", "json": {"resource_response": {"data": {"results": [PIN]}}, "resource": END}},
    {"url": r"pinimg\.com/originals/a/b/c\.jpg", "body": picture(4), "headers": JPEG},
]
REFUSED = [
    PINTEREST[0],
    {"url": r"pinimg\.com/originals/a/b/c\.jpg", "status": 403, "body": "bm8="},
    {"url": r"pinimg\.com/736x/a/b/c\.jpg", "body": picture(4), "headers": JPEG},
]
BOARD = [
    {
        "url": r"BoardResource/get/",
        "json": {"resource_response": {"data": {"id": "9", "url": "/USER/BOARD/", "section_count": 1}}},
    },
    {"url": r"BoardFeedResource/get/", "json": {"resource_response": {"data": [PIN]}, "resource": END}},
    {"url": r"BoardSectionsResource/get/", "json": {"resource_response": {"data": []}, "resource": END}},
    PINTEREST[1],
]

COMMONS = [
    {
        "url": r"/w/api\.php\?.*gcmtype=file",
        "json": {
            "query": {
                "pages": {
                    "5": {
                        "pageid": 5,
                        "title": "File:Elf one.jpg",
                        "imageinfo": [
                            {
                                "timestamp": "2020-01-02T03:04:05Z",
                                "user": "Uploader",
                                "canonicaltitle": "File:Elf one.jpg",
                                "url": "https://upload.wikimedia.org/wikipedia/commons/a/ab/Elf_one.jpg",
                                "descriptionurl": "https://commons.wikimedia.org/wiki/File:Elf_one.jpg",
                                "sha1": hashlib.sha1(base64.b64decode(picture(5)), usedforsecurity=False).hexdigest(),
                                "metadata": [],
                                "commonmetadata": [],
                                "extmetadata": {
                                    "LicenseShortName": {"value": "CC BY-SA 4.0"},
                                    "Artist": {"value": '<a href="//commons.wikimedia.org/wiki/User:Ann">Ann</a>'},
                                    "ObjectName": {"value": "Elf one"},
                                },
                            }
                        ],
                    }
                }
            }
        },
    },
    {"url": r"/w/api\.php\?.*gcmtype=subcat", "json": {"query": {"pages": {}}}},
    {"url": r"upload\.wikimedia\.org/.*/Elf_one\.jpg", "body": picture(5), "headers": JPEG},
]

PHOTO = {
    "id": "123",
    "owner": "12@N01",
    "ownername": "Ann",
    "pathalias": "ann",
    "title": "Cosplay",
    "description": {"_content": ""},
    "views": "1",
    "dateupload": "1600000000",
    "tags": "elf ears",
    "media": "photo",
    "license": "4",
    "url_o": "https://live.staticflickr.com/1/2_o.jpg",
    "width_o": "6000",
    "height_o": "4000",
    "url_k": "https://live.staticflickr.com/1/2_k.jpg",
    "width_k": "2048",
    "height_k": "1365",
}
FLICKR = [
    {"url": r"www\.flickr\.com/photos/$", "body": base64.b64encode(b'.flickr.api.site_key = "k"').decode()},
    {"url": r"flickr\.photos\.search", "json": {"photos": {"page": 1, "pages": 1, "photo": [PHOTO]}}},
    {"url": r"staticflickr\.com/1/2_k\.jpg", "body": picture(6), "headers": JPEG},
]

KEPT = {
    "deviantart": {
        "page_url": "https://www.deviantart.com/ann/art/Elf-900000001",
        "artist": "Ann",
        "title": "Elf",
        "licence": "Creative Commons Attribution 3.0 License",
        "tags": "elf ears",
        "posted": "2020-09-13T12:26:40",
        "rendition": "preview",
    },
    "artstation": {
        "page_url": "https://www.artstation.com/artwork/x",
        "artist": "ann",
        "title": "Elf x",
        "licence": "all rights reserved",
        "tags": "elf ears",
        "posted": "2024-01-02T09:04:05",
    },
    "pinterest": {
        "page_url": "https://www.pinterest.com/pin/77/",
        "artist": "somebody",
        "title": "Elf",
        "licence": "not known; the right is with the maker, not with who pinned it",
        "rendition": "original",
    },
    "cosplay": {
        "page_url": "https://commons.wikimedia.org/wiki/File:Elf_one.jpg",
        "file_url": "https://upload.wikimedia.org/wikipedia/commons/a/ab/Elf_one.jpg",
        "artist": "Ann",
        "title": "Elf one",
        "licence": "CC BY-SA 4.0",
        "posted": "2020-01-02T03:04:05",
        "rendition": "original",
    },
    "cosplay_flickr": {
        "page_url": "https://www.flickr.com/photos/12@N01/123",
        "file_url": "https://live.staticflickr.com/1/2_k.jpg",
        "artist": "Ann",
        "title": "Cosplay",
        "licence": "Attribution License",
        "tags": "elf ears",
        "posted": "2020-09-13T12:26:40",
        "rendition": "preview",
    },
}
KEPT["board"] = KEPT["pinterest"] | {"licence": ""}
# the answers, the reasons of the images that are not kept, and what has to be asked for
SITES = {
    "deviantart": (DEVIANTART, [scrape.OPTED_OUT], r"/browse/tags\?tag=elf&offset=0&limit=50&mature_content=false"),
    "artstation": (ARTSTATION, [scrape.OPTED_OUT], r'"query": ?"elf portrait".*"pro_first": ?"0"'),
    "pinterest": (PINTEREST, [], r"BaseSearchResource/.*elf(\+|%20)portrait(\+|%20)painting"),
    "board": (BOARD, [], r"BoardResource/.*BOARD.*USER"),
    "cosplay": (COMMONS, [], r"gcmtitle=Category%3ACosplay_of_elves&gcmtype=file"),
    "cosplay_flickr": (FLICKR, [], r"text=elf\+cosplay&license=4%2C5%2C7%2C9%2C10&.*extras=[^&]*license"),
}


def _offline() -> Any:
    spec = importlib.util.spec_from_file_location("offline", OFFLINE / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def collect(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], str]:
    """Run one source of the committed definition; returns it and what was asked for, sent and looked up."""
    source = sources_of(ROOT / "experiments/sources/web/elf.yaml")[name]
    given = source | {"pause": "0", "per_hour": None, "per_day": None}
    for site in given["options"].values():
        site.pop("wait-min", None)  # only waits
    (root / "answers.json").write_text(json.dumps(SITES[name][0]))
    (root / "definition.yaml").write_text(yaml.safe_dump({"sources": {name: given}}))
    monkeypatch.setenv("PYTHONPATH", str(OFFLINE))
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))  # where gallery-dl keeps access tokens
    monkeypatch.setenv("OFFLINE_LOG", str(root / "log"))
    offline = _offline()
    monkeypatch.setenv("OFFLINE_ANSWERS", str(root / "answers.json"))
    # lists are read in a process of their own, files in this one
    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", offline.answering())
    (root / "out").mkdir()
    if not (root / "secrets.yaml").exists():
        (root / "secrets.yaml").touch(mode=0o600)
        (root / "secrets.yaml").write_text("contact: me@example.org")
    scrape.run(root / "definition.yaml", root / "out", root / "work", PATIENCE)
    return given, (root / "log").read_text()


@pytest.mark.parametrize("name", SITES)
def test_the_answers_of_a_site_become_rows(name: str, work_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, others, asked = SITES[name]
    given, log = collect(name, work_root, monkeypatch)
    rows = manifest.read(work_root / "out").to_dict("records")
    assert not re.search("(?m)^connect", log)
    assert re.search(asked, log)
    kept = [row for row in rows if row["status"] == manifest.KEPT]
    assert [row["reason"] for row in rows if row["status"] == manifest.REJECTED] == others
    assert [{key: row[key] for key in KEPT[name]} for row in kept] == [KEPT[name]]
    looked_up = set(re.findall(r"(?m)^option (.+)$", log))
    named = {option.rpartition(".")[2] for site in given["options"].values() for option in options(site)}
    assert named <= looked_up
    # with the name of who collects, to the site and to where its files are
    agents = set(re.findall(r'"User-Agent": "([^"]*)"', log))
    assert agents == {gallerydl.user_agent("me@example.org")}


def test_a_smaller_rendition_is_taken_and_named_where_the_original_is_refused(
    work_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SITES, "pinterest", (REFUSED, *SITES["pinterest"][1:]))
    collect("pinterest", work_root, monkeypatch)
    (row,) = manifest.read(work_root / "out").to_dict("records")
    assert (row["status"], row["rendition"]) == ("kept", "preview")
    assert row["file_url"] == "https://i.pinimg.com/736x/a/b/c.jpg"


@pytest.mark.parametrize(("after", "complete"), [("1", True), ("900", False)])
def test_the_wait_that_an_interface_asks_for_is_waited_and_the_list_goes_on(
    after: str, complete: bool, work_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DeviantArt's answers 429 to an interface of which gallery-dl would ask again and again by itself."""
    busy = {"url": r"/browse/tags\?", "status": 429, "headers": {"Retry-After": after}, "times": 1}
    monkeypatch.setitem(SITES, "deviantart", ([busy, *DEVIANTART], *SITES["deviantart"][1:]))
    began = time.monotonic()
    if complete:
        collect("deviantart", work_root, monkeypatch)
        assert len(manifest.read_kept(work_root / "out")) == 1
        assert time.monotonic() - began > 1
    else:
        with pytest.raises(Unfinished, match="rate limited, the site asks to wait 900 s"):
            collect("deviantart", work_root, monkeypatch)
    log = (work_root / "log").read_text()
    assert len(re.findall(r"(?m)^request GET \S*/browse/tags", log)) == (2 if complete else 1)
    assert len(re.findall(r"(?m)^request POST \S*/oauth2/token", log)) == 1  # not begun anew


def test_wikimedia_is_not_asked_without_a_contact(work_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work_root / "secrets.yaml").touch(mode=0o600)
    with pytest.raises(UserError, match=r"commons.wikimedia.org asks who collects. Write `contact: you@example.org`"):
        collect("cosplay", work_root, monkeypatch)
    assert not (work_root / "log").exists()


BASIC = base64.b64encode(b"12345:0123abcd").decode()


@pytest.mark.parametrize(
    ("name", "secrets", "sent"),
    [
        (
            "deviantart",
            {"client-id": "12345", "client-secret": "0123abcd"},
            f"Basic {BASIC}",
        ),
        (
            "artstation",
            {"cookies": "secrets/site.txt", "user-agent": "Mine/1.0"},
            r'"User-Agent": "Mine/1\.0".*clear=0123abcd',
        ),
        ("pinterest", {"cookies": "secrets/site.txt"}, "clear=0123abcd"),
        (
            "cosplay_flickr",
            {"api-key": "0123abcd", "api-secret": "4567efab"},
            "oauth_consumer_key=.?0123abcd|api_key=0123abcd",
        ),
    ],
)
def test_what_the_example_of_secrets_names_is_sent(
    name: str, secrets: dict[str, str], sent: str, work_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = name.removeprefix("cosplay_")
    (work_root / "secrets").mkdir()
    cookie = f".{site}.com\tTRUE\t/\tTRUE\t4000000000\tclear\t0123abcd\n"
    (work_root / "secrets/site.txt").write_text(f"# Netscape HTTP Cookie File\n{cookie}")
    (work_root / "secrets.yaml").touch(mode=0o600)
    (work_root / "secrets.yaml").write_text(yaml.safe_dump({site: secrets}))
    _, log = collect(name, work_root, monkeypatch)
    assert re.search(sent, log)
    made = [file for folder in ("out", "work") for file in (work_root / folder).rglob("*") if file.is_file()]
    assert made
    assert not [file for file in made if b"0123abcd" in file.read_bytes()]
