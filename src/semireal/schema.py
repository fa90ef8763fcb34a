"""What a section of a YAML file may hold: declared once, as a dataclass, and checked before any work starts.

A field says what its value may be with `param`; the text below it, which no key of the code covers, says what it means.
Unknown, missing and impossible values are refused with one line that names the key.
"""

import ast
import dataclasses
import inspect
import json
import math
import re
import reprlib
import textwrap
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from semireal import files
from semireal.errors import UserError

T = TypeVar("T")
LARGEST = 200_000  # bytes of a YAML file, for which PyYAML takes seconds
WRITTEN_OUT = 2 * LARGEST  # characters of it with all aliases written out
DEEPEST = 50  # levels of a YAML file
LARGEST_INT = 2**63 - 1  # that libraries take

# what a file has may be of any length and depth; a message is one line
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 200


def param(
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    key: str | None = None,
    empty: bool = False,
    default: Any = dataclasses.MISSING,
) -> Any:
    """Declare what a parameter may be.

    low, high: bounds, included. choices: of a text. key: where it stands, with dots, if that is not the name of the
    field. empty: whether a list may be empty. default: of the dataclass; a file has to have the field all the same.
    """
    metadata = {"low": low, "high": high, "choices": choices, "key": key, "empty": empty}
    field: Any = dataclasses.field(default=default, metadata=metadata)
    return field


def name_of(field: "dataclasses.Field[Any]") -> str:
    """The key that a field stands for: its name; `from_` is `from`, which Python keeps for itself."""
    return field.name.removesuffix("_")


