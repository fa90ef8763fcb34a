"""Ways to take the same training step on a CPU, in turns in one process: seconds of CPU of each against the first.

    python benchmarks/step_variants.py --ways usual channels-first bfloat16 --json OUT
    python benchmarks/step_variants.py --wide --ways usual bfloat16
    python benchmarks/step_variants.py --resolution 256 --ways usual
    python benchmarks/step_variants.py --compile-limit 600

The settings are those of the demo (128 x 128, at most 64 channels, batch 8); --wide: 64 x 64 with a channel_base of
8192, up to 512 channels. Time is that of the process (`time.process_time`), one thread, so that what else runs on the
machine counts little; the ratio is taken round by round, each of which is the same few steps for all. With
--compile-limit it is torch.compile, which is tried alone, in a process of its own that is ended after so many seconds.
"""

import argparse
import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from semireal import machine
from semireal.params import whole
from semireal.params.train import Train
from semireal.pipeline.compose import compose
from semireal.stylegan2 import training
from semireal.stylegan2.step import Step

ROOT = Path(__file__).resolve().parents[1]
STEPS = 4  # of a round


def usual(given: argparse.Namespace) -> Train:
    """What is trained, as far as it takes time."""
    base = whole.check(compose(ROOT, "character=geralt")).train
    side = given.resolution or (64 if given.wide else base.resolution)
    if given.wide:
        base = dataclasses.replace(base, channel_base=8192, channel_max=512, z_dim=512, w_dim=512, mapping_layers=8)
    return dataclasses.replace(base, resolution=side)


def separate(step: Step) -> None:
    """Adam one weight after the other."""
    for optimizer in (step.state.opt_g, step.state.opt_d):
        for group in optimizer.param_groups:
            group.update(fused=False, foreach=False)


def together(step: Step) -> None:
    """Adam by lists of weights."""
    for optimizer in (step.state.opt_g, step.state.opt_d):
        for group in optimizer.param_groups:
            group.update(fused=False, foreach=True)


# by name: changed parameters, and what is done to the step
WAYS: dict[str, tuple[dict[str, Any], Callable[[Step], None] | None]] = {
    "usual": ({}, None),
    "channels-first": ({"channels_last": False}, None),
    "bfloat16": ({"precision": "bfloat16", "conv_clamp": 256.0}, None),
    "bfloat16-everywhere": ({"precision": "bfloat16", "conv_clamp": 256.0, "low_precision_res": 9}, None),
    "adam-foreach": ({}, together),
    "adam-single": ({}, separate),
}


def made(train: Train, way: str, compiled: bool = False) -> Step:
    """A step of one of the ways."""
    changes, change = WAYS[way]
    given = dataclasses.replace(train, **changes)
    shape = [4 * given.batch, 3, given.resolution, given.resolution]
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    state = training.new_state(given, 0, "benchmark", torch.device("cpu"), None)
    here = dataclasses.replace(machine.DEFAULT, compile=compiled)
    step = Step(state, given, 0, images, here)
    if change is not None:
        change(step)
    return step


def seconds(step: Step, steps: int) -> float:
    """CPU time of some steps."""
    before = time.process_time()
    for _ in range(steps):
        step()
    return time.process_time() - before


def in_turns(train: Train, ways: list[str], rounds: int) -> list[dict[str, Any]]:
    """Images per second of CPU, and the time against that of the first way: median, least and most."""
    steps = {way: made(train, way) for way in ways}
    for step in steps.values():
        seconds(step, 2)
    taken = [{way: seconds(step, STEPS) for way, step in steps.items()} for _ in range(rounds)]
    found = []
    for way in ways:
        ratios = [one[way] / one[ways[0]] for one in taken]
        rate = STEPS * train.batch / statistics.median(one[way] for one in taken)
        spread = [round(value, 3) for value in (statistics.median(ratios), min(ratios), max(ratios))]
        found.append({"way": way, "img_per_cpu_s": round(rate, 2), "time_to_first": spread})
    return found


def compiled(train: Train) -> dict[str, Any]:
    """How long torch.compile takes to begin with, and what it gives then."""
    step, plain = made(train, "usual", compiled=True), made(train, "usual")
    seconds(plain, 2)
    begun = time.monotonic()
    first = seconds(step, 2)
    waited = time.monotonic() - begun
    ratios = []
    for _ in range(3):
        base = seconds(plain, STEPS)
        ratios.append(round(seconds(step, STEPS) / base, 3))
    return {"compile_s": round(waited), "compile_own_cpu_s": round(first), "time_to_usual": ratios}


def main() -> None:
    """Print a line of JSON for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["usual"])
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--resolution", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile-limit", type=int, metavar="S")
    parser.add_argument("--compile", action="store_true", help=argparse.SUPPRESS)  # the process that is ended
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    training.prepare(tf32=False)
    train = usual(given)
    if given.compile:
        print(json.dumps(compiled(train)))
        return
    if given.compile_limit:
        command = [sys.executable, __file__, "--compile", *sys.argv[1:]]
        try:
            subprocess.run(command, check=True, timeout=given.compile_limit)
        except subprocess.TimeoutExpired:
            print(json.dumps({"compile_s": f"more than {given.compile_limit}"}))
        return
    found = in_turns(train, given.ways, given.rounds)
    size = {"resolution": train.resolution, "channel_base": train.channel_base, "channel_max": train.channel_max}
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    about = {**size, "batch": train.batch, "steps": STEPS, "peak_gib": peak, "torch": torch.__version__}
    for one in found:
        print(json.dumps(about | one))
    if given.json:
        given.json.write_text(json.dumps(about | {"rounds": given.rounds, "ways": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
