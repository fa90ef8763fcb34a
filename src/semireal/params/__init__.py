"""The parameters of the experiment: one section of params.yaml a module, and what a stage takes of them."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from semireal import schema
from semireal.errors import UserError

FILE = Path("params.yaml")
T = TypeVar("T")


def load(kind: type[T], path: Path = FILE) -> T:
    """Read what the fields of the dataclass `kind` name, and nothing else.

    A field names a key at the top of the file, or with `param(key="train.resolution")` one further down. So the fields
    of a stage's own `Given` are the parameters that decide its result; a test compares them with dvc.yaml. Raises
    UserError naming key, value and what is allowed.
    """
    return taken(kind, schema.load_yaml(path), str(path))


def taken(kind: type[T], content: Any, where: str) -> T:
    """The same from the content of a file; where: its name for messages."""
    if not isinstance(content, dict):
        raise UserError(f"{where}: found {content!r}, need a section with keys")
    return schema.parse(kind, dict(_found(kind, content)), "")


def keys(kind: type) -> list[str]:
    """The keys of params.yaml, with dots, that the fields of a dataclass name."""
    return [field.metadata.get("key") or field.name for field in dataclasses.fields(kind)]


def _found(kind: type, content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for field, key in zip(dataclasses.fields(kind), keys(kind), strict=True):
        value: Any = content
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                raise UserError(f"{key}: missing parameter")
            value = value[part]
        yield field.name, value
