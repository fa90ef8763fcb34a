"""Texts of strangers on the review page: whatever a manifest or a decision says, it is text."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element
from selenium.webdriver.support.wait import WebDriverWait

import payloads
from conftest import ROOT, log_of
from reviewing import TOKENS, process
from semireal import manifest
from semireal.curate import decisions
from semireal.curate.decisions import Decision

# NUL does not get through CSV: the tables that we read end such a cell there
PAYLOADS = [payload for payload in payloads.PAYLOADS if "\0" not in payload]
NAME = "<script>window.__hit=1<script><img src=x onerror=window.__hit=1>"  # of a character: a file name, so without /


def make(folder: Path, texts: Callable[[str], str]) -> Path:
    """A dataset whose images have a payload in each of their texts, and decisions about half of them."""
    folder.mkdir()
    name = NAME if texts is str else "name"
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(params | {"name": name}))
    rows, made = [], {}
    for n, payload in enumerate(PAYLOADS):
        text = texts(payload)
        # of what was kept no manifest with another id is read
        row: manifest.Row = {"id": f"{n:03}" if n % 2 else f"{n:03}{text}"}
        row |= {"source": f"{n:03}{text}", "domain": f"{n:03}{text}"}
        row |= {"title": text, "artist": text, "page_url": f"{'https://a.org/' * (n % 2)}{text}", "note": text}
        row |= {"cluster": row["id"], "survivor": row["id"], "rule": f"{n:03}{text}" if n % 3 else ""}
        kept = manifest.kept(row, file=f"images/{n:03}{text}")
        rows.append(kept if n % 2 else manifest.rejected(row, f"{n:03}{text}"))
        if n % 2:
            made[row["id"]] = Decision("keep" if n % 4 == 1 else "reject", "", f"{n:03}{text}"[:200])
    (folder / "data/dataset").mkdir(parents=True)
    manifest.save(folder / "data/dataset", rows, "test", "")
    path = folder / decisions.file_of(name)
    path.parent.mkdir(parents=True)
    path.write_text(decisions._text(made))
    return folder


def looked_at(driver: webdriver.Chrome, port: int) -> list[payloads.Dom]:
    """What the browser makes of the page, and of each image in the large view."""
    count = len(PAYLOADS)

    def look() -> list[payloads.Dom]:
        kept = "return Number(document.getElementById('n-kept').textContent) > 0"
        WebDriverWait(driver, 20, 0.05).until(lambda _: driver.execute_script(kept))
        found = [payloads.dom(driver)]
        ActionChains(driver).send_keys(Keys.HOME, Keys.SPACE).perform()
        for n in range(count):
            there = text_to_be_present_in_element((By.ID, "place"), f"{n + 1} / {count}")
            WebDriverWait(driver, 20, 0.02).until(there)
            found.append(payloads.dom(driver))
            ActionChains(driver).send_keys(Keys.ARROW_RIGHT).perform()
        return found

    found: list[payloads.Dom] = payloads.untouched(driver, f"http://127.0.0.1:{port}/?token={TOKENS[port]}", look)
    assert log_of(driver) == []
    return found


@pytest.mark.slow
def test_no_payload_does_anything_in_the_browser(tmp_path: Path, chromium: webdriver.Chrome) -> None:
    found = []
    for name, texts in (("hostile", str), ("plain", payloads.harmless)):
        with process(make(tmp_path / name, texts)) as (port, _):
            found.append(looked_at(chromium, port))
            if texts is str:
                text = chromium.execute_script("return document.body.textContent")
                reasons = [f"{n:03}{payload}"[:200] for n, payload in enumerate(PAYLOADS) if n % 2]
    links = [sorted(e for e in page if e.startswith("A ")) for page in found[0]]
    assert [len(one) for one in links] == [
        0,
        *(n % 2 + PAYLOADS[n].startswith("https://") * (1 - n % 2) for n in range(len(PAYLOADS))),
    ]
    for hostile, plain in zip(*found, strict=True):
        assert [e for e in hostile if not e.startswith("A ")] == [e for e in plain if not e.startswith("A ")]
    shown = "".join(text.split())
    assert [one for one in reasons if "".join(one.split()) not in shown] == []
