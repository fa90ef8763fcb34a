import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import DATA, ROOT, Server
from semireal.errors import UserError
from semireal.training import fetch, start, train

PICKLE = b"\x80\x04" + DATA
SHA = hashlib.sha256(PICKLE).hexdigest()


def test_random_networks_are_a_file_too(tmp_path: Path) -> None:
    committed = yaml.safe_load((ROOT / "experiments/config.yaml").read_text())["train"]["init"]
    assert start.is_noise(start.existing(committed, ROOT))
    assert train.start_of(str(ROOT / committed)) is None
    (tmp_path / "network.pkl").write_bytes(b"\x80\x02from noise")
    assert not start.is_noise(tmp_path / "network.pkl")


def test_a_missing_file_is_one_line_with_the_command() -> None:
    message = r"^train\.init: start/x\.pkl not found\. Put .* \(semireal fetch URL start/x\.pkl\)"
    with pytest.raises(UserError, match=message):
        train.start_of("start/x.pkl")


def test_fetched_once_and_put_where_it_is_wanted(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEMIREAL_CACHE", str(tmp_path / "cache"))
    server.drops, server.content = 1, PICKLE
    url = f"http://127.0.0.1:{server.server_port}/ffhq.pkl"
    file = tmp_path / "start" / "ffhq-512.pkl"
    fetch.run(url, file, None)
    assert file.read_bytes() == PICKLE
    told = capsys.readouterr().err
    assert f"SHA-256 {SHA}" in told
    assert f"dvc add {file}" in told
    assert len(server.starts) == 2
    assert server.starts[1] > 0  # continued
    fetch.run(url, file, None)
    assert len(server.starts) == 2  # from the cache
    fetch.run(url, file, SHA)
    with pytest.raises(UserError, match=f"need {'0' * 64}"):
        fetch.run(url, file, "0" * 64)
    assert file.read_bytes() == PICKLE
    asked = len(server.starts)
    with pytest.raises(UserError, match=r"--sha256: found 'abc', need 64 hexadecimal digits"):
        fetch.run(url, file, "abc")
    assert len(server.starts) == asked


def test_a_page_behind_the_address_is_no_network_and_not_kept(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMIREAL_CACHE", str(tmp_path / "cache"))
    url = f"http://127.0.0.1:{server.server_port}/ffhq.pkl"
    server.content = b"<!DOCTYPE html><title>Sign in</title>" + DATA
    with pytest.raises(UserError, match=r"gave something else\. .* is a web page\. Need a \.safetensors"):
        fetch.run(url, tmp_path / "x.pkl", None)
    assert not (tmp_path / "x.pkl").exists()
    server.content = PICKLE  # the next day
    fetch.run(url, tmp_path / "x.pkl", None)
    assert (tmp_path / "x.pkl").read_bytes() == PICKLE


def test_the_full_profile_says_how_to_get_its_start() -> None:
    text = (ROOT / "experiments/profile/full.yaml").read_text()
    init = yaml.safe_load(text)["train"]["init"]
    assert f"semireal fetch URL {init}" in text
    ignored = subprocess.run(["git", "check-ignore", "-q", init], cwd=ROOT, check=False)
    assert ignored.returncode == 0  # 360 MB, and not ours to share
    assert subprocess.run(["git", "check-ignore", "-q", f"{init}.dvc"], cwd=ROOT, check=False).returncode == 1


def test_the_command_line_names_the_fault(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "semireal", "fetch", "http://127.0.0.1:9/x.pkl", "x.pkl", "--sha256", "abc"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: --sha256: found 'abc', need 64 hexadecimal digits in lower case\n"
