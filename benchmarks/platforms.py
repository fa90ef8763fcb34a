"""Whether everything that is pinned can be had: for each Python and processor, against the registry.

    python benchmarks/platforms.py

uv resolves the files of requirements for the machine of each row, as it would there: each package must be pinned, with
a hash, and have a wheel for that machine. One has none and is built on the spot: Hydra's antlr4-python3-runtime.
Nothing is installed. Ends with 1 if a row fails.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = {"x86-64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
FROM_SOURCE = "antlr4-python3-runtime"  # needed by Hydra; pure Python without a wheel
NEEDED = ("requirements.txt",)
ALL = (
    "requirements.txt",
    *(f"requirements-{extra}.txt" for extra in ("remotes", "export", "animeface", "cluster", "video", "dev")),
)


def resolve(python: str, machine: str, files: Sequence[Path]) -> tuple[bool, str]:
    """Whether all pins of the files can be had for that Python and processor; and how many, or what is missing."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *("uv", "pip", "install", "--dry-run", "--target", folder, "--python-version", python),
            *("--python-platform", MACHINES[machine], "--require-hashes"),
            *("--only-binary", ":all:", "--no-binary", FROM_SOURCE),
            *(word for file in files for word in ("--requirement", str(file))),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return False, " ".join(done.stderr.split())
    return True, f"{sum(line.startswith(' + ') for line in done.stderr.splitlines())} packages"


def main() -> None:
    """Print the table."""
    good = True
    for python in PYTHONS:
        for machine in MACHINES:
            for title, names in (("make repro", NEEDED), ("make test", ALL)):
                fine, text = resolve(python, machine, [ROOT / name for name in names])
                good &= fine
                print(f"Python {python}  {machine:7} {title:11} {'ok' if fine else 'FAILS'}  {text}", flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
