"""The review page: the rules of its server over HTTP, and the page itself in headless Chromium."""

import asyncio
import http.client
import json
import re
import secrets
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from aiohttp import web
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from conftest import ROOT, log_of
from reviewing import POORER, TOKENS, TWIN, make_data, make_heads, path_of, process
from scraping import until
from semireal import manifest
from semireal.curate import decisions
from semireal.curate.decisions import Decision
from semireal.errors import UserError
from semireal.review import collection, server

FILE = Path("experiments/decisions/geralt.csv")
DATASET = Path("data/dataset")


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


@pytest.fixture
def port(work_root: Path) -> Iterator[int]:
    make_data(work_root, 60)
    with serving() as number:
        yield number


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


# --- what is shown


def test_every_image_with_its_last_stage_and_reason(port: int) -> None:
    _, text, headers = ask(port, "GET", "/images")
    found = json.loads(text)
    items = {item["id"]: item for item in found["items"]}
    assert len(items) == 61
    assert headers["Cache-Control"] == "no-store"
    assert found["numbers"] == ["bytes", "crop_side", "raw_width", "score", "sharpness"]
    wanted = {
        "00001-0": ("kept", "", "dataset", True),
        "00010-0": ("rejected", "blurred", "filtered", True),
        "00025-0": ("rejected", "near-duplicate", "dataset", True),
        "faceless": ("rejected", "no face", "crops", False),
    }
    for key, (status, rules, stage, cropped) in wanted.items():
        item = items[key]
        assert (item["status"], item["rules"], item["stage"], item["cropped"]) == (status, rules, stage, cropped)
    assert items["00010-0"]["score"] == pytest.approx(0.5833)
    assert "sharpness" not in items["faceless"]  # empty cells are no numbers


@pytest.mark.parametrize(
    ("key", "name"), [("00001-0", "dataset"), ("00010-0", "resized"), ("00025-0", "filtered"), ("faceless", "raw")]
)
@pytest.mark.parametrize("size", ["small", "large"])
def test_a_rejected_image_shows_the_file_of_the_stage_before(
    port: int, work_root: Path, key: str, name: str, size: str
) -> None:
    (shown,) = [i.path for i in collection.load(DATASET).items.values() if i.row["id"] == key]
    assert shown is not None
    assert path_of(work_root, name) == (work_root / shown).parents[1]
    status, data, headers = ask(port, "GET", f"/image/{size}/{key}?anything")
    assert (status, headers["Content-Type"], data[:3]) == (200, "image/jpeg", b"\xff\xd8\xff")
    assert "immutable" in headers["Cache-Control"]


def test_large_pictures_are_scaled_down(port: int, work_root: Path) -> None:
    Image.new("RGBA", (3000, 1500), (255, 0, 0, 128)).save(work_root / "data/raw/demo/geralt/images/faceless.png")
    for size, side in server.SIZES.items():
        (work_root / "got.jpg").write_bytes(ask(port, "GET", f"/image/{size}/faceless")[1])
        with Image.open(work_root / "got.jpg") as img:
            assert img.size == (side, side // 2)


def test_an_earlier_stage_and_missing_ones(work_root: Path) -> None:
    make_data(work_root, 30)
    assert {item.row["status"] for key, item in collection.load(Path("data/resized")).items.items() if "-" in key} == {
        "kept"
    }
    for name in ("crops", "resized", "filtered", "raw"):
        shutil.rmtree(work_root / "data" / name)
    items = collection.load(DATASET).items
    assert items["00001-0"].path == Path("data/dataset/images/00001-0.jpg")
    assert items["00025-0"].path is None
    assert "00010-0" not in items
    with pytest.raises(UserError, match=r"data/filtered/manifest\.csv: not found"):
        collection.load(Path("data/filtered"))


def test_a_name_that_no_file_can_have_is_no_file(work_root: Path) -> None:
    make_data(work_root, 30)
    rows = manifest.read_kept(DATASET)
    manifest.write(DATASET, [rows[0] | {"file": "x" * 5000}, *rows[1:]])
    items = collection.load(DATASET).items
    assert items[rows[0]["id"]].path == Path("data/filtered") / rows[0]["file"]  # that of the stage before


# --- strangers are refused

REQUESTS = [("GET", "/", None), ("GET", "/images", None), ("GET", "/image/small/00001-0", None)]
REQUESTS += [("POST", "/decide", {"name": "geralt", "ids": ["00001-0"], "action": "reject"})]  # type: ignore[list-item]
REQUESTS += [("POST", "/undo", {"name": "geralt"})]  # type: ignore[list-item]
REQUESTS += [("GET", "/number/score", None), ("POST", "/items", {"ids": ["00001-0"]})]  # type: ignore[list-item]


def statuses(port: int, headers: dict[str, str], method: str = "") -> set[int]:
    """What the server answers to each kind of request with these headers."""
    return {ask(port, *request, headers)[0] for request in REQUESTS if request[0].startswith(method)}


def test_the_page_itself_is_answered(port: int) -> None:
    assert statuses(port, {}) == {200}
    assert len(decisions.read(FILE)) == 0  # rejected and undone


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost", "[::1]:{port}"]
)
def test_other_hosts_are_refused(port: int, host: str) -> None:
    assert statuses(port, {"Host": host.format(port=port)}) == {403}
    assert not FILE.exists()


