"""What can happen to a stage while it runs, and what must be so afterwards.

A drill is a row of faults, each done to the same command begun anew, and then the command once more, undisturbed. After
each fault an output is the old one, the whole new one or absent, and no process is left and no port open; after the
last run the outputs are those of an undisturbed run, and there is no file that an undisturbed run does not leave.
"""

import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import IO, NamedTuple

import numpy as np
import yaml

from tiny import ROOT, TINY, clone, environment, merge

SMALL = {"train": {"epochs": 2, "batch": 40}, "evaluate": {"images": 8}}  # two epochs: there is something to resume
IMAGES = 6  # of each source
MARK = "DRILL"  # in the environment of what a drill begins, and so of its children
OURS = uuid.uuid4().hex
STRIKE = ROOT / "tests/drills/strike"
PATIENCE_S = 600
GONE_S = 5  # that a child may take to notice the end of its parent
LOCK = "dvc.lock"  # grows with every stage that is done
STARTING = "Fatal Python error: init_"  # what Python says of Ctrl-C before it runs anything
BUSY = "(Unable to acquire lock|is busy, it is being blocked by)"  # what DVC says
TOLD = 600  # characters of what a command said
NO_ROOM = (2, os.EX_TEMPFAIL)
# by whether Python has come as far as stage.run: what a shell calls 130 and 143 is also a death by the signal itself
ENDS = {signal.SIGINT: (130, -signal.SIGINT), signal.SIGTERM: (143, -signal.SIGTERM)}


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml, or another command that makes files."""

    name: str
    command: Sequence[str]
    outs: Sequence[Path]
    goes_on_from: Sequence[Path]


@dataclass(frozen=True)
class Undisturbed:
    """A stage in a repository that has all it needs, and what a run leaves that nothing happens to."""

    stage: Stage
    repo: Path
    seconds: float
    changes: int  # of files, by the process itself
    outs: Mapping[Path, str]  # digests
    files: frozenset[str]  # all of the repository
    work: int  # bytes in .work


Fault = Callable[[Undisturbed], list[str] | None]  # what was wrong afterwards; None: the stage had ended before


# --- a repository to do it in ------------------------------------------------------------------------------------


def stages_of(repo: Path) -> list[Stage]:
    """The stages of dvc.yaml in their order; of one with several items the first."""
    values = yaml.safe_load((repo / "params.yaml").read_text())
    found = []
    for name, content in yaml.safe_load((repo / "dvc.yaml").read_text())["stages"].items():
        filled = values
        if "foreach" in content:
            filled = values | {"item": values[content["foreach"][2:-1]][0]}
            content = content["do"]
        words = [word for word in shlex.split(Template(content["cmd"]).substitute(filled)) if "=" not in word]
        outs = [next(iter(out)) if isinstance(out, dict) else out for out in content["outs"]]
        paths = tuple(repo / Template(out).substitute(filled) for out in outs)
        found.append(Stage(name, [sys.executable, *words[1:]], paths, [repo / ".work"]))
    return found


def repro(repo: Path, stages: Sequence[Stage]) -> Stage:
    """All stages at once, as DVC runs them."""
    outs = [repo / LOCK, *(out for stage in stages for out in stage.outs)]
    return Stage("dvc repro", ["dvc", "repro"], outs, [repo / name for name in (".work", ".dvc/cache", ".dvc/tmp")])


def small_clone(folder: Path) -> Path:
    """A clone of this repository in which a stage takes little more than it takes to start."""
    return clone(folder, merge(merge({}, TINY), SMALL), IMAGES)


def undisturbed(stage: Stage, repo: Path) -> Undisturbed:
    """Make the outputs of a stage in a repository with all that it needs."""
    with_nothing(stage)
    with tempfile.TemporaryDirectory() as folder:
        counted = Path(folder) / "changes"
        began = time.monotonic()
        make(stage, repo, STRIKE_AT="-1", STRIKE_COUNT=str(counted))
        seconds = time.monotonic() - began
        changes = int(counted.read_text()) if counted.exists() else 0
    return Undisturbed(stage, repo, seconds, changes, digests(stage), files_of(repo), work_of(repo))


def make(stage: Stage, repo: Path, **more_env: str) -> None:
    """Run a stage; RuntimeError with what it said where it fails."""
    code, text = end_of(begin(stage, repo, **more_env))
    if code:
        raise RuntimeError(f"{stage.name} ended with {code}: {text[-2000:]}")


def with_nothing(stage: Stage) -> None:
    """Remove what a stage has made and what it could go on from."""
    for path in (*stage.outs, *stage.goes_on_from):
        remove(path)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def digests(stage: Stage) -> dict[Path, str]:
    return {out: digest(out) for out in stage.outs}


def digest(path: Path) -> str:
    """Of a file or of all files of a folder; `absent` where there is none."""
    if not path.exists():
        return "absent"
    found = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    whole = hashlib.sha256()
    for file in found:
        whole.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return whole.hexdigest()


def files_of(repo: Path) -> frozenset[str]:
    """All files and folders, but those of git, of DVC and of the compiler of Python."""
    found = (path.relative_to(repo) for path in repo.rglob("*"))
    return frozenset(str(p) for p in found if not {".git", ".dvc", "__pycache__"} & set(p.parts))


def work_of(repo: Path) -> int:
    return sum(file.stat().st_size for file in (repo / ".work").rglob("*") if file.is_file())


# --- processes ---------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """A process that leads a group of its own, and the file with what it says."""

    process: "subprocess.Popen[bytes]"
    output: IO[bytes]


def begin(stage: Stage, repo: Path, **more_env: str) -> Run:
    """Begin the command of a stage."""
    path = f"src{os.pathsep}{STRIKE}" if "STRIKE_AT" in more_env else "src"
    env = environment() | {MARK: OURS, "PYTHONPATH": path} | more_env
    # neither on the disk that may be full nor a pipe, which an orphan would hold; `end_of` closes it
    output = tempfile.TemporaryFile()  # noqa: SIM115
    process = subprocess.Popen(
        stage.command,
        cwd=repo,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return Run(process, output)


def end_of(run: Run) -> tuple[int, str]:
    """Wait for the end; gives the exit code and what was said."""
    code = run.process.wait(PATIENCE_S)
    run.output.seek(0)
    text = run.output.read().decode(errors="replace")
    run.output.close()
    return code, text


def living() -> list[int]:
    """The processes that a drill has begun, and their children, that have not ended."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{MARK}={OURS}".encode() in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
        except OSError:  # it has ended, or is not ours to look at
            continue
    return [pid for pid in found if pid != os.getpid()]


