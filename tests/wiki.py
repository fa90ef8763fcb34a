"""A real MediaWiki on loopback: Debian's package with SQLite and PHP's own server."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PLACE = Path("/usr/share/mediawiki")
NEEDED = "mediawiki php-cli php-sqlite3 php-mbstring php-xml php-gd"  # packages of Debian
SETTINGS = """
$wgEnableUploads = true;
$wgUploadDirectory = "{root}/images";
$wgUploadPath = "/images";
$wgFileExtensions = ["png", "jpg", "jpeg", "gif", "webp"];
$wgVerifyMimeType = false;
$wgUseInstantCommons = false;
$wgCacheDirectory = "{root}/cache";
$wgTmpDirectory = "{root}/tmp";
$wgMainCacheType = CACHE_NONE;
$wgJobRunRate = 0;
"""
ROUTER = """<?php
$path = parse_url($_SERVER["REQUEST_URI"], PHP_URL_PATH);
if (str_starts_with($path, "/images/")) {
    $file = "{root}" . urldecode($path);
    if (!is_file($file)) { http_response_code(404); return true; }
    header("Content-Type: " . mime_content_type($file));
    header("Last-Modified: " . gmdate("D, d M Y H:i:s", filemtime($file)) . " GMT");
    readfile($file);
    return true;
}
return false;
"""


def why_not() -> str:
    """Why there can be no wiki here; "" if there can be one."""
    if not (PLACE / "api.php").is_file() or shutil.which("php") is None:
        return f"no MediaWiki (as root: apt-get install {NEEDED})"
    modules = subprocess.run(["php", "-m"], capture_output=True, text=True, check=False).stdout.split()
    lacking = {"pdo_sqlite", "mbstring", "xml", "gd"} - {name.lower() for name in modules}
    return f"PHP without {', '.join(sorted(lacking))} (as root: apt-get install {NEEDED})" if lacking else ""


class Wiki:
    """A wiki that can be written to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._uploaded = 0  # the second in which the last upload ended
        for name in ("images", "cache", "tmp", "db", "up"):
            (root / name).mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self._php("install.php", "--dbtype", "sqlite", "--dbpath", str(root / "db"), "--server", self.url)
        (root / "router.php").write_text(ROUTER.replace("{root}", str(root)))
        self._settings = (root / "LocalSettings.php").read_text() + SETTINGS.replace("{root}", str(root))
        self.shown_as(self.url)

    def shown_as(self, url: str) -> None:
        """The address that the wiki gives for itself."""
        (self.root / "LocalSettings.php").write_text(f'{self._settings}\n$wgServer = "{url}";\n')

    def _php(self, script: str, *arguments: str) -> None:
        env = os.environ | {"MW_CONFIG_FILE": str(self.root / "LocalSettings.php")}
        more: tuple[str, ...] = arguments
        if script == "install.php":
            del env["MW_CONFIG_FILE"]
            more = (
                *arguments,
                "--scriptpath",
                "",
                "--pass",
                "a-long-password-1",
                "--confpath",
                str(self.root),
                "W",
                "Admin",
            )
        command = ["php", str(PLACE / "maintenance" / script), *more]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def upload(self, files: dict[str, bytes], text: str) -> None:
        """Upload files with this text on their pages; what is there under a name is overwritten.

        MediaWiki keeps what is overwritten under its name and the second in which that happens, and refuses to
        overwrite a file twice in one second.
        """
        while int(time.time()) <= self._uploaded:
            time.sleep(0.05)
        folder = self.root / "up"
        shutil.rmtree(folder)
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        options = ["--overwrite", "--user", "Admin", "--comment", text]
        self._php("importImages.php", *options, str(folder))
        self._uploaded = int(time.time())

    def _file(self, name: str) -> Path:
        """Where a file is: MediaWiki's folders are the first digits of the MD5 of its name."""
        digest = hashlib.md5(name.replace(" ", "_").encode(), usedforsecurity=False).hexdigest()
        return self.root / "images" / digest[0] / digest[:2] / name.replace(" ", "_")

    def has(self, name: str, data: bytes) -> bool:
        """Whether the present revision of a file has these bytes."""
        return self._file(name).read_bytes() == data

    def names(self) -> list[str]:
        """Names of the files."""
        return [path.name.replace("_", " ") for path in self.root.glob("images/[0-9a-f]/*/*")]

    def delete(self, names: list[str]) -> None:
        """Delete files with their pages."""
        if names:
            (self.root / "delete.txt").write_text("".join(f"File:{name}\n" for name in names))
            self._php("deleteBatch.php", str(self.root / "delete.txt"))

    @contextmanager
    def running(self) -> Iterator[None]:
        """PHP's server, as long as the block lasts."""
        host = self.url.removeprefix("http://")
        env: dict[str, Any] = os.environ | {
            "MW_CONFIG_FILE": str(self.root / "LocalSettings.php"),
            "PHP_CLI_SERVER_WORKERS": "2",
        }
        command = ["php", "-S", host, "-t", str(PLACE), str(self.root / "router.php")]
        log = (self.root / "php.log").open("w")
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    urllib.request.urlopen(f"{self.url}/api.php?action=query&format=json", timeout=20).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline, (self.root / "php.log").read_text()
                    time.sleep(0.1)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with its workers
            process.wait(10)
            log.close()


def wiki(root: Path) -> Wiki:
    """A new wiki; skips the test where there can be none."""
    why = why_not()
    if why:
        pytest.skip(why)
    return Wiki(root)
