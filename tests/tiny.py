"""A repository like this one, as small as it goes: for the tests that run DVC on the whole graph."""

import csv
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from semireal.params.train import Train

ROOT = Path(__file__).resolve().parents[1]
TINY = {
    "train": {
        "epochs": 1,
        "resolution": 16,
        "channel_base": 256,
        "channel_max": 16,
        "z_dim": 16,
        "w_dim": 16,
        "mapping_layers": 2,
        "pl_weight": 0,
        "r1_interval": 16,
        "snapshot_epochs": 1,
        "init": "experiments/noise.init",
    },
    "blend": {"base": "experiments/noise.init"},
    "sample": {"seeds": 4, "psi_steps": 3, "mix_rows": 2},
    "evaluate": {"images": 10, "neighbours": 2, "psis": [0.5, 1.0], "resamples": 20},
}
# A training of 8 x 8 images that uses everything, for tests of the training alone.
TRAIN = Train(
    epochs=2,
    photo_ratio=None,
    balance=None,
    resolution=8,
    z_dim=4,
    w_dim=4,
    mapping_layers=2,
    channel_base=64,
    channel_max=8,
    batch=4,
    lr=0.0025,
    r1_gamma=1.0,
    r1_interval=3,
    pl_weight=2.0,
    pl_interval=2,
    ema_kimg=0.02,
    ema_rampup=0.05,
    style_mixing=0.9,
    mirror=True,
    ada_target=-0.5,  # the discriminator is surer than that from the start
    ada_kimg=0.1,
    ada_transforms="bgc",
    ada_rotate90=False,
    snapshot_epochs=2,
    monitor="looks",
    patience=None,
    init=str(ROOT / "experiments/noise.init"),
    freeze_d=0,
    conv_clamp=None,
    precision="float32",
    low_precision_res=4,
    channels_last=True,
    tf32=False,
)
STAGES = ["crop", "resize", "filter", "dedupe", "funnel", "train", "blend", "sample", "evaluate", "report", "publish"]
ALL = ["code", "scrape@geralt", *STAGES]


def environment() -> dict[str, str]:
    """The environment for commands in a clone: its `python` is ours."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {k: v for k, v in os.environ.items() if k != "DVC_ROOT"}
    # the code of the clone, and one thread: more cost time on tiny networks
    return env | {"PATH": path, "PYTHONPATH": "src", "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1"}


def shell(folder: Path, *command: str, ok: bool = True, **more_env: str) -> str:
    """Run a command in a clone, with its `python`; returns what it printed."""
    env = environment() | more_env
    # a file and no pipe: the worker of the queue keeps what it inherits open
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
        )
        output.seek(0)
        text = output.read()
    assert (done.returncode == 0) == ok, text
    return text


def clone(folder: Path, changes: dict[str, Any] = TINY, images: int = 14) -> Path:
    """A new repository with the files of this one, tiny parameters and few images per source, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        if (ROOT / name).is_file() and name != "dvc.lock" and not name.startswith("results/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
            (folder / name).chmod((ROOT / name).stat().st_mode)
    # the composition is edited, and params.yaml with it, so that repro and exp run agree
    for path in (folder / "experiments/profile/demo.yaml", folder / "params.yaml"):
        content = merge(yaml.safe_load(path.read_text()), changes)
        header = "# @package _global_\n" if path.name == "demo.yaml" else ""
        path.write_text(header + yaml.safe_dump(content, sort_keys=False))
    for path in (folder / "experiments/sources/demo").glob("*.yaml"):
        sources = yaml.safe_load(path.read_text())
        for source in sources["sources"].values():
            source["url"] += f"+limit:{images}"  # short lists, or the gallery would draw a page of 100
        path.write_text(yaml.safe_dump(sources))
    shell(folder, "git", "init", "-q", "-b", "main")
    shell(folder, "git", "config", "user.email", "test@example.org")
    shell(folder, "git", "config", "user.name", "test")
    shell(folder, "git", "add", "-A")
    shell(folder, "git", "commit", "-q", "-m", "tiny")
    return folder


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested update of a mapping."""
    for key, value in changes.items():
        base[key] = merge(base.get(key, {}), value) if isinstance(value, dict) else value
    return base


def copy(repo: Path, folder: Path) -> Path:
    """A copy of a repository with its data, cache and experiments, and without its queue."""
    return Path(shutil.copytree(repo, folder, symlinks=True, ignore=shutil.ignore_patterns("tmp", "__pycache__")))


def experiment_of(repo: Path, character: str) -> str:
    """The name of the experiment of a character."""
    rows = csv.DictReader(shell(repo, "dvc", "exp", "show", "--csv").splitlines())
    return next(row["Experiment"] for row in rows if row["Experiment"] and row["name"] == character)
