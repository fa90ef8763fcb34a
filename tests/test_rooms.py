"""The rooms of the package: none needs another that needs it, and nothing below needs anything above."""

import ast
from pathlib import Path

import networkx as nx
import pytest

from conftest import ROOT
from semireal import code

# from the ground up; a module of the ground may need only those before it
GROUND = [
    *(
        "errors",
        "paths",
        "parents",
        "files",
        "arrays",
        "published",
        "schema",
        "tables",
        "text",
        "formats",
        "limits",
        "colours",
        "images",
        "tensors",
        "code",
        "watch",
        "prune",
    ),
    *("stage", "machine", "devices", "workers", "measured", "manifest", "milder", "figures", "params"),
]
ROOMS = [
    *("vision", "collect", "faces", "curate", "stylegan2", "metrics", "training", "evaluation", "report", "review"),
    *("classifiers", "pipeline"),
]
ON_TOP = ["cli", "__main__"]  # what a person types


def needs() -> "nx.DiGraph[str]":
    """Who imports whom, by module, wherever in a module the import stands."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for path in sorted(code.SRC.rglob("*.py")):
        name = ".".join(path.relative_to(code.SRC).with_suffix("").parts).removesuffix(".__init__")
        graph.add_node(name)
        found = {one for node in ast.walk(ast.parse(path.read_bytes())) for one in code._imported(node, path)}
        graph.add_edges_from((name, one) for one in found if code._module(one) and one != name)
    return graph


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_no_module_needs_itself_through_others() -> None:
    graph = needs()
    # `from room import module` runs the room's __init__, which names no module but where it is the door to the room
    assert [sorted(circle) for circle in nx.strongly_connected_components(graph) if len(circle) > 1] == []


def test_nothing_below_needs_what_is_above() -> None:
    order = ["", *GROUND, *ROOMS, *ON_TOP]
    graph = needs()
    assert {room_of(name) for name in graph} <= set(order)
    upwards = [(a, b) for a, b in graph.edges if order.index(room_of(a)) < order.index(room_of(b))]
    assert upwards == []


def test_the_order_here_is_the_one_that_is_documented() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    places = [page.index(f"\n{room}") for room in ROOMS]
    assert places == sorted(places)


@pytest.mark.parametrize("stage", sorted(path.stem for path in (ROOT / "stages").glob("*.py")))
def test_two_jumps_from_dvc_yaml_to_the_work(stage: str) -> None:
    """One stage is one thin script and one module of that name."""
    script = ROOT / f"stages/{stage}.py"
    assert len(script.read_text().splitlines()) <= 60
    files = {path.stem if path.name != "__init__.py" else path.parent.name for path in code.files_of(stage, ROOT)}
    assert stage in files
    assert any(path.stem == stage or path.name == stage for path in (code.SRC / code.PACKAGE).rglob("*"))


def test_tests_mirror_the_rooms() -> None:
    rooms = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    assert rooms - {"drills"} <= set(ROOMS)  # those hurt the whole
    assert Path(code.__file__).parent == code.SRC / "semireal"
