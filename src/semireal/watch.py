"""Nothing that decides a stage may change while it runs.

DVC hashes the dependencies and parameters of a stage after its command has ended, so it would write a lock that
certifies the result of what was there before with the hash of what is there now (treeverse/dvc 11058).
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semireal import code
from semireal.errors import UserError
from semireal.files import key_of, sha256_of
from semireal.schema import load_mapping, load_yaml

PIPELINE, PARAMS = Path("dvc.yaml"), Path("params.yaml")
MISSING = "missing"
State = dict[str, str]  # of a file below a dependency, or of a parameter: what it holds
Known = dict[tuple[Path, int, int, int], str]  # hashes of files by path, size, time of change and inode


@contextmanager
def unchanged(stage: str | None) -> Iterator[None]:
    """Raise UserError where what decides the stage differs after the block from what it was before.

    stage: as in dvc.yaml, e.g. `scrape@elf`; None: nothing is watched. Also raises it, before the block, where the key
    of the code is not that of the code which is there: `dvc repro --single-item` skips the stage that makes it.
    """
    if stage is None:
        yield
        return
    name, _, item = stage.rpartition(":")[2].partition("@")
    known: Known = {}
    _check_code(name)
    before = state_of(name, item, known)
    yield
    after = state_of(name, item, known)
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    changed += [f"the code ({path})" for path in _code_changes(name)]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UserError(
            f"{stage}: {changed[0]}{more} changed while the stage ran, so the result is of neither version and is not "
            "recorded. Run `dvc repro` again"
        )


def state_of(name: str, item: str, known: Known) -> State:
    """What the dependencies and parameters of a stage hold, as dvc.yaml declares them.

    Files are read once: known keeps their hashes, and one that looks untouched is not read again.
    """
    content = load_yaml(PARAMS)
    declared = load_mapping(PIPELINE)["stages"][name]
    declared = declared.get("do", declared)
    values = _flat(content) | {"item": item}
    found: State = {}
    for dep in declared.get("deps", []):
        path = Path(_filled(dep, values))
        found |= {str(file): _digest(file, known) for file in _files(path)} or {str(path): MISSING}
    for entry in declared.get("params", []):
        file, keys = next(iter(entry.items())) if isinstance(entry, dict) else (str(PARAMS), [entry])
        file = _filled(file, values)
        for key in keys or []:
            leaves = _flat({key: _at(load_yaml(Path(file)), key)})
            found |= {f"{file}: {leaf}": key_of(value) for leaf, value in leaves.items()}
        if not keys:
            found[file] = _digest(Path(file), known)
    return found


def _check_code(name: str) -> None:
    changed = _code_changes(name)
    if changed:
        raise UserError(
            f"{name}: {code.FOLDER / name}.txt is not about the code that is here ({changed[0]}). Run `dvc repro "
            f"{name}`, which makes it anew first"
        )


def _code_changes(name: str) -> list[str]:
    """The files that code/<stage>.txt has otherwise than they are now."""
    if name == code.STAGE:  # makes them
        return []
    recorded = code.FOLDER / f"{name}.txt"
    before = set(recorded.read_text().splitlines()) if recorded.is_file() else {f"{recorded} is missing"}
    now = set(code.text_of(name, Path()).splitlines())
    return sorted({line.split(" ")[0] for line in before ^ now})


def _files(path: Path) -> list[Path]:
    """The files that DVC sees, which is told in .dvcignore not to look at what Python leaves beside its sources."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def _digest(path: Path, known: Known) -> str:
    try:
        seen = path.stat()
        key = path, seen.st_size, seen.st_mtime_ns, seen.st_ino
        if key not in known:
            known[key] = sha256_of(path)
    except FileNotFoundError:
        return MISSING
    return known[key]


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items() if isinstance(content, dict) else ():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _filled(text: str, values: Mapping[str, Any]) -> str:
    """A path of dvc.yaml with the values of its `${key}`."""
    return re.sub(r"\$\{([^}]+)\}", lambda found: str(values.get(found[1], found[0])), text)


def _at(content: Any, key: str) -> Any:
    for part in key.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content
