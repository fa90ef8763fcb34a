"""The settings of this machine: what to compute on. They are no part of an experiment.

The same experiment on a CPU, on one GPU or on eight is the same row of `dvc exp show`; what it ran on is recorded with
its results. Each setting is an environment variable such as SEMIREAL_PROCESSES=8, or a line such as `processes: 8` of
the file machine.yaml at the root of the repository, which git and DVC ignore; the environment wins.
"""

import dataclasses
import os
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

    def kind(self) -> str:
        """The kind of device that `device` means here, cpu or cuda; UserError where there is none."""
        # slow to load, and not needed to read the settings
        import torch

        cuda = torch.cuda.is_available()
        if self.device == "cuda" and not cuda:
            raise UserError(f"{_named('device')}: found cuda, but there is no usable GPU here. Set it to auto or cpu")
        return "cuda" if cuda and self.device != "cpu" else "cpu"

    def check(self, batch: int, group: int) -> None:
        """Raise UserError where there is no such device, or where a batch cannot be worked on like that.

        group: images of the batch that must stay together.
        """
        if self.device == "cuda":
            self.kind()
        if self.processes > batch // group:
            raise UserError(
                f"{_named('processes')}: found {self.processes}, need at most {batch // group}: train.batch = {batch}, "
                f"of which each takes at least {group} images"
            )
        if self.micro_batch is not None and self.micro_batch % group:
            raise UserError(f"{_named('micro_batch')}: found {self.micro_batch}, need null or a multiple of {group}")


DEFAULT = Machine(device="auto", processes=1, micro_batch=None, compile=False, resume="exact")


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


def _named(setting: str) -> str:
    return f"{_variable(setting)} or {setting} in {FILE}"
