"""The pages for people: no link leads nowhere, and what they tell people to type exists."""

import re
import shlex
import subprocess
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from semireal import cli
from tiny import ROOT

PARSER = MarkdownIt("commonmark", {"html": True}).enable("table")
TRACKED = frozenset(
    subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
)
PAGES = sorted(name for name in TRACKED if name.endswith(".md"))
HISTORY = "CHANGELOG.md"  # of commands that are gone, too
HERE = str(Path(__file__).relative_to(ROOT))
FENCES = ("sh", "console", "bash")
TARGETS = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))


@cache
def tokens_of(page: str) -> tuple[Token, ...]:
    """All tokens of a page, those within lines as well."""
    blocks = PARSER.parse((ROOT / page).read_text())
    return tuple(token for block in blocks for token in (block, *(block.children or ())))


def anchors_of(page: str) -> set[str]:
    """What can follow a `#`: the headings as GitHub names them, each name once."""
    found: set[str] = set()
    for heading, line in pairwise(tokens_of(page)):
        if heading.type != "heading_open":
            continue
        text = "".join(part.content for part in line.children or () if part.type in ("text", "code_inline"))
        name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        more = (f"{name}-{number}" for number in range(1, 100))
        found.add(next(one for one in (name, *more) if one not in found))
    return found


def links_of(page: str) -> list[str]:
    found = [token.attrGet("href") or token.attrGet("src") for token in tokens_of(page)]
    return [str(link) for link in found if link is not None]


def wrong(page: str, link: str) -> str | None:
    """What is wrong with a link; None where nothing is, and for other people's pages, which no test asks."""
    if re.match(r"[a-z]+:", link):
        return None
    path, _, anchor = unquote(link).partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    name = str(target.resolve().relative_to(ROOT))
    if name not in TRACKED:
        return f"{page}: {link}: no such file in git"
    if anchor and anchor not in anchors_of(name):
        return f"{page}: {link}: no such heading; there are {sorted(anchors_of(name))}"
    return None


def typed(page: str) -> list[str]:
    """The commands that a page shows, in blocks (behind `$` where output is shown too) and within lines."""
    found = []
    for token in tokens_of(page):
        if token.type == "code_inline":
            found.append(token.content)
        elif token.type == "fence" and token.info in FENCES:
            lines = token.content.replace("\\\n", " ").splitlines()
            found += [line.removeprefix("$ ") for line in lines if token.info != "console" or line.startswith("$ ")]
    return [part.strip() for line in found for part in re.split(r"&&|\|\||;|\|", line)]


def unknown(command: str) -> str | None:
    """What is unknown in a command of ours; None where nothing is, and for the commands of others."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError:  # a line of prose with an apostrophe
        return None
    match words:
        case ["semireal", name, *rest] if re.fullmatch("[a-z][a-z-]*", name):
            if name not in cli.cli.commands:
                return f"semireal {name}"
            context = click.Context(cli.cli.commands[name])
            options = {option for param in context.command.get_params(context) for option in param.opts} | {"--help"}
            bad = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in options]
            return f"semireal {name} {bad[0]}" if bad else None
        case ["make", target, *_] if re.fullmatch("[a-z][a-z-]*", target) and target not in TARGETS:
            return f"make {target}"
        case ["python", script, *_] if script.endswith(".py") and script not in TRACKED:
            return f"python {script}"
    return None


def test_there_are_pages_with_links_and_commands() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/metrics.md", "benchmarks/README.md"} <= set(PAGES)
    assert "docs/dial.md" in links_of("README.md")
    assert "docs/demo.png" in links_of("README.md")
    assert "the-same-bytes" in anchors_of("docs/reliability.md")
    assert "semireal compare" in typed("docs/experiments.md")


@pytest.mark.parametrize("page", PAGES)
def test_no_link_leads_nowhere(page: str) -> None:
    assert [fault for link in links_of(page) if (fault := wrong(page, link))] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page != HISTORY])
def test_what_is_to_be_typed_exists(page: str) -> None:
    assert [fault for command in typed(page) if (fault := unknown(command))] == []


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    assert {page for page in PAGES if page.startswith("docs/")} <= set(links_of("README.md"))


def test_what_is_said_elsewhere_about_pages_leads_to_one() -> None:
    """Messages, remarks and declarations that name a page of docs/."""
    named = {}
    for name in TRACKED:
        if Path(name).suffix in (".py", ".yaml", ".yml", ".in", ".md", ".toml", "") and name != HERE:
            for page in re.findall(r"\bdocs/[\w-]+\.md\b", (ROOT / name).read_text(errors="replace")):
                named[page] = name
    assert {"docs/dial.md", "docs/scale.md"} <= set(named)
    assert {page: name for page, name in named.items() if page not in TRACKED} == {}


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("docs/dial.md", None),
        ("docs/dial.md#limits", None),
        ("https://example.org/nowhere", None),
        ("docs/nowhere.md", "no such file"),
        ("docs/dial.md#nowhere", "no such heading"),
        ("#two-commands", None),
        ("#three-commands", "no such heading"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(link: str, fault: str | None) -> None:
    found = wrong("README.md", link)
    assert (found is None) == (fault is None)
    assert fault is None or fault in str(found)


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("semireal sweep --jobs 2 character=elf sample.psi=0.5,0.7", None),
        ("semireal sweep --workers 2", "semireal sweep --workers"),
        ("semireal publish", "semireal publish"),
        ("make nothing", "make nothing"),
        ("make test", None),
        ("python benchmarks/nothing.py", "python benchmarks/nothing.py"),
        ("dvc repro --nonsense", None),
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, fault: str | None) -> None:
    assert unknown(command) == fault
