"""What others wrote, in tables and cards, as a renderer shows it."""

import ast
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt

import payloads
from semireal.pipeline import card, markdown
from semireal.stylegan2 import Config
from semireal.text import line
from semireal.training.blend import Recipe

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])  # as lenient as can be
TINY = Config(img_resolution=16, z_dim=8, w_dim=12, mapping_layers=2, channel_base=128, channel_max=16)


def rendered(text: str) -> payloads.Page:
    return payloads.Page(RENDERER.render(text))


def test_table_keeps_its_columns_whatever_is_in_a_cell() -> None:
    found = markdown.table(["key", "may be"], [["a", "x|y"], ["b", ""]])
    assert found == "| key | may be |\n| --- | --- |\n| a | x\\|y |\n| b |  |\n"


def shown(texts: Iterable[str]) -> str:
    """How HTML shows texts that were lines of Markdown: the spaces at the ends of cells are gone."""
    return "".join("".join(texts).split())


@pytest.mark.parametrize("payload", payloads.PAYLOADS)
def test_what_others_wrote_is_shown_as_they_wrote_it(payload: str) -> None:
    table = markdown.table(["a", "b"], [[markdown.text(payload), markdown.code(payload)]])
    page = rendered(f"# {markdown.text(payload)}\n\n{table}\n{markdown.text('x' + payload)}\n")
    plain = rendered("# x\n\n| a | b |\n| --- | --- |\n| x | `x` |\n\nx\n")
    assert page.elements == plain.elements
    assert page.addresses == []
    one = line(payload)
    assert shown(page.text) == shown([one, "ab", one, one, line("x" + payload)])


def test_names_stay_readable() -> None:
    assert markdown.text("wonder_woman CC-BY-4.0 (a.b)") == "wonder_woman CC-BY-4.0 (a.b)"
    assert markdown.code("train.psi") == "`train.psi`"


def hostile_card(monkeypatch: pytest.MonkeyPatch, texts: list[str], name: str) -> str:
    """The card of a generator whose manifest, parameters, metrics and names others wrote."""
    rows = [{"source": t, "domain": t, "licence": t, "artist": t} for t in texts]
    parameters = {"filter": {"name": name}, "train": {f"train.{t}": t for t in texts}}
    metrics = dict.fromkeys(texts, 0.5)
    origin = card.Origin("last", name, name, dict.fromkeys(texts, "0" * 32), parameters, metrics, pd.DataFrame(rows))
    monkeypatch.setattr(card, "origin_of", lambda *_: origin)
    monkeypatch.setattr(card, "recipe_of", lambda _: Recipe(name, name, 8, 0.5))
    return card.card_of(Path("generator"), TINY, name, "safetensors", Path())


def test_no_payload_becomes_an_element_of_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    every = list(enumerate(payloads.PAYLOADS))
    plain = hostile_card(monkeypatch, [f"{n:03}{payloads.harmless(one)}" for n, one in every], "name")
    text = hostile_card(monkeypatch, [f"{n:03}{one}" for n, one in every], "name")
    assert rendered(text).elements == rendered(plain).elements
    assert rendered(text).addresses == []
    assert len(rendered(text).elements) > 10 * len(every)


@pytest.mark.parametrize("name", payloads.PAYLOADS)
def test_no_name_becomes_an_element_of_a_card(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    text = hostile_card(monkeypatch, ["x"], name)
    page = rendered(text)
    assert page.elements == rendered(hostile_card(monkeypatch, ["x"], "name")).elements
    program = text.split("```python\n")[1].split("\n```\n")[0]
    compile(program, "card", "exec")
    (call,) = [node for node in ast.walk(ast.parse(program)) if ast.unparse(node).startswith("load_generator(")]
    assert isinstance(call, ast.Call)
    assert ast.literal_eval(call.args[0]) == name
