"""What decides a stage is what DVC watches: each stage is run, and all that it loads and reads is compared."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from semireal import code
from semireal.pipeline.graph import outs_of
from tiny import ALL, ROOT, copy, shell

# Put in the way of every Python that the stage starts: writes down which modules it has loaded, which files it has
# opened to read, and which parameters it has asked for.
SPY = """
import atexit, json, os, sys
opened, asked = set(), set()
def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
        opened.add(os.path.abspath(arguments[0]))
sys.addaudithook(hook)
def tell():
    params = sys.modules.get("semireal.params")
    loaded = [m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)]
    found = {"loaded": loaded, "opened": sorted(opened), "asked": sorted(getattr(params, "ASKED", ()))}
    path = f"{os.environ['SPY_OUT']}/{os.getpid()}"
    with open(path, "w") as file:
        json.dump(found, file)
    os.rename(path, f"{path}.json")  # the drawing processes of the gallery may be killed on their way out
atexit.register(tell)
"""
# the module params, which notes the keys that are asked for
ASKED = """
ASKED = set()
_taken = taken
def taken(kind, content, where):
    ASKED.update(keys(kind))
    return _taken(kind, content, where)
"""
MACHINERY = {
    "params.yaml",
    "dvc.yaml",
    "requirements.txt",
}  # read to watch the stage; what it takes of them is compared


@pytest.fixture(scope="module")
def spied(made: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, set[str]]]:
    """Of each stage, what it loads, reads and asks for, as paths from the root of the repository."""
    top = tmp_path_factory.mktemp("closure")
    repo = copy(made, top / "repo")
    (top / "spy").mkdir()
    (top / "spy/sitecustomize.py").write_text(SPY)
    params = repo / "src/semireal/params/__init__.py"
    params.write_text(params.read_text() + ASKED)
    shell(repo, "dvc", "repro", "-q", "code")  # or the stages see that this module is another one
    found = {}
    for stage in ALL[1:]:
        name, _, item = stage.partition("@")
        out = top / name
        out.mkdir()
        command = ["python", f"stages/{name}.py", *([f"demo/{item}"] if item else [])]
        shell(repo, *command, PYTHONPATH=f"{top / 'spy'}:src", SPY_OUT=str(out), DVC_STAGE=stage)
        told = [json.loads(path.read_text()) for path in out.glob("*.json")]
        found[name] = {key: _inside(repo, [one for part in told for one in part[key]]) for key in ("loaded", "opened")}
        found[name]["asked"] = {one for part in told for one in part["asked"]}
    return found


def _inside(repo: Path, paths: list[str]) -> set[str]:
    found = {Path(path).relative_to(repo).as_posix() for path in paths if Path(path).is_relative_to(repo)}
    # what was opened from within a folder has no path here, and DVC's curves look at the files of git
    return {
        path for path in found if (repo / path).is_file() and not path.startswith(".") and "__pycache__" not in path
    }


def _declared(stage: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    do: dict[str, Any] = found.get("do", found)
    return do


@pytest.mark.slow
@pytest.mark.parametrize("stage", [name.partition("@")[0] for name in ALL[1:]])
def test_code_that_a_stage_loads_is_in_its_key(spied: dict[str, dict[str, set[str]]], stage: str) -> None:
    loaded = {path for path in spied[stage]["loaded"] | spied[stage]["opened"] if path.startswith(("src/", "stages/"))}
    reached = {path.relative_to(ROOT).as_posix() for path in code.files_of(stage, ROOT)}
    assert len(loaded) > 10  # the spy sees something
    assert loaded <= reached
    assert f"stages/{stage}.py" in reached
    # what is not loaded this time is behind an `if`: other detectors, the Inception, a network to start from
    lazy = {"evaluate": {"src/semireal/metrics/inception.py"}}
    assert reached - loaded <= lazy.get(stage, set()) | {path for path in reached if path.endswith("__init__.py")}


@pytest.mark.slow
@pytest.mark.parametrize("stage", [name.partition("@")[0] for name in ALL[1:]])
def test_files_and_parameters_that_a_stage_reads_are_declared(
    spied: dict[str, dict[str, set[str]]], stage: str
) -> None:
    declared = _declared(stage)
    given = {"${collection}": "demo/geralt", "${train.init}": "experiments/noise.init"}
    given["${blend.base}"] = given["${train.init}"]
    given |= dict.fromkeys(("${item}", "${name}"), "geralt")
    paths = [
        *declared["deps"],
        *outs_of(declared),
        *(next(iter(p)) for p in declared.get("params", []) if isinstance(p, dict)),
    ]
    for key, value in given.items():
        paths = [path.replace(key, value) for path in paths]
    read = {path for path in spied[stage]["opened"] if not path.startswith(("src/", "stages/"))}
    assert {path for path in read - MACHINERY if not any(f"{path}/".startswith(f"{one}/") for one in paths)} == set()
    assert spied[stage]["asked"] == {key for key in declared.get("params", []) if isinstance(key, str)}