def test_no_host_is_refused(port: int) -> None:
    assert statuses(port, {"Host": ""}) <= {400, 403}


@pytest.mark.parametrize("sent", ["", "semireal-{port}=", "semireal-{port}=wrong", "semireal-1={token}", "{token}"])
def test_who_has_no_token_sees_and_decides_nothing(port: int, sent: str) -> None:
    """Another user of the machine can send any header, but does not know the token."""
    assert statuses(port, {"Cookie": sent.format(port=port, token=TOKENS[port])}) == {403}
    assert ask(port, "GET", "/?token=wrong", headers={"Cookie": ""})[0] == 403
    assert not FILE.exists()


def test_the_address_that_is_printed_opens_the_page(port: int) -> None:
    entrance = f"/?token={TOKENS[port]}"
    status, text, headers = ask(port, "GET", entrance, headers={"Cookie": "", "Sec-Fetch-Site": "cross-site"})
    assert status == 200
    assert b'http-equiv="refresh" content="0; url=/"' in text
    given = headers["Set-Cookie"]
    assert given.startswith(f"semireal-{port}={TOKENS[port]};")
    assert "HttpOnly" in given
    assert "SameSite=Strict" in given
    assert ask(port, "GET", "/", headers={"Cookie": given.partition(";")[0]})[0] == 200
    assert ask(port, "GET", f"/images?token={TOKENS[port]}", headers={"Cookie": ""})[0] == 403  # nowhere else
    assert ask(port, "HEAD", entrance, headers={"Cookie": ""})[0] == 403
    assert ask(port, "GET", entrance, headers={"Cookie": "", "Host": "evil.example"})[0] == 403


def test_the_token_is_not_in_what_the_browser_is_started_with(work_root: Path) -> None:
    """Every user of the machine sees that, and none but us the file that is opened."""
    make_data(work_root, 2)
    (work_root / ".work/review").mkdir(parents=True, mode=0o755)
    script = work_root / "browser"
    script.write_text('#!/bin/sh\necho "$@" > started.new && mv started.new started\n')
    script.chmod(0o755)
    before = f"import os; os.environ['BROWSER'] = {str(script)!r}"
    page = work_root / ".work/review/open.html"
    with process(work_root, before, browser=True) as (port, running):
        until(lambda: (work_root / "started").exists())
        assert (work_root / "started").read_text() == f"file://{page}\n"
        assert f"http://127.0.0.1:{port}/?token={TOKENS[port]}" in page.read_text()
        assert page.parent.stat().st_mode & 0o077 == 0
        running.terminate()
        running.wait(10)
        assert not page.exists()


def test_decisions_that_cannot_be_written_are_told_and_not_taken(work_root: Path) -> None:
    """Root may write everywhere, so the system's answer is put in its mouth."""
    make_data(work_root, 2)
    fault = "from semireal.curate import decisions\ndef refuse(path, data): raise PermissionError(13, 'x', str(path))"
    with process(work_root, f"{fault}\ndecisions.write_atomic = refuse") as (port, running):
        headers = {"Cookie": f"semireal-{port}={TOKENS[port]}"}
        given = {"name": "geralt", "ids": ["00001-0"], "action": "keep"}
        status, text, _ = ask(port, "POST", "/decide", given, headers)
        assert status == 409
        assert b"experiments/decisions: Permission denied. Let yourself read and write there" in text
        running.terminate()
        assert "Traceback" not in running.communicate(timeout=10)[1]


def test_localhost_is_the_same(port: int) -> None:
    home = {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"}
    assert ask(port, "GET", "/", headers=home)[0] == 200
    assert ask(port, "POST", "/undo", {"name": "geralt"}, home)[0] == 200


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "http://evil.example",
        "http://127.0.0.1",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1:{port}.evil.example",
    ],
)
def test_changes_need_the_origin_of_the_page(port: int, origin: str) -> None:
    assert statuses(port, {"Origin": origin.format(port=port)}, "POST") == {403}
    assert not FILE.exists()


@pytest.mark.parametrize("site", ["cross-site", "same-site", "odd"])
def test_requests_from_other_sites_are_refused(port: int, site: str) -> None:
    assert statuses(port, {"Sec-Fetch-Site": site}) == {403}
    assert not FILE.exists()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused(port: int, method: str) -> None:
    assert ask(port, method, "/decide")[0] == 403
    assert ask(port, method, "/decide", headers={"Origin": f"http://127.0.0.1:{port}"})[0] == 405


