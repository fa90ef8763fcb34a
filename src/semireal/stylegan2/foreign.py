"""Network pickles of stylegan2-ada-pytorch and stylegan3 (--cfg=stylegan2): weights and the architecture they tell.

Their objects carry the source text of their classes, which the original loader executes; `unpickle` does not.
"""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from semireal.errors import UserError
from semireal.stylegan2 import networks, ops, unpickle
from semireal.stylegan2.checkpoint import Networks, check_shapes
from semireal.stylegan2.networks import Config, Discriminator, Generator
from semireal.stylegan2.unpickle import AGAIN, MOST_ENTRIES, Array, Object
from semireal.text import shown

# Limits well above any real file: one of 1024x1024 pixels has 0.4 GB and 100 objects a network.
MOST_BYTES = 2**31
MOST_ELEMENTS = 10**9  # of a network
MOST_OBJECTS = 1000  # of a network
MOST_UNITS = 2**20  # of a layer
MOST_FAULTS = 5  # in a message

CLASSES = {
    *("Generator", "MappingNetwork", "SynthesisNetwork", "SynthesisBlock", "SynthesisLayer", "ToRGBLayer"),
    *("Discriminator", "DiscriminatorBlock", "DiscriminatorEpilogue", "MinibatchStdLayer"),
    *("FullyConnectedLayer", "Conv2dLayer"),
}


def read_pickle(path: Path) -> Networks:
    """Read G_ema and, if there is one, D of a network pickle, as float32 under the names that ours have.

    Nothing that the file carries is run. A UserError of one line says why a file is refused: it is damaged, or
    asks for more than weights and plain data, or its networks are no unconditional StyleGAN2 for RGB images.
    """
    try:
        content = _content(path)
        return _networks(unpickle.load(content), len(content))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except unpickle.DAMAGE as error:
        reason = shown(f"{type(error).__name__}: {error}")
        raise UserError(f"{path}: damaged, or no network pickle ({reason}). {AGAIN}") from error


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise UserError("no such file. Give a network pickle (.pkl)")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UserError(f"has {size} bytes, need at most {MOST_BYTES}. Give a network pickle (.pkl)")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror}). Give a network pickle (.pkl)") from error
    if content[:1] != b"\x80":  # how every pickle since protocol 2 begins
        raise UserError(f"no pickle, perhaps the page of a failed download. {AGAIN}")
    return content


def _networks(root: object, size: int) -> Networks:
    """The networks of what a pickle of so many bytes holds."""
    if not isinstance(root, dict):
        raise UserError(f"holds {shown(root)} and no dict with G_ema. Give a network pickle of a PyTorch release")
    G, D = _objects(root, "G_ema", "Generator"), _objects(root, "D", "Discriminator")
    if not G:
        raise UserError("has no G_ema. Give a network snapshot as the training wrote it")
    config = _config(G, D)
    with torch.device("meta"):  # names and shapes only
        generator, discriminator = Generator(config), Discriminator(config)
    arrays = {"G_ema": _arrays("G_ema", G), "D": _arrays("D", D)}
    if sum(array.nbytes for part in arrays.values() for array in part.values()) > size:
        raise UserError(f"has more weights than bytes: they share theirs, and no network's do. {AGAIN}")
    weights = _weights("G_ema", G, arrays["G_ema"], generator, config)
    return Networks(config, weights, _weights("D", D, arrays["D"], discriminator, config) if D else None)


def _objects(root: dict[str, Any], part: str, class_name: str) -> dict[str, Object]:
    """All objects of a network by their dotted names, "" for itself; none if there is no such network."""
    top = root.get(part)
    if top is None:
        return {}
    if not isinstance(top, Object) or top.class_name != class_name:
        found_class = shown(top.class_name if isinstance(top, Object) else type(top).__name__)
        raise UserError(f"{part} is a {found_class}, need a {class_name}. Give a network pickle of StyleGAN2")
    found = {}
    for name, one in _walk("", top):
        if one.class_name not in CLASSES:
            raise UserError(
                f"{part}.{name} is a {shown(one.class_name)}, which StyleGAN2 does not have (StyleGAN3 -T and -R "
                "do). Give a network pickle of StyleGAN2"
            )
        found[name] = one
        if len(found) > MOST_OBJECTS:
            raise UserError(f"{part} has more than {MOST_OBJECTS} objects. {AGAIN}")
    return found


def _walk(name: str, top: Object) -> Iterator[tuple[str, Object]]:
    yield name, top
    for key, child in top.entries("_modules").items():
        if not isinstance(child, Object) or not re.fullmatch(r"[A-Za-z0-9_]+", key) or name.count(".") > 5:
            raise UserError(f"has {shown(child)} named {shown(key)} where part of a network should be. {AGAIN}")
        yield from _walk(f"{name}.{key}" if name else key, child)


def _config(G: dict[str, Object], D: dict[str, Object]) -> Config:
    """What G says of itself, with the size of the groups from D; UserError where it or D is out of our scope."""
    state = G[""].state
    _check_scope("G_ema", state, state.get("img_resolution"))
    clamp = _part("G_ema", G, "synthesis.b4.torgb").get("conv_clamp", "missing")
    if clamp is not None and type(clamp) not in (int, float):
        raise UserError(f"G_ema: conv_clamp is {shown(clamp)}, need a number or None. {AGAIN}")
    config = Config(
        **{name: _count("G_ema", state, name) for name in ("img_resolution", "z_dim", "w_dim")},
        mapping_layers=_count("G_ema.mapping", _part("G_ema", G, "mapping"), "num_layers", MOST_ENTRIES),
        conv_clamp=None if clamp is None else float(clamp),
        **_channels("G_ema", state),
    )
    if not D:
        return config
    _check_scope("D", D[""].state, config.img_resolution)
    config = dataclasses.replace(config, mbstd_group_size=_count("D", _part("D", D, "b4.mbstd"), "group_size"))
    other = dataclasses.replace(config, **_channels("D", D[""].state))
    for res in config.block_resolutions():
        if config.channels(res) != other.channels(res):
            raise UserError(
                f"at {res}x{res} G_ema has {config.channels(res)} channels and D {other.channels(res)}. "
                "Only networks with equal channels can be read"
            )
    return config


