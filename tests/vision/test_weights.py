import datetime
import hashlib
import ipaddress
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conftest import DATA, Server
from semireal import files
from semireal.errors import UserError
from semireal.vision import weights
from semireal.vision.weights import Weights

SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def wanted(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    monkeypatch.setenv("SEMIREAL_CACHE", str(tmp_path / "cache"))
    return Weights("w.bin", f"http://127.0.0.1:{server.server_port}/w.bin", SHA)


def test_download_once_then_from_the_cache(server: Server, wanted: Weights) -> None:
    assert weights.find(wanted).read_bytes() == DATA
    assert weights.find(wanted).read_bytes() == DATA
    assert server.starts == [0]


def test_dropped_connections_are_continued_not_restarted(server: Server, wanted: Weights) -> None:
    server.drops = 2
    assert weights.find(wanted).read_bytes() == DATA
    assert server.starts[0] == 0
    assert 0 < server.starts[1] < server.starts[2]


def test_damaged_cache_is_replaced(server: Server, wanted: Weights, tmp_path: Path) -> None:
    weights.find(wanted)
    (tmp_path / "cache" / "w.bin").write_bytes(b"damaged")
    assert weights.find(wanted).read_bytes() == DATA


def test_wrong_content_is_refused_and_not_kept(server: Server, wanted: Weights, tmp_path: Path) -> None:
    server.content = DATA[::-1]
    with pytest.raises(UserError, match=rf"w\.bin: cannot be had .* need {SHA}"):
        weights.find(wanted)
    assert not list((tmp_path / "cache").glob("w.bin*t"))
    assert not (tmp_path / "cache" / "w.bin").exists()


def test_no_network_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMIREAL_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="Put the file at"):
        weights.find(Weights("w.bin", "http://127.0.0.1:9/w.bin", SHA))


def test_detector_weights_come_with_a_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEMIREAL_CACHE", str(tmp_path / "unused"))
    path = weights.find(weights.YUNET)
    assert files.sha256_of(path) == weights.YUNET.sha256
    assert not (tmp_path / "unused").exists()


def test_a_path_of_the_user_is_checked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"evaluate\.inception: .* not found"):
        weights.check(tmp_path / "none", weights.INCEPTION, "evaluate.inception")
    with pytest.raises(UserError, match=r"evaluate\.inception: /proc/self/mem cannot be read \(Input/output error\)"):
        weights.check(Path("/proc/self/mem"), weights.INCEPTION, "evaluate.inception")
    (tmp_path / "other").write_bytes(b"x")
    with pytest.raises(UserError, match="need 6726825d0af5f729cebd"):
        weights.check(tmp_path / "other", weights.INCEPTION, "evaluate.inception")


def test_development_weights_are_not_taken_for_the_real_ones(shared: Path) -> None:
    """inception-v3-768.pth has zeros in its last layers; no FID may come from it."""
    with pytest.raises(UserError, match=r"evaluate\.inception"):
        weights.check(shared / "weights" / "inception-v3-768.pth", weights.INCEPTION, "evaluate.inception")


def test_url_of_the_user_with_a_hash(server: Server, wanted: Weights) -> None:
    server.drops = 1
    assert weights.fetch(wanted.url, SHA).read_bytes() == DATA
    assert len(server.starts) == 2
    with pytest.raises(UserError, match=f"need {'0' * 64}"):
        weights.fetch(wanted.url, "0" * 64)


