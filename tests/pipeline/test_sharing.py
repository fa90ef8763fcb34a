"""Data, models and experiments from one clone to another, through a bare git repository and every kind of remote.

The remotes are a folder, a real sshd on loopback, moto's S3 server (not a real one) and, to read only, http.server.
"""

import configparser
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tiny import ROOT, copy, experiment_of, shell

pytestmark = pytest.mark.slow
SSHD = Path("/usr/sbin/sshd")
NEW = "Running stage"
SECRETS = {"password", "access_key_id", "secret_access_key", "session_token", "keyfile", "passphrase"}


@dataclass
class Store:
    """A remote: its URL, and what a person must set in config.local to reach it."""

    url: str
    options: dict[str, str] = field(default_factory=dict)


def connect(repo: Path, store: Store) -> None:
    """What docs/sharing.md says: a default remote in .dvc/config.local, which git does not see."""
    shell(repo, "dvc", "remote", "add", "--local", "-d", "store", store.url)
    for key, value in {"verify": "true", **store.options}.items():
        shell(repo, "dvc", "remote", "modify", "--local", "store", key, value)
    assert shell(repo, "git", "status", "--porcelain") == ""  # nothing of it to commit


@pytest.fixture(scope="module")
def hub(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository with the results of `made`, without its experiments."""
    folder = tmp_path_factory.mktemp("hub") / "hub.git"
    shell(made, "git", "clone", "-q", "--bare", ".", str(folder))
    return folder


@pytest.fixture(scope="module")
def elf(made: Path) -> str:
    return experiment_of(made, "elf")


@pytest.fixture(scope="module")
def author(made: Path, hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of the one who shares."""
    folder = copy(made, tmp_path_factory.mktemp("author") / "semi real")
    shell(folder, "git", "remote", "add", "origin", str(hub))
    return folder


@pytest.fixture(scope="module")
def pushed(author: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `dvc push` sends."""
    folder = tmp_path_factory.mktemp("pushed") / "store"
    shell(author, "dvc", "remote", "add", "--local", "-d", "-f", "store", str(folder))
    shell(author, "dvc", "push")
    return folder


def reader(hub: Path, folder: Path) -> Path:
    """Another person's fresh clone."""
    shell(hub, "git", "clone", "-q", str(hub), str(folder))
    shell(folder, "git", "config", "user.email", "reader@example.org")
    shell(folder, "git", "config", "user.name", "reader")
    return folder


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[Store]:
    """A real SSH server on loopback with a host key and one authorised key of its own, as the current user."""
    if not SSHD.is_file():
        pytest.skip("no /usr/sbin/sshd: install openssh-server")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "sshd_config"
    config.write_text(
        f'ListenAddress 127.0.0.1\nPort {port}\nHostKey "{tmp_path}/host"\nAuthorizedKeysFile "{tmp_path}/user.pub"\n'
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\nSubsystem sftp internal-sftp\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd of Debian wants it
    with (
        (tmp_path / "sshd.log").open("w") as log,
        subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=log) as server,
    ):
        deadline = time.monotonic() + 10
        while not _listens(port):
            assert time.monotonic() < deadline, (tmp_path / "sshd.log").read_text()
            time.sleep(0.05)
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        url = f"ssh://{user}@127.0.0.1:{port}{tmp_path}/store"
        yield Store(url, {"keyfile": str(tmp_path / "user"), "allow_agent": "false"})
        server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def s3() -> Iterator[Store]:
    """moto's S3 server on loopback, with a bucket."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{url}/portraits", method="PUT")).close()  # makes the bucket
    keys = {"access_key_id": "key", "secret_access_key": "secret", "region": "us-east-1"}
    yield Store("s3://portraits/semireal", {"endpointurl": url, **keys})
    server.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.mark.parametrize("kind", ["folder", "ssh", "s3"])
def test_a_second_clone_gets_everything_and_runs_nothing(
    kind: str, request: pytest.FixtureRequest, made: Path, hub: Path, elf: str, tmp_path: Path
) -> None:
    store: Store = request.getfixturevalue(kind)
    author = copy(made, tmp_path / "author")
    own_hub = Path(shutil.copytree(hub, tmp_path / "hub.git"))
    shell(author, "git", "remote", "add", "origin", str(own_hub))
    connect(author, store)
    shell(author, "dvc", "push", "--run-cache")
    shell(author, "dvc", "exp", "push", "origin", elf)

    other = reader(own_hub, tmp_path / "other")
    connect(other, store)
    shell(other, "dvc", "pull", "--run-cache")
    assert NEW not in shell(other, "dvc", "repro")
    text = shell(other, "dvc", "exp", "run", "--pull", "-S", "character=elf")
    assert re.findall(rf"{NEW} '(.*)'", text) == ["publish"]  # what git keeps is in no remote
    assert yaml.safe_load((other / "params.yaml").read_text())["name"] == "elf"
    assert (other / "data/raw/demo/elf/manifest.csv").is_file()
    assert len({(repo / "models/generator.safetensors").read_bytes() for repo in (author, other)}) == 2


def test_an_experiment_of_another_person_becomes_a_branch(
    author: Path, hub: Path, elf: str, folder: Store, tmp_path: Path
) -> None:
    shell(author, "dvc", "remote", "add", "--local", "-d", "-f", "store", folder.url)
    shell(author, "dvc", "exp", "push", "origin", elf)
    other = reader(hub, tmp_path / "other")
    connect(other, folder)
    assert elf in shell(other, "dvc", "exp", "list", "origin")
    shell(other, "dvc", "exp", "pull", "origin", elf)
    shell(other, "dvc", "exp", "branch", elf, "elf-best")
    shell(other, "git", "switch", "-q", "elf-best")
    shell(other, "dvc", "checkout")
    assert yaml.safe_load((other / "params.yaml").read_text())["name"] == "elf"
    assert NEW not in shell(other, "dvc", "repro")


def test_one_collection_alone(hub: Path, pushed: Path, tmp_path: Path) -> None:
    other = reader(hub, tmp_path / "other")
    connect(other, Store(str(pushed)))
    shell(other, "dvc", "pull", "data/raw/demo/geralt")
    assert (other / "data/raw/demo/geralt/manifest.csv").is_file()
    assert not (other / "data/crops").exists()
    assert not (other / "models").exists()


def _interrupt(repo: Path, command: tuple[str, ...], watched: Path, files: int) -> int:
    """Kill a command as soon as so many files have arrived in a folder; returns how many there are."""
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", *command],
        cwd=repo,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        while _count(watched) < files and process.poll() is None:
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
    return _count(watched)


def _names(folder: Path) -> set[Path]:
    """The objects in a folder remote; a killed push leaves a temporary file, which nobody ever reads, beside them."""
    return {file.relative_to(folder) for file in folder.rglob("*") if file.is_file() and file.suffix != ".tmp"}


def _count(folder: Path) -> int:
    return len(_names(folder))


def test_killed_push_and_pull_are_completed_by_the_same_command(
    author: Path, hub: Path, pushed: Path, tmp_path: Path
) -> None:
    everything = _count(pushed)
    shell(author, "dvc", "remote", "add", "--local", "other", str(tmp_path / "store"))
    push = ("push", "-r", "other", "-j", "1")
    assert 5 <= _interrupt(author, push, tmp_path / "store", 5) < everything
    shell(author, "dvc", *push)
    assert _names(tmp_path / "store") == _names(pushed)

    other = reader(hub, tmp_path / "other")
    connect(other, Store(str(tmp_path / "store")))
    pull = ("pull", "-j", "1")
    assert 5 <= _interrupt(other, pull, other / ".dvc/cache", 5) < everything
    shell(other, "dvc", *pull)
    assert NEW not in shell(other, "dvc", "repro")


def test_damage_in_a_remote_is_noticed_and_mended(author: Path, hub: Path, pushed: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(pushed, tmp_path / "store"))
    image = next((author / "data/crops/images").iterdir())
    digest = shell(author, "md5sum", str(image)).split()[0]
    damaged = store / "files/md5" / digest[:2] / digest[2:]
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[::-1])
    other = reader(hub, tmp_path / "other")
    connect(other, Store(str(store)))
    pull = ("dvc", "pull")
    text = shell(other, *pull, "--verbose", ok=False)
    assert "failed to pull" in text
    assert "data/crops" in text
    assert f"corrupted cache file '{other / '.dvc/cache/files/md5' / digest[:2] / digest[2:]}'" in text
    # what docs/sharing.md says: cache and remote have the same layout (DVC would not push what is in a known folder)
    shutil.copyfile(author / ".dvc/cache" / damaged.relative_to(store), damaged)
    shell(other, *pull)
    assert NEW not in shell(other, "dvc", "repro")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_the_public_reads_over_http_and_cannot_write(author: Path, hub: Path, pushed: Path, tmp_path: Path) -> None:
    before = _count(pushed)
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(pushed))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        other = reader(hub, tmp_path / "other")
        # committed, so that others need to set nothing
        shell(other, "dvc", "remote", "add", "-d", "public", f"http://127.0.0.1:{server.server_port}")
        shell(other, "dvc", "remote", "modify", "public", "verify", "true")
        shell(other, "dvc", "pull")
        assert NEW not in shell(other, "dvc", "repro")
        (other / "data/own.txt").write_text("new")
        shell(other, "dvc", "add", "data/own.txt")
        shell(other, "dvc", "push", "data/own.txt", ok=False)
        server.shutdown()
    assert _count(pushed) == before


def test_no_secret_and_no_relative_remote_is_committed() -> None:
    """A relative URL in the committed config makes `dvc exp push` write at the root of the file system."""
    config = configparser.ConfigParser()
    config.read(ROOT / ".dvc/config")
    for section in config.values():
        assert not set(section) & SECRETS
        url = section.get("url", "")
        assert not url or "://" in url or Path(url).is_absolute(), url
    assert "/config.local" in (ROOT / ".dvc/.gitignore").read_text().splitlines()
