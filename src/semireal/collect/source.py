"""What a source of images is, and the files in experiments/sources that list them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semireal.errors import UserError
from semireal.schema import load_yaml, param, parse

AUTO = "auto"  # the domain of a source that has both


@dataclass(frozen=True)
class Source:
    """Where images come from: a URL or a folder, one of the two. Only domain and url or folder have to be given."""

    domain: str = param(choices=("photo", "portrait", AUTO))
    """what it shows; auto = both, the stage filter tells them apart"""
    url: str | None = param()
    """page that gallery-dl knows, or demo:TAG+TAG for the embedded gallery"""
    folder: str | None = param()
    """local folder with images, relative to the repository"""
    limit: int | None = param(low=1)
    """at most so many images, not counting those opted out or listed as made by a machine; null = all"""
    per_hour: int | None = param(low=1)
    """images in any hour; null = no limit"""
    per_day: int | None = param(low=1)
    """images in any 24 hours; null = no limit"""
    pause: str | None = param()
    """seconds before each request and download, as text: 2 or 2-4; null = as gallery-dl does"""
    licence: str | None = param()
    """what the images are expected to be under; used where the site names no licence"""
    options: dict[str, Any] | None = param()
    """further options of gallery-dl's extractors, per site"""
    noai: str = param(choices=("respect", "ignore"))
    """marks against use for training: leave such images out, or not"""
    ai: str = param(choices=("reject", "keep"))
    """images that their site or their file says a machine made: leave them out, or not"""
    hosts: str | None = param()
    """further hosts that the site keeps its files on, separated by spaces"""
    file_mb: int = param(low=1)
    """a larger file is left, in millions of bytes"""
    total_gb: float = param(low=0.001)
    """what comes after so many billions of bytes is left"""


_DEFAULTS = dict.fromkeys(("url", "folder", "limit", "per_hour", "per_day", "pause", "licence", "options", "hosts")) | {
    "noai": "respect",
    "ai": "reject",
    "file_mb": 100,
    "total_gb": 50,
}


def load_sources(definition: Path) -> dict[str, Source]:
    """Read a source definition, `sources: {name: {...}}`; raises UserError naming the file and the key."""
    content = load_yaml(definition)
    named = content.get("sources") if isinstance(content, dict) else None
    if not isinstance(named, dict) or not named:
        raise UserError(f"{definition}: need `sources:` with at least one named source")
    sources = {}
    for name, given in named.items():
        key = f"{definition}: sources.{name}"
        if not re.fullmatch(r"[A-Za-z0-9_-]+", str(name)):
            raise UserError(f"{key}: use letters, digits, _ and - in the name of a source")
        source = parse(Source, _DEFAULTS | given if isinstance(given, dict) else given, key)
        if bool(source.url) == bool(source.folder):
            raise UserError(f"{key}: need either url or folder")
        if source.pause is not None and not re.fullmatch(r"\d+(\.\d+)?(-\d+(\.\d+)?)?", source.pause):
            raise UserError(f"{key}.pause: found {source.pause!r}, need seconds as a text, '2' or '2-4'")
        sources[name] = source
    return sources
