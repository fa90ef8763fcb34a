import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

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
