"""Kills, Ctrl-C and full disks lose nothing and fetch nothing twice; secrets are nowhere but in their file."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import yaml

from conftest import ROOT
from hostile import Cards, card, cards, files_of, gallery
from scraping import Run, Scraper, children_of, definition_of, reasons, stored, until, until_stored
from semireal import manifest, parents
from semireal.collect import gallerydl, takedowns
from semireal.collect.gallery.faults import Fault
from semireal.collect.journal import Journal
from semireal.collect.source import load_sources
from semireal.errors import Unfinished, UserError

# --- interruptions -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_twenty_kills_lose_nothing_and_fetch_nothing_twice(work_root: Path) -> None:
    rng = np.random.default_rng(0)
    store = cards(150)
    for number in range(150, 200):
        store.add(number, "b")
    bad = Fault("status", only=frozenset({"7.png", "160.png"}), times=3, status=503)
    slow = Fault("slow", only=frozenset(f"{n}.png" for n in range(0, 200, 9)), seconds=0.05)
    with gallery(store, bad, slow) as (url, faults):
        sources = {"a": {"url": f"{url}a"}, "b": {"url": f"{url.replace('127.0.0.1', 'localhost')}b"}}
        scraper = Scraper(work_root, sources)
        sent_when_stored: dict[str, int] = {}
        for _ in range(20):
            stored_before = len(stored(work_root))
            process = scraper.start()
            # somewhere between the start and a few images later: also while it starts, lists, or writes
            goal = stored_before + int(rng.integers(0, 10))
            until_stored(work_root, goal, process)
            time.sleep(float(rng.uniform(0, 0.05)))
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            time.sleep(0.05)
            sent = files_of(faults)
            here = {f"{f.stem.split('_')[-2]}.png" for f in stored(work_root)}  # the name ends in id and hash
            sent_when_stored = {name: sent[name] for name in here} | sent_when_stored
            assert set(sent_when_stored) == here
        assert len(stored(work_root)) < 200
        process = scraper.start()
        _, messages = process.communicate(timeout=60)
        assert process.returncode == 0, messages
        assert reasons(manifest.read(work_root / f"out{scraper.runs}")) == {"": 200}
        assert len(manifest.read_kept(work_root / f"out{scraper.runs}")) == 200
        sent = files_of(faults)
        # what was stored is not sent again; only what was under way at a kill may be, one image per source
        assert all(sent[name] == count for name, count in sent_when_stored.items())
        assert sum(sent.values()) - 200 <= 2 * 20


def test_the_stage_has_an_exit_code_for_a_pause_and_one_for_mistakes(work_root: Path) -> None:
    folder = work_root / "experiments/sources/web"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / takedowns.FILE, work_root / takedowns.FILE)

    def stage(**env: str) -> tuple[int, str]:
        command = [sys.executable, str(ROOT / "stages/scrape.py"), "web/x"]
        env = os.environ | {"PYTHONPATH": str(ROOT / "src")} | env
        done = subprocess.run(command, cwd=work_root, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    with gallery(cards(4)) as (url, faults):
        definition_of(folder, {"a": {"url": f"{url}a", "per_day": 3}}).rename(folder / "x.yaml")
        code, messages = stage()
        assert code == os.EX_TEMPFAIL
        assert "a: 3 images; missing: 1 not tried yet" in messages
        assert "the budget of 3 per day is used up" in messages
        assert not (work_root / "data/raw/web/x").exists()
        code, messages = stage(SEMIREAL_SCRAPE_MINUTES="soon")
        assert code == 2
        assert "SEMIREAL_SCRAPE_MINUTES: found 'soon', need a number of minutes" in messages
        code, messages = stage(SEMIREAL_SCRAPE_ACCEPT="a", SEMIREAL_SCRAPE_MINUTES="1")
        assert code == 0, messages
        assert reasons(manifest.read(work_root / "data/raw/web/x")) == {"": 3, "download failed: not tried": 1}
        assert sum(files_of(faults).values()) == 3


def test_a_killed_scraper_leaves_no_child(work_root: Path) -> None:
    with gallery(cards(3), Fault("hang", "list", seconds=20)) as (url, faults):
        process = Scraper(work_root, {"a": {"url": f"{url}a"}}).start()
        until(lambda: faults.asked["list", "a 1"])
        (child,) = children_of(process.pid)
        assert b"guard.py" in Path(f"/proc/{child}/cmdline").read_bytes()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        until(lambda: not Path(f"/proc/{child}").exists(), 2)


def test_gallery_dl_ends_when_nobody_answers(work_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other systems than Linux rely on."""
    monkeypatch.setattr(parents, "_LIBC", None)
    source = load_sources(definition_of(work_root, {"a": {"url": "x"}}))["a"]
    with gallery(cards(3)) as (url, faults):
        config = gallerydl.configuration(source)
        child = gallerydl.Child(f"{url}a", config, ["127.0.0.1"], {}, work_root / "log")
        events: list[gallerydl.Event] = []
        while not events:
            events += child.events()
        assert isinstance(events[0], gallerydl.Turn)
        assert child.process.stdin is not None
        child.process.stdin.close()
        assert child.process.wait(5) == 32
        child.close()
        assert not files_of(faults)