@pytest.mark.parametrize("url", ["/", "/page.js", "/page.css", "/images", "/image/small/00001-0", "/nothing"])
def test_headers_that_keep_the_page_to_itself(port: int, url: str) -> None:
    _, _, headers = ask(port, "GET", url)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers


def test_it_listens_on_loopback_only(work_root: Path) -> None:
    from semireal.review.server import listen

    with listen(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"
        with pytest.raises(UserError, match=r"--port \d+: .*Choose another"):
            listen(listening.getsockname()[1])
    with pytest.raises(UserError, match="--port 70000"):
        listen(70000)


def test_page_loads_nothing_from_elsewhere() -> None:
    page = ROOT / "src/semireal/review/page"
    for path in page.iterdir():
        found = [
            url for url in re.findall(r"""(?:https?:)?//[\w.-]+\.\w+""", path.read_text()) if "www.w3.org" not in url
        ]
        assert not found, path
    html = (page / "page.html").read_text()
    assert not re.search(r"<script>|<style>|\son\w+=|\sstyle=", html)  # the policy would block them


# --- nothing outside the data


@pytest.mark.parametrize(
    "url",
    [
        "/image/small/../../params.yaml",
        "/image/small/..%2f..%2fparams.yaml",
        "/image/small/%2e%2e/%2e%2e/params.yaml",
        "/image/small//etc/passwd",
        "/image/small/%2fetc%2fpasswd",
        "/image/../params.yaml",
        "/image/huge/00001-0",
        "/image/small/images/00001-0.jpg",
        "/image/small/00001-0%00",
        "/image/small/nobody",
        "/image/small/",
        "/../params.yaml",
        "/params.yaml",
        "/page/page.js",
        "/page.html",
        "/data/dataset/manifest.csv",
    ],
)
def test_only_images_by_id(port: int, url: str) -> None:
    status, text, _ = ask(port, "GET", url)
    assert status in (400, 404)
    assert b"epochs" not in text
    assert b"root:" not in text


@pytest.mark.parametrize("file", ["../../../secret.png", "{root}/secret.png", "images/../../../secret.png"])
@pytest.mark.parametrize("kept", [True, False])
def test_a_manifest_cannot_point_outside(work_root: Path, file: str, kept: bool) -> None:
    make_data(work_root, 26)
    Image.new("RGB", (9, 9)).save(work_root / "secret.png")
    path = work_root / "data/dataset/manifest.csv"
    key, table = "00001-0" if kept else "00025-0", pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(table.loc[table["id"] == key, "status"]) == ["kept" if kept else "rejected"]
    table.loc[table["id"] == key, "file"] = file.format(root=work_root)
    table.to_csv(path, index=False)
    if kept:
        with pytest.raises(UserError, match="need a path inside of the folder"):
            collection.load(DATASET)
    else:
        assert collection.load(DATASET).items[key].path == Path(f"data/filtered/images/{key}.jpg")


def test_a_file_that_is_no_picture_or_gone(port: int, work_root: Path) -> None:
    path = work_root / "data/dataset/images/00001-0.jpg"
    path.write_text("<script>alert(1)</script>")
    assert ask(port, "GET", "/image/small/00001-0")[:2] == (404, b"not an image")
    path.unlink()
    assert ask(port, "GET", "/image/small/00001-0")[0] == 200  # that of the stage before
    shutil.rmtree(work_root / "data")
    assert ask(port, "GET", "/image/small/00001-0")[0] == 404
    assert ask(port, "POST", "/items", {"ids": ["00001-0", "nobody"]})[0] == 200


# --- decisions


def test_each_action_is_written_at_once(port: int) -> None:
    assert decide(port, "keep", "00010-0", reason="fine\n, \x1b[31mreally")[0] == 200
    assert decide(port, "reject", "00001-0", "00002-0")[0] == 200
    assert decide(port, "portrait", "00001-0", "00003-0")[0] == 200
    status, answer = decide(port, "photo", "00003-0")
    assert (status, answer["undo"]) == (200, 4)
    assert answer["decisions"] == {"00003-0": {"decision": "", "domain": "photo", "reason": ""}}
    lines = ["00001-0,reject,portrait,", "00002-0,reject,,", "00003-0,,photo,", '00010-0,keep,,"fine , [31mreally"']
    assert FILE.read_text().splitlines() == [",".join(decisions.COLUMNS), *lines]
    assert decide(port, "clear", "00001-0", "00002-0", "00003-0")[0] == 200
    assert len(decisions.read(FILE)) == 1
    assert json.loads(ask(port, "GET", "/images")[1])["decisions"]["00010-0"]["decision"] == "keep"


def test_undo_goes_back_step_by_step(port: int) -> None:
    states = [{}]  # type: list[decisions.Decisions]
    for action, ids in [
        ("reject", ["00001-0", "00002-0"]),
        ("portrait", ["00002-0"]),
        ("keep", ["00001-0"]),
        ("clear", ["00002-0"]),
    ]:
        assert decide(port, action, *ids)[0] == 200
        states.append(decisions.read(FILE))
    assert len({str(state) for state in states}) == 5
    states.pop()
    for left in (3, 2, 1, 0):
        answer = undo(port)
        assert answer["undo"] == left
        assert decisions.read(FILE) == states.pop()
    assert undo(port) == {"decisions": {}, "undo": 0}


def test_undo_leaves_alone_what_others_wrote(port: int) -> None:
    decide(port, "reject", "00001-0")
    decisions.change(FILE, ["00002-0", "elsewhere"], lambda *_: Decision("keep"))
    undo(port)
    assert decisions.read(FILE) == {"00002-0": Decision("keep"), "elsewhere": Decision("keep")}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "not JSON"),
        (b"\xff", 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        ([], 400, "need an object"),
        ({"action": "keep"}, 400, "ids: need"),
        ({"action": "keep", "ids": []}, 400, "ids: need"),
        ({"action": "keep", "ids": "00001-0"}, 400, "ids: need"),
        ({"action": "keep", "ids": [1]}, 400, "ids: need"),
        ({"action": "burn", "ids": ["00001-0"]}, 400, "action: need one of keep, reject"),
        ({"action": ["keep"], "ids": ["00001-0"]}, 400, "action: need one of keep, reject"),
        ({"action": "keep", "ids": ["00001-0"], "reason": "x" * 201}, 400, "reason: need"),
        ({"action": "keep", "ids": ["00001-0"], "reason": 1}, 400, "reason: need"),
        ({"action": "keep", "ids": ["00001-0", "nobody\ud800"]}, 404, "no image 'nobody\\ud800' here"),
        ({"action": "keep", "ids": ["faceless"]}, 409, "faceless: no face, so there is nothing to decide"),
        ({"action": "keep", "ids": ["00001-0"], "name": "elf"}, 409, "params.yaml now names geralt: reload"),
    ],
)
def test_impossible_requests_change_nothing(port: int, body: Any, status: int, message: str) -> None:
    if isinstance(body, dict):
        body = {"name": "geralt"} | body
    found, text, _ = ask(port, "POST", "/decide", body)
    assert (found, message in text.decode()) == (status, True), text
    assert not FILE.exists()


