"""What a site says about a file of its list: what it is, where it lies, the columns of the manifest, opt-outs.

Everything here comes from others: none of it is a path, and every text becomes one line of plain text.
"""

import hashlib
import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from semireal import text
from semireal.collect import failures, made
from semireal.collect.gallerydl import LINK, MARKS, allowed
from semireal.collect.guard import FALLBACK, HEADERS
from semireal.manifest import Row

# pages of sites whose lists do not name them
_PAGES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "pinterest": lambda meta: f"https://www.pinterest.com/pin/{meta['id']}/",
    "flickr": lambda meta: f"https://www.flickr.com/photos/{meta['owner']['nsid']}/{meta['id']}",
}
_FLAGS = ("noai", "no_ai", "noimageai", "is_ai_use_disallowed", "isAiUseDisallowed")
_HASHES = {"sha256": 64, "sha1": 40, "md5": 32}  # hexadecimal digits
_IMAGE = re.compile(r"\.(jpe?g|png|webp|gif|avif|bmp|tiff?|heic|jxl)$", re.IGNORECASE)
_PINTEREST_LARGE = "736x"  # the rendition that its pages show


NO_PICTURES = frozenset(
    (
        *("mp4", "webm", "mov", "avi", "mkv", "ogv", "ogg", "oga", "mp3", "wav", "flac", "mid", "swf"),
        *("zip", "rar", "7z", "gz", "cbz", "pdf", "psd", "djvu", "svg", "stl", "html", "htm"),
    )
)  # extensions


@dataclass(frozen=True)
class Item:
    """A file of a list: which one it is, where it can be had, and what is known about it."""

    name: str  # for the file; the same in every list, another one for other bytes
    addresses: list[str]  # the wanted one first, then further ones
    headers: dict[str, str]  # that its site wants to see
    hashes: dict[str, str]  # of its bytes, by algorithm, as the site states them
    row: Row


def item_of(meta: Mapping[str, Any]) -> Item:
    """The file that gallery-dl's data are about."""
    link = str(meta.get(LINK) or "")
    given = [str(address) for address in meta.get(FALLBACK) or ()]
    hashes = _hashes(meta, link)
    headers = {str(key): str(value) for key, value in dict(meta.get(HEADERS) or {}).items() if value is not None}
    row = describe(meta)
    return Item(_name(meta, link, hashes), list(dict.fromkeys([link, *given, *_smaller(link)])), headers, hashes, row)


