"""What the networks run on, by the settings of this machine."""

from pathlib import Path

import torch

from semireal.errors import UserError
from semireal.machine import Machine, named

CPUINFO = Path("/proc/cpuinfo")  # of Linux
INSTRUCTIONS = {  # what x86-64 and arm64 call those that compute with a type; one of them is enough
    "bfloat16": ("avx512_bf16", "amx_bf16", "bf16"),
    "float16": ("avx512_fp16", "amx_fp16", "asimdhp"),
}


def kind(here: Machine) -> str:
    """The kind of device that `device` means here, cpu or cuda; UserError where there is none."""
    cuda = torch.cuda.is_available()
    if here.device == "cuda" and not cuda:
        raise UserError(f"{named('device')}: found cuda, but there is no usable GPU here. Set it to auto or cpu")
    return "cuda" if cuda and here.device != "cpu" else "cpu"


def check(here: Machine, batch: int, group: int) -> None:
    """Raise UserError where there is no such device, or where a batch cannot be worked on like that.

    group: images of the batch that must stay together.
    """
    kind(here)
    if here.processes > batch // group:
        raise UserError(
            f"{named('processes')}: found {here.processes}, need at most {batch // group}: train.batch = {batch}, "
            f"of which each takes at least {group} images"
        )
    if here.micro_batch is not None and here.micro_batch % group:
        raise UserError(f"{named('micro_batch')}: found {here.micro_batch}, need null or a multiple of {group}")


def cpu(cpuinfo: Path | None = None) -> tuple[str, set[str]]:
    """What the CPU of this machine calls itself, and its instruction sets; empty where it does not say."""
    cpuinfo = cpuinfo or CPUINFO
    if not cpuinfo.exists():
        return "", set()
    lines = [[part.strip() for part in line.split(":", 1)] for line in cpuinfo.read_text().splitlines() if ":" in line]
    model = next((value for name, value in lines if name == "model name"), "")
    return model, {flag for name, flags in lines if name in ("flags", "Features") for flag in flags.split()}


def is_slow_with(precision: str, cpuinfo: Path | None = None) -> bool:
    """Whether the CPU of this machine says that it has no instructions for a precision, and so has to imitate it."""
    _, there = cpu(cpuinfo)
    return precision in INSTRUCTIONS and bool(there) and not there.intersection(INSTRUCTIONS[precision])
