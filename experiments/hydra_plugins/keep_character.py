"""Loaded by `dvc exp run` before it composes params.yaml: an experiment never changes its character silently."""

import sys
from pathlib import Path

from dvc.exceptions import InvalidArgumentError
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src"))  # dvc may have a Python of its own

from semireal.pipeline import compose  # noqa: E402


class KeepCharacter(SearchPathPlugin):
    """Refuses an `exp run` that would silently go back to the default character, or whose collection is not here."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:  # noqa: ARG002
        """Look at the command line, the only place where the overrides are now; leaves the search path alone."""
        why = compose.leaving(ROOT, sys.argv[1:]) or compose.never_made(ROOT, sys.argv[1:])
        if why:
            raise InvalidArgumentError(why)
