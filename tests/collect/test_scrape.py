"""scrape with the real gallery-dl against the embedded gallery on loopback, and with folders."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from conftest import ROOT, texture
from hostile import png
from semireal import manifest
from semireal.collect import scrape, takedowns
from semireal.collect.source import load_sources
from semireal.errors import UserError


@pytest.fixture
def collect(work_root: Path) -> Callable[..., Path]:
    """Write a definition, run scrape with it, return the collection."""

    def run(sources: dict[str, Any], name: str = "out") -> Path:
        definition = work_root / "definition.yaml"
        definition.write_text(yaml.safe_dump({"sources": sources}))
        out, work = work_root / name, work_root / "work"
        out.mkdir()
        work.mkdir(exist_ok=True)
        scrape.run(definition, out, work)
        return out

    return run


def folder_of(root: Path, name: str, count: int) -> dict[str, Any]:
    (root / name).mkdir()
    for n in range(count):
        Image.fromarray(texture(n)).save(root / name / f"{n}.png")
    return {"folder": str(root / name), "domain": "photo"}


def test_folders_become_a_collection(collect: Callable[..., Path], work_root: Path) -> None:
    photos = folder_of(work_root, "mine", 3)
    (work_root / "mine" / ".hidden").touch()
    (work_root / "mine" / "copy.png").write_bytes((work_root / "mine" / "1.png").read_bytes())
    out = collect({"a": photos, "b": folder_of(work_root, "more", 4) | {"limit": 4}})
    table = manifest.read(out)
    kept = manifest.read_kept(out)
    # the second folder starts with the same three pictures
    assert json.loads((out / "report.json").read_text()) == {
        "in": 8,
        "kept": 4,
        "rejected": {"same file": 4},
        "domain": {"photo": 4},
        "source": {"a": 3, "b": 1},
    }
    assert sorted(f"images/{f.name}" for f in (out / "images").iterdir()) == sorted(row["file"] for row in kept)
    assert all(row["sha256"].startswith(row["id"]) for row in kept)
    assert str(work_root) not in table.to_csv()


def test_the_order_of_sources_does_not_decide_what_a_picture_shows(
    collect: Callable[..., Path], work_root: Path
) -> None:
    both = {"photos": folder_of(work_root, "a", 2), "portraits": folder_of(work_root, "b", 1) | {"domain": "portrait"}}
    for name, sources in (("one", both), ("two", dict(reversed(both.items())))):
        found = manifest.read(collect(sources, name))
        twice = found[found["id"].duplicated(keep=False)]
        assert sorted(zip(twice["status"], twice["reason"], twice["domain"], strict=True)) == [
            ("kept", "", "auto"),
            ("rejected", "same file, declared as another domain", "auto"),
        ]
        report = json.loads((work_root / name / "report.json").read_text())
        assert report["rejected"] == {"same file, declared as another domain": 1}
    assert (work_root / "one" / "images").is_dir()


def test_names_in_any_encoding_and_other_files_do_not_break_a_collection(
    collect: Callable[..., Path], work_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = work_root / "mine"
    folder.mkdir()
    for n, name in enumerate(("a.png", "elf\r.png", "cafe\u0301.png")):
        Image.fromarray(texture(n)).save(folder / name)
    (folder / "a.png").rename(folder / os.fsdecode(b"se\xf1ora.png"))
    for name in ("Icon\r", "caption.txt"):
        (folder / name).write_text("no picture")
    (folder / "IMG.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    phones = work_root / "phone"
    phones.mkdir()
    (phones / "IMG.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    sources = {name: {"folder": str(work_root / name), "domain": "photo", "limit": 3} for name in ("mine", "phone")}
    table = manifest.read(collect(sources))
    assert sorted(table[table["status"] == "kept"]["title"]) == ["café", "elf", "señora"]
    assert sorted(table[table["status"] != "kept"]["reason"]) == [
        *["format not supported: HEIC"] * 2,
        *["not an image"] * 2,
    ]
    assert "source phone gave no image (format not supported: HEIC 1)" in capsys.readouterr().err


def test_a_folder_is_searched_for_what_a_machine_made(collect: Callable[..., Path], work_root: Path) -> None:
    source = folder_of(work_root, "mine", 2)
    (work_root / "mine" / "a.png").write_bytes(png(Software="NovelAI"))
    shutil.copy(ROOT / "tests" / "data" / "c2pa" / "made.jpg", work_root / "mine" / "b.jpg")
    for rule, kept in (("reject", 2), ("keep", 4)):
        out = collect({"a": source | {"ai": rule}, "b": source | {"limit": 1}}, rule)
        table = manifest.read(out)
        rows = table[table["source"] == "a"].set_index("title")
        assert dict(rows["ai"]) == {
            "0": "",
            "1": "",
            "a": "PNG chunk Software NovelAI",
            "b": "C2PA trainedAlgorithmicMedia",
        }
        report = json.loads((out / "report.json").read_text())
        assert report["kept"] == kept
        assert report["rejected"] == {"same file": 1} | ({"made by a machine": 2} if rule == "reject" else {})
        assert len(list((out / "images").iterdir())) == kept


def test_the_gallery_has_what_a_machine_made(collect: Callable[..., Path], work_root: Path) -> None:
    sources = {"a": {"url": "demo:elf+ai_generated", "domain": "auto", "ai": "keep"}}
    assert [row["ai"] for row in manifest.read_kept(collect(sources, "keep"))] == ["tag ai_generated"] * 2
    sources["a"]["ai"] = "reject"
    with pytest.raises(UserError, match=r"none of 2 images kept \(made by a machine 2\)"):
        collect(sources, "reject")


def test_a_source_may_have_both_domains(collect: Callable[..., Path], work_root: Path) -> None:
    out = collect({"a": folder_of(work_root, "mixed", 2) | {"domain": "auto"}})
    assert [row["domain"] for row in manifest.read_kept(out)] == ["auto", "auto"]


def test_demo_gallery_through_gallery_dl(collect: Callable[..., Path]) -> None:
    sources = {"photos": {"url": "demo:geralt+photo+limit:12", "domain": "photo", "limit": 10}}
    out = collect(sources)
    rows = manifest.read(out).to_dict("records")
    assert len(rows) == 10
    assert sum(row["status"] == "kept" for row in rows) >= 8
    for row in rows:
        assert "photo" in row["tags"].split()
        assert row["artist"]
        assert row["licence"]
        assert row["page_url"].startswith("https://gallery.invalid/")
        assert row["file_url"].startswith("demo:image/")
    assert "127.0.0.1" not in (out / "manifest.csv").read_text()
    # the same again fetches nothing and gives the same bytes
    fetched = {f: f.stat().st_mtime_ns for f in out.parent.glob("work/photos-*/files/*")}
    assert len(fetched) >= 8
    again = collect(sources, "again")
    assert (again / "manifest.csv").read_bytes() == (out / "manifest.csv").read_bytes()
    assert all(f.stat().st_mtime_ns == time for f, time in fetched.items())


def test_a_lower_limit_takes_less_and_a_higher_one_more(collect: Callable[..., Path]) -> None:
    source = {"url": "demo:elf+photo+limit:12", "domain": "photo"}
    counts = [len(manifest.read(collect({"a": source | {"limit": n}}, f"out{n}"))) for n in (6, 3, 9)]
    assert counts == [6, 3, 9]


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({}, "need `sources:`"),
        (
            {"a": {"url": "demo:elf"}},
            r"sources\.a\.domain: found None, need one of photo, portrait|missing parameter",
        ),
        ({"a": {"domain": "photo"}}, "need either url or folder"),
        ({"a": {"domain": "photo", "folder": ""}}, "need either url or folder"),
        ({"a": {"domain": "photo", "url": ""}}, "need either url or folder"),
        ({"a": {"domain": "photo", "url": "demo:elf", "folder": "x"}}, "need either url or folder"),
        ({"a": {"domain": "paint", "url": "demo:elf"}}, r"sources\.a\.domain: found 'paint'"),
        ({"a": {"domain": "photo", "url": "demo:elf", "ai": "no"}}, r"sources\.a\.ai: found 'no', need one of reject"),
        ({"a": {"domain": "photo", "url": "demo:elf", "limit": 0}}, r"sources\.a\.limit: found 0"),
        ({"a b": {"domain": "photo", "url": "demo:elf"}}, "name of a source"),
        ({"a": {"domain": "photo", "folder": "no/such"}}, "folder no/such not found"),
        ({"a": {"domain": "photo", "url": "https://example.invalid/x"}}, "no site that gallery-dl knows"),
    ],
)
def test_bad_sources_are_one_clear_line(collect: Callable[..., Path], sources: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        collect(sources)
    assert "\n" not in str(caught.value)


def test_empty_source_is_an_error(collect: Callable[..., Path], work_root: Path) -> None:
    with pytest.raises(UserError, match=r"scrape: none of 0 images kept \(no input\)"):
        collect({"a": folder_of(work_root, "empty", 0)})


@pytest.mark.slow
def test_a_killed_run_goes_on(work_root: Path) -> None:
    """kill -9 in the middle; the same command completes, and what was there is not fetched again."""
    definition = work_root / "experiments" / "sources" / "demo" / "x.yaml"
    definition.parent.mkdir(parents=True)
    shutil.copy(ROOT / takedowns.FILE, work_root / takedowns.FILE)
    source = {"url": "demo:elf+portrait+limit:24", "domain": "portrait", "limit": None}
    definition.write_text(yaml.safe_dump({"sources": {"a": source}}))
    command = [sys.executable, str(ROOT / "stages" / "scrape.py"), "demo/x"]
    process = subprocess.Popen(command, cwd=work_root, stderr=subprocess.DEVNULL, start_new_session=True)
    key = scrape.source_key(load_sources(definition)["a"])
    files = work_root / ".work" / "scrape" / "demo" / "x" / f"a-{key}" / "files"
    deadline = time.monotonic() + 60
    while not (files.is_dir() and len(list(files.glob("*.jpg"))) >= 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {f.name: f.stat().st_mtime_ns for f in files.iterdir() if f.suffix != ".part"}
    assert not (work_root / "data/raw/demo/x").exists()
    subprocess.run(command, cwd=work_root, check=True, stderr=subprocess.DEVNULL)
    after = {f.name: f.stat().st_mtime_ns for f in files.iterdir()}
    # the file being written at the kill may be fetched again, no other
    assert sum(after.get(name) != mtime for name, mtime in before.items()) <= 1
    assert len(manifest.read(work_root / "data/raw/demo/x")) == 24
