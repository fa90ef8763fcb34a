"""What a section of a YAML file may hold: declared once, as a dataclass, and checked before any work starts.

A field says what its value may be with `param`; the text below it, which no key of the code covers, says what it means.
Unknown, missing and impossible values are refused with one line that names the key.
"""

import ast
import dataclasses
import inspect
import re
import textwrap
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from semireal.errors import UserError

T = TypeVar("T")


def param(
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    key: str | None = None,
    empty: bool = False,
) -> Any:
    """Declare what a parameter may be.

    low, high: bounds, included. choices: of a text. key: where it stands, with dots, if that is not the name of the
    field. empty: whether a list may be empty.
    """
    return dataclasses.field(metadata={"low": low, "high": high, "choices": choices, "key": key, "empty": empty})


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
        return parse_yaml(path.read_bytes(), str(path))
    except OSError as error:
        reason = "not found" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"{path}: {reason}") from None


def parse_yaml(content: bytes, where: str) -> Any:
    """What YAML says; raises UserError, which begins with `where`, if it says nothing: also of a merge not finished."""
    if re.search(rb"^(<{7}|>{7}) ", content, re.MULTILINE):
        raise UserError(f"{where}: has the marks of a merge that is not finished (<<<<<<<). Settle it, then go on")
    try:
        return yaml.safe_load(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None


def parse(kind: type[T], given: Any, where: str) -> T:
    """Build the dataclass `kind` from a mapping, refusing unknown, missing and impossible values.

    where: prefix of the keys in messages.
    """
    if not isinstance(given, dict):
        raise UserError(f"{where or 'params.yaml'}: found {given!r}, need a section with keys")
    prefix = f"{where}." if where else ""
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = [key for key in given if key not in fields]
    if unknown:
        raise UserError(f"{prefix}{unknown[0]}: unknown parameter; known here: {', '.join(fields)}")
    missing = [key for key in fields if key not in given]
    if missing:
        raise UserError(f"{prefix}{missing[0]}: missing parameter")
    hints = typing.get_type_hints(kind)
    values = {}
    for key, field in fields.items():
        if dataclasses.is_dataclass(hints[key]):
            values[key] = parse(hints[key], given[key], prefix + key)
        else:
            values[key] = _value(given[key], hints[key], field.metadata, prefix + key)
    return kind(**values)


def _value(value: Any, hint: Any, meta: typing.Mapping[str, Any], key: str) -> Any:
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or not (value or meta.get("empty")):
            raise UserError(f"{key}: found {value!r}, need a list, such as [0.5, 1]")
        return tuple(_value(item, typing.get_args(hint)[0], meta, key) for item in value)
    hints = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    allowed = tuple(typing.get_origin(kind) or kind for kind in hints)
    if value is None and types.NoneType in allowed:
        return None
    found = value
    # YAML reads 1 as int where 1.0 is meant, and true is an int to Python
    if float in allowed and type(value) is int:
        value = float(value)
    good = type(value) in allowed
    low, high, choices = (meta.get(name) for name in ("low", "high", "choices"))
    if good and choices:
        good = value in choices
    if good and isinstance(value, (int, float)) and not isinstance(value, bool):
        good = (low is None or value >= low) and (high is None or value <= high)  # false for NaN with a bound
    if not good:
        raise UserError(f"{key}: found {found!r}, need {_need(allowed, low, high, choices)}")
    return value


def _need(allowed: tuple[Any, ...], low: float | None, high: float | None, choices: tuple[str, ...] | None) -> str:
    if choices:
        return "one of " + ", ".join(choices)
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
