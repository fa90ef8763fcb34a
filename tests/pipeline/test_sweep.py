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


def test_git_has_to_know_who_makes_the_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell(tmp_path, "git", "init", "-q", "repo")
    for name in ("AUTHOR", "COMMITTER"):
        for part in ("NAME", "EMAIL"):
            monkeypatch.delenv(f"GIT_{name}_{part}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    with pytest.raises(UserError, match=r"git has no user\.name and user\.email.*git config user\.name"):
        sweep.check(["character=elf"], tmp_path / "repo")
    for key in ("user.name", "user.email"):
        shell(tmp_path / "repo", "git", "config", key, "x")
    sweep.check(["character=elf"], tmp_path / "repo")


class Queue:
    """Answers of `dvc queue status`, one after the other, the last again and again; and what else was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, *command: str, show: bool = True) -> str:
        self.asked.append(command)
        if command[:2] != ("queue", "status"):
            return ""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def status(workers: int, **tasks: str) -> str:
    rows = [f"{task}  name  07:18 PM   {what}" for task, what in tasks.items()]
    return "\n".join(["Task     Name        Created    Status", *rows, "", f"Worker status: {workers} active, 0 idle"])


def test_a_sweep_waits_for_its_own_experiments_only(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"aaaaaaa": "Running"}
    queue = Queue(status(1, **others, bbbbbbb="Running"), status(1, **others, bbbbbbb="Success"))
    monkeypatch.setattr(sweep, "dvc", queue)
    sweep.wait(["bbbbbbb"], 0, of_others=["aaaaaaa"])
    assert queue.asked[-1] == ("queue", "stop", "--quiet")
    sweep.wait(["bbbbbbb"], 0)  # somebody works on the other one: its worker stays
    assert queue.asked[-1] != ("queue", "stop", "--quiet")


def test_a_sweep_without_workers_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PAUSE_S", 0)
    monkeypatch.setattr(sweep, "dvc", Queue(status(0, bbbbbbb="Running")))
    with pytest.raises(UserError, match=r"no worker is left.*bbbbbbb not done"):
        sweep.wait(["bbbbbbb"], 0)
    assert sweep.dead() == ["bbbbbbb"]
    # a worker that answers only at the third time is one, whose data `clean-cache` must not take away
    slow = Queue(*[status(0, bbbbbbb="Running")] * 3, status(1, bbbbbbb="Running"))
    monkeypatch.setattr(sweep, "dvc", slow)
    assert sweep.dead() == []


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
