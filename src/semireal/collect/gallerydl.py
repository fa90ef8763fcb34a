"""gallery-dl as a program that reads lists: the configuration it gets, the questions it asks, what its messages mean.

It is a program of its own (GPL-2.0, options global to a process), so it runs as a child process that decides nothing:
before each request it asks for the turn at the site, and what the site says about each file it tells as one line of
JSON (`semireal.collect.guard`). It fetches no file. When its questions are not answered any more, because we are gone,
it ends.
"""

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
import tempfile
from collections.abc import Mapping
from http.cookiejar import CookieJar, LoadError, MozillaCookieJar
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from urllib3.util import parse_url

from semireal import parents
from semireal.collect import failures, guard
from semireal.collect.failures import Failure
from semireal.collect.source import Source
from semireal.errors import UserError
from semireal.schema import load_yaml, plain

VERSION = importlib.metadata.version("gallery-dl")
PROJECT = "semireal/0.1"
TIMEOUT_S = 60
MOST_BYTES = 1 << 29  # of a file that gallery-dl may write
LINK = "gallery_dl_url"  # our name for the address of a file, among what the site says about it
DEMO = "demo:"  # stands for the address of the embedded gallery; demo:TAG+TAG is one of its lists
NO_SECRETS = ("user-agent", "browser")  # among the options of secrets.yaml; sites are told them
CONTACT = "contact"  # the key of secrets.yaml that is no site
# against use for training: of DeviantArt and ArtStation, and what img2dataset refuses by default
MARKS = r"\b(noai|noimageai|noml|noindex|noimageindex)\b"

# Each file of the list is handed to the guard, which tells us and always says no.
_QUESTION = 'std.sys.modules["__main__"].ask(locals())'
# Hosts besides its own that a site keeps files on: nothing else is contacted, wherever a redirect may point.
_FILE_HOSTS = {
    "deviantart.com": ("wixmp.com",),
    "flickr.com": ("staticflickr.com",),
    "pinterest.com": ("pinimg.com",),
    "commons.wikimedia.org": ("upload.wikimedia.org",),
}


