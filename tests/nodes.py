"""Several nodes on this machine: agents of torchrun that meet on loopback, each in a checkout of its own."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def agent(home: Path, port: int, *program: str, processes: int = 1, nodes: int = 2) -> subprocess.Popen[str]:
    """Start the agent of a node; that in a folder named `first` is where they meet, and has the first process."""
    first = home.name == "first"
    meet = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", f"--rdzv-conf=is_host={first}"]
    meet += [f"--local-addr=127.0.0.{1 if first else 2}"]  # they are sorted by it
    env = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "DVC_ROOT": str(home),
        "OMP_NUM_THREADS": "1",
        "SEMIREAL_DEVICE": "cpu",
    }
    return subprocess.Popen(
        [*TORCHRUN, f"--nnodes={nodes}", f"--nproc-per-node={processes}", *meet, *program],
        cwd=home,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(agents: list[subprocess.Popen[str]], timeout_s: float = 300) -> list[tuple[int, str]]:
    """Wait for agents; the exit code of each, and what it and its processes said."""
    try:
        told = [one.communicate(timeout=timeout_s)[1] for one in agents]
    finally:
        for one in agents:
            one.kill()
    return [(one.returncode, text) for one, text in zip(agents, told, strict=True)]
