"""The review page itself in headless Chromium."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from conftest import log_of
from reviewing import FILE, POORER, TOKENS, TWIN, make_data, make_heads, serving
from semireal.curate import decisions
from semireal.curate.decisions import Decision
from semireal.review import server

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