def test_url_of_the_user_without_a_hash(
    server: Server, wanted: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.drops = 2  # an incomplete file is never taken for a whole one
    first = weights.fetch(wanted.url, None)
    assert first.read_bytes() == DATA
    assert SHA in capsys.readouterr().err
    assert weights.fetch(wanted.url, None) == first
    assert len(server.starts) == 3
    other = weights.fetch(wanted.url.replace("/w.bin", "/other/w.bin"), None)
    assert other != first
    assert other.name.endswith("-w.bin")


@pytest.mark.parametrize("content", [DATA, b"other weights"])
def test_weights_in_a_package_are_taken_only_if_they_are_the_pinned_ones(
    server: Server, wanted: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    folder = tmp_path / "semireal_weights_of_a_test" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / wanted.name).write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    found = weights.find(replace(wanted, package=folder.parent.name, folder="models"))
    assert found.read_bytes() == DATA
    assert (found.parent == folder) == (content == DATA)
    assert len(server.starts) == (content != DATA)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that signs itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        builder.not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def trusting(certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is trusted here, and the cache is empty."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("SEMIREAL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tls(server: Server, certificate: Path, trusting: None) -> str:
    """The server speaks TLS; its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return f"https://127.0.0.1:{server.server_port}"


class Sender(ThreadingHTTPServer):
    """Sends everyone on to one address."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SendsOn)
        self.target = ""


class SendsOn(BaseHTTPRequestHandler):
    server: Sender

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.server.target)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def sender(certificate: Path) -> Iterator[Sender]:
    """Speaks TLS."""
    running = Sender()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    running.socket = context.wrap_socket(running.socket, server_side=True)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def test_https_is_followed_to_https(server: Server, tls: str, sender: Sender) -> None:
    sender.target = f"{tls}/w.bin"
    server.drops = 1
    assert weights.fetch(f"https://127.0.0.1:{sender.server_port}/w.bin", SHA).read_bytes() == DATA
    assert server.starts[1] > 0  # and goes on there


@pytest.mark.parametrize("scheme", ["http", "ftp", "file"])
def test_https_is_not_followed_to_less(server: Server, sender: Sender, trusting: None, scheme: str) -> None:
    """Also not to this machine itself: what says so may have been changed on its way."""
    sender.target = f"{scheme}://127.0.0.1:{server.server_port}/w.bin"
    with pytest.raises(UserError, match=r"not https|cannot be had"):
        weights.fetch(f"https://127.0.0.1:{sender.server_port}/w.bin", SHA)
    assert server.starts == []


def test_a_server_that_nobody_vouches_for_is_not_believed(
    server: Server, tls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(UserError, match="CERTIFICATE_VERIFY_FAILED"):
        weights.fetch(f"{tls}/w.bin", SHA)
    assert server.starts == []


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/w.bin", "ftp://127.0.0.1/w.bin", "file:///etc/hostname", "w.bin", "https://", ""),
        *("http://127.0.0.1.example.org/w.bin", "http://localhost.example.org/w.bin", "http://[::1/w.bin"),
        *("http://127.0.0.1@example.org/w.bin", "data:,x", "//example.org/w.bin"),
    ],
)
def test_only_https_is_fetched(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMIREAL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="is not https"):
        weights.fetch(url, SHA)
    assert not (tmp_path / "cache").exists()


def test_all_pinned_addresses_are_https_with_a_hash() -> None:
    pinned = [value for value in vars(weights).values() if isinstance(value, Weights)]
    assert len(pinned) >= 4
    for one in pinned:
        weights.check_address(one.url)
        assert one.url.startswith("https://")
        assert one.sha256 is not None
        assert len(one.sha256) == 64


def test_this_machine_itself_may_be_asked_without_tls() -> None:
    for host in ("127.0.0.1:8000", "localhost", "[::1]:8000", "127.8.8.8"):
        weights.check_address(f"http://{host}/w.bin")


def test_a_file_that_changes_at_its_url_is_refused_and_both_hashes_are_named(server: Server, tls: str) -> None:
    url, other = f"{tls}/w.bin", DATA[::-1]
    first = weights.fetch(url, None)
    first.unlink()  # so that it is fetched again
    server.content = other
    sha = hashlib.sha256(other).hexdigest()
    with pytest.raises(UserError, match=f"has SHA-256 {sha}, and had {SHA} .* --sha256 {sha}"):
        weights.fetch(url, None)
    assert not first.exists()
    assert weights.fetch(url, sha).read_bytes() == other
    server.content = DATA
    assert weights.fetch(url, None).read_bytes() == DATA


