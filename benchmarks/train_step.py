"""Speed of training and sampling, and the memory they take, of this implementation alone.

    python benchmarks/train_step.py --resolution 64 --batch 16 --channel-base 8192 --channel-max 128 [--ada]

Full training: both networks, the lazy regularisers at their rate (16 consecutive steps hold each as often as a long
run does), gradients made finite, Adam and the averaged generator. Rates are medians over `--rounds` such rounds.
"""

import argparse
import dataclasses
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from semireal import machine
from semireal.params import whole
from semireal.params.train import PRECISIONS
from semireal.pipeline.compose import compose
from semireal.stylegan2 import training
from semireal.stylegan2.step import Step

ROOT = Path(__file__).resolve().parents[1]
PERIOD = 16  # steps between two R1 penalties


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall-clock time of one call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_gib(device: torch.device) -> float:
    """Most memory held so far: of the GPU, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(given: argparse.Namespace) -> dict[str, float]:
    """Train and sample; rates in images per second."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training.prepare(given.tf32)
    # everything that is not asked for is as in the profile `full`
    train = dataclasses.replace(
        whole.check(compose(ROOT, "profile=full")).train,
        resolution=given.resolution,
        z_dim=given.z_dim,
        w_dim=given.z_dim,
        mapping_layers=given.mapping_layers,
        channel_base=given.channel_base,
        channel_max=given.channel_max,
        conv_clamp=None if given.precision == "float32" else 256,
        batch=given.batch,
        r1_interval=PERIOD,
        ada_target=0.6 if given.ada else None,
        ada_kimg=1e9,  # p stays where it is put
        precision=given.precision,
        channels_last=not given.channels_first,
    )
    here = dataclasses.replace(machine.DEFAULT, micro_batch=given.micro_batch, compile=given.compile)
    rng = torch.Generator().manual_seed(0)
    shape = [4 * given.batch, 3, given.resolution, given.resolution]
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=rng).to(device)
    state = training.new_state(train, 0, "benchmark", device, None)
    state.ada.p = given.p if given.ada else 0.0
    step = Step(state, train, 0, images, here)

    def train_period() -> None:
        for _ in range(PERIOD):
            step()
        step.means()

    train_period()  # caches and memory fill up
    trained = [seconds(train_period, device) for _ in range(given.rounds)]
    z = torch.randn([given.batch, train.z_dim], generator=rng).to(device)

    @torch.no_grad()
    def sample_period() -> None:
        for _ in range(PERIOD):
            state.G_ema.synthesis(state.G_ema.mapping(z, psi=0.5), noise="const")

    sample_period()
    sampled = [seconds(sample_period, device) for _ in range(given.rounds)]
    shown = PERIOD * given.batch
    rate = shown / statistics.median(trained)
    return {
        "train_img_per_s": rate,
        "train_img_per_s_min": shown / max(trained),
        "train_img_per_s_max": shown / min(trained),
        "s_per_kimg": 1000 / rate,
        "sample_img_per_s": shown / statistics.median(sampled),
        "peak_gib": peak_gib(device),
    }


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--micro-batch", type=int)
    parser.add_argument("--channel-base", type=int, default=8192)
    parser.add_argument("--channel-max", type=int, default=128)
    parser.add_argument("--z-dim", type=int, default=512, help="also w_dim")
    parser.add_argument("--mapping-layers", type=int, default=8)
    parser.add_argument("--ada", action="store_true", help="augment, with a fixed probability")
    parser.add_argument("--p", type=float, default=0.5, help="that probability")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--channels-first", action="store_true")
    parser.add_argument("--tf32", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    found = {name: round(value, 3) for name, value in measure(given).items()}
    print(json.dumps({**vars(given), "torch": torch.__version__, "threads": torch.get_num_threads(), **found}))


if __name__ == "__main__":
    main()