def _name(meta: Mapping[str, Any], link: str, hashes: Mapping[str, str]) -> str:
    """Letters, digits and _ only: something to recognise it by, then a hash of all that tells it from other files.

    That is its id at the site, its address, and the site's own hash of it; not what is in the query of an address of
    an image file, nor the host where there is an id: both change from one list to the next.
    """
    key = next((meta[k] for k in ("id", "index", "filename") if meta.get(k) not in (None, "")), "")
    asset = meta.get("asset")
    if isinstance(asset, dict) and "id" in asset:  # ArtStation: `id` is the project's
        key = f"{key}_{asset['id']}"
    told = [str(meta.get("category", "")), str(key), str(meta.get("num") or ""), *_place(link, meta), *hashes.values()]
    digest = hashlib.sha256("\0".join(told).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return re.sub(r"[^A-Za-z0-9]+", "_", f"{told[0]}_{told[1]}")[:60] + "_" + digest


def _place(link: str, meta: Mapping[str, Any]) -> list[str]:
    try:
        parts = urlsplit(link)
    except ValueError:
        return [link]
    host = "" if meta.get("id") or meta.get("index") else parts.netloc
    return [host, parts.path, "" if _IMAGE.search(parts.path) else parts.query]


def _hashes(meta: Mapping[str, Any], link: str) -> dict[str, str]:
    """Hashes that the site states for the bytes behind `link`; {} where they may be those of another rendition."""
    original = [str(meta[key]) for key in ("file_url", "url", "image_url") if meta.get(key)]
    if original and not any(_same_file(link, one) for one in original):
        return {}
    found = {kind: str(meta.get(kind) or "").lower() for kind in _HASHES}
    return {kind: value for kind, value in found.items() if re.fullmatch(f"[0-9a-f]{{{_HASHES[kind]}}}", value)}


def _same_file(link: str, other: str) -> bool:
    return link == other or (other.startswith("/") and link.endswith(other))


def _smaller(link: str) -> list[str]:
    """Pinterest answers 403 for many an original of which it shows a smaller rendition."""
    return [link.replace("/originals/", f"/{_PINTEREST_LARGE}/")] if "pinimg.com/originals/" in link else []


def rendition(address: str, item: Mapping[str, Any]) -> str:
    """What the manifest says about the rendition of a file that came from one of the addresses of an item."""
    first, told = item["addresses"][0], str(item["row"].get("rendition") or "")
    return told if address == first else "preview"


def hopeless(meta: Mapping[str, Any], addresses: list[str], hosts: list[str], most_bytes: int) -> str | None:
    """The kind of failure that asking for a file would bring, by what its list says; None: it may be had."""
    if not any(allowed(address, hosts) for address in addresses):
        return failures.HOST
    if PurePosixPath(urlsplit(addresses[0]).path).suffix[1:].lower() in NO_PICTURES:
        return failures.TYPE
    size = meta.get("file_size") or meta.get("filesize") or meta.get("size")
    return failures.LONG if isinstance(size, int) and size > most_bytes else None


def describe(meta: Mapping[str, Any]) -> Row:
    """Columns of the manifest that a site knows."""
    return {
        "page_url": _page(meta)
        or _address(meta, "page_url", "permalink", "post_url", "source", "descriptionurl", "url"),
        "file_url": _address(meta, LINK, "file_url", "src"),
        # on Wikimedia `user` is who uploaded it
        "artist": _commons(meta, "Artist") or _first(meta, "artist", "author", "username", "owner", "user", "pinner"),
        "title": _commons(meta, "ObjectName") or _first(meta, "title", "description"),
        "licence": _commons(meta, "LicenseShortName") or _first(meta, "license_name", "license", "licence"),
        "licence_url": _commons(meta, "LicenseUrl") or _address(meta, "license_url", "licence_url"),
        "restrictions": _commons(meta, "Restrictions") or _first(meta, "restrictions"),
        "tags": _first(meta, "tags"),
        "posted": re.sub(r"^(\d{4}-\d\d-\d\d) (\d\d:)", r"\1T\2", _first(meta, "date", "published_at", "created_at")),
        "rendition": _rendition(meta),
        "ai": made.of_list(meta),
    }


def opted_out(meta: Mapping[str, Any]) -> bool:
    """Whether a flag, a tag or a robots directive in the list forbids the use of an image for training."""
    tags = _first(meta, "tags").casefold()
    plain = {re.sub(r"[^a-z]", "", tag) for tag in re.split(r"[\s,]+", tags)}
    return any(meta.get(flag) for flag in _FLAGS) or bool(plain & {"noai", "noimageai"}) or marked(meta.get("robots"))


def marked(directive: Any) -> bool:
    """Whether a robots directive, of a list or of the header X-Robots-Tag, forbids the use for training."""
    return re.search(MARKS, str(directive or "").lower()) is not None


def _page(meta: Mapping[str, Any]) -> str:
    try:
        return text.line(_PAGES[str(meta.get("category"))](meta))
    except (KeyError, TypeError):
        return ""


def _rendition(meta: Mapping[str, Any]) -> str:
    link = str(meta.get(LINK) or "")
    if "is_original" in meta:  # DeviantArt
        return "original" if meta["is_original"] else "preview"
    original = str(meta.get("file_url") or "")
    if (original and link.endswith(original)) or "/originals/" in link:
        return "original"
    if isinstance(meta.get("extmetadata"), dict) and link == meta.get("url"):  # of a MediaWiki
        return "original"
    if meta.get("category") == "flickr":
        return "original" if meta.get("label") == "Original" else "preview"
    return ""


def _commons(meta: Mapping[str, Any], key: str) -> str:
    """A value of a MediaWiki's extmetadata, which is HTML, as plain text."""
    found = meta.get("extmetadata")
    value = found.get(key) if isinstance(found, dict) else None
    if isinstance(value, dict):
        value = value.get("value")
    return plain_text(str(value or ""))


class _Words(HTMLParser):
    """Collects the text that a person would see, not what a style hides (Commons repeats names for machines)."""

    UNSEEN = ("style", "script", "template", "title")
    APART = ("br", "p", "div", "li", "td", "tr")
    EMPTY = ("br", "img", "hr", "wbr", "input", "meta", "link")  # have no end

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._hidden = 0  # how deep inside of what is not seen

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        style = (dict(attrs).get("style") or "").replace(" ", "").lower()
        if tag not in self.EMPTY and (self._hidden or tag in self.UNSEEN or "display:none" in style):
            self._hidden += 1
        if tag in self.APART:
            self.words.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            self._hidden = max(0, self._hidden - 1)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)


def plain_text(markup: str) -> str:
    """The text of a piece of HTML as one line."""
    parser = _Words()
    try:
        parser.feed(markup)
        parser.close()
    except AssertionError:  # of html.parser, about declarations that are none
        return text.line(html.unescape(re.sub(r"<[^>]*>", " ", markup)))
    return text.line("".join(parser.words))


def _address(meta: Mapping[str, Any], *keys: str) -> str:
    """First of the keys that holds a text, which has no entities: an & in an address is one."""
    return text.line(next((value for key in keys if isinstance(value := meta.get(key), str) and value), ""))


def _first(meta: Mapping[str, Any], *keys: str) -> str:
    """First of the keys that holds something, as one line of text, its entities resolved."""
    for key in keys:
        value = meta.get(key)
        if isinstance(value, dict):
            value = value.get("username") or value.get("name") or value.get("full_name") or value.get("url")
        if isinstance(value, list):
            value = " ".join(str(v.get("name", "")) if isinstance(v, dict) else str(v) for v in value)
        if value:
            return text.line(re.sub(r"&#?\w+;", lambda found: html.unescape(found[0]), str(value)))
    return ""
