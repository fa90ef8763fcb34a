"""Which code a stage reaches, and a key of what that code does.

The walk starts at a script or module and follows each import of this package, wherever it stands, each module that is
started as a program (`-m`, name), and each data file that a module, or another data file, beside it names. A module
counts by its syntax tree without comments, documentation and layout; a data file by its bytes; a library by its pin in
requirements.txt. What is imported under a name that is only known at run time is not seen, nor is what a library of
ours imports in turn; a test runs the stages and compares with what they load.
"""

import ast
import functools
import hashlib
import itertools
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from semireal.files import key_of, sha256_of

SRC = Path(__file__).resolve().parents[1]
PACKAGE = __name__.partition(".")[0]
PINS = Path("requirements.txt")
STAGE = "code"
FOLDER = Path("code")  # what this stage writes: <stage>.txt for each other one
QUIET = {"filelock", "joblib", "tqdm"}  # libraries that cannot change a result
_SHORT = 16  # hex digits of a hash


def text_of(stage: str, root: Path) -> str:
    """The content of code/<stage>.txt: one line per file that decides the stage, then the pins of its libraries."""
    script = root / "stages" / f"{stage}.py"
    files, libraries = _reached(script)
    lines = [f"{_name_of(path, root)} {_hash_of(path)}" for path in files]
    return "".join(f"{line}\n" for line in [*sorted(lines), *pinned(libraries, root / PINS)])


def key_of_modules(*names: str) -> str:
    """Key of what modules of this package do, with all that they reach, for caches and for work to resume.

    It also changes with the versions of the libraries that are installed.
    """
    files: set[Path] = set()
    libraries: set[str] = set()
    for name in names:
        path = _module(name)
        if path is None:
            raise ValueError(f"{name}: no module of {PACKAGE}")
        for group, found in zip((files, libraries), _reached(path), strict=True):
            group |= found  # type: ignore[operator]
    return key_of(sorted(f"{_name_of(path, SRC)} {_hash_of(path)}" for path in files), versions(libraries))


def versions(libraries: set[str]) -> dict[str, str]:
    """The installed version of each library, by the name it is installed under."""
    found = {name for library in libraries - QUIET for name in _distributions().get(library, [])}
    return {name: metadata.version(name) for name in sorted(found, key=str.lower)}


def pinned(libraries: set[str], requirements: Path) -> list[str]:
    """The lines of requirements.txt that pin what is imported under these names, without hashes and remarks."""
    wanted = {_normal(name) for library in libraries - QUIET for name in _distributions().get(library, [])}
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", requirements.read_text(), re.MULTILINE)
    return sorted(f"{_normal(name)}=={version}" for name, version in found if _normal(name) in wanted)


def files_of(stage: str, root: Path) -> set[Path]:
    """The files of this repository that decide the stage."""
    return _reached(root / "stages" / f"{stage}.py")[0]


@functools.cache
def _distributions() -> dict[str, list[str]]:
    """By the name that is imported, what is installed; it looks through everything that is, which takes a second."""
    return {library: sorted(set(names)) for library, names in metadata.packages_distributions().items()}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _name_of(path: Path, root: Path) -> str:
    """The path as one reads it from the root of the repository, wherever the package lies."""
    return f"src/{path.relative_to(SRC).as_posix()}" if path.is_relative_to(SRC) else path.relative_to(root).as_posix()


def _reached(start: Path) -> tuple[set[Path], set[str]]:
    """All files that a script or module reaches, itself included, and the names of the libraries that they import."""
    files, libraries = {start}, set()
    todo = [start]
    while todo:
        path = todo.pop()
        found = _seen_in(path, *_stamp(path))
        libraries |= found.libraries
        new = found.files - files
        files |= new
        todo += sorted(new)
    return files, libraries


class _Found:
    """What one file names: files of this package, and libraries."""

    def __init__(self, path: Path) -> None:
        self.files: set[Path] = set()
        self.libraries: set[str] = set()
        if path.suffix != ".py":  # a page names its style sheet
            for text in re.findall(rb"""["']([\w.-]+)["']""", path.read_bytes()):
                self.files |= set(_beside(path, text.decode(errors="replace")))
            return
        for node in _running(ast.parse(path.read_bytes(), str(path))):
            for name in _imported(node, path):
                self._add(name)
            for text in _texts(node):
                self.files |= set(_beside(path, text))

    def _add(self, name: str) -> None:
        first = name.partition(".")[0]
        if first == PACKAGE:
            parts = name.split(".")
            # importing a.b.c runs a and a.b as well
            self.files |= {path for n in range(1, len(parts) + 1) if (path := _module(".".join(parts[:n])))}
        elif first not in sys.stdlib_module_names:
            self.libraries.add(first)


@functools.cache
def _seen_in(path: Path, size: int, changed: int) -> _Found:  # noqa: ARG001 - the key of the cache
    return _Found(path)


@functools.cache
def _hash(path: Path, size: int, changed: int) -> str:  # noqa: ARG001
    if path.suffix != ".py":
        return sha256_of(path)[:_SHORT]
    tree = ast.parse(path.read_bytes(), str(path))
    return hashlib.sha256(canonical(tree).encode("utf-8", "surrogatepass")).hexdigest()[:_SHORT]


def _hash_of(path: Path) -> str:
    return _hash(path, *_stamp(path))


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def canonical(node: Any) -> str:
    """A syntax tree as text, equal for all versions of Python: without positions, documentation and empty fields.

    `ast.dump` leaves out other things in each version. A text that stands alone is documentation, of a module, class,
    function or field.
    """
    if isinstance(node, ast.AST):
        fields = [
            f"{name}={canonical(_spoken(value) if isinstance(node, ast.JoinedStr) else value)}"
            for name, value in ast.iter_fields(node)
            if name not in ("ctx", "kind", "type_comment") and value is not None and value != []
        ]
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(canonical(item) for item in node if not _alone(item))}]"
    return f"{type(node).__name__}:{node!r}"


def _spoken(parts: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string without an empty one, which Python 3.12 adds behind a nested field."""
    return [part for part in parts if not (isinstance(part, ast.Constant) and part.value == "")]


def _alone(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but documentation and what is for type checkers alone."""
    yield node
    for child in ast.iter_child_nodes(node):
        if _alone(child):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).rpartition(".")[2] == "TYPE_CHECKING":
            for other in child.orelse:
                yield from _running(other)
            continue
        yield from _running(child)


def _imported(node: ast.AST, path: Path) -> Iterator[str]:
    """Names of modules that the node imports or starts; what is imported from a module may be a module as well."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            raise SyntaxError(f"{path}:{node.lineno}: a relative import, which the key of the code does not follow")
        assert node.module is not None
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, (ast.List, ast.Tuple)):
        words = [item.value if isinstance(item, ast.Constant) else None for item in node.elts]
        for flag, name in itertools.pairwise(words):
            if flag == "-m" and isinstance(name, str):
                yield name
                yield f"{name}.__main__"


def _module(name: str) -> Path | None:
    """The file of a module of this package, if there is one."""
    path = SRC.joinpath(*name.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def _beside(path: Path, text: str) -> Iterator[Path]:
    """The data files that a text in a module of this package names, if it does: a file beside it, or a folder."""
    if not re.fullmatch(r"[\w-][\w.-]*", text) or not path.is_relative_to(SRC):
        return
    named = path.with_name(text)
    if named.is_file() and named.suffix != ".py":
        yield named
    elif named.is_dir() and not (named / "__init__.py").exists():
        yield from (file for file in sorted(named.rglob("*")) if file.is_file() and file.suffix != ".pyc")
