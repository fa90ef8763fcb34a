"""The settings of this machine: what to compute on. They are no part of an experiment.

The same experiment on a CPU, on one GPU or on eight is the same row of `dvc exp show`; what it ran on is recorded with
its results. Each setting is an environment variable such as SEMIREAL_PROCESSES=8, or a line such as `processes: 8` of
the file machine.yaml at the root of the repository, which git and DVC ignore; the environment wins.
"""

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import yaml

from semireal import schema, stage
from semireal.errors import UserError
from semireal.schema import param

FILE = Path("machine.yaml")
PREFIX = "SEMIREAL_"  # and the name of the setting in capitals


@dataclasses.dataclass(frozen=True)
class Machine:
    """What to compute on."""

    device: str = param(choices=("auto", "cpu", "cuda"))
    """where the networks run; auto = on a GPU if there is one"""
    processes: int = param(low=1)
    """GPUs (or CPU processes) of this machine that share each batch of the training; several machines: docs/scale.md"""
    micro_batch: int | None = param(low=1)
    """images that a process works on at once, to save memory; null = its whole share of the batch"""
    compile: bool = param()
    """torch.compile where no second derivative is needed"""
    resume: str = param(choices=("exact", "any"))
    """a training goes on from what the same kind of device, number of processes and threads, and versions made (exact:
    the bits are those of a single go), or from any of the same parameters, data and code, which its record tells"""
    workers: int | None = param(low=1)
    """processes that work on images before the training; null = one for each core, 1 = in the stage itself,
    which then ends with an image that ends its program"""
    scheduler: str | None = param()
    """address of a Dask scheduler whose workers do that instead, e.g. tcp://10.0.0.1:8786"""
    part: str | None = param()
    """the part of the images that this machine is to work on alone, e.g. 3/16 of the third of sixteen machines"""

    def parts(self) -> tuple[int, int]:
        """The number of the part and of how many, of `part`; UserError where it is none."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", str(self.part))
        number, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= count:
            raise UserError(f"{named('part')}: found {self.part}, need 1/16 to 16/16, say, or null")
        return number, count


DEFAULT = Machine(
    device="auto",
    processes=1,
    micro_batch=None,
    compile=False,
    resume="exact",
    workers=None,
    scheduler=None,
    part=None,
)


def load() -> Machine:
    """The settings of this machine, also for a run of DVC in a copy of the repository; raises UserError."""
    found, path = DEFAULT, stage.root() / FILE
    if path.exists():
        found = _changed(found, schema.load_yaml(path) or {}, str(FILE))
    for field in dataclasses.fields(Machine):
        name = _variable(field.name)
        if os.environ.get(name):
            found = _changed(found, {field.name: _value(os.environ[name])}, name)
    return found


def _changed(before: Machine, changes: Any, origin: str) -> Machine:
    if not isinstance(changes, dict):
        raise UserError(f"{origin}: found {changes!r}, need lines such as `device: cpu`")
    try:
        return schema.parse(Machine, dataclasses.asdict(before) | changes, "")
    except UserError as error:
        raise UserError(f"{origin}: {error}") from None


def _value(text: str) -> Any:
    """The value of an environment variable, written as in the file."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _variable(setting: str) -> str:
    return f"{PREFIX}{setting.upper()}"


def named(setting: str) -> str:
    """A setting as it is called in messages."""
    return f"{_variable(setting)} or {setting} in {FILE}"
