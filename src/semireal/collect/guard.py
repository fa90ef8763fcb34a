"""What a list is read with: gallery-dl as a program, at whose requests we stand guard.

`python guard.py ARGUMENTS` runs gallery-dl with these arguments. Before each of its requests it asks on standard output
for the turn at the site, and waits for the line `go` on standard input. What fails because the site is ill is told, and
tried again when we say so: gallery-dl never sees it, so a list is not begun anew because of it. Each file of the list
is told as one line of JSON and never fetched here.

This file is run by path in a process of its own; it knows requests and the words of its own protocol, nothing else.
"""

import json
import runpy
import sys
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

TURN, FILE, ILL = "turn", "file", "ill"  # words that begin a line to us ...
GO, LEAVE = "go", "leave"  # ... and our answers
MOST_BYTES = 1 << 24  # of one answer of a site, unpacked; pages of lists have less than a tenth
HEADERS, FALLBACK = "semireal_headers", "semireal_fallback"
EXTRACTOR = "semireal_extractor"  # the name under which gallery-dl puts its extractor among what it knows of a file
TOLD = ("User-Agent", "Referer", "Origin", "Accept")  # headers for files; others may hold tokens
MOST_ADDRESSES = 8

Send = Callable[..., requests.Response]


class TooLarge(requests.RequestException):
    """An answer that would fill the memory."""


def say(word: str, what: Any) -> str:
    """Tell the collector, and wait for what it answers; end when it is gone."""
    sys.stdout.write(f"{word} {json.dumps(what, default=str)}\n")
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if not answer:
        sys.exit(32)
    return answer.strip()


def ask(known: dict[str, Any]) -> bool:
    """Tell what gallery-dl knows about a file, and how it would fetch it; False: gallery-dl leaves it."""
    meta = {key: value for key, value in known.items() if key[:1] != "_" and key != EXTRACTOR}
    headers = dict(known[EXTRACTOR].session.headers) | (known.get("_http_headers") or {})
    meta[HEADERS] = {key: headers[key] for key in TOLD if headers.get(key)}
    meta[FALLBACK] = _addresses(known)
    say(FILE, meta)
    return False


def _addresses(known: dict[str, Any]) -> list[str]:
    """Further addresses of a file. Of a generator only ArtStation's, which asks the site nothing."""
    found = known.get("_fallback") or ()
    if type(found).__name__ == "generator" and known.get("category") != "artstation":
        return []
    return [address for address, _ in zip(found, range(MOST_ADDRESSES), strict=False) if isinstance(address, str)]


def guarded(send: Send) -> Send:
    """`requests.Session.send` that asks for each turn, tells what fails, and reads a bounded amount."""

    def guarded_send(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        stream = options.pop("stream", False)
        request.headers["Accept-Encoding"] = "gzip, deflate"
        say(TURN, {})
        while True:  # an answer to ILL is the turn for the next try
            try:
                response = send(session, request, stream=True, **options)
                if not stream and not response.is_redirect:
                    _read(response)
            except TooLarge:
                raise
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                if say(ILL, {"error": f"{type(error).__name__}: {error}"}) == GO:
                    continue
                raise
            status, challenge = response.status_code, "challenge" in response.headers.get("cf-mitigated", "")
            if status != 429 and status < 500 and not challenge:
                return response
            told = {"status": status, "challenge": challenge, "retry_after": response.headers.get("Retry-After")}
            if say(ILL, told) != GO:
                return response
            response.close()

    return guarded_send


def _read(response: requests.Response) -> None:
    """Read the body, up to MOST_BYTES of it; requests itself would unpack any amount."""
    packed = response.headers.get("Content-Encoding", "identity").lower() != "identity"
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib
    parts, size = [], 0
    try:
        for part in response.raw.stream(1 << 16, decode_content=False):
            parts.append(unpack.decompress(part, MOST_BYTES + 1 - size) if packed else part)
            size += len(parts[-1])
            if size > MOST_BYTES:
                response.close()
                host = urlsplit(response.url).hostname
                raise TooLarge(f"answer too large: more than {MOST_BYTES >> 20} MB from {host}")
    except urllib3.exceptions.ProtocolError as error:
        raise requests.exceptions.ChunkedEncodingError(error) from None
    except urllib3.exceptions.ReadTimeoutError as error:
        raise requests.ConnectionError(error) from None
    except zlib.error as error:
        raise requests.exceptions.ContentDecodingError(error) from None
    response._content = b"".join(parts)
    response._content_consumed = True


def main() -> None:
    """Run gallery-dl under guard."""
    requests.Session.send = guarded(requests.Session.send)  # type: ignore[method-assign]
    runpy.run_module("gallery_dl", run_name="__main__")


if __name__ == "__main__":
    main()
