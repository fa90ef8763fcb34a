"""Why a file or a list could not be had, in words for people, and what each of these means for a next try."""

import re
from dataclasses import dataclass

import requests

GONE, RATE, CHALLENGE, SERVER = "gone", "rate limited", "challenge page", "server error"
TIME_OUT, CONNECTION, BROKEN, REFUSED = "time-out", "connection failed", "broken off", "refused"
HOST, LOGIN, LONG, DISK = "other host", "needs a login", "too long", "disk full"
SLOW, TYPE, PAGE = "too slow", "not a picture by its type", "a page, no picture"
WRONG, LEFT = "not the bytes that the site states", "left, as the others are marked"
NO_LIST, OTHER = "not a list", ""

BLOCKED = (RATE, CHALLENGE)  # the site wants no more for now
SITE = (*BLOCKED, SERVER, TIME_OUT, CONNECTION, BROKEN, REFUSED, PAGE)  # may be the site's state, not the file's
FINAL = (GONE, HOST, LONG, SLOW, TYPE, PAGE, LEFT, OTHER)  # another try brings the same
NEXT_ADDRESS = (GONE, REFUSED, TYPE, PAGE, HOST)  # another address of the same file may do
STALE = (GONE, REFUSED, WRONG)  # of an address that was listed long ago: it may have changed

_STATUS = {401: REFUSED, 403: REFUSED, 404: GONE, 410: GONE, 429: RATE}
_SIGNS = (
    (DISK, r"\[Errno 28\]|\[Errno 122\]"),
    (LONG, r"\[Errno 27\]|answer too large"),
    (CHALLENGE, r"Cloudflare (challenge|CAPTCHA)|DDoS-Guard challenge"),
    (HOST, r"ProxyError|Unable to connect to proxy|No connection adapters|Tunnel connection failed|InvalidSchema"),
    (TIME_OUT, r"timed out"),
    (BROKEN, r"file size mismatch|IncompleteRead|Connection broken|ended prematurely"),
    (CONNECTION, r"NewConnectionError|NameResolution|Connection aborted|Connection reset|ProtocolError|Max retries"),
    (NO_LIST, r"JSONDecodeError"),
    (LOGIN, r"AuthRequired|Authentication|Authorization|credentials|User input required|login"),
)


@dataclass(frozen=True)
class Failure:
    """Why something could not be had: one of the kinds above, and what the site says about a next try."""

    kind: str
    retry_after: str | None = None
    words: str = ""  # of gallery-dl, for people

    @property
    def shown(self) -> str:
        """What a person is told."""
        return ": ".join(filter(None, (self.kind, self.words)))


def kind_of(message: str) -> str:
    """What a message of gallery-dl or of requests means."""
    status = re.search(r"'(\d{3}) [^']*' for '", message)
    for kind, sign in _SIGNS[:3] if status else _SIGNS:
        if re.search(sign, message, re.IGNORECASE):
            return kind
    return of_status(int(status[1])) if status else OTHER


def of_status(status: int) -> str:
    """The kind of a HTTP status that is no success."""
    return SERVER if status >= 500 else _STATUS.get(status, OTHER)


def of_response(response: requests.Response) -> Failure | None:
    """Why an answer is none; None for one that is."""
    if response.status_code in (200, 206):
        return None
    after = response.headers.get("Retry-After")
    if "challenge" in response.headers.get("cf-mitigated", ""):
        return Failure(CHALLENGE, after)
    return Failure(of_status(response.status_code), after)


def of_exception(error: Exception) -> Failure:
    """Why a request came to nothing."""
    if isinstance(error, ValueError):
        return Failure(OTHER)  # an address or a header that is none
    return Failure(kind_of(f"{type(error).__name__}: {error}") or CONNECTION)
