"""Collecting from a real MediaWiki, which nobody here wrote, through a proxy that makes faults."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import proxy as faults
from conftest import ROOT
from hostile import card
from proxy import Proxy, proxied
from semireal import manifest
from semireal.collect import download, scrape
from semireal.collect.health import Patience
from semireal.errors import Unfinished
from wiki import Wiki, wiki

pytestmark = pytest.mark.slow
HASTY = Patience(minutes=2, first_wait=0.05, longest_wait=0.2, strikes=4, tries=3, silence=20)
COUNT = 75


@dataclass
class Place:
    """A wiki, the proxy before it, and a folder to collect into."""

    wiki: Wiki
    proxy: Proxy
    root: Path
    truth: dict[str, bytes]
    runs: int = 0

    def definition(self, **more: Any) -> Path:
        source = {"url": f"wikimedia:{self.proxy.url}/index.php/Category:Elves", "domain": "portrait", "pause": "0.01"}
        path = self.root / "definition.yaml"
        path.write_text(yaml.safe_dump({"sources": {"elves": source | more}}))
        return path

    def collect(self, patience: Patience = HASTY, **more: Any) -> pd.DataFrame:
        self.runs += 1
        out = self.root / f"out{self.runs}"
        out.mkdir()
        (self.root / "work").mkdir(exist_ok=True)
        scrape.run(self.definition(**more), out, self.root / "work", patience)
        return manifest.read(out)

    def check(self, table: pd.DataFrame) -> None:
        """Each row is about the bytes that it has, and all that the wiki has is here."""
        assert set(table["status"]) == {"kept"}, table["reason"].value_counts()
        assert len(table) == len(self.truth)
        for row in table.to_dict("records"):
            name = row["file_url"].rpartition("/")[2].replace("_", " ")
            assert row["sha256"] == hashlib.sha256(self.truth[name]).hexdigest(), name
            assert row["page_url"].rpartition("File:")[2].replace("_", " ") == name
            assert (row["rendition"], row["artist"]) == ("original", "Admin")

    def files(self) -> int:
        return self.proxy.count("/images/")

    def lists(self) -> int:
        return self.proxy.count("api.php?")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Wiki, Proxy, dict[str, bytes]]]:
    made = wiki(tmp_path_factory.mktemp("wiki") / "w")
    truth = {f"Elf {n}.png": card(n, 24) for n in range(COUNT)}
    truth |= {"Twin.png": card(900, 24), "Twin.jpg": card(901, 24), "Twin.jpeg": card(902, 24)}
    made.upload(truth, "By Ann. [[Category:Elves]]")
    with proxied(made.url) as proxy:
        made.shown_as(proxy.url)
        with made.running():
            yield made, proxy, truth


@pytest.fixture
def place(
    filled: tuple[Wiki, Proxy, dict[str, bytes]], work_root: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    made, proxy, truth = filled
    monkeypatch.setattr(download, "TIMEOUT_S", 2)
    yield Place(made, proxy, work_root, dict(truth))
    proxy.choose = lambda _, __: None
    proxy.asked.clear()
    proxy.times.clear()
    made.delete([name for name in made.names() if name not in truth])
    changed = {name: data for name, data in truth.items() if not made.has(name, data)}
    if changed:
        made.upload(changed, "By Ann. [[Category:Elves]]")


def test_each_file_has_its_own_bytes_and_its_own_page(place: Place) -> None:
    place.check(place.collect())
    assert place.files() == len(place.truth)
    assert place.lists() <= 4  # two pages, one after them, and the question where the interface is
    assert all(agent.startswith("semireal/") for agent in place.proxy.agents)
    # a later collection reads the list and no file
    place.check(place.collect())
    assert place.files() == len(place.truth)


def test_a_file_that_is_overwritten_is_a_new_row_with_new_bytes(place: Place) -> None:
    place.check(place.collect())
    new = {"Elf 3.png": card(5003, 24)}
    place.wiki.upload(new, "Better. [[Category:Elves]]")
    place.truth |= new
    place.check(place.collect())
    assert place.files() == len(place.truth) + 1


def test_a_file_that_is_overwritten_between_list_and_download_is_listed_anew(place: Place) -> None:
    with pytest.raises(Unfinished, match="budget"):
        place.collect(per_day=20)
    last = f"Elf {COUNT - 1}.png"
    new = {last: card(7000, 24)}
    place.wiki.upload(new, "Better. [[Category:Elves]]")
    place.truth |= new
    place.check(place.collect(per_day=200))


def test_a_site_whose_images_are_ill_costs_no_image_a_try(place: Place) -> None:
    place.proxy.choose = lambda path, _: faults.status(503) if "/images/" in path else None
    with pytest.raises(
        Unfinished, match=r"elves: 0 images; missing: 4 server error, 74 not tried yet \(server error\)"
    ):
        place.collect()
    assert place.files() == HASTY.strikes  # not 78 times three
    place.proxy.choose = lambda _, __: None
    place.check(place.collect())


def test_faults_of_single_answers_are_got_over(place: Place) -> None:
    kinds = [faults.status(503), faults.cut, faults.wrong_length, faults.other_bytes, faults.drop, faults.status(429)]

    def choose(path: str, before: int) -> faults.Fault | None:
        number = int(hashlib.sha256(path.encode()).hexdigest()[:4], 16)
        return kinds[number % 6] if before == 0 and number % 5 == 0 else None

    place.proxy.choose = choose
    place.check(place.collect(replace(HASTY, strikes=20)))
    assert place.files() < 1.5 * len(place.truth)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_what_a_site_asks_to_wait_is_waited(
    place: Place, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For files and for lists; and a run that ends before says so and leaves the site alone."""
    wait = "3" if form == "seconds" else time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 4))

    def choose(path: str, before: int) -> faults.Fault | None:
        ill = before == 0 and (path.endswith("Elf_5.png") or "gcmcontinue" in path)
        return faults.status(429, Retry_After=wait) if ill else None

    place.proxy.choose = choose
    place.check(place.collect())
    times = place.proxy.times
    for part in ("Elf_5.png", "gcmcontinue"):
        at = next(when for when, path in times if part in path)
        after = [when for when, _ in times if when > at]
        if form == "seconds":
            assert min(after) >= at + 2.9, part

    place.proxy.choose = lambda path, _: faults.status(503, Retry_After="900") if "/images/" in path else None
    place.wiki.upload({"Late.png": card(77, 24)}, "[[Category:Elves]]")
    before = place.files()
    with pytest.raises(Unfinished, match=r"the site asks to wait 900 s"):
        place.collect(replace(HASTY, minutes=0.2))
    with pytest.raises(Unfinished, match=r"the site asks to wait 900 s"):  # the next run knows
        place.collect(replace(HASTY, minutes=0.2))
    assert place.files() == before + 1