def _check_scope(part: str, state: dict[str, Any], resolution: object) -> None:
    for name, need in {"c_dim": 0, "img_channels": 3, "img_resolution": resolution}.items():
        if state.get(name, need) != need:
            raise UserError(
                f"{part}: {name} is {shown(state.get(name))}, need {shown(need)}. "
                "Only unconditional networks for RGB images can be read, G_ema and D of one resolution"
            )


def _channels(part: str, state: dict[str, Any]) -> dict[str, int]:
    """Options of the channels: nested in one code base, not in the other; both have the same defaults."""
    options = state.get("_init_kwargs")
    nested = options.get("synthesis_kwargs", {}) if isinstance(options, dict) else None
    if not isinstance(options, dict) or not isinstance(nested, dict):
        raise UserError(f"{part} has no constructor arguments (_init_kwargs). {AGAIN}")
    options = {"channel_base": 32768, "channel_max": 512} | options | nested
    return {name: _count(part, options, name) for name in ("channel_base", "channel_max")}


def _part(network: str, objects: dict[str, Object], name: str) -> dict[str, Any]:
    """Attributes of a part that every StyleGAN2 has."""
    if name not in objects:
        raise UserError(f"{network} has no {name}, as every StyleGAN2 has. Give a network pickle of StyleGAN2")
    return objects[name].state


def _count(where: str, found: dict[str, Any], name: str, most: int = MOST_UNITS) -> int:
    value = found.get(name)
    if type(value) is not int or not 1 <= value <= most:
        raise UserError(f"{where}: {name} is {shown(value)}, need an integer from 1 to {most}. {AGAIN}")
    return value


def _weights(
    part: str, objects: dict[str, Object], arrays: dict[str, Array], network: nn.Module, config: Config
) -> dict[str, Tensor]:
    """State dict in float32 of a network that has the layers and the shapes of `network`."""
    for name, module in network.named_modules():
        for key, need in _attributes(module, config).items() if name in objects else ():
            found = objects[name].state.get(key, need)  # not every release has all of them
            if found != need:
                raise UserError(f"{part}.{name}: {key} is {shown(found)}, but only {shown(need)} can be read")
    _check_shapes(part, arrays, network)
    tensors = {}
    for name, array in arrays.items():
        with np.errstate(over="ignore"):  # a float64 that is too large becomes infinite
            tensors[name] = torch.from_numpy(np.array(array, np.float32, order="C"))
        if not tensors[name].isfinite().all():
            raise UserError(f"{part}.{name} has numbers that are not finite. Take an earlier snapshot")
    return tensors


def _attributes(module: nn.Module, config: Config) -> dict[str, Any]:
    """Attributes of the public class that decide what it computes, as they are for our module."""
    match module:
        case networks.SynthesisBlock():
            return {"architecture": "skip"}
        case networks.DiscriminatorBlock() | networks.DiscriminatorEpilogue():
            return {"architecture": "resnet"}
        case networks.FullyConnected():
            return {"activation": "lrelu" if module.activate else "linear", "bias_gain": module.lr_multiplier}
        case networks.SynthesisLayer():
            return {"activation": "lrelu", "conv_clamp": config.conv_clamp, "up": 2 if module.up else 1}
        case networks.ToRGB():
            return {"conv_clamp": config.conv_clamp}
        case networks.ConvLayer() if module.bias is None:
            return {"activation": "linear", "conv_clamp": None, "down": 2 if module.down else 1}
        case networks.ConvLayer():
            return {"activation": "lrelu", "conv_clamp": config.conv_clamp, "down": 2 if module.down else 1}
    return {}


def _arrays(part: str, objects: dict[str, Object]) -> dict[str, Array]:
    """Parameters and persistent buffers by the names that they have in a state dict."""
    found: dict[str, Array] = {}
    for prefix, one in objects.items():
        transient = one.state.get("_non_persistent_buffers_set", set())
        if not isinstance(transient, set):  # to look for names in a long list takes long
            raise UserError(f"{part}.{prefix}: _non_persistent_buffers_set is {shown(transient)}, need a set. {AGAIN}")
        buffers = {name: value for name, value in one.entries("_buffers").items() if name not in transient}
        for name, value in (one.entries("_parameters") | buffers).items():
            if not isinstance(value, np.ndarray):
                raise UserError(f"{part}.{prefix}: {shown(name)} is {shown(value)}, need a tensor. {AGAIN}")
            found[f"{prefix}.{name}" if prefix else name] = value
    if sum(array.size for array in found.values()) > MOST_ELEMENTS:
        raise UserError(f"{part} has more than {MOST_ELEMENTS} weights. Give a network pickle of StyleGAN2")
    return found


def _check_shapes(part: str, found: dict[str, Array], network: nn.Module) -> None:
    low_pass = ops.fir_filter().numpy()
    for name, array in found.items():
        if name.endswith("resample_filter") and not (array.shape == (4, 4) and np.allclose(array, low_pass)):
            raise UserError(f"{part}.{shown(name)} is not that of [1, 3, 3, 1]. Only that filter can be read")
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_shapes(wanted, {name: array.shape for name, array in found.items()}, part, MOST_FAULTS)