def test_a_form_cannot_decide(port: int) -> None:
    body = {"name": "geralt", "ids": ["00001-0"], "action": "keep"}
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert ask(port, "POST", "/decide", body, {"Content-Type": kind})[0] == 415
    assert not FILE.exists()


def test_another_character_under_the_open_page(port: int, work_root: Path) -> None:
    params = yaml.safe_load((work_root / "params.yaml").read_text())
    (work_root / "params.yaml").write_text(yaml.safe_dump(params | {"name": "elf"}))
    assert decide(port, "keep", "00001-0") == (409, "params.yaml now names elf: reload the page")
    assert json.loads(ask(port, "GET", "/images")[1])["name"] == "elf"
    assert decide(port, "keep", "00001-0", name="elf")[0] == 200
    assert [file.name for file in FILE.parent.iterdir()] == ["elf.csv"]


def test_a_broken_decisions_file_is_shown_and_not_overwritten(port: int) -> None:
    FILE.parent.mkdir(parents=True)
    FILE.write_text("<<<<<<< HEAD\n")
    assert decide(port, "keep", "00001-0") == (409, f"{FILE}: line 1 must be id,decision,domain,reason")
    assert ask(port, "GET", "/images")[0] == 409
    assert FILE.read_text() == "<<<<<<< HEAD\n"


def test_writes_at_once_lose_nothing(port: int) -> None:
    ids = [f"{n:05}-0" for n in range(60)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda key: decide(port, "reject", key)[0], ids))
    assert set(answers) == {200}
    assert decisions.read(FILE) == {key: Decision("reject") for key in ids}


def test_killed_in_the_middle_loses_nothing_that_was_answered(work_root: Path) -> None:
    make_data(work_root, 300)
    answered: list[str] = []
    enough = threading.Event()

    def click(port: int, keys: list[str]) -> None:
        with suppress(OSError, http.client.HTTPException):  # the server dies meanwhile
            for key in keys:
                if decide(port, "reject", key)[0] == 200:
                    answered.append(key)
                if len(answered) >= 40:
                    enough.set()

    with process(work_root) as (port, running), ThreadPoolExecutor(3) as pool:
        for first in range(3):
            pool.submit(click, port, [f"{n:05}-0" for n in range(first, 300, 3)])
        assert enough.wait(60)
        running.send_signal(signal.SIGKILL)
        running.wait()
    found = decisions.read(FILE)
    assert set(answered) <= set(found)
    assert len(found) <= len(answered) + 3  # those that were under way
    assert len(found) < 300
    with process(work_root) as (port, running):  # and it goes on
        assert len(json.loads(ask(port, "GET", "/images")[1])["decisions"]) == len(found)
        assert decide(port, "keep", "00299-0")[0] == 200
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130


