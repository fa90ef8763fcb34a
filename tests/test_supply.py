"""What we take from others: under which licence, by which hash, and written down in a bill of materials."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiny import ROOT

sys.path.insert(0, str(ROOT / "supply"))
licences = pytest.importorskip("licences", reason="supply/ needs packages: make .venv/tested")

RULES = yaml.safe_load((ROOT / "supply/licences.yaml").read_text())


def test_the_licences_of_all_pins_are_known_and_allowed() -> None:
    found = licences.look(RULES, licences.pins())
    assert len(found) > 200
    assert [one.pin.name for one in found] == sorted(one.pin.name for one in found)
    # an environment that is older than the pins says nothing about them
    assert [(one.pin.name, one.fault) for one in found if one.fault and "is installed and" not in one.fault] == []


def test_every_single_rule_says_why_and_is_about_a_pin() -> None:
    names = {pin.name for pin in licences.pins()}
    assert set(RULES["packages"]) <= names
    assert all(rule["why"] and rule["licence"] for rule in [*RULES["packages"].values(), RULES["nvidia"]])
    assert all(RULES["allowed"].values())


@pytest.mark.parametrize(
    ("expression", "fine"),
    [
        *[("MIT", True), ("GPL-3.0-only", False), ("MIT OR GPL-3.0-only", True), ("MIT AND GPL-3.0-only", False)],
        *[("(MIT OR GPL-3.0-only) AND Apache-2.0", True), ("Apache-2.0 WITH LLVM-exception", True)],
        *[("GPL-2.0-only WITH GCC-exception-2.0", False), ("LicenseRef-NVIDIA-Proprietary", False)],
        *[("whatever I like", False), ("", False), ("MIT OR", False)],
    ],
)
def test_of_an_or_one_must_be_allowed_and_of_an_and_all(expression: str, fine: bool) -> None:
    assert licences._allowed(expression, RULES["allowed"]) == fine


def installed(folder: Path, *head: str) -> Any:
    """A package with such metadata, where Python finds it."""
    info = folder / "wanted-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", "Name: wanted", "Version: 1.0", *head, "", ""]))


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        (["License-Expression: MIT"], ""),
        (["License-Expression: GPL-3.0-only"], "not allowed"),
        (["License-Expression: GPL-3.0-only", "Classifier: License :: OSI Approved :: MIT License"], "not allowed"),
        (["License: New BSD"], ""),
        (["License: AGPLv3", "Classifier: License :: OSI Approved :: MIT License"], "not allowed"),
        (
            ["License: MIT", "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)"],
            "not allowed",
        ),
        (["License: MIT License", "        Copyright (c) someone"], ""),
        (["License: UNKNOWN"], "does not say"),
        ([], "does not say"),
    ],
)
def test_what_the_metadata_says_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: list[str], fault: str
) -> None:
    installed(tmp_path, *head)
    monkeypatch.syspath_prepend(tmp_path)
    pin = licences.Pin("wanted", "1.0", ("0" * 64,), True)
    (found,) = licences.look(RULES, [pin])
    assert fault in found.fault
    assert bool(fault) == bool(found.fault)
    (other,) = licences.look(RULES, [replace(pin, version="2.0")])
    assert other.fault.startswith("1.0 is installed and 2.0 pinned")
    (absent,) = licences.look(RULES, [replace(pin, name="absent")])
    assert absent.fault.startswith("not installed")


def test_the_bill_has_every_pin_and_hash_and_is_the_same_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    """The official schema is checked while it is written."""
    sbom = pytest.importorskip("sbom", reason="cyclonedx-python-lib is not installed: make .venv/tested")
    pins = licences.pins()
    found = [one for one in licences.look(RULES, pins) if one.pin.name in ("numpy", "gallery-dl", "pywin32", "six")]
    text = sbom.bill(found, "1.0")
    assert sbom.bill(found[::-1], "1.0") == text
    written = json.loads(text)
    assert "timestamp" not in written["metadata"]
    assert [one["purl"] for one in written["components"]] == [
        f"pkg:pypi/{one.pin.name}@{one.pin.version}" for one in found
    ]
    for component, one in zip(written["components"], found, strict=True):
        (reference,) = component["externalReferences"]
        assert {entry["content"] for entry in reference["hashes"]} == set(one.pin.hashes) != set()
        assert component["licenses"]
    with pytest.raises(ValueError, match="schema"):
        sbom.bill([replace(found[0], pin=replace(found[0].pin, hashes=("no hash",)))], "1.0")


def test_every_pin_has_its_hashes() -> None:
    assert all(pin.hashes for pin in licences.pins())
    count = sum(len(re.findall("^[a-z0-9].*==", file.read_text(), re.M)) for file in ROOT.glob("requirements*.txt"))
    lines = [line for file in ROOT.glob("requirements*.txt") for line in file.read_text().splitlines()]
    assert sum(bool(re.match(r"[^\s#]", line)) for line in lines) == count


def test_nothing_is_installed_without_hashes() -> None:
    """In whatever is tracked, but for this package itself and remarks on what others do."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    installs = []
    for name in listed:
        path = ROOT / name
        if path.suffix in (".png", ".jpg", ".npz", ".onnx", ".safetensors") or name.startswith("tests/"):
            continue
        for line in path.read_text(errors="replace").splitlines():
            if re.search(r"\bpip3? install\b|\buv (pip install|add|tool install)\b|\b(uvx|pipx) ", line):
                installs.append((name, line.strip()))
    assert len(installs) >= 5
    without = [(name, line) for name, line in installs if "--require-hashes" not in line]
    assert [name for name, line in without if "--no-deps" not in line] == ["benchmarks/README.md"]  # how it was once
