import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from semireal import paths
from semireal.errors import UserError
from semireal.pipeline import compare_lock, verify
from tiny import shell

HERE = {"cpu": "Some CPU", "instructions": ["avx2"], "kernels": "AVX2", "torch": "2.0"}


def stages(**outs: str) -> dict[str, Any]:
    return {name: {"outs": [{"path": f"data/{name}", "md5": md5}]} for name, md5 in outs.items()}


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository without anything; this machine is HERE."""
    monkeypatch.setattr(compare_lock, "this_machine", lambda: HERE)
    for command in ("init -q", "config user.email a@example.org", "config user.name a"):
        shell(tmp_path, "git", *command.split())
    (tmp_path / paths.MADE_ON).parent.mkdir()
    return tmp_path


def write(repo: Path, **outs: str) -> None:
    (repo / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages(**outs)}))


def commit(repo: Path) -> None:
    shell(repo, "git", "add", "-A")
    shell(repo, "git", "commit", "-q", "-m", "results")


def told(repo: Path, capsys: pytest.CaptureFixture[str], *, record: bool = False) -> str:
    compare_lock.run(repo, record=record)
    found = capsys.readouterr()
    return found.out + found.err


def test_without_results_there_is_nothing_to_compare(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"no dvc\.lock here"):
        compare_lock.run(repo, record=True)
    assert not (repo / paths.MADE_ON).exists()
    write(repo, crop="1")
    assert "no dvc.lock is committed" in told(repo, capsys)  # nor is there any commit


def test_each_output_is_compared_and_the_maker_named(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(repo, code="0", crop="1", train="2")
    told(repo, capsys, record=True)
    commit(repo)
    text = told(repo, capsys)
    assert text.count("same") == 3
    assert "compare-lock: all as committed\ncommitted: Some CPU, kernels AVX2, torch 2.0\n" in text

    other = json.loads((repo / paths.MADE_ON).read_text()) | {"cpu": "Another CPU", "kernels": "AVX512"}
    (repo / paths.MADE_ON).write_text(json.dumps(other))
    commit(repo)
    write(repo, code="0", crop="1", train="x")
    text = told(repo, capsys)
    assert [line.split()[0] for line in text.splitlines() if line.endswith(verify.DIFFERENT)] == ["train"]
    assert "compare-lock: not as committed: train\n" in text
    assert "committed: Another CPU, kernels AVX512, torch 2.0\nhere:      Some CPU, kernels AVX2, torch 2.0\n" in text


def test_a_record_is_of_its_own_results_alone(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(repo, code="0", train="1")
    told(repo, capsys, record=True)
    write(repo, code="9", train="1")  # a comment
    commit(repo)
    assert "committed: Some CPU" in told(repo, capsys)
    write(repo, code="9", train="2")  # others committed their results, and not their machine
    commit(repo)
    assert "on what machine it was made is not written down" in told(repo, capsys)


@pytest.mark.parametrize("content", ["", "{", "[]", '"text"', '{"outputs": 1}'])
def test_a_record_that_is_none_names_nobody(repo: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    write(repo, train="1")
    (repo / paths.MADE_ON).write_text(content)
    commit(repo)
    assert "is not written down" in told(repo, capsys)


def test_a_machine_is_described_and_not_named() -> None:
    found = compare_lock.this_machine()
    assert set(HERE) <= set(found)
    assert {"device", "threads", "system", "python", "numpy"} <= set(found)
    text = json.dumps(found)
    assert not any(word in text for word in (str(Path.home()), __import__("socket").gethostname()))
