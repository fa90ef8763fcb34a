"""Under which licence each pinned package is, and whether supply/licences.yaml allows it.

    python supply/licences.py

Looks at the packages that are installed: License-Expression, or else the field License and all classifiers, of which
each must be allowed. A pinned package that this machine does not take (its marker says so) and of which
supply/licences.yaml knows nothing is named as unknown. Ends with 1 where a licence is not allowed, where one is unknown
of a package that belongs here, and where another version is installed than is pinned.
"""

import functools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from license_expression import ExpressionError, get_spdx_licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
RULES = Path(__file__).with_name("licences.yaml")
LONGEST = 60  # letters of a name; more is the text of a licence
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Pin:
    """A line of requirements*.txt. here: whether this machine takes it."""

    name: str
    version: str
    hashes: tuple[str, ...]
    here: bool


@dataclass(frozen=True)
class Found:
    """The licence of a pinned package. fault: why it does not pass, "" if it does. why: of the rule that decided."""

    pin: Pin
    licence: str
    why: str
    fault: str


def pins(root: Path = ROOT) -> list[Pin]:
    """All that requirements*.txt pin, by name, each once."""
    found: dict[str, Pin] = {}
    for file in sorted(root.glob("requirements*.txt")):
        for entry in re.split(r"\n(?=\S)", file.read_text()):
            line, _, hashes = entry.partition("\\\n")
            if line.startswith("#") or not line.strip():
                continue
            one = Requirement(line.strip())
            name = canonicalize_name(one.name)
            here = one.marker is None or one.marker.evaluate()
            (version,) = (spec.version for spec in one.specifier)
            pin = Pin(name, version, tuple(sorted(re.findall(r"sha256:([0-9a-f]{64})", hashes))), here)
            found[name] = pin if name not in found or here else found[name]
    return [found[name] for name in sorted(found)]


def look(rules: dict[str, Any], wanted: list[Pin]) -> list[Found]:
    """The licence of each package."""
    installed = {canonicalize_name(one.metadata["Name"]): one for one in metadata.distributions()}
    return [_look(pin, installed.get(canonicalize_name(pin.name)), rules) for pin in wanted]


def _look(pin: Pin, installed: metadata.Distribution | None, rules: dict[str, Any]) -> Found:
    known = rules["nvidia"] if pin.name.startswith("nvidia-") else rules["packages"].get(pin.name)
    if installed is not None and installed.version != pin.version:
        return Found(pin, UNKNOWN, "", f"{installed.version} is installed and {pin.version} pinned: make .venv/tested")
    stated = [] if installed is None else sorted(set(_stated(installed, rules["words"])))
    if stated and all(_allowed(one, rules["allowed"]) for one in stated):
        return Found(pin, _joined(stated), "", "")
    if known is not None:
        return Found(pin, known["licence"], known["why"], "")
    if stated:
        return Found(pin, _joined(stated), "", f"not allowed by {RULES.relative_to(ROOT)}")
    if installed is None:
        return Found(
            pin, UNKNOWN, "", f"not installed; say in {RULES.relative_to(ROOT)} what it is" if pin.here else ""
        )
    return Found(pin, UNKNOWN, "", f"its metadata does not say; look, and add it to {RULES.relative_to(ROOT)}")


def _stated(installed: metadata.Distribution, words: dict[str, str]) -> Iterator[str]:
    """What a package says that it is under: SPDX expressions, or its own words where nobody knows what they mean."""
    head = installed.metadata
    if "License-Expression" in head:
        yield head["License-Expression"]
        return
    classifiers = [line.split(" :: ") for line in head.get_all("Classifier") or [] if line.startswith("License")]
    names = [parts[-1] for parts in classifiers if parts[-1] != "OSI Approved"]
    field = "\n".join(head.get_all("License") or []).strip()
    first = field.partition("\n")[0].strip()
    # a whole text counts by its first line, if that is a name; where it is none, the classifiers must tell
    if first in words or (field == first and field and field != "UNKNOWN" and len(field) <= LONGEST):
        names.append(first)
    yield from (words.get(name, name) for name in names)


def _allowed(expression: str, allowed: dict[str, str]) -> bool:
    """Whether there is a way to use what is under an SPDX expression: all of an AND, one of an OR."""
    spdx = _spdx()
    try:
        parsed = spdx.parse(expression)
    except ExpressionError:
        return False

    def holds(part: Any) -> bool:
        if isinstance(part, spdx.AND):
            return all(map(holds, part.args))
        if isinstance(part, spdx.OR):
            return any(map(holds, part.args))
        return part.render() in allowed

    return parsed is not None and holds(parsed)


@functools.cache
def _spdx() -> Any:
    return get_spdx_licensing()  # which reads all names anew each time


def _joined(stated: list[str]) -> str:
    return " AND ".join(f"({one})" if " OR " in one and len(stated) > 1 else one for one in stated)


def main() -> None:
    """Print the table."""
    found = look(yaml.safe_load(RULES.read_text()), pins())
    for one in found:
        print(f"{one.pin.name:35} {one.pin.version:12} {one.licence}{f'  ({one.why})' if one.why else ''}")
    for one in found:
        if one.fault or one.licence == UNKNOWN:
            print(
                f"{one.pin.name} {one.pin.version}: {one.licence}: {one.fault or 'not installed here'}", file=sys.stderr
            )
    sys.exit(1 if any(one.fault for one in found) else 0)


if __name__ == "__main__":
    main()
