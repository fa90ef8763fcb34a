"""train: StyleGAN2 on the dataset, resumable, with the averaged generator as the result."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from semireal import dataset, stage, stylegan2
from semireal.errors import UserError
from semireal.params import Params, Train
from semireal.stylegan2 import Config, training
from semireal.stylegan2.checkpoint import load_start, save_generator, save_state
from semireal.stylegan2.training import TrainConfig

CODE = [Path(__file__), Path(stylegan2.__file__).parent]


def run(data: Path, models: Path, grids: Path, params: Params, log: Callable[[dict[str, float]], None]) -> None:
    """Train on the selected mixture of `data`.

    Writes generator.safetensors and checkpoint.safetensors to `models`, sample grids to `grids`; `log` gets one
    row per epoch, those before a resume included. A run that was stopped goes on where it was.
    """
    given = params.train
    config = config_of(given, params.seed)
    images, _ = dataset.load(data, given.resolution, given.photo_ratio, params.seed)
    start = load_start(_existing(given.init)) if given.init else (None, None)
    data_key = hashlib.sha256(images.numpy().tobytes()).hexdigest()
    key = training.run_key(config, data_key, *start)[:16]
    with stage.work("train", stage.key_of(key, stage.key_of_code(*CODE), torch.__version__)) as work:
        state = training.train(images, config, work, data_key, device_of(given.device), *start)
        for row in state.history:
            log(row)
        models.mkdir(parents=True, exist_ok=True)
        save_state(models / "checkpoint.safetensors", state)
        save_generator(models / "generator.safetensors", state.G_ema, config.network, {"epochs": given.epochs})
        grids.mkdir(parents=True)
        for epoch in [0, *range(given.snapshot_epochs, given.epochs + 1, given.snapshot_epochs)]:
            shutil.copyfile(work / training.GRIDS / f"fakes_{epoch:05d}.png", grids / f"fakes_{epoch:05d}.png")
        shutil.copyfile(work / training.GRIDS / "reals.png", grids / "reals.png")


def config_of(given: Train, seed: int) -> TrainConfig:
    """The training run that the parameters describe."""
    network = Config(
        z_dim=given.z_dim,
        w_dim=given.w_dim,
        img_resolution=given.resolution,
        mapping_layers=given.mapping_layers,
        channel_base=given.channel_base,
        channel_max=given.channel_max,
    )
    return TrainConfig(
        network=network,
        epochs=given.epochs,
        batch=given.batch,
        lr=given.lr,
        r1_gamma=given.r1_gamma,
        r1_interval=given.r1_interval,
        pl_weight=given.pl_weight,
        pl_interval=given.pl_interval,
        ema_kimg=given.ema_kimg,
        ema_rampup=given.ema_rampup,
        style_mixing_prob=given.style_mixing,
        mirror=given.mirror,
        snapshot_epochs=given.snapshot_epochs,
        seed=seed,
    )


def _existing(init: str) -> Path:
    if not Path(init).is_file():
        raise UserError(f"train.init: {init} not found. Put a checkpoint of semireal there, or set it to null")
    return Path(init)


def device_of(wanted: str) -> str:
    """The device that `train.device` means here."""
    cuda = torch.cuda.is_available()
    if wanted == "cuda" and not cuda:
        raise UserError("train.device: found cuda, but there is no usable GPU here. Set it to auto or cpu")
    return "cuda" if cuda and wanted != "cpu" else "cpu"