def test_ctrl_c_ends_cleanly_and_the_next_run_goes_on(work_root: Path) -> None:
    with gallery(cards(40), Fault("slow", seconds=0.1)) as (url, faults):
        scraper = Scraper(work_root, {"a": {"url": f"{url}a"}})
        process = scraper.start()
        until(lambda: len(stored(work_root)) >= 4)
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=20)
        assert process.returncode == 130
        assert "interrupted; the same command goes on" in messages
        assert "Traceback" not in messages
        faults.faults.clear()
        process = scraper.start()
        _, messages = process.communicate(timeout=30)
        assert process.returncode == 0, messages
        assert files_of(faults) == {f"{n}.png": 1 for n in range(40)}


def test_ctrl_c_while_journals_are_read_says_how_far_the_others_are(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = cards(3)
    store.add(3, "b")
    with gallery(store) as (url, _):
        sources = {"a": {"url": f"{url}a", "per_day": 2}, "b": {"url": f"{url}b"}}
        with pytest.raises(Unfinished):
            run(sources)
        load = Journal.load

        def second_is_interrupted(path: Path, *, spare: bool) -> Journal:
            if path.parent.name.startswith("b-"):
                raise KeyboardInterrupt
            return load(path, spare=spare)

        monkeypatch.setattr(Journal, "load", second_is_interrupted)
        capsys.readouterr()
        with pytest.raises(KeyboardInterrupt):
            run(sources)
        assert "a: 2 images" in capsys.readouterr().err


def test_notes_about_a_file_that_became_whole_are_not_left(run: Run, work_root: Path) -> None:
    """Killed after a file got its name, and before the notes about its half were removed."""
    with gallery(cards(3)) as (url, faults):
        run({"a": {"url": f"{url}a"}})
        for path in stored(work_root):
            path.with_name(f"{path.stem}.part.json").write_text("{}")
        other = stored(work_root)[0].with_name("other.part.json")
        other.write_text("{}")
        run({"a": {"url": f"{url}a"}})
        assert [path.name for path in work_root.rglob("*.part.json")] == [other.name]  # that may go on
        assert files_of(faults) == {f"{n}.png": 1 for n in range(3)}


def test_the_end_of_the_disk_loses_nothing(run: Run, work_root: Path) -> None:
    work = work_root / "work"
    work.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(work)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        store = cards(30)
        store.files = {f"{n}.png": card(n, 96) for n in range(30)}  # 27 kB each
        with gallery(store) as (url, faults):
            with pytest.raises(Unfinished, match=r"the disk is full .* make room, and the same command goes on"):
                run({"a": {"url": f"{url}a"}})
            here = {f.name for f in stored(work_root)}
            assert 5 < len(here) < 30
            subprocess.run(["mount", "-o", "remount,size=4m", str(work)], check=True)
            assert reasons(run({"a": {"url": f"{url}a"}})) == {"": 30}
            # the one that found no room was sent whole, perhaps
            assert sum(files_of(faults).values()) <= 31
    finally:
        subprocess.run(["umount", "-l", str(work)], check=True)


# --- secrets -----------------------------------------------------------------------------------------------

SECRET = "Zx9-correct+horse/battery-7"


def test_a_secret_appears_nowhere(work_root: Path) -> None:
    secrets = work_root / "secrets.yaml"
    secrets.write_text(yaml.safe_dump({"moebooru": {"url": "sample_url", "password": SECRET}}))
    secrets.chmod(0o600)
    store = Cards()
    for number in range(6):  # the site repeats the secret, and gallery-dl complains about an address with it
        file = f"/image/{number}.png"
        sample = file if number else f"/image/none.png?key={SECRET}"
        store.add(number, title=f"for {SECRET}", file_url="file:///no", sample_url=sample)
    with gallery(store, Fault("slow", "list", seconds=1), Fault("slow", seconds=0.1)) as (url, faults):
        process = Scraper(work_root, {"a": {"url": f"{url}a"}}).start()
        until(lambda: faults.asked["list", "a 1"])
        commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
        assert any(b"guard.py" in command for command in commands)
        until(lambda: faults.asked["file", "3.png"])
        assert SECRET.encode() not in b"".join(commands)
        assert_nowhere(work_root)
        _, messages = process.communicate(timeout=20)
    assert process.returncode == 0, messages
    table = manifest.read(work_root / "out1")
    assert reasons(table) == {"": 5, "download failed: gone": 1}  # by sample_url: the options were used
    assert set(table["title"]) == {"for ***"}
    assert SECRET not in messages
    assert_nowhere(work_root)


def assert_nowhere(root: Path) -> None:
    """The secret, plain or as in an address, is in no file but its own."""
    written = [SECRET, quote(SECRET, safe=""), quote(SECRET)]
    files = [f for f in root.rglob("*") if f.is_file() and f.name != "secrets.yaml"]
    assert any(f.name == "gallery-dl.log" for f in files) or files
    for file in files:
        text = file.read_bytes().decode(errors="replace")
        assert not any(form in text for form in written), file


def test_secrets_that_others_may_read_are_refused(run: Run, work_root: Path) -> None:
    (work_root / "secrets.yaml").write_text("deviantart: {client-id: 1}")
    (work_root / "secrets.yaml").chmod(0o644)
    with pytest.raises(UserError, match=r"other users of this machine may read it. Run `chmod 600"):
        run({"a": {"url": "https://example.org/x"}})
    (work_root / "secrets.yaml").chmod(0o600)
    (work_root / "secrets.yaml").write_text("deviantart")
    with pytest.raises(UserError, match="need a mapping of sites to options"):
        run({"a": {"url": "https://example.org/x"}})


def test_what_decides_where_files_go_cannot_be_overridden(work_root: Path) -> None:
    options = {"moebooru": {"filename": "x", "file-filter": "True", "base-directory": "/", "timeout": 1}}
    source = load_sources(definition_of(work_root, {"a": {"url": "x", "pause": "2-4", "options": options}}))["a"]
    config = gallerydl.configuration(source, "me@example.org", {"moebooru": {"password": "p"}, "pixiv": {"a": 1}})
    assert config["extractor"] == {
        "sleep-request": "2-4",
        "moebooru": options["moebooru"] | {"password": "p"},
        "pixiv": {"a": 1},
        "browser": "",
        "headers": {"User-Agent": gallerydl.user_agent("me@example.org")},
    }
    assert "file-filter" in config  # gallery-dl takes what stands at the top before anything else
