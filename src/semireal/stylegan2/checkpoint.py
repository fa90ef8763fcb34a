"""Files of trained generators and of whole training states: safetensors with JSON in the metadata.

A file is complete or absent (temporary name, then rename), and equal content gives equal bytes. One that others wrote
may say anything: what is beside the tensors has to fit the schema, the tensors have to be those of the networks that it
tells of, and only then is anything made of them. So nothing gets larger than the file.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from semireal import schema
from semireal.errors import UserError
from semireal.files import replacing
from semireal.schema import param
from semireal.stylegan2 import parallel
from semireal.stylegan2.augment import Ada
from semireal.stylegan2.networks import Config, Discriminator, Generator
from semireal.text import line, shown

VERSION = 2
METADATA = "semireal"  # one key only: safetensors does not promise an order of several
NETWORKS, STATE = "networks", "state"  # kinds of files
ADAM = ("exp_avg", "exp_avg_sq", "step")
ROW = {"epoch", "kimg", "ada_p"}  # of the history, what every row has
MOST_BYTES = 2**34  # of a file; a state at 1024x1024 pixels has 0.8 GB
MOST_HEADER = 2**24  # bytes of names, shapes and history; that of 25,000 epochs has half of it
MOST_FAULTS = 10  # in a message
AGAIN = "Make or fetch the file again"

Shapes = dict[str, tuple[int, ...]]


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


@dataclasses.dataclass(frozen=True)
class _Networks:
    """What is written beside the tensors of networks."""

    config: Config
    extra: dict[str, Any] = param()


@dataclasses.dataclass(frozen=True)
class _State:
    """What is written beside the tensors of a training state."""

    config: Config
    key: str = param()
    nimg: int = param(low=0, high=2**53)
    step: int = param(low=0, high=2**53)
    ada: Ada = param()
    history: tuple[dict[str, Any], ...] = param(empty=True)

    def __post_init__(self) -> None:
        for epoch, row in enumerate(self.history, 1):
            if not (row.keys() >= ROW and all(map(_is_finite, row.values())) and row["epoch"] == epoch):
                raise UserError(f"history: found another row {epoch} than one of finite numbers of that epoch")

    def rows(self) -> list[dict[str, float]]:
        return list(self.history)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def save_networks(
    path: Path,
    config: Config,
    generator: Mapping[str, Tensor],
    discriminator: Mapping[str, Tensor] | None,
    extra: dict[str, Any],
    half: bool = False,
) -> None:
    """Write state dicts of an (averaged) generator and perhaps a discriminator, with any JSON-like extra.

    As float32; half: as float16, which takes half the room. UserError where a number is too large for that.
    """
    parts = {"G_ema": generator} | ({} if discriminator is None else {"D": discriminator})
    tensors = {f"{part}.{name}": tensor for part, found in parts.items() for name, tensor in found.items()}
    too_large = [name for name, tensor in tensors.items() if half and not torch.isfinite(tensor.half()).all()]
    if too_large:
        raise UserError(f"{path}: {too_large[0]} has numbers that float16 has not. Write it as float32")
    dtype = torch.float16 if half else torch.float32
    _write(path, NETWORKS, tensors, {"config": dataclasses.asdict(config), "extra": extra}, dtype)


def load_networks(path: Path) -> Networks:
    """Read the networks of a file of `save_networks` or of a training state; UserError where it is damaged."""
    tensors, info = _read(path, ("G_ema", "D"), NETWORKS, STATE)
    return Networks(info.config, _under("G_ema", tensors), _under("D", tensors) or None)


def extra_of(path: Path) -> dict[str, Any]:
    """What `save_networks` wrote beside the networks; nothing of a training state. UserError where it is damaged."""
    with _opened(path) as file:
        info = _info(path, file, NETWORKS, STATE)[1]
    return info.extra if isinstance(info, _Networks) else {}


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Load a state dict into module; a UserError lists missing, unexpected and misshapen tensors."""
    check_shapes(_shapes(module.state_dict()), _shapes(tensors), origin)
    module.load_state_dict(tensors)


