import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from semireal import files


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")
    with files.replacing(path) as partial:
        partial.write_text("new")
        assert partial.parent == tmp_path  # on the same disk
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
