"""gallery-dl as a program: the configuration it gets, the questions it asks, and what its messages mean.

It is a program of its own (GPL-2.0, options global to a process), so it runs as a child process that decides nothing:
for each image of a list it writes what the site says about it as one line of JSON and waits for a line with the name
to store the file under, or an empty line to pass on. Names are therefore ours, and so is the moment of each download.
When its questions are not answered any more, because we are gone, it ends.
"""

import ctypes
import importlib.metadata
import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from semireal.collect.source import Source
from semireal.errors import UserError
from semireal.schema import load_yaml

VERSION = importlib.metadata.version("gallery-dl")
RETRIES = 2  # quick ones, by gallery-dl itself; the long waits are ours (semireal.collect.collector)
TIMEOUT_S = 60
MOST_BYTES = 1 << 29  # a longer file is cut off and counts as failed
LINK = "gallery_dl_url"  # our name for the address of a file, among what the site says about it
_HEADERS = "http_headers"
# against use for training: of DeviantArt and ArtStation, and what img2dataset refuses by default
MARKS = r"\b(noai|noimageai|noml|noindex|noimageindex)\b"

# Sent to us and answered by us for each image. `locals()` is what gallery-dl knows about it; names with _ are internal.
_QUESTION = (
    '(stem := input(std.json.dumps(dict(filter(lambda pair: pair[0][:1] != "_", locals().items())), default=str)'
    ' + "\\n"))'
)
# The marks in the header X-Robots-Tag of a file; nothing else of what the site says is stored by gallery-dl.
_MARK = (
    f'" ".join(mark for key, value in locals().get("{_HEADERS}", {{}}).items() if str(key).lower() == "x-robots-tag"'
    f' for mark in re.findall(r"{MARKS}", str(value).lower()))'
)
# Hosts besides its own that a site keeps files on: nothing else is contacted, wherever a redirect may point.
_FILE_HOSTS = {
    "deviantart.com": ("wixmp.com",),
    "flickr.com": ("staticflickr.com",),
    "pinterest.com": ("pinimg.com",),
    "commons.wikimedia.org": ("upload.wikimedia.org",),
}