def check_shapes(wanted: Shapes, found: Shapes, origin: str, most: int = MOST_FAULTS) -> None:
    """Raise a UserError that begins with origin and lists up to `most` tensors that are not as they have to be."""
    faults = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    faults += [f"{shown(name)} is unexpected" for name in sorted(found.keys() - wanted.keys())]
    faults += [
        f"{name} is {shown_shape(found[name])} and not {list(shape)}"
        for name, shape in sorted(wanted.items())
        if name in found and found[name] != shape
    ]
    if faults:
        more = f"; and {len(faults) - most} more" if len(faults) > most else ""
        raise UserError(f"{origin}: weights do not fit the network: {'; '.join(faults[:most])}{more}. {AGAIN}")


def shown_shape(shape: tuple[int, ...]) -> str:
    """A shape from a file, fit for a message."""
    return str(list(shape)) if len(shape) < 8 else f"of {len(shape)} dimensions"


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


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _block_of(name: str) -> str:
    first, second, *_ = name.split(".")
    return second if first == "synthesis" else f"{first}.{second}" if second == "fromrgb" else first


def save_state(path: Path, state: State) -> None:
    """Write a whole training state."""
    tensors, info = _content(state)
    _write(path, STATE, tensors, info)


def share_state(state: State) -> None:
    """Give the state of the first process to all others, which then need no file of it."""
    if parallel.size() == 1:
        return
    first = parallel.rank() == 0
    tensors, info = _content(state)
    # on the host: a GPU of another process has the same name elsewhere
    sent = parallel.tell(({name: tensor.cpu() for name, tensor in tensors.items()}, info) if first else None)
    if not first and sent is not None:
        tensors, info = sent
        _take(state, tensors, "the state of the first process")
        state.ada, state.history = Ada(**info["ada"]), info["history"]
        state.nimg, state.step = info["nimg"], info["step"]


def _content(state: State) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors of a state by name, and what is written beside them."""
    tensors = {"pl_mean": state.pl_mean}
    for part, module in _networks(state).items():
        tensors |= {f"{part}.{name}": tensor for name, tensor in module.state_dict().items()}
    for part, module, optimizer in _optimizers(state):
        for name, parameter in module.named_parameters():
            moments = optimizer.state.get(parameter, {})
            tensors |= {f"{part}.{name}.{kind}": moments[kind] for kind in ADAM if kind in moments}
    return tensors, {
        "config": dataclasses.asdict(state.G.config),
        "key": state.key,
        "nimg": state.nimg,
        "step": state.step,
        "ada": dataclasses.asdict(state.ada),
        "history": state.history,
    }


def load_state(path: Path, state: State, unfit: Callable[[list[dict[str, float]]], bool]) -> bool:
    """Read a training state into `state`, whose networks and key say what is expected; else UserError.

    A state with an `unfit` history is not read; gives whether it was.
    """
    tensors, info = _read(path, ("G", "D", "G_ema", "opt_g", "opt_d", "pl_mean"), STATE)
    assert isinstance(info, _State)
    if info.key != state.key:
        raise UserError(
            f"{path}: found a training with other parameters or data ({shown(info.key)}, need {state.key}). "
            "Start over in another folder or remove this one"
        )
    if unfit(info.rows()):
        return False
    _take(state, tensors, str(path))
    state.ada, state.nimg, state.step, state.history = info.ada, info.nimg, info.step, info.rows()
    return True


def _take(state: State, tensors: dict[str, Tensor], origin: str) -> None:
    """Put all tensors of a state where they belong."""
    for part, module in _networks(state).items():
        load_weights(module, _under(part, tensors), f"{origin}: {part}")
    for part, module, optimizer in _optimizers(state):
        moments = _under(part, tensors)
        loaded = {}
        for i, (name, _) in enumerate(module.named_parameters()):
            found = {kind: moments[f"{name}.{kind}"] for kind in ADAM if f"{name}.{kind}" in moments}
            if found:
                loaded[i] = found
        optimizer.load_state_dict({"state": loaded, "param_groups": optimizer.state_dict()["param_groups"]})
    state.pl_mean = tensors["pl_mean"].to(state.pl_mean)


def _networks(state: State) -> dict[str, nn.Module]:
    return {"G": state.G, "D": state.D, "G_ema": state.G_ema}


def _optimizers(state: State) -> list[tuple[str, nn.Module, torch.optim.Optimizer]]:
    return [("opt_g", state.G, state.opt_g), ("opt_d", state.D, state.opt_d)]


def _under(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _write(
    path: Path, kind: str, tensors: Mapping[str, Tensor], info: dict[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    plain = {name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in tensors.items()}
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
    with _opened(path) as file:
        info = _info(path, file, STATE)[1]
    assert isinstance(info, _State)
    return info.rows()


def _read(path: Path, parts: Collection[str], *kinds: str) -> tuple[dict[str, Tensor], _Networks | _State]:
    """The tensors of these parts, and what is written beside all, of a file of one of these kinds."""
    with _opened(path) as file:
        kind, info = _info(path, file, *kinds)
        _check_tensors(path, file, kind, info.config)
        tensors, faults = {}, []
        for name in file.keys():  # noqa: SIM118 - it is no mapping
            tensor = file.get_tensor(name)
            if not torch.isfinite(tensor).all():
                faults.append(f"{name} is not finite")
            elif name.endswith((".exp_avg_sq", ".step")) and (tensor < 0).any():
                faults.append(f"{name} is negative")
            elif name.partition(".")[0] in parts:
                tensors[name] = tensor.float()
    if faults:
        raise UserError(f"{path}: {faults[0]} (of {len(faults)} such tensors). Take an earlier file")
    return tensors, info


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A file of safetensors, of which nothing is loaded yet."""
    try:
        if not path.is_file():  # a pipe would never end
            raise UserError(f"{path}: missing, or no file. {AGAIN}")
        with path.open("rb") as start:
            header = int.from_bytes(start.read(8), "little")
        for what, found, most in (("bytes", path.stat().st_size, MOST_BYTES), ("bytes of names", header, MOST_HEADER)):
            if found > most:
                raise UserError(f"{path}: damaged: has {found} {what}, need at most {most}. {AGAIN}")
        with safe_open(path, "pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: missing or damaged ({line(str(error))[:200]}). {AGAIN}") from error


