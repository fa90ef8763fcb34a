"""Queue a grid of experiments and run it, several at a time: `semireal sweep character=elf sample.psi=0.5,0.7`.

This is `dvc exp run --queue` and `dvc queue start` with what they leave to the user: a character is named, so that
nothing falls back to the default one; the path is one that the queue works in; the experiments share the cores; one
waits until they are through, sees what failed, and no worker stays behind with the environment of this run.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from semireal import stage
from semireal.errors import UserError
from semireal.pipeline.commands import dvc, git

POLL_S = 5.0
STUMBLES, PAUSE_S = 3, 1.0
LOG_LINES = 15


def run(settings: list[str], jobs: int, poll_s: float = POLL_S) -> None:
    """Queue the grid that settings such as `sample.psi=0.5,0.7` span, and wait until the queue is empty.

    Raises UserError if it cannot start, or at the end if an experiment failed.
    """
    check(settings, Path.cwd())
    earlier = set(tasks())
    lost = dead()
    for task in lost:
        stage.say(f"sweep: {task} is marked as running, but nothing works on it; end it: dvc queue kill {task}")
    dvc("exp", "run", "--queue", *(word for setting in settings for word in ("--set-param", setting)))
    queued = [task for task in tasks() if task not in earlier]
    if not queued:
        raise UserError("sweep: nothing was queued, see above")
    stage.say(f"sweep: {len(queued)} experiments, {jobs} at a time; Ctrl-C leaves them running (dvc queue status)")
    start_workers(jobs)
    try:
        wait(queued, poll_s, lost)
    except KeyboardInterrupt:
        stage.say("\nsweep: what is queued goes on in the background; see dvc queue status, end it: dvc queue kill")
        sys.exit(130)
    ended = tasks()
    failed = [task for task in queued if ended.get(task) != "Success"]
    stage.say(f"sweep: {len(queued) - len(failed)} of {len(queued)} done; `semireal compare` shows them")
    for task in failed:
        stage.say(f"\n{task}: {ended.get(task, 'removed')}\n{_log(task)}")
    if failed:
        raise UserError(f"sweep: {len(failed)} of {len(queued)} failed; all of a log: dvc queue logs {failed[0]}")


def check(settings: list[str], root: Path) -> None:
    """Raise UserError if a sweep of these settings in this folder would fail or not do what is meant."""
    if not str(root.resolve()).isascii():
        raise UserError(
            f"sweep: the queue of DVC fails in a folder with letters outside ASCII ({root.resolve()}). Move the "
            "repository, or run the experiments one by one: dvc exp run -S ..."
        )
    if not (root / ".git").exists():
        raise UserError(f"sweep: {root.resolve()} is not the top of a git repository; experiments are git commits")
    wrong = [setting for setting in settings if not re.fullmatch(r"[^=\s]+=\S.*", setting)]
    if wrong:
        raise UserError(f"sweep: {wrong[0]}: need key=value or key=value,value, e.g. sample.psi=0.5,0.7")
    if not any(setting.startswith("character=") for setting in settings):
        raise UserError("sweep: name the character, e.g. character=elf; without it DVC goes back to the default one")
    missing = [key for key in ("user.name", "user.email") if not _is_set(key, root)]
    if missing:
        raise UserError(
            f"sweep: git has no {' and '.join(missing)}, which experiments, being commits, need: "
            'git config user.name "..."; git config user.email "..."'
        )
    unknown = git("ls-files", "--others", "--exclude-standard", "experiments", "data", root=root).splitlines()
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise UserError(f"sweep: {unknown[0]}{more} is not in git, so the queue would be without. `git add` it first")


def start_workers(jobs: int) -> None:
    """Start the workers of the queue; they share the cores."""
    cores = len(os.sched_getaffinity(0))
    env = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, cores // jobs)))}
    # the workers keep what they inherit open: with a pipe as output this command would never end for its caller
    subprocess.run(
        [sys.executable, "-m", "dvc", "queue", "start", "--jobs", str(jobs)],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def _is_set(key: str, root: Path) -> bool:
    """Whether git has a value; the environment counts as well."""
    name = {"user.name": "NAME", "user.email": "EMAIL"}[key]
    if os.environ.get(f"GIT_AUTHOR_{name}") and os.environ.get(f"GIT_COMMITTER_{name}"):
        return True
    return subprocess.run(["git", "config", key], cwd=root, capture_output=True, check=False).returncode == 0


def wait(queued: Sequence[str], poll_s: float, of_others: Collection[str] = ()) -> None:
    """Return when none of these tasks is queued or running any more; then end the workers, unless others need them.

    of_others: tasks of which it is known that nobody works on them. Raises UserError where no worker is left.
    """
    before: dict[str, str] = {}
    while now := {task: status for task, status in active().items() if task in queued}:
        if now != before:
            running = [task for task, status in now.items() if status == "Running"]
            stage.say(f"sweep: running {', '.join(running) or 'nothing yet'}; {len(now) - len(running)} waiting")
        elif not workers():
            raise UserError(
                f"sweep: no worker is left, they were killed; {', '.join(now)} not done. Take them off the queue (dvc "
                "queue kill, dvc queue remove) and start again: what was trained is gone on with"
            )
        before = now
        time.sleep(poll_s)
    if set(active()) - set(queued) - set(of_others):
        stage.say("sweep: there are other experiments in the queue; its workers go on with them")
    else:
        dvc("queue", "stop", "--quiet")  # an idle worker would keep the environment of this run for the next one


def workers() -> int:
    """How many workers the queue has, busy and idle; asked again and again, since they answer slowly when busy."""
    for _ in range(STUMBLES):
        found = re.search(r"^Worker status: (\d+) active, (\d+) idle", _status(), re.M)
        count = sum(int(number) for number in found.groups()) if found else 0
        if count:
            return count
        time.sleep(PAUSE_S)
    return 0


def tasks() -> dict[str, str]:
    """The tasks of the queue, by short id: Queued, Running, Success or Failed."""
    rows = re.findall(r"^([0-9a-f]{7}) .* (Queued|Running|Success|Failed)$", _status(), re.M)
    return dict(rows)


def _status() -> str:
    """What DVC says of its queue. It stumbles now and then over the notes of a running task that are being written."""
    for _ in range(STUMBLES):
        with suppress(UserError):
            return dvc("queue", "status", show=False)
        time.sleep(PAUSE_S)
    return dvc("queue", "status", show=False)


def active() -> dict[str, str]:
    """The tasks that are queued or running."""
    return {task: status for task, status in tasks().items() if status in ("Queued", "Running")}


def dead() -> list[str]:
    """The tasks that DVC believes to run while there is no worker: they were killed, or the machine went down."""
    running = [task for task, status in tasks().items() if status == "Running"]
    return running if running and not workers() else []


def _log(task: str) -> str:
    lines = dvc("queue", "logs", task, show=False, must=False).strip().splitlines()
    return "\n".join(lines[-LOG_LINES:])
