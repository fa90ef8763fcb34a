"""What a site says about an image of its list: a name for the file, the columns of the manifest, opt-outs.

Everything here comes from others: none of it is a path, and every text becomes one line.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from semireal import text
from semireal.collect.gallerydl import LINK, MARKS
from semireal.manifest import Row

# pages of sites whose lists do not name them
_PAGES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "pinterest": lambda meta: f"https://www.pinterest.com/pin/{meta['id']}/",
    "flickr": lambda meta: f"https://www.flickr.com/photos/{meta['owner']['nsid']}/{meta['id']}",
}
_FLAGS = ("noai", "no_ai", "noimageai", "is_ai_use_disallowed", "isAiUseDisallowed")


def name_of(meta: Mapping[str, Any]) -> str:
    """Name for the file of an image, the same in every list: letters, digits and _ only, at most 80 of them.

    Two images of one site differ in it; a hostile id is replaced by its hash.
    """
    key = next((meta[k] for k in ("id", "index", "filename") if meta.get(k) not in (None, "")), meta.get(LINK, ""))
    asset = meta.get("asset")
    if isinstance(asset, dict) and "id" in asset:  # ArtStation: `id` is the project's
        key = f"{key}_{asset['id']}"
    number = meta.get("num")
    name = f"{meta.get('category', '')}_{key}" + (f"_{number}" if number else "")
    if re.fullmatch(r"[A-Za-z0-9_]{1,80}", name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return re.sub(r"[^A-Za-z0-9]+", "_", name)[:40] + "_" + digest


def describe(meta: Mapping[str, Any]) -> Row:
    """Columns of the manifest that a site knows."""
    return {
        "page_url": _page(meta) or _first(meta, "page_url", "permalink", "post_url", "source", "descriptionurl", "url"),
        "file_url": _first(meta, LINK, "file_url", "src"),
        # on Wikimedia `user` is who uploaded it
        "artist": _commons(meta, "Artist") or _first(meta, "artist", "author", "username", "owner", "user", "pinner"),
        "title": _commons(meta, "ObjectName") or _first(meta, "title", "description"),
        "licence": _commons(meta, "LicenseShortName") or _first(meta, "license_name", "license", "licence"),
        "tags": _first(meta, "tags"),
        "posted": re.sub(r"^(\d{4}-\d\d-\d\d) (\d\d:)", r"\1T\2", _first(meta, "date", "published_at", "created_at")),
        "rendition": _rendition(meta),
    }


def opted_out(meta: Mapping[str, Any]) -> bool:
    """Whether a flag, a tag or a robots directive in the list forbids the use of an image for training."""
    tags = _first(meta, "tags").casefold()
    plain = {re.sub(r"[^a-z]", "", tag) for tag in re.split(r"[\s,]+", tags)}
    directive = re.search(MARKS, str(meta.get("robots") or "").lower())
    return any(meta.get(flag) for flag in _FLAGS) or bool(plain & {"noai", "noimageai"}) or directive is not None


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
    if str(meta.get("category")).startswith("wikimedia") and link == meta.get("url"):
        return "original"
    if meta.get("category") == "flickr":
        return "original" if meta.get("label") == "Original" else "preview"
    return ""


def _commons(meta: Mapping[str, Any], key: str) -> str:
    """A value of Wikimedia's extmetadata, without its HTML."""
    found = meta.get("extmetadata")
    value = found.get(key) if isinstance(found, dict) else None
    if isinstance(value, dict):
        value = value.get("value")
    return text.line(re.sub(r"<[^>]*>", " ", str(value or "")))


def _first(meta: Mapping[str, Any], *keys: str) -> str:
    """First of the keys that holds something, as one line of text."""
    for key in keys:
        value = meta.get(key)
        if isinstance(value, dict):
            value = value.get("username") or value.get("name") or value.get("full_name") or value.get("url")
        if isinstance(value, list):
            value = " ".join(str(v.get("name", "")) if isinstance(v, dict) else str(v) for v in value)
        if value:
            return text.line(str(value))
    return ""