@pytest.mark.parametrize("ranges", [True, False])
def test_a_slow_file_keeps_no_other_away_and_is_gone_on_with(place: Place, ranges: bool) -> None:
    slow = {"Slow.png": card(1, 200)}  # 120 kB
    place.wiki.upload(slow, "[[Category:Elves]]")
    place.truth |= slow
    place.proxy.ranges, before = ranges, place.proxy.sent
    place.proxy.choose = lambda path, _: faults.slow(60_000) if "Slow" in path else None
    place.check(place.collect(replace(HASTY, turn=0.5, longest=60)))
    files = [path for _, path in place.proxy.times if "/images/" in path]
    assert all("Slow" in path for path in files[-2:])  # the others did not wait for it
    assert files.count(files[-1]) >= 3
    if ranges:
        assert place.proxy.sent - before < 1.5 * sum(len(data) for data in place.truth.values()) + 100_000


def test_a_file_at_a_byte_a_second_is_given_up_when_all_others_are_here(place: Place) -> None:
    place.proxy.choose = lambda path, _: faults.slow(10) if "Elf_0" in path else None
    table = place.collect(replace(HASTY, turn=0.3, longest=2))
    assert dict(table["reason"].value_counts()) == {"": len(place.truth) - 1, "download failed: too slow": 1}
    assert not list(place.root.rglob("*.part*"))


def test_kills_and_interrupts_lose_nothing(place: Place) -> None:
    """SIGKILL, SIGTERM and Ctrl-C at any moment; the last run ends it."""
    driver = place.root / "driver.py"
    driver.write_text(
        "import sys\nfrom pathlib import Path\nfrom semireal import stage\nfrom semireal.collect import scrape\n"
        "def main():\n    out = Path(sys.argv[1]); out.mkdir()\n"
        "    scrape.run(Path('definition.yaml'), out, Path('work'))\nstage.run(main)\n"
    )
    place.definition()
    (place.root / "work").mkdir()
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    codes = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
    process = None
    for number in range(30):
        command = [sys.executable, "driver.py", f"killed{number}"]
        process = subprocess.Popen(command, cwd=place.root, env=env, stderr=subprocess.PIPE, text=True)
        sent = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT][number % 3]
        before, deadline = place.files(), time.monotonic() + 20
        while place.files() < before + 6 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(sent)
        _, messages = process.communicate(timeout=30)
        if process.returncode == 0:
            break
        assert process.returncode == codes[sent], messages
        assert "Traceback" not in messages
        if sent != signal.SIGKILL:
            assert "not complete, nothing is lost" in messages
            assert "elves:" in messages
    assert process is not None
    assert process.returncode == 0
    place.check(manifest.read(place.root / f"killed{number}"))
    assert place.files() <= len(place.truth) + number  # only what was in flight is sent again