@pytest.mark.parametrize("noted", [True, False])
def test_a_file_that_changes_in_the_cache_is_fetched_again(
    server: Server, tls: str, noted: bool, tmp_path: Path
) -> None:
    """Without a note it is the first use, of a cache that is older than the notes."""
    path = weights.fetch(f"{tls}/w.bin", None)
    note = path.with_name(f"{path.name}.sha256")
    assert note.read_text() == f"{SHA}\n"
    if not noted:
        note.unlink()
    path.write_bytes(b"changed")
    found = weights.fetch(f"{tls}/w.bin", None).read_bytes()
    assert found == (DATA if noted else b"changed")
    assert note.read_text().strip() == hashlib.sha256(found).hexdigest()


def half(server: Server, path: Path) -> Path:
    """What a process that was killed leaves of a download: half of the file."""
    partial = path.with_name(f"{path.name}.part")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(server.content[: len(DATA) // 2])
    partial.with_name(f"{partial.name}.version").write_text(server.version)
    return partial


def cached(url: str, tmp_path: Path) -> Path:
    return tmp_path / "cache" / f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-w.bin"


def test_half_a_file_of_the_same_version_is_completed(server: Server, tls: str, tmp_path: Path) -> None:
    url = f"{tls}/w.bin"
    partial = half(server, cached(url, tmp_path))
    assert weights.fetch(url, None).read_bytes() == DATA
    assert server.starts == [len(DATA) // 2]
    assert not list(partial.parent.glob("*.part*"))


@pytest.mark.parametrize("sha256", [SHA, None])
@pytest.mark.parametrize("known", [True, False])
def test_half_a_file_of_another_version_is_not_completed(
    server: Server, tls: str, tmp_path: Path, known: bool, sha256: str | None
) -> None:
    """A kind of file is told by how it begins, so that a mixture would pass."""
    url = f"{tls}/w.bin"
    server.content = DATA[::-1]
    partial = half(server, tmp_path / "cache" / "w.bin" if sha256 else cached(url, tmp_path))
    if not known:
        partial.with_name(f"{partial.name}.version").unlink()
    server.content = DATA
    assert weights.fetch(url, sha256).read_bytes() == DATA
    if known:
        assert server.starts == [len(DATA) // 2]  # the server sent all of the other version instead


def test_servers_that_do_not_look_at_if_range_are_noticed(
    server: Server, tls: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{tls}/w.bin"
    server.content = DATA[::-1]
    half(server, cached(url, tmp_path))
    server.content = DATA
    server.careless = True
    assert weights.fetch(url, None).read_bytes() == DATA
    assert server.starts == [len(DATA) // 2, 0]


def test_a_file_of_unknown_length_needs_a_hash(server: Server, tls: str) -> None:
    server.tells_length = False
    with pytest.raises(UserError, match=r"does not say how long .* \(--sha256\)"):
        weights.fetch(f"{tls}/w.bin", None)
    assert weights.fetch(f"{tls}/w.bin", SHA).read_bytes() == DATA


FETCH = """
import sys
from semireal.vision import weights
print(weights.fetch(sys.argv[1], sys.argv[2]).read_bytes().hex()[:8])
"""


def test_two_processes_at_once_fetch_it_once(server: Server, tls: str) -> None:
    server.pause_s = 2  # both are there before one is done
    command = [sys.executable, "-c", FETCH, f"{tls}/w.bin", SHA]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in running] == [f"{DATA[:4].hex()}\n"] * 2
    assert server.starts == [0]


@pytest.mark.parametrize("path", ["", "/", "/..", "/w/.", "/" + "w" * 400])
def test_an_address_of_any_form_has_a_file(server: Server, tls: str, tmp_path: Path, path: str) -> None:
    found = weights.fetch(f"{tls}{path}", SHA)
    assert found.parent == tmp_path / "cache"
    assert found.read_bytes() == DATA


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEMIREAL_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"\$SEMIREAL_CACHE: .* cannot be made"):
        weights.fetch("https://127.0.0.1:9/w.bin", SHA)