def listening(pids: Sequence[int] | None = None) -> set[str]:
    """The sockets that listen on a port; with pids those of these processes alone."""
    lines = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()]
    found = {fields[9] for fields in lines if fields[3] == "0A"}
    return found if pids is None else found & {socket for pid in pids for socket in sockets_of(pid)}


def sockets_of(pid: int) -> Iterator[str]:
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            match = re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()))
            if match:
                yield match[1]
    except OSError:
        return


# --- faults ------------------------------------------------------------------------------------------------------


def killed(at: float, group: bool) -> Fault:
    """Kill -9, so many seconds after the start; group: also all that the process began."""
    return _ended(at, signal.SIGKILL, group, (-signal.SIGKILL,))


def ended(at: float, by: signal.Signals) -> Fault:
    """Ctrl-C, which reaches the whole group, or the polite end of a service."""
    return _ended(at, by, by == signal.SIGINT, ENDS[by])


def _ended(at: float, by: signal.Signals, group: bool, codes: Sequence[int]) -> Fault:
    def fault(given: Undisturbed) -> list[str] | None:
        run = begin(given.stage, given.repo)
        open_before: set[str] = set()
        try:
            over = run.process.wait(at) is not None
        except subprocess.TimeoutExpired:
            over, open_before = False, listening(living())
            (os.killpg if group else os.kill)(run.process.pid, by)
        code, text = end_of(run)
        if over or (code == 0 and not changed(given)):  # all was done but for the end of Python
            return None
        starting = by == signal.SIGINT and STARTING in text  # then Python itself ends with 1
        wrong = [] if code in codes or starting else [f"{by.name} after {at:.2f} s: ended with {code}: {text[-TOLD:]}"]
        return wrong + remains(open_before)

    return fault


def struck(at: int) -> Fault:
    """Kill -9 just before the change of a file with this number."""

    def fault(given: Undisturbed) -> list[str] | None:
        code, text = end_of(begin(given.stage, given.repo, STRIKE_AT=str(at)))
        if code == 0:
            return None
        return ([] if code == -signal.SIGKILL else [f"struck at {at}: ended with {code}: {text[-TOLD:]}"]) + remains()

    return fault


