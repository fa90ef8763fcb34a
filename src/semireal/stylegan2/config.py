"""What the section `train` of params.yaml means for the networks, and the name of all that decides a run."""

import dataclasses
import hashlib
import json
from typing import Any

from torch import Tensor

from semireal.params.train import GROUP, Train
from semireal.stylegan2.checkpoint import Networks
from semireal.stylegan2.networks import Config
from semireal.stylegan2.order import Groups

# where a run stops; and which images, how often, and which network it starts from, of which the content counts and not
# what they are chosen by
NOT_DECIDING = ("epochs", "patience", "photo_ratio", "balance", "init")


def network_of(given: Train) -> Config:
    """The shape of the networks to train."""
    return Config(
        img_resolution=given.resolution,
        z_dim=given.z_dim,
        w_dim=given.w_dim,
        mapping_layers=given.mapping_layers,
        channel_base=given.channel_base,
        channel_max=given.channel_max,
        conv_clamp=given.conv_clamp,
        mbstd_group_size=GROUP,
    )


def deciding(
    given: Train, seed: int, data_key: str, start: Networks | None, groups: Groups | None = None
) -> dict[str, Any]:
    """By name, everything that decides the result of a run except where it stops, and what it runs on."""
    fields = dataclasses.asdict(given)
    decide = {f"train.{name}": value for name, value in fields.items() if name not in NOT_DECIDING}
    shared = {} if groups is None else {"train.balance": groups.key}
    return decide | shared | {"seed": seed, "data": data_key, "network to start from": _digest(start)}


def run_key(given: Train, seed: int, data_key: str, start: Networks | None = None, groups: Groups | None = None) -> str:
    """The same as 64 hex digits."""
    content = json.dumps(deciding(given, seed, data_key, start, groups), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _digest(start: Networks | None) -> str | None:
    if start is None:
        return None
    digest = hashlib.sha256()
    for tensors in (start.generator, start.discriminator or {}):
        for name, tensor in sorted(tensors.items()):
            digest.update(f"{name} {list(tensor.shape)} ".encode())
            digest.update(_bytes(tensor))
        digest.update(b".")
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    content: bytes = tensor.detach().float().cpu().contiguous().numpy().tobytes()
    return content
