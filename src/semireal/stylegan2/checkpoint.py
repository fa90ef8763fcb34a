"""Files of trained generators and of whole training states: safetensors with JSON in the metadata.

A file is complete or absent (temporary name, then rename), and equal content gives equal bytes.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from semireal.errors import UserError
from semireal.files import replacing
from semireal.stylegan2.augment import Ada
from semireal.stylegan2.networks import Config, Discriminator, Generator

VERSION = 2
METADATA = "semireal"  # one key only: safetensors does not promise an order of several
ADAM = ("exp_avg", "exp_avg_sq", "step")


@dataclasses.dataclass(frozen=True)
class Networks:
    """Weights to use or to start from: state dicts of the averaged generator and, if known, the discriminator."""

    config: Config
    generator: dict[str, Tensor]
    discriminator: dict[str, Tensor] | None


@dataclasses.dataclass
class State:
    """Everything that the next training step depends on, except configuration and data, which `key` names.

    nimg: images shown so far; step: iterations so far; pl_mean: running mean of path lengths []; ada: state of
    the augmentation; history: one row of plain numbers per epoch.
    """

    G: Generator
    D: Discriminator
    G_ema: Generator
    opt_g: torch.optim.Optimizer
    opt_d: torch.optim.Optimizer
    pl_mean: Tensor
    key: str
    ada: Ada = dataclasses.field(default_factory=Ada)
    nimg: int = 0
    step: int = 0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


def save_networks(
    path: Path,
    config: Config,
    generator: Mapping[str, Tensor],
    discriminator: Mapping[str, Tensor] | None,
    extra: dict[str, Any],
) -> None:
    """Write state dicts of an (averaged) generator and perhaps a discriminator, with any JSON-like extra."""
    parts = {"G_ema": generator} | ({} if discriminator is None else {"D": discriminator})
    tensors = {f"{part}.{name}": tensor for part, found in parts.items() for name, tensor in found.items()}
    _write(path, "networks", tensors, {"config": dataclasses.asdict(config), "extra": extra})


def load_networks(path: Path) -> Networks:
    """Read the networks of a file of `save_networks` or of a training state; UserError where it is damaged."""
    tensors, info = _read(path, "networks", "state")
    try:
        config = Config(**info["config"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: no valid configuration ({error}). Make the file again") from error
    return Networks(config, _under("G_ema", tensors), _under("D", tensors) or None)


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Load a state dict into module; a UserError lists all missing, unexpected and misshapen tensors."""
    wanted = module.state_dict()
    faults = [f"{name} is missing" for name in sorted(wanted.keys() - tensors.keys())]
    faults += [f"{name} is unexpected" for name in sorted(tensors.keys() - wanted.keys())]
    faults += [
        f"{name} is {list(tensors[name].shape)} and not {list(wanted[name].shape)}"
        for name in sorted(wanted.keys() & tensors.keys())
        if tensors[name].shape != wanted[name].shape
    ]
    if faults:
        raise UserError(f"{origin}: weights do not fit the network: {'; '.join(faults)}")
    module.load_state_dict(tensors)