def without_room(share: float) -> Fault:
    """A disk with room for this share of what the stage writes. The repository lies on one of its own (see `disk`)."""

    def fault(given: Undisturbed) -> list[str] | None:
        mount = given.repo.parent
        resize(mount, used(mount) + int(share * (given.work + sum(map(size_of, given.stage.outs)))))
        try:
            code, text = end_of(begin(given.stage, given.repo))
        finally:
            resize(mount, ROOM)
        if code == 0:
            return None
        last = text.strip().rpartition("\n")[2]
        clear = code in NO_ROOM and "Traceback" not in text and re.search("[Mm]ake room", last)
        return ([] if clear else [f"full disk ({share:.2f}): ended with {code}: {text[-TOLD:]}"]) + remains()

    return fault


def side_by_side(given: Undisturbed) -> list[str] | None:
    """The same command twice at once."""
    runs = [begin(given.stage, given.repo) for _ in range(2)]
    ends = [end_of(run) for run in runs]
    bad = [
        f"of two at once one ended with {code}: {text[-TOLD:]}"
        for code, text in ends
        if code and not re.search(BUSY, text)
    ]
    bad += [f"of two at once: {out.name} is not that of one" for out in changed(given)]
    return bad + remains()


def remains(open_before: Set[str] = frozenset()) -> list[str]:
    """What is left of processes, which is ended then, and of the ports that they had open."""
    deadline = time.monotonic() + GONE_S
    while living() and time.monotonic() < deadline:
        time.sleep(0.02)
    left = living()
    names = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for pid in left]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    still = open_before & listening()
    return [f"left a process: {name}" for name in names] + [f"left a port open: socket {one}" for one in still]


# --- a disk of its own -------------------------------------------------------------------------------------------

ROOM = 1 << 30  # of the disk, bytes; it takes no memory before it is used


@contextmanager
def disk(folder: Path) -> Iterator[bool]:
    """Put a small disk in memory at `folder`; gives whether that could be done (as root on Linux)."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", str(folder)]
    mounted = (
        shutil.which("mount") is not None and not subprocess.run(command, capture_output=True, check=False).returncode
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def resize(mount: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(mount)], check=True)


def used(mount: Path) -> int:
    state = os.statvfs(mount)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


# --- rows of faults ----------------------------------------------------------------------------------------------


def drill(given: Undisturbed, faults: Sequence[Fault], replaces: bool) -> tuple[int, list[str]]:
    """Do some faults in a row and then the command once more; gives how many there were, and all that was wrong.

    replaces: there are outputs of an earlier run, which differ from the new ones. A fault that comes after the end of
    the stage ends the row and is not counted.
    """
    stage, repo = given.stage, given.repo
    with_nothing(stage)
    if replaces:
        make_old(given)
    before = digests(stage)
    done, wrong = 0, []
    for fault in faults:
        found = fault(given)
        wrong += halves(given, before)
        if found is None:
            break
        done, wrong = done + 1, wrong + found
    code, text = end_of(begin(stage, repo))
    if code:
        wrong.append(f"the same command then ended with {code}: {text[-TOLD:]}")
    wrong += [f"{out.relative_to(repo)} is not as after an undisturbed run" for out in changed(given)]
    wrong += [f"left behind: {name}" for name in sorted(files_of(repo) - given.files)]
    if work_of(repo) > 2 * given.work:
        wrong.append(f".work has {work_of(repo)} bytes, {given.work} after an undisturbed run")
    return done, wrong


def make_old(given: Undisturbed) -> None:
    """Put something else where the outputs will be."""
    for out in given.stage.outs:
        if out.suffix:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text("old")
        else:
            (out / "deep").mkdir(parents=True)
            for name in ("a", "b", "deep/c"):
                (out / name).write_text("old")


def changed(given: Undisturbed) -> list[Path]:
    now = digests(given.stage)
    return [out for out in given.stage.outs if now[out] != given.outs[out]]


def halves(given: Undisturbed, before: Mapping[Path, str]) -> list[str]:
    now = digests(given.stage)
    return [
        f"{out.relative_to(given.repo)} is neither old, nor whole, nor absent"
        for out in given.stage.outs
        if now[out] not in ("absent", before[out], given.outs[out]) and out.name != LOCK
    ]


def moments(rng: np.random.Generator, count: int) -> list[float]:
    """Shares of the duration, one in each of `count` equal parts of it, in no order."""
    return [float((part + rng.random()) / count) for part in rng.permutation(count)]
