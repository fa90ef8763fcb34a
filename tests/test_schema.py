import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from semireal import schema
from semireal.errors import UserError
from semireal.schema import param


@dataclass(frozen=True)
class Part:
    size: int = param(low=2)
    """side,
    px"""


@dataclass(frozen=True)
class Whole:
    part: Part = param()
    """a section"""
    count: int = param(low=1, high=3)
    """how many"""
    share: float | None = param(low=0, high=1)
    """what part"""
    free: float = param()
    kind: str = param(choices=("a", "b"))
    """which"""
    on: bool = param()
    """whether"""
    some: tuple[float, ...] = param(high=2)
    """a few"""
    any_of: tuple[str, ...] = param(empty=True)
    """or none"""
    text: str | None = param()
    """of any kind"""
    more: dict[str, Any] = param()
    """what it is"""


GOOD: dict[str, Any] = {
    "part": {"size": 2},
    "count": 1,
    "share": 0.5,
    "free": 0.1,
    "kind": "a",
    "on": True,
    "some": [1, 0.5],
    "any_of": [],
    "text": "x",
    "more": {"x": 1},
}


def parse(**changes: Any) -> Whole:
    return schema.parse(Whole, GOOD | changes, "top")


def test_values_arrive_as_declared() -> None:
    found = parse()
    assert found == Whole(Part(2), 1, 0.5, 0.1, "a", True, (1.0, 0.5), (), "x", {"x": 1})
    assert [type(value) for value in found.some] == [float, float]
    assert type(parse(free=3).free) is float
    assert type(found.count) is int


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 3},
        {"share": 0},
        {"share": 1},
        {"share": None},
        {"kind": "b"},
        {"on": False},
        {"some": [2]},
        {"any_of": ["x", "y"]},
        {"text": None},
        {"text": ""},
        {"free": -1e9},
        {"part": {"size": 10**9}},
    ],
)
def test_bounds_are_included(changes: dict[str, Any]) -> None:
    (key,) = changes
    value = changes[key]
    expected = Part(**value) if key == "part" else tuple(value) if isinstance(value, list) else value
    assert getattr(parse(**changes), key) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "top.count: found 0, need a whole number from 1 to 3"),
        ({"count": 4}, "top.count: found 4, need a whole number from 1 to 3"),
        ({"count": 1.0}, "top.count: found 1.0, need a whole number from 1 to 3"),
        ({"count": True}, "top.count: found True, need a whole number from 1 to 3"),
        ({"count": None}, "top.count: found None, need a whole number from 1 to 3"),
        ({"share": -0.1}, "top.share: found -0.1, need a number or null from 0 to 1"),
        ({"share": 2}, "top.share: found 2, need a number or null from 0 to 1"),
        ({"share": float("nan")}, "top.share: found nan, need a number or null from 0 to 1"),
        ({"share": "0.5"}, "top.share: found '0.5', need a number or null from 0 to 1"),
        ({"free": True}, "top.free: found True, need a number"),
        ({"kind": "c"}, "top.kind: found 'c', need one of a, b"),
        ({"kind": 1}, "top.kind: found 1, need one of a, b"),
        ({"on": 1}, "top.on: found 1, need true or false"),
        ({"some": []}, "top.some: found [], need a list, such as [0.5, 1]"),
        ({"some": 1}, "top.some: found 1, need a list, such as [0.5, 1]"),
        ({"some": [1, 3]}, "top.some: found 3, need a number"),
        ({"any_of": [1]}, "top.any_of: found 1, need a text"),
        ({"any_of": "x"}, "top.any_of: found 'x', need a list, such as [0.5, 1]"),
        ({"text": 1}, "top.text: found 1, need a text or null"),
        ({"more": []}, "top.more: found [], need a mapping"),
        ({"part": {"size": 1}}, "top.part.size: found 1, need a whole number from 2 up"),
        ({"part": {}}, "top.part.size: missing parameter"),
        ({"part": {"size": 2, "colour": 1}}, "top.part.colour: unknown parameter; known here: size"),
        ({"part": None}, "top.part: found None, need a section with keys"),
    ],
)
def test_what_cannot_be_is_refused_with_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(**changes)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "x\n" * 10**5},
        {"count": int("1" + "0" * 4000)},
        {"count": 1 << 20_000},
        {"some": [[1] * 10**5] * 3},
        {"on": {str(n): "x" * 500 for n in range(1000)}},
        {"x\n" * 10**5: 1},
        {"part": ["x" * 10**5]},
    ],
)
def test_messages_are_short_whatever_is_found(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        parse(**changes)
    assert len(str(caught.value)) < 1500
    assert str(caught.value).isprintable()


@dataclass(frozen=True)
class Made:
    size: int = param(low=2, high=9, default=3)
    clamp: float | None = param(high=1, default=None)


def test_what_code_makes_is_checked_by_the_same_rules() -> None:
    for good in (Made(), Made(9, 1), Made(2, -5.0)):
        schema.check(good)
    for bad, message in (
        (Made(1), "size: found 1, need a whole number from 2 to 9"),
        (Made(2.0), "size: found 2.0, need a whole number from 2 to 9"),  # type: ignore[arg-type]
        (Made(3, float("nan")), "clamp: found nan, need a number or null"),
    ):
        with pytest.raises(UserError, match=f"^{message}$"):
            schema.check(bad)
    with pytest.raises(UserError, match=r"^clamp: missing parameter$"):  # a default is none of a file
        schema.parse(Made, {"size": 3}, "")


def test_json_says_one_thing() -> None:
    assert schema.parse_json('{"a": [1, 2.5, null]}', "x") == {"a": [1, 2.5, None]}
    for text, problem in (
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "a key stands there twice"),
        ("[NaN]", "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ("[" * 100_000, ".*"),
        ("9" * 5000, "Exceeds the limit.*"),
        ("{", "Expecting.*"),
        ("", "Expecting.*"),
    ):
        with pytest.raises(UserError, match=f"^x: not valid JSON: {problem}$"):
            schema.parse_json(text, "x")


def test_the_top_of_a_file_has_no_prefix() -> None:
    with pytest.raises(UserError, match=r"^size: missing parameter$"):
        schema.parse(Part, {}, "")
    with pytest.raises(UserError, match=r"^params\.yaml: found \[\], need a section with keys$"):
        schema.parse(Part, [], "")


def test_texts_below_the_fields_say_what_they_mean() -> None:
    assert schema.docs(Part) == {"size": "side, px"}
    assert list(schema.docs(Whole)) == [f.name for f in dataclasses.fields(Whole) if f.name != "free"]
    assert schema.docs(Whole)["text"] == "of any kind"


def test_what_a_parameter_may_be_in_words() -> None:
    fields = [field for field in dataclasses.fields(Whole) if field.name not in ("part", "more")]
    words = {field.name: schema.may_be(field.type, field.metadata) for field in fields}
    assert words == {
        "count": "a whole number from 1 to 3",
        "share": "a number or null from 0 to 1",
        "free": "a number",
        "kind": "one of a, b",
        "on": "true or false",
        "some": "a list, each a number",
        "any_of": "a list, each a text",
        "text": "a text or null",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a: [", "not valid YAML: while parsing"), (b"\xff\xfe\xfd", "not valid YAML: ")],
)
def test_files_that_are_no_yaml_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        schema.load_yaml(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^{tmp_path}/x\.yaml: not found$"):
        schema.load_yaml(tmp_path / "x.yaml")


def test_a_merge_that_is_not_finished_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> other\n")
    with pytest.raises(UserError, match=r"x\.yaml: has the marks of a merge"):
        schema.load_yaml(path)
    with pytest.raises(UserError, match=r"Is a directory"):
        schema.load_yaml(tmp_path)