def take_matching(module: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> str:
    """Load the blocks whose tensors all fit, leave the others as they are, and say which in words.

    A block is the mapping, all of one resolution, or the layer of the discriminator that reads the image: so a
    network of another resolution gives what it has in common. It fits as a whole or not at all, with the same tensors
    on both sides: two of eight layers are no mapping. UserError where nothing fits.
    """
    blocks, offered = _blocks(module.state_dict()), _blocks(tensors)
    taken = [block for block, wanted in blocks.items() if _shapes(wanted) == _shapes(offered.get(block, {}))]
    if not taken:
        raise UserError(f"train.init: {origin}: no block fits this network. Compare z_dim, w_dim and the channels")
    module.load_state_dict({name: tensor for block in taken for name, tensor in offered[block].items()}, strict=False)
    said = {"from scratch": blocks, "not taken": offered}
    left = {what: [block for block in found if block not in taken] for what, found in said.items()}
    return "; ".join([", ".join(taken), *(f"{what}: {', '.join(names)}" for what, names in left.items() if names)])


def _blocks(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        found.setdefault(_block_of(name), {})[name] = tensor
    return found


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _block_of(name: str) -> str:
    first, second, *_ = name.split(".")
    return second if first == "synthesis" else f"{first}.{second}" if second == "fromrgb" else first


def save_state(path: Path, state: State) -> None:
    """Write a whole training state."""
    tensors = {"pl_mean": state.pl_mean}
    for part, module in _networks(state).items():
        tensors |= {f"{part}.{name}": tensor for name, tensor in module.state_dict().items()}
    for part, module, optimizer in _optimizers(state):
        for name, parameter in module.named_parameters():
            moments = optimizer.state.get(parameter, {})
            tensors |= {f"{part}.{name}.{kind}": moments[kind] for kind in ADAM if kind in moments}
    info = {
        "config": dataclasses.asdict(state.G.config),
        "key": state.key,
        "nimg": state.nimg,
        "step": state.step,
        "ada": dataclasses.asdict(state.ada),
        "history": state.history,
    }
    _write(path, "state", tensors, info)


def load_state(path: Path, state: State, unfit: Callable[[list[dict[str, float]]], bool]) -> bool:
    """Read a training state into `state`, whose networks and key say what is expected; else UserError.

    A state with an `unfit` history is not read; gives whether it was.
    """
    tensors, info = _read(path, "state")
    if info["key"] != state.key:
        raise UserError(
            f"{path}: found a training with other parameters or data ({info['key']}, need {state.key}). "
            "Start over in another folder or remove this one"
        )
    if unfit(info["history"]):
        return False
    for part, module in _networks(state).items():
        load_weights(module, _under(part, tensors), f"{path}: {part}")
    for part, module, optimizer in _optimizers(state):
        moments = _under(part, tensors)
        loaded = {}
        for i, (name, _) in enumerate(module.named_parameters()):
            found = {kind: moments[f"{name}.{kind}"] for kind in ADAM if f"{name}.{kind}" in moments}
            if found:
                loaded[i] = found
        optimizer.load_state_dict({"state": loaded, "param_groups": optimizer.state_dict()["param_groups"]})
    state.pl_mean = tensors["pl_mean"].to(state.pl_mean)
    state.ada = Ada(**info["ada"])
    state.nimg, state.step, state.history = info["nimg"], info["step"], info["history"]
    return True


def _networks(state: State) -> dict[str, nn.Module]:
    return {"G": state.G, "D": state.D, "G_ema": state.G_ema}


def _optimizers(state: State) -> list[tuple[str, nn.Module, torch.optim.Optimizer]]:
    return [("opt_g", state.G, state.opt_g), ("opt_d", state.D, state.opt_d)]


def _under(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _write(path: Path, kind: str, tensors: Mapping[str, Tensor], info: dict[str, Any]) -> None:
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"kind": kind, "version": VERSION, **info}, sort_keys=True)
    try:
        with replacing(path) as partial:
            save_file(plain, partial, {METADATA: text})
            with partial.open("rb+") as file:
                os.fsync(file.fileno())  # days of training: also where the power fails it is the old one or the new one
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be written ({error}). Make room or another place for it") from error


def history_of(path: Path) -> list[dict[str, float]]:
    """The history in the file of a training state; UserError where that is damaged."""
    history: list[dict[str, float]] = _open(path, [], "state")[1]["history"]
    return history


def _read(path: Path, *kinds: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, info = _open(path, None, *kinds)
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise UserError(f"{path}: {broken[0]} is not finite (of {len(broken)} such tensors). Take an earlier file")
    return tensors, info


def _open(path: Path, names: Sequence[str] | None, *kinds: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The named tensors, or all, and what is written beside them, of a file of one of these kinds."""
    try:
        with safe_open(path, "pt") as file:
            info = json.loads((file.metadata() or {}).get(METADATA, "{}"))
            wanted = file.keys() if names is None else names
            tensors = {name: file.get_tensor(name) for name in wanted}
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"{path}: missing or damaged ({error}). Make or fetch the file again") from error
    kind, version = info.get("kind"), info.get("version")
    if kind not in kinds or version != VERSION:
        need = " or ".join(kinds)
        raise UserError(f"{path}: found {kind} version {version}, need {need} version {VERSION}. Make it again")
    return tensors, info
