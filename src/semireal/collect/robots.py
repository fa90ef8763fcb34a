"""What a site's robots.txt says about training.

Its rules for crawlers (Allow, Disallow) are not applied: they are about programs that find their way from link to link,
and sites forbid by them the very interfaces that they offer to programs (`/w/` of Wikipedia holds its API). A list here
is one page that a person has named. What is applied is what speaks of the use: `Content-Signal: ai-train=no`
(contentsignals.org, 2025) for everybody or for us, and any group that names us and forbids it all.
"""

import re

import requests
import urllib3

from semireal.collect import download
from semireal.collect.failures import Failure
from semireal.collect.gallerydl import PROJECT

NAME = PROJECT.partition("/")[0]
MOST_BYTES = 500 * 1024  # RFC 9309, section 2.5


def refuses(text: str) -> bool:
    """Whether a robots.txt refuses that we collect for training."""
    ours = signal = refused = False
    naming = False  # within the lines that say for whom a group is
    named = False
    for line in text.splitlines():
        key, _, value = (part.strip().lower() for part in line.partition("#")[0].partition(":"))
        if key == "user-agent":
            ours, named = (ours, named) if naming else (False, False)
            naming = True
            ours, named = ours or value in ("*", NAME), named or value == NAME
        elif key:
            naming = False
            signal = signal or (ours and key == "content-signal" and _no(value))
            refused = refused or (named and key == "disallow" and value == "/")
    return signal or refused


def _no(signals: str) -> bool:
    return re.search(r"\bai-train\s*=\s*no\b", signals) is not None


def asked(url: str, headers: dict[str, str], hosts: list[str], session: requests.Session) -> bool:
    """Ask the site of a URL for its robots.txt, and tell whether it refuses; one that cannot be had does not."""
    found = re.search(r"https?://[^/?#]+", url)
    if found is None:
        return False
    sent = headers | {"Accept-Encoding": "identity"}
    try:
        response = download.opened(f"{found[0]}/robots.txt", sent, hosts, session)
        if isinstance(response, Failure):
            return False
        with response:
            text = response.raw.read(MOST_BYTES, decode_content=False) if response.status_code == 200 else b""
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError):
        return False
    return refuses(text.decode("utf-8-sig", errors="replace"))
