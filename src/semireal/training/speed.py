"""How fast this machine trains, for whoever wants to know what a training will cost."""

import time

import torch

from semireal import devices
from semireal.machine import Machine
from semireal.params.train import Train
from semireal.stylegan2 import training
from semireal.stylegan2.step import Step


def images_per_second(given: Train, here: Machine) -> float:
    """Images shown per second, from real training steps on random pictures: one to warm up, then one of each kind.

    As many steps are timed as lie between two R1 penalties. Augmentation is on, at probability 0.
    """
    device = torch.device(devices.kind(here))
    training.prepare(given.tf32)
    shape = [given.batch, 3, given.resolution, given.resolution]
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    step = Step(training.new_state(given, 0, "speed", device, None), given, 0, images.to(device), here)
    step()
    step.means()  # waits for the device
    before = time.perf_counter()
    for _ in range(given.r1_interval):
        step()
    step.means()
    return given.r1_interval * given.batch / (time.perf_counter() - before)
