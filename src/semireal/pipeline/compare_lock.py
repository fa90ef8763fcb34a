"""Whether what was made here is what is committed, and on which machine that was made: `semireal compare-lock`.

`make repro` ends with it. No stage writes down its machine, since equal results have to be equal files on all of them:
whoever commits dvc.lock does (`--record`), in results/machine.json, with a key of the outputs in that dvc.lock.
"""

import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semireal import code, devices, machine, paths, schema, stage
from semireal.errors import UserError
from semireal.files import key_of, write_json
from semireal.pipeline import verify
from semireal.pipeline.commands import git

COMPUTING = re.compile(r"avx|amx|fma$|f16c|asimd|sve|sme\d?$|bf16|i8mm")  # instruction sets that change sums
RECORD = "semireal compare-lock --record"


def run(root: Path, *, record: bool) -> None:
    """Print the table of all outputs, and both machines; with `record`, write down this one.

    Raises UserError where nothing was made here. Differences are no error: another processor may give other bits.
    """
    here = verify.locked(root)
    if not here:
        raise UserError("compare-lock: no dvc.lock here. Make the results first: make repro")
    told = _committed(root, verify.LOCK)
    if told is None:
        stage.say("compare-lock: no dvc.lock is committed that this one could be compared with")
    else:
        _compare(verify.stages_of(schema.parse_yaml(told.encode(), f"HEAD:{verify.LOCK}")), here, root)
    if record:
        write_json(root / paths.MADE_ON, this_machine() | {"outputs": outputs_of(here)})
        stage.say(f"{paths.MADE_ON}: says that {verify.LOCK} was made here. Commit both, and {paths.PUBLISHED}")


def _compare(committed: dict[str, Any], here: dict[str, Any], root: Path) -> None:
    rows = verify.compare(committed, here, verify.on_gpu())
    sys.stdout.write(verify.table(rows) + "\n")
    sys.stdout.flush()  # before what goes another way
    other = dict.fromkeys(row.stage for row in rows if row.verdict != verify.SAME)
    stage.say(f"compare-lock: {'not as committed: ' + ', '.join(other) if other else 'all as committed'}")
    stage.say(f"committed: {maker_of(committed, _committed(root, paths.MADE_ON))}")
    stage.say(f"here:      {_text(this_machine())}")


def outputs_of(stages: dict[str, Any]) -> str:
    """A key of all outputs but the keys of the code, which a comment changes."""
    made = {name: one.get("outs", []) for name, one in stages.items() if name != code.STAGE}
    return key_of({name: {out["path"]: out.get("md5") for out in outs} for name, outs in made.items()})


def maker_of(stages: dict[str, Any], record: str | None) -> str:
    """The machine that made a committed dvc.lock, for people.

    record: the content of results/machine.json of the same commit; it says nothing of outputs that it was not written
    for.
    """
    try:
        found = json.loads(record or "")
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or found.get("outputs") != outputs_of(stages):
        return f"on what machine it was made is not written down (by {RECORD})"
    return _text(found)


def this_machine() -> dict[str, Any]:
    """What decides the bits of results beside code, data and parameters; nothing in it names one machine."""
    model, flags = devices.cpu()
    device = devices.kind(machine.load())
    return {
        "cpu": model or platform.machine(),
        "instructions": sorted(flag for flag in flags if COMPUTING.match(flag)),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _text(made_on: dict[str, Any]) -> str:
    """A machine in one line, without the list of its instruction sets."""
    shown = [key for key in sorted(made_on) if key not in ("cpu", "instructions", "outputs")]
    return ", ".join([str(made_on.get("cpu")), *(f"{key} {made_on[key]}" for key in shown)])


def _committed(root: Path, path: Path) -> str | None:
    """The content of a file of the last commit; None where it has no such file, or where there is no commit."""
    try:
        return git("show", f"HEAD:{path}", root=root)
    except UserError:
        return None
