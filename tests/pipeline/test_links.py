"""No stage writes through to the cache, whichever way DVC links files into the workspace."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiny import STAGES, copy, shell

pytestmark = pytest.mark.slow
NOBODY = 65534
# The stages over the outputs that are there, in one process; DVC itself would remove the outputs first. Not scrape,
# which would draw for long: it has no input, and leaves its output as the others do.
RUN = """
import runpy, sys
for name in sys.argv[1:]:
    runpy.run_path(f"stages/{name}.py", run_name="__main__")
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A temporary folder that other users can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def other_user() -> list[str]:
    """The start of a command line that runs as nobody, if we are root: may read what root can, but not write."""
    reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]  # or Python may be out of reach
    return [] if os.getuid() else ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *reading]


def _state(repo: Path) -> dict[Path, tuple[str, int]]:
    """Content and time of change of the objects in the cache: a stage may write again what is there."""
    files = (file for file in (repo / ".dvc/cache/files").rglob("*") if file.is_file())
    return {f.relative_to(repo): (hashlib.md5(f.read_bytes()).hexdigest(), f.stat().st_mtime_ns) for f in files}


# Root may write into the read-only files of a cache, others not: the symbolic links show what root would damage, the
# hard links that everything works for others.
@pytest.mark.parametrize(("link", "start"), [("symlink", []), ("hardlink", other_user())])
def test_no_stage_writes_through_to_the_cache(made: Path, folder: Path, link: str, start: list[str]) -> None:
    repo = copy(made, folder / "semi real")
    shell(repo, "dvc", "config", "--local", "cache.type", link)
    if start:
        shell(folder, "chown", "-R", f"{NOBODY}:{NOBODY}", str(folder))

    def run(*command: str) -> str:
        return shell(repo, *start, *command, HOME=str(folder))

    run("dvc", "checkout", "--relink")
    metrics = repo / "results/evaluation/metrics.json"
    assert metrics.is_symlink() if link == "symlink" else metrics.stat().st_nlink > 1
    before, measured = _state(repo), metrics.read_bytes()
    assert all(found == path.parent.name + path.name.removesuffix(".dir") for path, (found, _) in before.items())
    run("python", "-c", RUN, *STAGES)
    assert _state(repo) == before
    assert metrics.read_bytes() == measured
    assert not metrics.is_symlink()
    assert metrics.stat().st_nlink == 1
    # DVC replaces and restores linked files
    run("dvc", "exp", "run", "-S", "character=elf")
    run("git", "checkout", ".")
    run("dvc", "checkout")
    assert _state(repo).items() >= before.items()
    assert metrics.read_bytes() == measured
    assert "Running stage" not in run("dvc", "repro")
