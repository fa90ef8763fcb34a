"""The server of the review page: its rules over HTTP."""

import http.client
import json
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from PIL import Image

from conftest import ROOT
from reviewing import DATASET, FILE, POORER, TOKENS, ask, decide, make_data, make_heads, path_of, process, serving, undo
from scraping import until
from semireal import manifest
from semireal.curate import decisions
from semireal.curate.decisions import Decision
from semireal.errors import UserError
from semireal.review import collection, server


@pytest.fixture
def port(work_root: Path) -> Iterator[int]:
    make_data(work_root, 60)
    with serving() as number:
        yield number


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


def test_nobody_is_asked_about_what_the_rules_reject(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMIREAL_WORKERS", "1")

    def heads() -> Any:
        return json.loads(ask(port, "POST", "/ask", {"name": "geralt"})[1])["heads"]

    blurred, twins = 60 // POORER, 1
    assert heads() == 60 - blurred - twins
    decide(port, "keep", "00010-0")  # a person wants one of them
    assert heads() == 60 - blurred - twins + 1


def test_one_head_alone_is_compared_with_nobody(work_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMIREAL_WORKERS", "1")
    make_heads(work_root, 1, 0)
    with serving() as port:
        status, text, _ = ask(port, "POST", "/ask", {"name": "geralt"})
        assert (status, text.decode()) == (409, "there are too few heads here to compare them with each other")


def test_without_data_one_line_says_what_to_do(work_root: Path) -> None:
    (work_root / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    with pytest.raises(UserError, match=r"data/dataset/manifest\.csv: not found. Run `dvc repro`"):
        server.make_app(DATASET, 1, "")


# --- many images


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