def _info(path: Path, file: Any, *kinds: str) -> tuple[str, _Networks | _State]:
    """Which of these kinds a file is, and what is written beside its tensors."""
    given = schema.parse_json((file.metadata() or {}).get(METADATA, "{}"), f"{path}: damaged")
    kind, version = (given.pop(name, None) if isinstance(given, dict) else None for name in ("kind", "version"))
    if kind not in kinds or version != VERSION:
        found, need = f"{shown(kind)} version {shown(version)}", " or ".join(kinds)
        raise UserError(f"{path}: found {found}, need {need} version {VERSION}. Make it again")
    try:
        return kind, schema.parse(_State, given, "") if kind == STATE else schema.parse(_Networks, given, "")
    except UserError as error:
        raise UserError(f"{path}: damaged: {error}. {AGAIN}") from None


def _check_tensors(path: Path, file: Any, kind: str, config: Config) -> None:
    """Compare what the file has with what the networks of its configuration have, before anything is loaded."""
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    check_shapes(
        _expected(kind, config, slices), {name: tuple(one.get_shape()) for name, one in slices.items()}, str(path)
    )
    fit = ("F32",) if kind == STATE else ("F32", "F16")
    other = [f"{name} is {one.get_dtype()}" for name, one in slices.items() if one.get_dtype() not in fit]
    if other:
        raise UserError(f"{path}: {other[0]} and not F32 (of {len(other)} such tensors). Save it as float32")


def _expected(kind: str, config: Config, names: Collection[str]) -> Shapes:
    """The tensors of a whole file. It need not have a discriminator beside a generator, nor moments that Adam has not.

    names: what it has, which tells that.
    """
    with torch.device("meta"):  # no numbers
        G, D = Generator(config), Discriminator(config)
    parts: dict[str, nn.Module] = {"G_ema": G}
    if kind == STATE:
        parts = {"G": G, "D": D, "G_ema": G}
    elif any(name.startswith("D.") for name in names):
        parts["D"] = D
    wanted = {
        f"{part}.{name}": shape
        for part, module in parts.items()
        for name, shape in _shapes(module.state_dict()).items()
    }
    if kind == STATE:
        wanted["pl_mean"] = ()
        for part, module in (("opt_g", G), ("opt_d", D)):
            for name, parameter in module.named_parameters():
                moments = {f"{part}.{name}.{kind}": tuple(parameter.shape) for kind in ADAM[:2]} | {
                    f"{part}.{name}.step": ()
                }
                wanted |= moments if moments.keys() & names else {}
    return wanted