def test_who_it_is_is_learned_from_decisions(work_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMIREAL_WORKERS", "1")  # processes take longer to begin
    truth = make_heads(work_root, 24, 3)
    own, strangers = ([key for key, geralt in truth.items() if geralt is which] for which in (True, False))
    with serving() as port:

        def said() -> dict[str, Any]:
            status, text, _ = ask(port, "POST", "/ask", {"name": "geralt"})
            assert status == 200, text
            found: dict[str, Any] = json.loads(text)
            return found

        first = said()
        assert set(first["ids"][:3]) == set(strangers)
        assert (first["answers"], first["heads"], first["strangers"], first["wrong"]) == (0, 27, [], None)
        decide(port, "reject", strangers[0], reason="poor quality")  # says nothing about who it is
        decide(port, "keep", own[0])
        assert said()["answers"] == 1
        decide(port, "reject", strangers[1], reason=decisions.STRANGER)
        decide(port, "keep", *own[1:5])
        found = said()
        assert found["answers"] == 6
        assert not {*own[:5], strangers[1]} & set(found["ids"])
        shares = dict(zip(sorted(truth), found["character"], strict=True))
        assert max(shares[key] for key in strangers) < min(shares[key] for key in own)
        assert found["strangers"] == [key for key in strangers[2:] if shares[key] < 0.5]
        assert 0 < found["wrong"] < 10
        decide(port, "reject", strangers[0], reason=decisions.STRANGER)
        assert said()["strangers"] == [strangers[2]]
        assert ask(port, "POST", "/ask", {}, {"Origin": "http://evil.example"})[0] == 403


def test_one_head_alone_is_compared_with_nobody(work_root: Path) -> None:
    make_heads(work_root, 1, 0)
    with serving() as port:
        status, text, _ = ask(port, "POST", "/ask", {"name": "geralt"})
        assert (status, text.decode()) == (409, "there are too few heads here to compare them with each other")


def test_without_data_one_line_says_what_to_do(work_root: Path) -> None:
    (work_root / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    with pytest.raises(UserError, match=r"data/dataset/manifest\.csv: not found. Run `dvc repro`"):
        server.make_app(DATASET, 1, "")


# --- in the browser

MANY = 2000
LOADED = "return [...document.querySelectorAll('.card img')].every((img) => img.complete && img.naturalWidth > 0)"
ALL = {f"{n:05}-0" for n in range(MANY)}


class Browser:
    """Chromium on the review page, and what a person can see and do there."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url
        driver.get(url)
        self.until(lambda: self.count("kept") > 0)

    def until(self, true: Callable[[], Any]) -> None:
        WebDriverWait(self.driver, 20, 0.05).until(lambda _: true())

    def text(self, key: str) -> str:
        return self.driver.find_element(By.ID, key).text

    def count(self, what: str) -> int:
        text = self.text(f"n-{what}")
        return int(text) if text.isdigit() else 0

    def card(self, key: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, f'.card[data-id="{key}"]')

    def keys(self, *keys: str, held: str | None = None) -> None:
        chain = ActionChains(self.driver)
        if held:
            chain.key_down(held)
        chain.send_keys(*keys)
        if held:
            chain.key_up(held)
        chain.perform()

    def click(self, key: str, held: str | None = None) -> None:
        chain = ActionChains(self.driver)
        if held:
            chain.key_down(held)
        chain.click(self.card(key).find_element(By.CSS_SELECTOR, ".caption"))
        if held:
            chain.key_up(held)
        chain.perform()

    def choose(self, name: str, value: str) -> None:
        self.driver.execute_script(
            "const s = document.forms[0].elements[arguments[0]]; s.value = arguments[1];"
            "s.dispatchEvent(new Event('input', {bubbles: true}))",
            name,
            value,
        )

    def shown(self) -> int:
        return int(self.text("shown").split()[0])

    def cursor(self) -> str:
        return str(self.driver.find_element(By.CSS_SELECTOR, ".card.cursor").get_attribute("data-id"))

    def decided(self, wanted: dict[str, Decision]) -> None:
        """Wait until the file says exactly this."""
        with suppress(Exception):
            self.until(lambda: decisions.read(FILE) == wanted)
        assert decisions.read(FILE) == wanted


@pytest.fixture
def browser(work_root: Path, chromium: webdriver.Chrome) -> Iterator[Browser]:
    make_data(work_root, MANY)
    with serving() as port, server._leading_to(f"http://127.0.0.1:{port}/?token={TOKENS[port]}") as page:
        opened = Browser(chromium, page.as_uri())
        yield opened
        opened.until(lambda: chromium.execute_script(LOADED))  # or the server would end before it has answered
    assert log_of(chromium) == []  # no error, and nothing that the policy blocked


@pytest.mark.slow
def test_twenty_answers_in_the_browser_find_the_strangers(
    work_root: Path, chromium: webdriver.Chrome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked twice ten times who it is, and one look at those that seem somebody else: 99 % right, 97 % kept."""
    monkeypatch.setenv("SEMIREAL_WORKERS", "1")  # processes take longer to begin
    truth = make_heads(work_root, 72, 8)
    with serving() as port, server._leading_to(f"http://127.0.0.1:{port}/?token={TOKENS[port]}") as page:
        browser = Browser(chromium, page.as_uri())
        for _ in range(2):
            browser.keys("a")
            browser.until(lambda: chromium.execute_script("return large.open"))
            assert browser.text("large").startswith("Is this geralt?")
            asked = chromium.execute_script("return shown.map((image) => images.ids[image])")
            assert len(asked) == 10
            for key in asked:
                assert chromium.execute_script("return images.ids[shown[cursor]]") == key
                browser.keys("k" if truth[key] else "r")
            browser.until(lambda: not chromium.execute_script("return large.open"))
        assert browser.text("asking-line").startswith("20 of 80 answered: up to ")
        more = browser.driver.find_element(By.ID, "ask-strangers")
        if more.is_displayed():
            more.click()
            browser.until(lambda: browser.text("selected").endswith(" selected"))
            for key in chromium.execute_script("return shown.map((image) => images.ids[image])"):
                if truth[key]:
                    browser.click(key, Keys.CONTROL)
            browser.keys("r")
        browser.driver.find_element(By.ID, "ask-done").click()
        browser.until(lambda: browser.shown() == 80)
        made = decisions.read(FILE)
    assert {one.reason for one in made.values() if one.decision == "reject"} == {decisions.STRANGER}
    kept = [key for key in truth if made.get(key, decisions.NONE).decision != "reject"]
    assert sum(truth[key] for key in kept) / len(kept) >= 0.99
    assert sum(truth[key] for key in kept) / sum(truth.values()) >= 0.97
    assert log_of(chromium) == []


@pytest.mark.slow
def test_a_session_in_the_browser(browser: Browser) -> None:
    blurred = {key for key in ALL if int(key[:5]) % POORER == 0}
    twins = {key for key in ALL - blurred if int(key[:5]) % TWIN == 0}
    kept = MANY - len(blurred) - len(twins)
    assert (browser.count("kept"), browser.count("rejected"), browser.count("hand")) == (kept, MANY + 1 - kept, 0)

    # only what is near the window is there, the pictures load, and titles are no HTML
    cards = browser.driver.find_elements(By.CSS_SELECTOR, ".card")
    assert 20 < len(cards) < 150
    browser.until(lambda: browser.driver.execute_script(LOADED))
    assert browser.driver.find_elements(By.TAG_NAME, "b") == []

    # keyboard: a decision moves on to the next image
    wanted: dict[str, Decision] = {}
    browser.keys(Keys.ARROW_RIGHT)
    assert browser.cursor() == "00001-0"
    browser.keys("r", "k", "p", "o")
    wanted = {"00001-0": Decision("reject"), "00002-0": Decision("keep")}
    wanted |= {"00003-0": Decision("", "photo"), "00004-0": Decision("", "portrait")}
    browser.decided(wanted)
    assert browser.cursor() == "00005-0"
    browser.until(lambda: browser.count("hand") == 4)
    assert browser.count("kept") == kept - 1
    assert "rejected by hand" in browser.card("00001-0").text

    # a reason, and an image that the rules rejected
    browser.keys("w", "wrong subject", Keys.ENTER)
    browser.keys("r")
    browser.keys(Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.HOME, "k")
    wanted |= {"00005-0": Decision("reject", "", "wrong subject"), "00000-0": Decision("keep")}
    browser.decided(wanted)
    browser.until(lambda: browser.card("00000-0").text.endswith("kept by hand\n●"))

    # undo, to the beginning and not further
    browser.keys("u")
    del wanted["00000-0"]
    browser.decided(wanted)
    browser.keys("u", "u", "u", "u", "u", "u")
    browser.decided({})
    browser.until(lambda: browser.count("hand") == 0)
    assert not browser.driver.find_element(By.ID, "undo").is_enabled()

    # mouse: a range, one more, and the button
    browser.click("00002-0")
    browser.click("00006-0", Keys.SHIFT)
    browser.click("00004-0", Keys.CONTROL)
    browser.click("00008-0", Keys.CONTROL)
    assert browser.text("selected") == "5 selected"
    browser.driver.find_element(By.CSS_SELECTOR, "#bar [data-action=reject]").click()
    wanted = {f"0000{n}-0": Decision("reject") for n in (2, 3, 5, 6, 8)}
    browser.decided(wanted)
    # the small buttons of one card
    card = browser.card("00009-0")
    ActionChains(browser.driver).move_to_element(card).click(
        card.find_element(By.CSS_SELECTOR, ".quick .reject")
    ).perform()
    wanted["00009-0"] = Decision("reject")
    browser.decided(wanted)

    # shift and arrows, far down in the list
    browser.keys(Keys.END)
    assert browser.cursor() == "faceless"
    browser.keys(Keys.ARROW_LEFT)
    browser.keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT, held=Keys.SHIFT)
    browser.keys("p")
    wanted |= {f"0{n}-0": Decision("", "photo") for n in (1997, 1998, 1999)}
    browser.decided(wanted)

    # a reload shows the same, and undo still works
    before = [browser.count(name) for name in ("kept", "rejected", "hand")]
    browser.driver.refresh()
    browser.until(lambda: browser.count("hand") == 9)
    assert [browser.count(name) for name in ("kept", "rejected", "hand")] == before
    assert "rejected by hand" in browser.card("00002-0").text
    browser.keys("u")
    for n in (1997, 1998, 1999):
        del wanted[f"0{n}-0"]
    browser.decided(wanted)

    # filters
    browser.choose("reason", "blurred")
    assert browser.shown() == len(blurred)
    browser.choose("low", "0.75")
    assert browser.shown() == len(blurred) / 2
    browser.driver.find_element(By.ID, "reset").click()
    browser.until(lambda: browser.shown() == MANY + 1)
    for name, value, number in [("status", "hand", 6), ("reason", "rejected by hand", 6), ("source", "two", 3)]:
        browser.choose(name, value)
        assert browser.shown() == number
    browser.keys("c")  # stays until the filters are applied again
    browser.until(lambda: "1 no longer matches" in browser.text("shown"))
    browser.keys("f")
    browser.until(lambda: browser.shown() == 2)
    del wanted["00002-0"]
    browser.decided(wanted)

    # an image without a face is shown, and there is nothing to decide
    browser.driver.find_element(By.ID, "reset").click()
    browser.until(lambda: browser.shown() == MANY + 1)
    browser.choose("reason", "no face")
    browser.keys("k")
    browser.until(lambda: "nothing to decide" in browser.text("toast"))
    browser.decided(wanted)


@pytest.mark.slow
def test_large_view_help_and_a_small_window(browser: Browser) -> None:
    browser.driver.set_window_size(500, 800)
    overflow = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not browser.driver.execute_script(overflow)
    browser.driver.set_window_size(1280, 900)
    large = browser.driver.find_element(By.ID, "large")
    browser.keys(Keys.ARROW_RIGHT, Keys.SPACE)
    browser.until(large.is_displayed)
    shown = "return document.querySelector('#large img').naturalWidth"
    browser.until(lambda: browser.driver.execute_script(shown) == 24)
    assert browser.text("place") == f"2 / {MANY + 1}"
    browser.keys("r")
    browser.until(lambda: browser.text("place") == f"3 / {MANY + 1}")
    browser.keys(Keys.ARROW_RIGHT, "k")
    browser.decided({"00001-0": Decision("reject"), "00003-0": Decision("keep")})
    browser.keys(Keys.SPACE)
    browser.until(lambda: not large.is_displayed())
    browser.keys("?")
    browser.until(browser.driver.find_element(By.ID, "help").is_displayed)
    assert str(FILE) in browser.text("help")
    browser.keys("r", Keys.ESCAPE)  # decides nothing behind the help
    browser.until(lambda: not browser.driver.find_element(By.ID, "help").is_displayed())
    browser.decided({"00001-0": Decision("reject"), "00003-0": Decision("keep")})
    # what the page cannot save it says
    FILE.write_text("broken")
    browser.keys("k")
    browser.until(lambda: "line 1 must be" in browser.text("toast"))
    assert FILE.read_text() == "broken"
    # the answer 409 is the one thing the console tells
    assert ["409" in message for message in log_of(browser.driver)] == [True]


# --- many images

SCROLLED = """
const line = arguments[0] === 'end' ? document.documentElement.scrollHeight : Number(arguments[0]);
scrollTo(0, line);
"""


def elements(browser: Browser) -> int:
    """How many the page holds."""
    found: int = browser.driver.execute_script("return document.querySelectorAll('*').length")
    return found


def pictures_there(browser: Browser) -> bool:
    """Whether each card in the window shows its picture."""
    script = """
    const seen = [...document.querySelectorAll('.card')].filter((card) => {
      const at = card.getBoundingClientRect();
      return at.bottom > 0 && at.top < innerHeight;
    });
    return seen.length > 5 && seen.every((card) => card.querySelector('img')?.naturalWidth > 0);
    """
    return bool(browser.driver.execute_script(script))


@pytest.mark.slow
def test_far_down_in_many_images(browser: Browser) -> None:
    """By keys and by the scrollbar: what is there shows, is decided, undone, and the page stays small."""
    most = elements(browser) + 1500

    def there() -> None:
        browser.until(lambda: pictures_there(browser))
        assert elements(browser) < most

    browser.keys(Keys.END)
    there()
    assert browser.cursor() == "faceless"
    browser.keys(Keys.ARROW_LEFT, "r")
    last = f"{MANY - 1:05}-0"
    browser.decided({last: Decision("reject")})
    browser.until(lambda: "rejected by hand" in browser.card(last).text)

    browser.driver.execute_script(SCROLLED, "0")
    there()
    assert browser.card("00000-0").is_displayed()
    for share in (0.2, 0.9, 0.5):  # dragged past what nobody waits for
        height = browser.driver.execute_script("return document.documentElement.scrollHeight")
        browser.driver.execute_script(SCROLLED, str(share * height))
    there()
    browser.driver.execute_script(SCROLLED, "end")
    there()
    browser.click(f"{MANY - 2:05}-0")
    browser.keys("k")
    browser.decided({last: Decision("reject"), f"{MANY - 2:05}-0": Decision("keep")})

    browser.keys(Keys.HOME)
    there()
    browser.keys("u", "u")
    browser.decided({})
    browser.until(lambda: browser.count("hand") == 0)
    assert browser.cursor() == last  # undoing leads to where it was

    # a range over all, and all of them at once
    browser.keys(Keys.HOME)
    browser.keys(Keys.END, held=Keys.SHIFT)
    assert browser.text("selected") == f"{MANY + 1} selected"
    browser.keys("p")
    browser.decided({key: Decision("", "photo") for key in ALL})
    assert browser.count("hand") == MANY
    browser.keys("u")
    browser.decided({})


@pytest.mark.slow
def test_orders_and_ranges_by_numbers_and_groups(browser: Browser) -> None:
    """As sorting all of them by hand: what has no number comes last, or is in no range."""

    def first() -> list[str]:
        script = "return [...document.querySelectorAll('.card')].slice(0, 3).map((card) => card.dataset.id)"
        found: list[str] = browser.driver.execute_script(script)
        return found

    browser.choose("number", "sharpness")
    browser.choose("order", "down")
    browser.until(lambda: first() == ["00000-0", "00001-0", "00002-0"])  # all have the same
    browser.choose("number", "crop_side")
    browser.until(lambda: first() == [f"{n:05}-0" for n in (1999, 1998, 1997)])
    browser.keys(Keys.END)
    assert browser.cursor() == "faceless"
    browser.choose("low", "110")
    browser.choose("high", "119")
    assert browser.shown() == 10
    assert first() == ["00019-0", "00018-0", "00017-0"]
    browser.driver.find_element(By.ID, "reset").click()
    browser.until(lambda: browser.shown() == MANY + 1)
    browser.choose("order", "similar")
    assert first() == ["00000-0", "00001-0", "00025-0"]


def test_what_the_page_is_told_of_all_images(port: int, work_root: Path) -> None:
    """The compact form against the rows themselves, and a manifest that changes under the open page."""
    found = json.loads(ask(port, "GET", "/images")[1])
    images, items = found["images"], collection.load(DATASET).items
    assert images["ids"] == sorted(items) == [item["id"] for item in found["items"]]
    for place, key in enumerate(images["ids"]):
        item = items[key].public()
        told = {name: images[name]["texts"][images[name]["codes"][place]] for name in collection.CODED}
        assert told == {name: item.get(name, "") for name in collection.CODED}
        assert images["cropped"][place] == item["cropped"]
        assert images["ids"][images["groups"][place]] == item.get("cluster", key)
    status, text, _ = ask(port, "GET", "/number/score")
    assert (status, json.loads(text)) == (200, [items[key].public().get("score") for key in images["ids"]])
    assert ask(port, "GET", "/number/title")[0] == ask(port, "GET", "/number/nothing")[0] == 404

    rows = manifest.read_kept(DATASET)
    manifest.write(DATASET, [rows[0] | {"title": "another"}, *rows[1:]])
    assert json.loads(ask(port, "POST", "/items", {"ids": [rows[0]["id"]]})[1])["items"][0]["title"] == "<b>x</b>"
    again = json.loads(ask(port, "GET", "/images")[1])["items"]
    assert next(item["title"] for item in again if item["id"] == rows[0]["id"]) == "another"


def test_no_request_is_about_too_many(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "AT_ONCE", 3)
    ids = [f"{n:05}-0" for n in range(9)]
    assert [item["id"] for item in json.loads(ask(port, "POST", "/items", {"ids": ids})[1])["items"]] == ids[:3]
    assert ask(port, "POST", "/items", {"ids": "00001-0"})[0] == 400