def configuration(source: Source, contact: str = "", secrets: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The configuration of gallery-dl for the list of a source.

    contact: how to reach who collects, for the User-Agent; secrets: extractor options per site, as in secrets.yaml.
    What stands at the top level wins over the options of the source and of the secrets, so neither can change what is
    asked.
    """
    extractor: dict[str, Any] = {"browser": "", "headers": {"User-Agent": user_agent(contact)}}
    if source.pause:
        extractor["sleep-request"] = source.pause
    for options in (source.options or {}, secrets or {}):
        for site, given in options.items():
            both = isinstance(given, dict) and isinstance(extractor.get(site), dict)
            extractor[site] = extractor[site] | given if both else given
    for given in extractor.values():  # who sets a browser for a site means it
        if isinstance(given, dict) and {"user-agent", "browser"} & set(given):
            given.setdefault("headers", {})
    return {
        "extractor": extractor,
        "output": {"mode": "null", "log": {"format": "{levelname}|{name}|{message}"}, "colors": {}},
        "file-filter": _QUESTION,
        "filters-environment": "raw",  # else a question without an answer, when we are gone, counts as "no"
        "metadata-url": LINK,
        "metadata-extractor": guard.EXTRACTOR,
        "archive": None,  # what is there and what is not is for us to know
        "retries": 0,  # the guard tries again, when we say so
        "timeout": TIMEOUT_S,
        "sleep-429": 0,
        "input": False,  # a password cannot be typed in
    }


def user_agent(contact: str = "") -> str:
    """How we name ourselves to a site."""
    return f"{PROJECT} ({contact + '; ' if contact else ''}collects images for training) gallery-dl/{VERSION}"


# --- secrets -----------------------------------------------------------------------------------------------


def read_secrets(path: Path) -> dict[str, Any]:
    """Options per site from secrets.yaml, e.g. `deviantart: {client-id: ...}`, and CONTACT; {} without one.

    Raises UserError if it is no mapping of sites to options, or if other users of the machine may read it.
    """
    if not path.exists():
        return {}
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(f"{path}: other users of this machine may read it. Run `chmod 600 {path}`")
    content = load_yaml(path) or {}
    sites = [given for key, given in content.items() if key != CONTACT] if isinstance(content, dict) else [None]
    if not all(isinstance(given, dict) for given in sites):
        raise UserError(f"{path}: need a mapping of sites to options, e.g. `deviantart: {{client-id: ...}}`")
    plain(content, str(path))
    contact = content.get(CONTACT, "")
    if not isinstance(contact, str) or not contact.isprintable() or not contact.isascii():
        raise UserError(f"{path}: {CONTACT}: found {contact!r}, need a mail address or the address of a page")
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
        return set().union(*(_values(value) for key, value in secrets.items() if key not in NO_SECRETS))
    if isinstance(secrets, list):
        return set().union(*(_values(value) for value in secrets))
    return {str(secrets)}


def cookies_of(source: Source, secrets: Mapping[str, Any]) -> CookieJar | None:
    """The cookies that the source or the secrets name for sites: a cookies.txt, or a browser such as `[firefox]`."""
    options = [site for given in (source.options or {}, secrets) for site in given.values() if isinstance(site, dict)]
    named = [site["cookies"] for site in options if isinstance(site.get("cookies"), str | list)]
    jar = CookieJar()
    for given in named:
        with tempfile.TemporaryDirectory() as folder:  # nobody else may look into it
            file = Path(folder) / "cookies.txt"
            if isinstance(given, list):
                _export_cookies(given, file)
            else:
                file = Path(given).expanduser()
            try:
                found = MozillaCookieJar(file)
                found.load(ignore_discard=True, ignore_expires=True)
            except (OSError, LoadError) as error:
                raise UserError(
                    f"scrape: cookies: {given}: {error}. Export them as cookies.txt (Netscape format)"
                ) from None
        for cookie in found:
            jar.set_cookie(cookie)
    return jar if named else None


def _export_cookies(browser: list[str], file: Path) -> None:
    """Let gallery-dl, which knows where browsers keep them, write the cookies of a browser."""
    config = {"extractor": {"noop": {"cookies": browser, "cookies-update": str(file)}}}
    command = [sys.executable, "-m", "gallery_dl", "--config-ignore", "--config", "/dev/stdin", "noop"]
    subprocess.run(command, input=json.dumps(config), text=True, capture_output=True, check=False)


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
    """Whether a link leads to one of the hosts or a sub-domain, by http, as the library reads it that follows it."""
    try:
        parts = parse_url(link)
    except ValueError:
        return False
    host = (parts.host or "").lower()
    if "\\" in link or parts.scheme not in ("http", "https"):
        return False
    return any(host == one or host.endswith(f".{one}") for one in hosts if one)


# --- the process -------------------------------------------------------------------------------------------


class Turn:
    """Gallery-dl asks for the turn at the site, for a request."""


class File(NamedTuple):
    """A file of the list; `meta` is what the site says about it."""

    meta: dict[str, Any]


class Ill(NamedTuple):
    """A request has failed; GO tries it again, LEAVE hands the failure to gallery-dl."""

    failure: Failure


class Ended(NamedTuple):
    """The process has ended: `kind` is None where the list was read to its end, `text` its last complaint."""

    kind: str | None
    text: str
    code: int


Event = Turn | File | Ill | Ended
GO, LEAVE = guard.GO, guard.LEAVE


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
        proxied = {} if own - {"no_proxy", "NO_PROXY"} else proxies
        env = {key: value for key, value in os.environ.items() if key not in own or not proxied}
        command = [sys.executable, "-P", guard.__file__, "--config-ignore", "--config", f"/dev/fd/{config_file}"]
        parent = os.getpid()
        self.process = subprocess.Popen(
            [*command, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env | proxied | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:replace"},
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
        self._complaint: str | None = None

    def events(self) -> list[Event]:
        """What has happened since the last call, in order; `Ended` once, at the end."""
        events: list[Event] = []
        for line in self._out.read():
            word, _, told = line.partition(" ")
            if word in (guard.TURN, guard.FILE, guard.ILL):
                events.append(_event(word, json.loads(redact(told, self._secrets, least=12))))
        self._read_messages()
        if self._out.closed and self._messages.closed:
            code = self.process.wait()
            complaint = self._complaint
            if complaint is None and code & ~4:
                complaint = f"gallery-dl ended with code {code}"
            events.append(Ended(None if complaint is None else failures.kind_of(complaint), complaint or "", code))
        return events

    def streams(self) -> list[int]:
        """Descriptors to wait on for the next event."""
        return [lines.descriptor for lines in (self._out, self._messages) if not lines.closed]

    def answer(self, word: str) -> None:
        """Answer what it asked: GO or LEAVE."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{word}\n".encode())
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
            _, _, message = rest.partition("|")
            if level == "error":
                self._complaint = message


def _event(word: str, told: dict[str, Any]) -> Event:
    if word == guard.TURN:
        return Turn()
    if word == guard.FILE:
        return File(told)
    if "error" in told:
        return Ill(Failure(failures.kind_of(told["error"]) or failures.CONNECTION))
    kind = failures.CHALLENGE if told["challenge"] else failures.of_status(told["status"])
    return Ill(Failure(kind, told["retry_after"]))


def _in_child(parent: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES))
    parents.end_with(parent)


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
