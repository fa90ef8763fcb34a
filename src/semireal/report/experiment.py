"""What the report knows about an experiment: its files, in the workspace or in a DVC experiment, branch or tag."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from semireal import params, paths, schema
from semireal.errors import UserError
from semireal.params.blend import Blend
from semireal.params.report import Report
from semireal.schema import param

Table = list[dict[str, str]]
TITLES = {"geralt": "Geralt", "wonder_woman": "Wonder Woman", "elf": "Elf"}


class Files(Protocol):
    """Where the files of an experiment are."""

    def read(self, path: str | Path) -> bytes | None:
        """The content of a file of the repository; None if the experiment has no such file."""
        ...


class Workspace:
    """The files as they lie in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str | Path) -> bytes | None:
        """See Files."""
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            return None


class Revision:
    """The files of a git revision, a DVC experiment for example, from the cache, or from the remote if need be."""

    def __init__(self, root: Path, name: str) -> None:
        from dvc.api import DVCFileSystem  # here, because the stage, which reads the workspace, does not need DVC
        from dvc.exceptions import DvcException
        from scmrepo.exceptions import SCMError

        try:
            self._files = DVCFileSystem(str(root), rev=name)
            self._files.ls("/")
        except (SCMError, DvcException):
            raise UserError(f"{name}: no such experiment, branch or tag. `dvc exp list --all` names them") from None

    def read(self, path: str | Path) -> bytes | None:
        """See Files."""
        try:
            found: bytes = self._files.cat_file(str(path))
        except FileNotFoundError:
            return None
        return found


@dataclass(frozen=True)
class Given:
    """What the report takes of params.yaml."""

    name: str
    collection: str
    seed: int
    report: Report
    blend: Blend
    epochs: int = param(key="train.epochs")
    resolution: int = param(key="train.resolution")
    psi: float = param(key="sample.psi")
    snapshot: str = param(key="sample.snapshot")


@dataclass(frozen=True)
class Experiment:
    """One column of the report.

    label: its name if it is not the workspace. params: all of its params.yaml, as it stands there.
    """

    files: Files
    label: str
    given: Given
    params: dict[str, Any]

    @property
    def name(self) -> str:
        """The character, as in the parameters."""
        return self.given.name

    @property
    def title(self) -> str:
        """The character for people."""
        return TITLES.get(self.name, self.name.replace("_", " "))

    def json(self, path: str | Path) -> Any:
        """A JSON file; an empty mapping if there is none."""
        found = self.files.read(path)
        return {} if found is None else json.loads(found)

    def table(self, path: str | Path, *only: str) -> Table:
        """Rows of a CSV file with a header; none if there is none. only: what is wanted of the columns, all without."""
        found = self.files.read(path)
        if found is None:
            return []
        rows = csv.DictReader(io.TextIOWrapper(io.BytesIO(found), encoding="utf-8", newline=""))
        return [{name: row[name] for name in only} for row in rows] if only else list(rows)

    @property
    def evaluation(self) -> dict[str, Any]:
        """The content of results/evaluation/evaluation.json, see semireal.evaluation.evaluate."""
        found: dict[str, Any] = self.json(paths.EVALUATION / "evaluation.json")
        return found


def load(files: Files, label: str = "") -> Experiment:
    """Read the parameters of an experiment; raises UserError where it has no results."""
    where = label or "the workspace"
    given = files.read("params.yaml")
    if given is None:
        raise UserError(f"{where}: no params.yaml. Run in the root of the repository")
    content = schema.parse_yaml(given, f"{where}: params.yaml")
    shown = params.taken(Given, content, f"{where}: params.yaml")
    if files.read(paths.HEADLINE) is None:
        raise UserError(f"{where}: no {paths.HEADLINE}. Run `dvc repro`, or `dvc pull` if it was shared")
    return Experiment(files, label, shown, content)