def docs(kind: type) -> dict[str, str]:
    """What the fields of a dataclass mean: the text below each of them, on one line."""
    (declared,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(declared, ast.ClassDef)
    found = {}
    for field, text in zip(declared.body, declared.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return found


def load_yaml(path: Path) -> Any:
    """Content of a YAML file; raises UserError if it is missing or cannot be read."""
    try:
        content = files.read(path, LARGEST)
    except FileNotFoundError:
        raise UserError(f"{path}: not found") from None
    return parse_yaml(content, str(path))


def load_mapping(path: Path) -> dict[str, Any]:
    """Content of a YAML file of keys, {} of an empty one; raises UserError as `load_yaml`, and for anything else."""
    content = load_yaml(path)
    if not isinstance(content, dict | None):
        raise UserError(f"{path}: found {content!r}, need a section with keys")
    return content or {}


def parse_yaml(content: bytes, where: str) -> Any:
    """What YAML says; raises UserError, which begins with `where`, if it says nothing: also of a merge not finished."""
    if re.search(rb"^(<{7}|>{7}) ", content, re.MULTILINE):
        raise UserError(f"{where}: has the marks of a merge that is not finished (<<<<<<<). Settle it, then go on")
    try:
        return _Loader(content.decode()).get_single_data()
    except UnicodeDecodeError:
        raise UserError(f"{where}: not valid YAML: not UTF-8 text. Save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:  # without the line itself, which may be a password
        mark = error.problem_mark or error.context_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        what = ", ".join(filter(None, (error.context, error.problem)))
        raise UserError(f"{where}: not valid YAML: {what}{place}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None


class _Loader(yaml.SafeLoader):
    """Plain values only, each key once, and no more of them than the file is long."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.constructor.ConstructorError(None, None, f"more than {DEEPEST} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _length(node, {}) > WRITTEN_OUT:
            raise yaml.constructor.ConstructorError(None, None, "its aliases (*name) stand for too much")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if (key.tag, str(key.value)) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands here twice", key.start_mark)
            seen.add((key.tag, str(key.value)))
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError):  # all of which PyYAML lets through
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(None, None, f"found no valid {kind}", node.start_mark) from None


def _length(node: yaml.Node, known: dict[int, float]) -> float:
    """Characters of a node with all aliases written out, about; one that contains itself has no end."""
    if id(node) not in known:
        known[id(node)] = math.inf
        parts = [node.value] if isinstance(node, yaml.ScalarNode) else _parts(node)
        known[id(node)] = sum(1 + (len(one) if isinstance(one, str) else _length(one, known)) for one in parts)
    return known[id(node)]


def _parts(node: yaml.Node) -> list[yaml.Node]:
    return [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else list(node.value)


def plain(value: Any, key: str) -> None:
    """Raise UserError unless a value is of texts, finite numbers, true, false, null, lists and mappings.

    The message does not tell the value, which may be a password.
    """
    if isinstance(value, dict):
        for name, one in value.items():
            if not isinstance(name, str):
                raise UserError(f"{key}: the key {name!r} is no text. Put it in quotes")
            plain(one, f"{key}.{name}")
    elif isinstance(value, list):
        for one in value:
            plain(one, key)
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{key}: found {value}, need a finite number")
    elif not isinstance(value, (str, int, float, types.NoneType)):
        raise UserError(f"{key}: found a {type(value).__name__}, need a text or a number. Put it in quotes")


def parse_json(content: str, where: str) -> Any:
    """What JSON says; raises UserError, which begins with `where`, if it says nothing, or one key twice, or NaN."""
    try:
        return json.loads(content, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not valid JSON: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def parse(kind: type[T], given: Any, where: str) -> T:
    """Build the dataclass `kind` from a mapping, refusing unknown, missing and impossible values.

    where: prefix of the keys in messages.
    """
    if not isinstance(given, dict):
        raise UserError(f"{where or 'params.yaml'}: found {_shown(given)}, need a section with keys")
    prefix = f"{where}." if where else ""
    fields = {name_of(field): field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = [key for key in given if key not in fields]
    if unknown:
        raise UserError(f"{prefix}{_shown(str(unknown[0]))[1:-1]}: unknown parameter; known here: {', '.join(fields)}")
    missing = [key for key in fields if key not in given]
    if missing:
        raise UserError(f"{prefix}{missing[0]}: missing parameter")
    hints = typing.get_type_hints(kind)
    values = {}
    for key, field in fields.items():
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            values[field.name] = parse(hint, given[key], prefix + key)  # type: ignore[arg-type]
        else:
            values[field.name] = _value(given[key], hint, field.metadata, prefix + key)
    return kind(**values)


def check(given: Any) -> None:
    """Refuse impossible values of a dataclass that code has made and no file, with the same messages."""
    hints = typing.get_type_hints(type(given))
    for field in dataclasses.fields(given):
        _value(getattr(given, field.name), hints[field.name], field.metadata, field.name)


def _shown(value: object) -> str:
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number of thousands of digits"


def _value(value: Any, hint: Any, meta: typing.Mapping[str, Any], key: str) -> Any:
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or not (value or meta.get("empty")):
            raise UserError(f"{key}: found {_shown(value)}, need a list, such as [0.5, 1]")
        return tuple(_value(item, typing.get_args(hint)[0], meta, key) for item in value)
    hints = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    allowed = tuple(typing.get_origin(kind) or kind for kind in hints)
    if value is None and types.NoneType in allowed:
        return None
    if dict in allowed and isinstance(value, dict):
        plain(value, key)
    found = value
    # YAML reads 1 as int where 1.0 is meant, and true is an int to Python
    if float in allowed and type(value) is int and abs(value) <= LARGEST_INT:
        value = float(value)
    good = type(value) in allowed
    low, high, choices = (meta.get(name) for name in ("low", "high", "choices"))
    if good and choices:
        good = value in choices
    if good and isinstance(value, (int, float)) and not isinstance(value, bool):
        good = math.isfinite(value) if isinstance(value, float) else abs(value) <= LARGEST_INT
        good = good and (low is None or value >= low) and (high is None or value <= high)
    if not good:
        raise UserError(f"{key}: found {_shown(found)}, need {_need(allowed, low, high, choices)}")
    return value


def _need(allowed: tuple[Any, ...], low: float | None, high: float | None, choices: tuple[str, ...] | None) -> str:
    if choices:
        return "one of " + ", ".join(choices) + (" or null" if types.NoneType in allowed else "")
    names = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        bool: "true or false",
        dict: "a mapping",
        types.NoneType: "null",
    }
    text = " or ".join(names[kind] for kind in allowed)
    if low is not None:
        text += f" from {low:g}" + (f" to {high:g}" if high is not None else " up")
    return text


def may_be(hint: Any, meta: typing.Mapping[str, Any]) -> str:
    """What a parameter may be, in words. hint: its type; meta: what `param` declared."""
    if typing.get_origin(hint) is tuple:
        return "a list, each " + may_be(typing.get_args(hint)[0], meta)
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return _need(allowed, *(meta.get(name) for name in ("low", "high", "choices")))
