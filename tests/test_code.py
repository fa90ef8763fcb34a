"""The key of the code: what changes it, what does not, and how far it reaches."""

import ast
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT
from semireal import code

BEFORE = '''
"""What it is."""
import os
from pack.other import f  # a remark

class A:
    """Doc."""
    x: int = 1
    """what it means"""

def g(a, b=2):
    return f"{a!r:>{b}} {f(a)}" + "text"
'''
# the same to the machine
SAME = [
    BEFORE.replace("  # a remark", ""),
    BEFORE.replace("What it is", "Something else"),
    BEFORE.replace('    """what it means"""\n', ""),
    BEFORE.replace("\nclass", "\n\n\n# more\nclass"),
    BEFORE.replace("def g(a, b=2):", "def g(\n    a,\n    b=2,\n):"),
    BEFORE.replace('"text"', "'text'"),
]
OTHER = [
    BEFORE.replace("b=2", "b=3"),
    BEFORE.replace("b=2", "b=2.0"),
    BEFORE.replace("b=2", "b=True").replace("x: int = 1", "x: int = True"),
    BEFORE.replace("!r", "!s"),
    BEFORE.replace('"text"', 'b"text"'),
    BEFORE.replace("x: int", "x: float"),
    BEFORE.replace("import f ", "import f as h "),
    BEFORE.replace("return", "yield"),
    BEFORE.replace("x: int = 1", "x: int"),
    BEFORE + "\ng.z = 1\n",
    BEFORE.replace("f(a)", "f(*a)"),
    BEFORE.replace("f(a)", "f(a, '')"),
]


def canonical(text: str) -> str:
    return code.canonical(ast.parse(text))


def test_comments_documentation_and_layout_do_not_count() -> None:
    assert {canonical(text) for text in SAME} == {canonical(BEFORE)}


