"""The graph again and again, with other parameters each time and killed at random: nothing differs, nothing piles up.

    python tests/drills/soak.py --rounds 50 --seed 0 --out FILE.json

Each round sets parameters, runs `dvc repro` on the graph of the other drills, mostly kills all of it with -9, TERM or
Ctrl-C somewhere, and repeats the same command until it is through. Then: outs of the same parameters have the same
hashes as ever; `.work` is within the rule of semireal.prune; no process of the round is left, so no port either; and
this process has as many handles and threads as before. Prints a row per round; ends with 1 where any of that fails.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "src")]

from drills import faults  # noqa: E402
from semireal import prune  # noqa: E402 - where it lies is said above
from semireal.files import PARTIAL, write_json  # noqa: E402
from tiny import environment, merge  # noqa: E402

CHOICES: dict[str, dict[str, list[Any]]] = {
    "train": {"lr": [0.002, 0.0025, 0.003], "photo_ratio": [None, 0.5]},
    "sample": {"psi": [0.5, 0.7]},
}
SIGNALS = (None, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
REPRO = ("dvc", "repro", "--no-run-cache")  # nothing comes from an earlier round but what `.work` keeps
SOAK = "soak of the graph"
CLEAN = 0.25  # share of the rounds that begin without `.work`, as after `make clean`
TRIES = 3  # of the same command after a kill
LONGEST_S = 30  # before a kill
END_S = 20  # in which all processes of a round must be gone


@dataclass
class Round:
    """What one round did and left; faults: sentences, none where all is well."""

    number: int
    parameters: dict[str, dict[str, Any]]
    signal: str
    killed_after_s: float
    clean: bool
    seconds: float
    trainings: int
    work_mb: float
    handles: int
    threads: int
    faults: list[str]


def soak(repo: Path, rounds: int, seed: int, before_it: int = 0) -> Iterator[Round]:
    """Run the rounds in a tiny repository, and give each when it is over. The same seed does the same things.

    before_it: so many have been run before.
    """
    rng = random.Random(seed)
    known: dict[str, dict[str, str]] = {}
    here = psutil.Process()
    before = here.num_fds(), here.num_threads()
    for number in range(1, rounds + 1):
        began = time.monotonic()
        parameters = {name: {key: rng.choice(of) for key, of in keys.items()} for name, keys in CHOICES.items()}
        sent, after_s, clean = rng.choice(SIGNALS), rng.uniform(1, LONGEST_S), rng.random() < CLEAN
        if number <= before_it:
            continue
        faults: list[str] = []
        set_parameters(repo, parameters)
        if clean:
            shutil.rmtree(repo / ".work", ignore_errors=True)
        killed = sent is not None and kill(repo, sent, after_s)
        faults += through(repo)
        faults += [f"{name}: another hash than before" for name in differing(known, parameters, hashes(repo))]
        faults += left_running(repo)
        trainings, work_faults = work_of(repo)
        faults += work_faults
        now = here.num_fds(), here.num_threads()
        if now != before:
            faults.append(f"handles and threads: {before} before, {now} now")
        size = sum(file.stat().st_size for file in (repo / ".work").rglob("*") if file.is_file())
        name = signal.Signals(sent).name if sent and killed else "-"
        seconds = time.monotonic() - began
        yield Round(number, parameters, name, after_s, clean, seconds, trainings, size / 1e6, *now, faults)


def set_parameters(repo: Path, parameters: dict[str, Any]) -> None:
    """Write them into params.yaml."""
    path = repo / "params.yaml"
    path.write_text(yaml.safe_dump(merge(yaml.safe_load(path.read_text()), parameters), sort_keys=False))


def start(repo: Path, log: int) -> subprocess.Popen[bytes]:
    """`dvc repro`, in a process group of its own."""
    return subprocess.Popen(
        REPRO,
        cwd=repo,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # a shell that starts things in the background has them ignore it, and so would everything below
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def kill(repo: Path, sent: signal.Signals, after_s: float) -> bool:
    """Start the graph and send a signal to all of it after so many seconds; False where it was over by then."""
    running = start(repo, subprocess.DEVNULL)
    try:
        ended(running, after_s)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, sent)
        ended(running)
        return True
    return False


def ended(running: subprocess.Popen[bytes], timeout: float | None = None) -> int:
    """Wait for the end of the graph, and end it where this process is ended; TimeoutExpired leaves it running."""
    try:
        return running.wait(timeout)
    except (KeyboardInterrupt, SystemExit):
        os.killpg(running.pid, signal.SIGKILL)
        raise


def through(repo: Path) -> list[str]:
    """Repeat the command, as `make repro` has it, until it is through; what it said last where it never is."""
    for _ in range(TRIES):
        subprocess.run(
            [sys.executable, "-m", "semireal", "mend"],
            cwd=repo,
            env=environment(),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        with tempfile.TemporaryFile() as log:
            if ended(start(repo, log.fileno())) == 0:
                return []
            log.seek(0)
            text = log.read().decode(errors="replace")
    return [f"`dvc repro` failed {TRIES} times: {text[-500:]}"]


def hashes(repo: Path) -> dict[str, str]:
    """The MD5 of each output in dvc.lock."""
    stages = (yaml.safe_load((repo / "dvc.lock").read_text()) or {"stages": {}})["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def differing(known: dict[str, dict[str, str]], parameters: dict[str, Any], found: dict[str, str]) -> list[str]:
    """The outputs that had another hash when they were first made with these parameters."""
    first = known.setdefault(json.dumps(parameters, sort_keys=True), found)
    return sorted(name for name in first.keys() | found.keys() if first.get(name) != found.get(name))


def left_running(repo: Path) -> list[str]:
    """The processes that are in the repository although their round is over, and the ports that they listen at."""
    until = time.monotonic() + END_S
    while (left := processes(repo)) and time.monotonic() < until:
        time.sleep(0.2)
    return [f"left running: {' '.join(process.cmdline())[:100]} {ports(process)}" for process in left]


def processes(repo: Path) -> list[psutil.Process]:
    """All processes whose folder is in the repository."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(repo) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def ports(process: psutil.Process) -> list[int]:
    """The ports that a process listens at."""
    try:
        return [one.laddr.port for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
    except psutil.Error:
        return []


def work_of(repo: Path) -> tuple[int, list[str]]:
    """How many trainings are in `.work`, and in what it breaks the rule of semireal.prune."""
    work = repo / ".work"
    trainings = [path for path in (work / "train").glob("*") if path.is_dir()]
    features = sum(path.stat().st_size for path in (work / "features").glob("*"))
    faults = [f"left behind: {path.relative_to(repo)}" for path in repo.rglob(f".*{PARTIAL}")]
    if len(trainings) > prune.TRAININGS:
        faults.append(f".work/train: {len(trainings)} trainings")
    if features > prune.FEATURES:
        faults.append(f".work/features: {features} bytes")
    return len(trainings), faults


def add(found: dict[str, Any], one: Round) -> None:
    """Count a round among those that tests/drills/table.py reads."""
    fault = f"other parameters, and {one.signal}" if one.signal != "-" else "other parameters"
    counts = found.setdefault(SOAK, {}).setdefault(fault, {"tried": 0, "survived": 0, "lost": 0, "wrong": []})
    counts["tried"] += 1
    counts["lost" if one.faults else "survived"] += 1
    counts["wrong"] += [f"round {one.number}: {text}" for text in one.faults]


def main() -> None:
    """Print the table."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = argparse.ArgumentParser(description="Run the tiny graph again and again, and kill it.")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file for the counts, as JSON, to go on from")
    given = parser.parse_args()
    found = json.loads(given.out.read_text()) if given.out and given.out.exists() else {}
    before_it = sum(counts["tried"] for counts in found.get(SOAK, {}).values())
    with tempfile.TemporaryDirectory() as folder:
        repo = faults.small_clone(Path(folder).resolve() / "soak")
        print("round  signal   after s  clean  seconds  trainings  .work MB  handles  threads  faults", flush=True)
        for one in soak(repo, given.rounds, given.seed, before_it):
            add(found, one)
            print(
                f"{one.number:5}  {one.signal:7}  {one.killed_after_s:7.1f}  {one.clean!s:5}  {one.seconds:7.1f}  "
                f"{one.trainings:9}  {one.work_mb:8.2f}  {one.handles:7}  {one.threads:7}  "
                f"{'; '.join(one.faults) or 'none'}",
                flush=True,
            )
            if given.out:
                write_json(given.out, found)
    sys.exit(1 if any(counts["lost"] for counts in found.get(SOAK, {}).values()) else 0)


if __name__ == "__main__":
    main()
