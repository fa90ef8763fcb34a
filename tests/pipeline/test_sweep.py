from pathlib import Path

import pytest

from semireal.errors import UserError
from semireal.pipeline import sweep
from tiny import shell


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["sample.psi=0.5,0.7"], "name the character"),
        (["character=elf", "sample.psi"], "sample.psi: need key=value"),
        (["character=elf", "sample.psi="], "need key=value"),
        (["character=elf", "--queue"], "--queue: need key=value"),
    ],
)
def test_settings_that_would_not_do_what_is_meant(tmp_path: Path, settings: list[str], message: str) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(UserError, match=message):
        sweep.check(settings, tmp_path)


def test_the_queue_of_dvc_needs_an_ascii_path_and_git(tmp_path: Path) -> None:
    folder = tmp_path / "Zeichnungen für später"
    (folder / ".git").mkdir(parents=True)
    with pytest.raises(UserError, match="letters outside ASCII"):
        sweep.check(["character=elf"], folder)
    with pytest.raises(UserError, match="not the top of a git repository"):
        sweep.check(["character=elf"], tmp_path)
    shell(tmp_path, "git", "init", "-q", "with space")
    sweep.check(["character=elf", "sample.psi=0.5,0.7"], tmp_path / "with space")


def test_tasks_are_read_from_what_dvc_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = """\
Task     Name        Created    Status
67c3474  robed-albs  07:18 PM   Running
86a0af7              Nov 22, 2026  Queued
1234567  done        07:10 PM   Success
89abcde  Failed      07:11 PM   Failed

Worker status: 2 active, 0 idle
"""
    monkeypatch.setattr(sweep, "dvc", lambda *command, show: printed)
    assert sweep.tasks() == {"67c3474": "Running", "86a0af7": "Queued", "1234567": "Success", "89abcde": "Failed"}
    assert list(sweep.active()) == ["67c3474", "86a0af7"]