def test_everything_else_counts() -> None:
    assert len({canonical(text) for text in [BEFORE, *OTHER]}) == 1 + len(OTHER)


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_other_pythons_give_the_same_key(version: str) -> None:
    python = shutil.which(f"python{version}")
    command = "import ast, sys; from semireal import code; print(code.canonical(ast.parse(sys.stdin.read())), end='')"
    # only what needs no installed package
    text = (ROOT / "src/semireal/code.py").read_text() + BEFORE
    done = python and subprocess.run(
        [python, "-c", command],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(code.SRC)},
    )
    if not done or done.returncode:
        pytest.skip(f"no Python {version} here")
    assert done.stdout == canonical(text)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a package `pack` and one stage."""
    files = {
        "stages/one.py": "from pack import first\n",
        "src/pack/__init__.py": "",
        "src/pack/first.py": "from pack.room import second\nDATA = 'table.json'\n",
        "src/pack/table.json": '{"more": "more.csv"}',
        "src/pack/more.csv": "",
        "src/pack/page/index.html": "",
        "src/pack/unused.py": "",
        "src/pack/room/__init__.py": "",
        "src/pack/room/second.py": "def f():\n    import numpy, pack.lazy\n    from pack.room.third import x\n",
        "src/pack/room/third.py": "x = ['python', '-m', 'pack.program', 'page']\n",
        "src/pack/lazy.py": "import tqdm, filelock, yaml\n",
        "src/pack/program/__init__.py": "",
        "src/pack/program/__main__.py": "import os\n",
        "src/pack/typed.py": "",
        "requirements.txt": "numpy==2.0 \\\n    --hash=sha256:0\npandas==1\nPyYAML==6.0 # why\ntqdm==4\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(code, "SRC", tmp_path / "src")
    monkeypatch.setattr(code, "PACKAGE", "pack")
    return tmp_path


def listed(package: Path) -> list[str]:
    return [line.split(" ")[0] for line in code.text_of("one", package).splitlines()]


def test_all_that_is_reached_and_nothing_else(package: Path) -> None:
    assert listed(package) == [
        "src/pack/__init__.py",
        "src/pack/first.py",
        "src/pack/lazy.py",
        "src/pack/more.csv",
        "src/pack/program/__init__.py",
        "src/pack/program/__main__.py",
        "src/pack/room/__init__.py",
        "src/pack/room/second.py",
        "src/pack/room/third.py",
        "src/pack/table.json",
        "stages/one.py",
        "numpy==2.0",
        "pyyaml==6.0",
    ]


def test_a_folder_of_data_beside_a_module_counts(package: Path) -> None:
    (package / "src/pack/first.py").write_text("PAGE = 'page'\n")
    assert "src/pack/page/index.html" in listed(package)


def test_what_is_for_type_checkers_alone_does_not_count(package: Path) -> None:
    text = "import typing\nif typing.TYPE_CHECKING:\n    from pack import typed\nelse:\n    from pack import lazy\n"
    (package / "src/pack/first.py").write_text(text)
    assert "src/pack/lazy.py" in listed(package)
    assert "src/pack/typed.py" not in listed(package)


def test_relative_imports_are_refused_and_not_overlooked(package: Path) -> None:
    (package / "src/pack/first.py").write_text("from . import unused\n")
    with pytest.raises(SyntaxError, match=r"first\.py:1: a relative import"):
        code.text_of("one", package)


@pytest.mark.parametrize(
    ("file", "text", "changes"),
    [
        ("src/pack/first.py", "from pack.room import second  # why\nDATA = 'table.json'\n", False),
        ("src/pack/unused.py", "x = 1\n", False),
        ("src/pack/new.py", "x = 1\n", False),
        ("src/pack/first.py~", "x", False),
        ("src/pack/lazy.py", "import tqdm, filelock, yaml\nx = 1\n", True),
        ("src/pack/table.json", '{"more":  "more.csv"}', True),
        ("src/pack/more.csv", "a", True),
        ("stages/one.py", "from pack import first\nfirst.x = 1\n", True),
        ("requirements.txt", "numpy==2.0\npyyaml==6.0\ntqdm==5\nanother==1\n", False),
        ("requirements.txt", "numpy==2.1\npyyaml==6.0\n", True),
    ],
)
def test_what_changes_the_key_of_a_stage(package: Path, file: str, text: str, changes: bool) -> None:
    before = code.text_of("one", package)
    (package / file).write_text(text)
    assert (code.text_of("one", package) != before) == changes


def test_the_key_for_caches_follows_code_and_installed_versions(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [code.key_of_modules("pack.first")]
    (package / "src/pack/first.py").write_text("from pack.room import second  # why\nDATA = 'table.json'\n")
    assert code.key_of_modules("pack.first") == keys[0]
    (package / "requirements.txt").write_text("numpy==9\n")  # a pin is not what computes here
    assert code.key_of_modules("pack.first") == keys[0]
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"another {name}")
    keys.append(code.key_of_modules("pack.first"))
    (package / "src/pack/room/third.py").write_text("x = 1\n")
    keys.append(code.key_of_modules("pack.first"))
    keys.append(code.key_of_modules("pack.lazy"))
    assert len(set(keys)) == 4
    with pytest.raises(ValueError, match=r"pack\.no: no module of pack"):
        code.key_of_modules("pack.no")


def test_every_stage_pins_what_it_computes_with() -> None:
    pins = {stage.stem: code.text_of(stage.stem, ROOT) for stage in (ROOT / "stages").glob("*.py")}
    assert all("numpy==" in pins[stage] for stage in ("crop", "filter", "train", "evaluate"))
    assert "torch==" in pins["train"]
    assert "dvclive==" in pins["train"]
    assert "torch-fidelity==" in pins["evaluate"]
    assert "gallery-dl==" in pins["scrape"]
    assert "imagehash==" in pins["dedupe"]
    # nothing that the stage has no use for
    assert "torch==" not in pins["resize"] + pins["dedupe"] + pins["funnel"]
    assert "matplotlib==" not in pins["crop"]
    assert not any(name in text for text in pins.values() for name in ("pytest==", "tqdm=="))


def test_what_the_network_is_trained_with_has_no_other_stage_in_it() -> None:
    rooms = {path.parts[-2] for path in code.files_of("train", ROOT)}
    assert not rooms & {"collect", "faces", "curate", "evaluation", "report", "review", "pipeline"}
