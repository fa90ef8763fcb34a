"""The review page for tests: the data of all stages, and the server in a process of its own."""

import asyncio
import http.client
import io
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image

from conftest import ROOT
from heads import head
from semireal import manifest
from semireal.images import encode_jpeg
from semireal.review import server

FILE = Path("experiments/decisions/geralt.csv")
DATASET = Path("data/dataset")
POORER, TWIN = 10, 25  # every tenth image is blurred, of the others every 25th is a near-duplicate
TOKENS: dict[int, str] = {}  # by port


def make_data(folder: Path, count: int) -> None:
    """The data of all stages, with `count` crops named 00000-0 up, and a raw image "faceless" without a face."""
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    rows: dict[str, list[manifest.Row]] = {name: [] for name in ("raw", "crops", "resized", "filtered", "dataset")}
    for name in rows:
        (path_of(folder, name) / "images").mkdir(parents=True)

    pictures = {suffix: [picture(n, suffix) for n in range(16)] for suffix in ("png", "jpg")}

    def put(name: str, file: str, n: int) -> str:
        (path_of(folder, name) / "images" / file).write_bytes(pictures[file[-3:]][n % 16])
        return f"images/{file}"

    for n in range(count):
        key = f"{n:05}"
        row: manifest.Row = {
            "id": key,
            "source": "one" if n % 2 else "two",
            "domain": "photo" if n % 4 else "portrait",
            "title": "<b>x</b>",
        }
        rows["raw"].append(manifest.kept(row, file=put("raw", f"{key}.png", n)))
        row |= {"id": f"{key}-0", "image_id": key, "score": round(0.5 + n / count / 2, 4), "crop_side": 100 + n}
        rows["crops"].append(manifest.kept(row, file=put("crops", f"{key}-0.png", n)))
        row |= {"file": put("resized", f"{key}-0.jpg", n), "bytes": 1000}
        rows["resized"].append(manifest.kept(row))
        row |= {"sharpness": 5.0, "note": "", "rule": "" if n % POORER else "blurred"}
        if row["rule"]:
            rows["filtered"].append(manifest.rejected(row, "blurred"))
            continue
        rows["filtered"].append(manifest.kept(row, file=put("filtered", f"{key}-0.jpg", n)))
        row |= {"phash": "", "cluster": "", "survivor": ""}
        if n % TWIN:
            rows["dataset"].append(manifest.kept(row, file=put("dataset", f"{key}-0.jpg", n)))
        else:
            marks = {"cluster": "00001-0", "survivor": "00001-0"}
            rows["dataset"].append(manifest.rejected(row, "near-duplicate", **marks))
    row = {"id": "faceless", "source": "one", "domain": "photo"}
    rows["raw"].append(manifest.kept(row, file=put("raw", "faceless.png", 77)))
    rows["crops"].append(manifest.rejected(row, "no face", image_id="faceless", raw_width=24))
    for name, made in rows.items():
        manifest.save(path_of(folder, name), made, "test", "")


def make_heads(folder: Path, own: int, strangers: int) -> dict[str, bool]:
    """A dataset of drawn heads: photos of geralt, and of elves; by id, whether it is geralt."""
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    images = path_of(folder, "dataset") / "images"
    images.mkdir(parents=True)
    truth, rows = {}, []
    for n, who in enumerate(["geralt"] * own + ["elf"] * strangers):
        key = f"{n * 7919 % 10007:05}-0"  # in no order
        (images / f"{key}.jpg").write_bytes(encode_jpeg(head(who, "photo", n, 128), 90))
        rows.append(manifest.kept({"id": key, "domain": "photo", "source": "one"}, file=f"images/{key}.jpg"))
        truth[key] = who == "geralt"
    manifest.save(path_of(folder, "dataset"), rows, "test", "")
    return truth


def picture(n: int, suffix: str) -> bytes:
    """A small picture of one of 16 colours."""
    buffer = io.BytesIO()
    Image.new("RGB", (24, 24), (n * 16, 255 - n * 16, 90)).save(buffer, {"png": "PNG", "jpg": "JPEG"}[suffix])
    return buffer.getvalue()


def path_of(folder: Path, name: str) -> Path:
    return folder / "data" / ("raw/demo/geralt" if name == "raw" else name)


@contextmanager
def process(folder: Path, before: str = "", browser: bool = False) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The server in a process of its own, as the command runs it; its port and itself.

    before: Python to run there first. browser: whether it opens one.
    """
    script = "from semireal.review import clients, server\nfrom semireal import stage"
    script += f"\n{before}\nstage.run(lambda: server.run(None, 0, browser={browser}))"
    command = [sys.executable, "-c", script]
    env = os.environ | {"DVC_ROOT": str(folder), "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        line = running.stderr.readline()
        found = re.match(r"http://127\.0\.0\.1:(\d+)/\?token=(\S{43}) shows data/dataset", line)
        assert found, line + running.stderr.read()
        TOKENS[int(found[1])] = found[2]
        try:
            yield int(found[1]), running
        finally:
            running.kill()


@contextmanager
def serving(stage: Path = DATASET) -> Iterator[int]:
    """The application on a free port, in a thread."""
    listening = socket.create_server(("127.0.0.1", 0))
    port: int = listening.getsockname()[1]
    loop = asyncio.new_event_loop()
    TOKENS[port] = secrets.token_urlsafe(32)
    runner = web.AppRunner(server.make_app(stage, port, TOKENS[port]), access_log=None, shutdown_timeout=0.1)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.SockSite(runner, listening).start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def ask(
    port: int, method: str, url: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes, http.client.HTTPMessage]:
    """One request, as the page makes it unless `headers` say otherwise; "" takes a header away."""
    own = {"Host": f"127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin", "Cookie": f"semireal-{port}={TOKENS[port]}"}
    if method == "POST":
        own |= {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.putrequest(method, url, skip_host=True)
    for name, value in (own | (headers or {}) | {"Content-Length": str(len(data or b""))}).items():
        if value:
            connection.putheader(name, value)
    connection.endheaders(data)
    answer = connection.getresponse()
    with closing(connection):
        return answer.status, answer.read(), answer.headers


def decide(port: int, action: str, *ids: str, **more: Any) -> tuple[int, Any]:
    status, text, _ = ask(port, "POST", "/decide", {"name": "geralt", "ids": ids, "action": action} | more)
    return status, json.loads(text) if status == 200 else text.decode()


def undo(port: int) -> Any:
    status, text, _ = ask(port, "POST", "/undo", {"name": "geralt"})
    assert status == 200, text
    return json.loads(text)
