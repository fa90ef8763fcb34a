import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import ROOT
from semireal import files


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")
    with files.replacing(path) as partial:
        partial.write_text("new")
        assert partial.parent.parent == tmp_path  # on the same disk
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(ZeroDivisionError), files.replacing(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_what_a_link_points_to_is_not_written_into(tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
    cached, path = tmp_path / "cached", tmp_path / "x"
    cached.write_bytes(b"old")
    cached.chmod(0o444)
    link(cached, path)
    files.write_atomic(path, b"new")
    assert (path.read_bytes(), cached.read_bytes()) == (b"new", b"old")
    assert not path.is_symlink()


def test_others_may_read_what_a_library_wrote_for_the_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with files.replacing(tmp_path / "x") as partial:
        partial.chmod(0o600)
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "usual").stat().st_mode


KILLED = """
import os, signal, sys
from pathlib import Path
from semireal.files import replacing
with replacing(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    partial.with_name(".tmpAbC").write_text("what a library writes first")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_processes_left_goes_with_the_next_write(tmp_path: Path) -> None:
    alive = tmp_path / f".y.{os.getppid()}{files.PARTIAL}"
    alive.mkdir()
    others = [tmp_path / ".y.partial", tmp_path / ".y.0x1.partial", tmp_path / "kept"]
    for path in others:
        path.mkdir()
    for _ in range(3):
        env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "x")], env=env, check=False)
    killed = set(tmp_path.iterdir()) - {alive, *others}
    assert len(killed) == 1  # each removed what the one before it left
    assert {path.name for path in killed.pop().iterdir()} == {"x", ".tmpAbC"}
    files.write_atomic(tmp_path / "other", b"new")
    assert set(tmp_path.iterdir()) == {alive, *others, tmp_path / "other"}


def test_what_a_process_of_the_same_number_left_is_in_nobodys_way(tmp_path: Path) -> None:
    """In containers, where each program is the same number."""
    left = tmp_path / f".x.{os.getpid()}{files.PARTIAL}"
    left.mkdir()
    (left / "x").write_text("half of something longer")
    files.write_atomic(tmp_path / "x", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"new"


def test_json_is_sorted_and_for_people(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x", {"b": [1], "a": None})
    assert (tmp_path / "x").read_text() == '{\n  "a": null,\n  "b": [\n    1\n  ]\n}\n'


def test_keys_go_by_content() -> None:
    key = files.key_of({"a": 1, "b": Path("x")}, 2)
    assert key == hashlib.sha256(b'[{"a": 1, "b": "x"}, 2]').hexdigest()[:16]
    assert files.key_of({"b": Path("x"), "a": 1}, 2) == key
    assert files.key_of(2, {"a": 1, "b": Path("x")}) != key


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert files.sha256_of(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