def configuration(source: Source, folder: Path, secrets: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The configuration of gallery-dl for a source whose files go to `folder`.

    secrets: extractor options per site, as in secrets.yaml. What stands at the top level wins over the options of the
    source and of the secrets, so neither can change where files go or what is asked.
    """
    extractor: dict[str, Any] = {}
    mark = {"base-directory": str(marks(folder)), "filename": "{stem}"}
    if source.pause:
        extractor |= {"sleep": source.pause, "sleep-request": source.pause}
    for options in (source.options or {}, secrets or {}):
        for site, given in options.items():
            both = isinstance(given, dict) and isinstance(extractor.get(site), dict)
            extractor[site] = extractor[site] | given if both else given
    return {
        "extractor": extractor,
        "output": {"mode": "null", "log": {"format": "{levelname}|{name}|{keywords.stem}|{message}"}, "colors": {}},
        "base-directory": str(folder),
        "directory": [],
        "filename": "{stem}.{extension[:8]}",
        "path-restrict": "ascii",
        "file-filter": _QUESTION,
        "filters-environment": "raw",  # else a question without an answer, when we are gone, counts as "no"
        "metadata-url": LINK,
        "http-metadata": _HEADERS,
        "postprocessors": [
            # before a file gets its final name: no file with a mark is ever there without its mark
            {"name": "metadata", "mode": "custom", "event": "file", "format": f"\fE {_MARK}", **mark},
            {"name": "metadata", "mode": "print", "event": "after", "format": "done {stem}"},
            {"name": "metadata", "mode": "print", "event": "skip", "format": "done {stem}"},
            {"name": "metadata", "mode": "print", "event": "error", "format": "failed {stem}"},
        ],
        "archive": None,  # what is there and what is not is for us to know
        "mtime": False,
        "retries": RETRIES,
        "timeout": TIMEOUT_S,
        "sleep-429": 0,  # we wait, not it
        "input": False,  # a password cannot be typed in
    }


def marks(folder: Path) -> Path:
    """Where there is a file for each file in `folder` that came with a mark against its use (X-Robots-Tag)."""
    return folder.parent / "marked"


# --- secrets -----------------------------------------------------------------------------------------------


def read_secrets(path: Path) -> dict[str, Any]:
    """Options per site from secrets.yaml, e.g. `deviantart: {client-id: ..., client-secret: ...}`; {} without one.

    Raises UserError if it is no mapping of sites to options, or if other users of the machine may read it.
    """
    if not path.exists():
        return {}
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(f"{path}: other users of this machine may read it. Run `chmod 600 {path}`")
    content = load_yaml(path) or {}
    if not isinstance(content, dict) or not all(isinstance(given, dict) for given in content.values()):
        raise UserError(f"{path}: need a mapping of sites to options, e.g. `deviantart: {{client-id: ...}}`")
    return content


def redact(text: str, secrets: Any, least: int = 4) -> str:
    """The text with every secret value of `least` characters and more replaced by ***."""
    for value in sorted(_values(secrets), key=len, reverse=True):
        if len(value) >= least:
            for written in (value, quote(value, safe=""), json.dumps(value)[1:-1]):
                text = text.replace(written, "***")
    return text


def _values(secrets: Any) -> set[str]:
    if isinstance(secrets, Mapping):
        return set().union(*(_values(value) for value in secrets.values()))
    if isinstance(secrets, list):
        return set().union(*(_values(value) for value in secrets))
    return {str(secrets)}


# --- which hosts -------------------------------------------------------------------------------------------


def site_of(url: str) -> str:
    """Host of a URL without `www.`; "" where there is none."""
    found = re.search(r"https?://([^/:?#]+)", url)
    return found[1].lower().removeprefix("www.") if found else ""


def hosts_of(url: str, more: str | None = None) -> list[str]:
    """Hosts that may be contacted for a source, sub-domains included: its own, its site's file hosts, and `more`."""
    site = site_of(url)
    known = [(key, *files) for key, files in _FILE_HOSTS.items() if site == key or site.endswith(f".{key}")]
    return [site, *(host for hosts in known for host in hosts), *(more or "").split()]


def allowed(link: str, hosts: list[str]) -> bool:
    """Whether a link leads to one of the hosts or a sub-domain, by http."""
    try:
        parts = urlsplit(link)
        host = (parts.hostname or "").lower()
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and any(host == h or host.endswith(f".{h}") for h in hosts if h)


# --- failures ----------------------------------------------------------------------------------------------

GONE, RATE, CHALLENGE, SERVER = "gone", "rate limited", "challenge page", "server error"
TIME_OUT, CONNECTION, BROKEN, REFUSED = "time-out", "connection failed", "broken off", "refused"
HOST, LOGIN, LONG, DISK = "other host", "needs a login", "too long", "disk full"
NO_LIST, CRASH, OTHER = "not a list", "gallery-dl failed", ""
BLOCKED = (RATE, CHALLENGE)  # the site wants no more for now
FINAL = (GONE, HOST, LONG, OTHER)  # another try brings the same
_STATUS = {401: REFUSED, 403: REFUSED, 404: GONE, 410: GONE, 429: RATE}
_SIGNS = (
    (DISK, r"\[Errno 28\]|\[Errno 122\]"),
    (LONG, r"\[Errno 27\]"),
    (CHALLENGE, r"Cloudflare (challenge|CAPTCHA)|DDoS-Guard challenge"),
    (HOST, r"ProxyError|Unable to connect to proxy|No connection adapters|Tunnel connection failed"),
    (TIME_OUT, r"timed out"),
    (BROKEN, r"file size mismatch|IncompleteRead|Connection broken|ended prematurely"),
    (CONNECTION, r"NewConnectionError|NameResolution|Connection aborted|Connection reset|ProtocolError|Max retries"),
    (NO_LIST, r"JSONDecodeError"),
    (LOGIN, r"AuthRequired|Authentication|Authorization|credentials|User input required|login"),
)


def kind_of(message: str) -> str:
    """What a message of gallery-dl about a failed file or list means."""
    status = re.search(r"'(\d{3}) [^']*' for '", message)
    for kind, sign in _SIGNS[:3] if status else _SIGNS:
        if re.search(sign, message, re.IGNORECASE):
            return kind
    code = int(status[1]) if status else 0
    return SERVER if code >= 500 else _STATUS.get(code, OTHER)


# --- the process -------------------------------------------------------------------------------------------


class Ask(NamedTuple):
    """Gallery-dl asks what to do with an image; `meta` is what the site says about it."""

    meta: dict[str, Any]


class Done(NamedTuple):
    """The file is there."""

    stem: str


class Failed(NamedTuple):
    """The file could not be fetched; `kind` is one of the constants above."""

    stem: str
    kind: str


class Ended(NamedTuple):
    """The process has ended: `kind` is None where the list was read to its end, `text` its last complaint."""

    kind: str | None
    text: str
    code: int


Event = Ask | Done | Failed | Ended


class Child:
    """A running gallery-dl: its events are read without waiting, its questions answered with `answer`.

    It ends with us, however we end: on Linux the kernel kills it with its parent; elsewhere it ends at its next
    question, which nobody answers. Ctrl-C reaches only us.
    """

    def __init__(self, url: str, config: Mapping[str, Any], hosts: list[str], secrets: Any, log: Path) -> None:
        self._secrets, self._log = secrets, log
        config_file, config_end = os.pipe()  # the configuration may hold secrets: it never gets a name
        # other hosts are looked for behind a proxy that does not answer
        self._nowhere = socket.socket()
        self._nowhere.bind(("127.0.0.1", 0))
        proxy = "http://{}:{}".format(*self._nowhere.getsockname())
        direct = ",".join(part for host in hosts if host for part in (host, f".{host}"))
        proxies = {f"{kind}_proxy": proxy for kind in ("http", "https", "all")} | {"no_proxy": direct}
        own = {key for key in os.environ if key.lower() in proxies}
        # whoever has to use a proxy of their own keeps it, and has its rules instead
        guard = {} if own - {"no_proxy", "NO_PROXY"} else proxies
        env = {key: value for key, value in os.environ.items() if key not in own or not guard}
        command = [sys.executable, "-m", "gallery_dl", "--config-ignore", "--config", f"/dev/fd/{config_file}"]
        parent = os.getpid()
        self.process = subprocess.Popen(
            [*command, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env | guard | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:replace"},
            pass_fds=[config_file],
            start_new_session=True,
            preexec_fn=lambda: _in_child(parent),
        )
        os.close(config_file)
        with os.fdopen(config_end, "w") as file:
            json.dump(config, file)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._out, self._messages = _Lines(self.process.stdout.fileno()), _Lines(self.process.stderr.fileno())
        self._reasons: dict[str, str] = {}
        self._complaint: str | None = None

    def events(self) -> list[Event]:
        """What has happened since the last call, in order; `Ended` once, at the end."""
        lines = self._out.read()
        self._read_messages()  # after the lines: the reason of a failure is written before the line about it
        events: list[Event] = []
        for line in lines:
            word, _, stem = line.partition(" ")
            if line.startswith("{"):
                events.append(Ask(json.loads(redact(line, self._secrets, least=12))))
            elif word == "done":
                events.append(Done(stem))
            elif word == "failed":
                events.append(Failed(stem, kind_of(self._reasons.pop(stem, ""))))
        if self._out.closed and self._messages.closed:
            code = self.process.wait()
            complaint = self._complaint
            if complaint is None and code & ~4:
                complaint = f"gallery-dl ended with code {code}"
            events.append(Ended(None if complaint is None else kind_of(complaint), complaint or "", code))
        return events

    def streams(self) -> list[int]:
        """Descriptors to wait on for the next event."""
        return [lines.descriptor for lines in (self._out, self._messages) if not lines.closed]

    def answer(self, stem: str) -> None:
        """Let it fetch the image it asked about and store it as `stem`, or pass on (an empty text)."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{stem}\n".encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; its events say why

    def stop(self, grace_s: float) -> None:
        """End the process: at its next question if it gets there within grace_s seconds, else at once."""
        try:
            self.process.communicate(timeout=grace_s)  # closes its input: the next question has no answer
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.communicate()
        self.close()

    def close(self) -> None:
        """Give back what the process held."""
        self._nowhere.close()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None and not stream.closed:
                stream.close()

    def _read_messages(self) -> None:
        lines = [redact(line, self._secrets) for line in self._messages.read()]
        if lines:
            with self._log.open("a") as file:
                file.writelines(f"{line}\n" for line in lines)
        for line in lines:
            level, _, rest = line.partition("|")
            name, _, rest = rest.partition("|")
            stem, _, message = rest.partition("|")
            if name in ("download", "downloader.http"):
                if not message.startswith("Failed to download"):
                    before = self._reasons.get(stem, "")  # a challenge is told before the status that came with it
                    self._reasons[stem] = f"{before} {message}" if kind_of(before) == CHALLENGE else message
            elif level == "error":
                self._complaint = message


def _in_child(parent: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES))
    if _LIBC is not None:
        _LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # too late to be told
            os._exit(1)


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class _Lines:
    """The lines that can be read from a descriptor without waiting."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor, self._rest = descriptor, b""
        self.closed = False

    def read(self) -> list[str]:
        """All complete lines that have arrived; the rest, when the other end closes."""
        while not self.closed:
            try:
                chunk = os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                break
            self._rest += chunk
            self.closed = not chunk
        *lines, self._rest = self._rest.split(b"\n")
        if self.closed and self._rest:
            lines, self._rest = [*lines, self._rest], b""
        return [line.decode(errors="replace") for line in lines]
