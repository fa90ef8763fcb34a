"""A gallery for tests of the scraper: small pictures that cost nothing, under any name, with any address."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from semireal.collect.gallery import Gallery
from semireal.collect.gallery.faults import Fault, Faults


def card(number: int, side: int = 16) -> bytes:
    """A PNG of noise; each number gives other bytes."""
    noise = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def png(**texts: str) -> bytes:
    """A PNG with such texts."""
    about = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        about.add_text(key, value)
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "PNG", pnginfo=about)
    return buffer.getvalue()


@dataclass
class Cards:
    """Posts and files; the list of tag T is every post that has T among its tags, in order."""

    posts: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    endless: bool = False  # the last page is followed by the first one again

    def add(self, number: int, tag: str = "a", **more: Any) -> None:
        """A post with a picture; `more` adds to what the list says about it, or changes it."""
        name = f"{number}.png"
        self.files[name] = card(number)
        post = {"id": number, "md5": "0", "created_at": 1_600_000_000 + number, "tags": tag, "author": "anna"}
        self.posts.append(post | {"file_url": f"/image/{name}", "title": f"card {number}"} | more)

    def entries(self, tags: list[str], number: int, limit: int, url: str) -> list[dict[str, Any]]:
        found = [post for post in self.posts if set(tags) <= set(post["tags"].split())]
        if self.endless and found:
            return [found[n % len(found)] for n in range((number - 1) * limit, number * limit)]
        return found[(number - 1) * limit : number * limit]

    def file(self, name: str) -> tuple[bytes, str] | None:
        return (self.files[name], "image/png") if name in self.files else None

    def close(self) -> None:
        pass


def cards(count: int, tag: str = "a", first: int = 0) -> Cards:
    """So many ordinary posts."""
    store = Cards()
    for number in range(first, first + count):
        store.add(number, tag)
    return store


@contextmanager
def gallery(store: Cards, *faults: Fault) -> Iterator[tuple[str, Faults]]:
    """A gallery with these posts and faults; gives the address of its lists, without the tag, and the counts."""
    struck = Faults(list(faults))
    with Gallery(store=store, faults=struck) as opened:
        yield f"moebooru:{opened.url}/post?tags=", struck


def files_of(faults: Faults) -> dict[str, int]:
    """How often each file was sent whole."""
    return {name: count for (on, name), count in faults.served.items() if on == "file" and count}
