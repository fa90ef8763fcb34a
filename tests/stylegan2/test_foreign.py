import builtins
import collections
import copy
import io
import itertools
import math
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import refusing
from semireal.errors import UserError
from semireal.stylegan2 import (
    Config,
    Networks,
    convert,
    foreign,
    load_generator,
    load_networks,
    networks,
    save_networks,
    unpickle,
)
from semireal.stylegan2.foreign import read_pickle
from semireal.stylegan2.networks import build_discriminator, build_generator
from semireal.training import dial

TINY = Config(img_resolution=16, z_dim=8, w_dim=6, mapping_layers=2, channel_base=64, channel_max=8)
SMALLEST = Config(img_resolution=8, z_dim=3, w_dim=3, mapping_layers=1, channel_base=16, channel_max=2)

# ---- Writer of the public layout: the genuine bytes of pickle and torch, with classes of the same names.


def _reconstruct_persistent_obj(meta: Any) -> Any:
    raise AssertionError("the reader called what the file names")


class EasyDict(dict[str, Any]):
    pass


class TensorFlowNetwork:
    pass


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
EasyDict.__module__ = "dnnlib.util"
TensorFlowNetwork.__module__, TensorFlowNetwork.__qualname__ = "dnnlib.tflib.network", "Network"


@contextmanager
def modules() -> Iterator[None]:
    """The modules by whose names pickle writes functions and classes."""
    contents: dict[str, dict[str, Any]] = {
        "torch_utils": {},
        "torch_utils.persistence": {"_reconstruct_persistent_obj": _reconstruct_persistent_obj},
        "dnnlib": {},
        "dnnlib.util": {"EasyDict": EasyDict},
        "dnnlib.tflib": {},
        "dnnlib.tflib.network": {"Network": TensorFlowNetwork},
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, content in contents.items():
            module = types.ModuleType(name)
            vars(module).update(content)
            patch.setitem(sys.modules, name, module)
        yield


@pytest.fixture(scope="module", autouse=True)
def public_modules() -> Iterator[None]:
    with modules():
        yield


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.args


class Persistent:
    """Pickled as an object that carries the source of its class, all of one file the same one."""

    def __init__(self, class_name: str, state: dict[str, Any], **meta: Any) -> None:
        self.state = state
        self.meta = {"type": "class", "version": 6, "module_src": "pass", "class_name": class_name, **meta}

    def __reduce__(self) -> tuple[Any, ...]:
        meta = {key: value for key, value in {**self.meta, "state": self.state}.items() if value is not None}
        return _reconstruct_persistent_obj, (meta,), None

    def __getitem__(self, path: str) -> "Persistent":
        """The part with a dotted name."""
        found = self
        for name in path.split("."):
            found = found.state["_modules"][name]
        return found


def attributes(module: nn.Module, config: Config) -> tuple[str, dict[str, Any]]:
    """Public class of one of our modules, and the attributes that the public one has beside its tensors."""
    clamp = 256 if config.conv_clamp == 256 else config.conv_clamp  # there an integer
    scope = {"c_dim": 0, "img_resolution": config.img_resolution, "img_channels": 3}
    match module:
        case networks.Generator():
            return "Generator", {"z_dim": config.z_dim, "w_dim": config.w_dim, **scope}
        case networks.Mapping():
            return "MappingNetwork", {"num_layers": module.num_layers, "w_avg_beta": 0.995}
        case networks.Synthesis():
            return "SynthesisNetwork", {"block_resolutions": module.block_resolutions, "num_ws": module.num_ws}
        case networks.SynthesisBlock():
            return "SynthesisBlock", {"architecture": "skip", "use_fp16": False}
        case networks.SynthesisLayer():
            fixed = {"activation": "lrelu", "act_gain": np.sqrt(2), "use_noise": True, "padding": 1}
            return "SynthesisLayer", {"up": 2 if module.up else 1, "conv_clamp": clamp, **fixed}
        case networks.ToRGB():
            return "ToRGBLayer", {"conv_clamp": clamp, "weight_gain": 1 / np.sqrt(module.weight.shape[1])}
        case networks.FullyConnected():
            gains = {
                "weight_gain": module.lr_multiplier / np.sqrt(module.weight.shape[1]),
                "bias_gain": module.lr_multiplier,
            }
            return "FullyConnectedLayer", {"activation": "lrelu" if module.activate else "linear", **gains}
        case networks.Discriminator():
            return "Discriminator", scope
        case networks.DiscriminatorBlock():
            return "DiscriminatorBlock", {"architecture": "resnet", "num_layers": 4}
        case networks.DiscriminatorEpilogue():
            return "DiscriminatorEpilogue", {"architecture": "resnet", "cmap_dim": 0}
        case networks.ConvLayer():
            linear = module.bias is None
            fixed = {"activation": "linear" if linear else "lrelu", "act_gain": np.sqrt(1 if linear else 2)}
            return "Conv2dLayer", {"down": 2 if module.down else 1, "conv_clamp": None if linear else clamp, **fixed}
    raise AssertionError(type(module))


def persistent(module: nn.Module, config: Config, source: str) -> Persistent:
    class_name, more = attributes(module, config)
    state = vars(nn.Module()) | {"training": False, "_parameters": module._parameters, "_buffers": module._buffers}
    state["_modules"] = {
        name: None if child is None else persistent(child, config, source) for name, child in module._modules.items()
    }
    if class_name == "DiscriminatorEpilogue":
        mbstd = vars(nn.Module()) | {"group_size": config.mbstd_group_size, "num_channels": 1}
        state["_modules"]["mbstd"] = Persistent("MinibatchStdLayer", mbstd, module_src=source)
    return Persistent(class_name, {**state, **more, "_init_args": (), "_init_kwargs": {}}, module_src=source)


def snapshot(G: networks.Generator, D: networks.Discriminator | None, flat: bool, source: str = "pass") -> Any:
    """What a training run writes; flat: the constructor arguments of stylegan3, else those of stylegan2-ada."""
    config = G.config
    channels = {"channel_base": config.channel_base, "channel_max": config.channel_max}
    sizes = {"z_dim": config.z_dim, "w_dim": config.w_dim}
    parts = {"G": build_generator(config, 99), "G_ema": G, "D": D}
    root = {name: None if part is None else persistent(part, config, source) for name, part in parts.items()}
    for name, part in root.items():
        if part is None:
            continue
        kwargs: dict[str, Any] = {"c_dim": 0, "img_resolution": config.img_resolution, "img_channels": 3}
        if name != "D":
            kwargs |= {**sizes, "mapping_kwargs": EasyDict(num_layers=config.mapping_layers)}
        if name == "D" or flat:
            kwargs |= channels
        else:
            kwargs["synthesis_kwargs"] = EasyDict(**channels, num_fp16_res=0, conv_clamp=config.conv_clamp)
        part.state["_init_kwargs"] = EasyDict(**kwargs)
    more = {"augment_pipe": None, "training_set_kwargs": {"path": "x.zip", "use_labels": False, "max_size": None}}
    return {**root, **more} if flat else {**more, **root}


def trained(config: Config) -> tuple[networks.Generator, networks.Discriminator]:
    """Networks in which no tensor is as it was initialised."""
    G, D = build_generator(config, 0), build_discriminator(config, 1)
    rng = torch.Generator().manual_seed(2)
    for network in (G, D):
        for name, tensor in network.state_dict().items():
            if not name.endswith("resample_filter"):
                tensor.add_(torch.randn(tensor.shape, generator=rng) * 0.3)
        network.eval().requires_grad_(False)
    return G, D


def pair(config: Config = SMALLEST) -> Any:
    """A snapshot to spoil."""
    return snapshot(*trained(config), flat=True)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pickles")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(content: Any, protocol: int = 4) -> Path:
        path = tmp_path / "network.pkl"
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
        return path

    return write


def refuse(path: Path, message: str) -> None:
    refusing.refuse(read_pickle, path, message)


def equal(found: Networks, G: nn.Module, D: nn.Module | None) -> bool:
    parts = [(found.generator, G), *([] if D is None else [(found.discriminator or {}, D)])]
    for tensors, network in parts:
        wanted = network.state_dict()
        assert tensors.keys() == wanted.keys()
        for name, tensor in tensors.items():
            assert tensor.dtype == torch.float32
            assert tensor.is_contiguous()
            assert torch.equal(tensor, wanted[name]), name
    return True


# ---- Good files


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("flat", [False, True], ids=["ada", "stylegan3"])
def test_weights_and_architecture_come_through(write: Callable[..., Path], protocol: int, flat: bool) -> None:
    config = Config(**{**vars(TINY), "conv_clamp": 256.0 if flat else None, "mbstd_group_size": 2 if flat else 4})
    G, D = trained(config)
    found = read_pickle(write(snapshot(G, D, flat), protocol))
    assert found.config == config
    assert equal(found, G, D)


def test_images_are_those_of_the_source(write: Callable[..., Path], tmp_path: Path) -> None:
    G, D = trained(Config(**{**vars(TINY), "conv_clamp": 0.5}))  # so low that it changes the images
    path = write({**snapshot(G, D, False), "D": None})
    z = torch.randn(3, TINY.z_dim, generator=torch.Generator().manual_seed(0))
    line = convert.convert(path, tmp_path / "g.safetensors")
    assert "16x16" in line
    assert "no discriminator" in line
    for file in (path, tmp_path / "g.safetensors"):
        loaded = load_generator(file)
        assert loaded.config.conv_clamp == 0.5
        assert torch.equal(loaded(z, psi=0.7), G(z, psi=0.7))


def test_without_discriminator(write: Callable[..., Path]) -> None:
    G, D = trained(TINY)
    root = snapshot(G, D, True)
    for missing in ({k: v for k, v in root.items() if k not in ("D", "G", "augment_pipe")}, {**root, "D": None}):
        found = read_pickle(write(missing))
        assert found.discriminator is None
        assert found.config == TINY
        assert equal(found, G, None)


def test_default_options(write: Callable[..., Path]) -> None:
    """Eight mapping layers, channel_base 32768 and channel_max 512 need not be said in the arguments."""
    config = Config(img_resolution=8, z_dim=2, w_dim=2, channel_max=3)
    G, D = trained(config)
    root = snapshot(G, D, True)
    for part in ("G_ema", "D"):
        del root[part].state["_init_kwargs"]["channel_base"]
    found = read_pickle(write(root))
    assert found.config == config
    assert found.config.mapping_layers == 8
    assert equal(found, G, D)


def test_numpy_numbers_of_either_major_version(write: Callable[..., Path]) -> None:
    G, D = trained(SMALLEST)
    content = pickle.dumps(snapshot(G, D, False), 3)
    new, old = b"numpy._core.multiarray\n", b"numpy.core.multiarray\n"
    assert new in content or old in content
    assert equal(read_pickle(write(content.replace(new, old))), G, D)
    assert equal(read_pickle(write(content.replace(old, new))), G, D)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_float_types(write: Callable[..., Path], dtype: torch.dtype) -> None:
    G, D = trained(SMALLEST)
    found = read_pickle(write(snapshot(copy.deepcopy(G).to(dtype), copy.deepcopy(D).to(dtype), True)))
    assert equal(found, G.to(dtype).float(), D.to(dtype).float())


def test_permuted_strides_and_shared_storages(write: Callable[..., Path]) -> None:
    G, D = trained(SMALLEST)
    root = snapshot(copy.deepcopy(G), copy.deepcopy(D).to(memory_format=torch.channels_last), True)
    layer, mapping = (root["G_ema"][name].state for name in ("synthesis.b8.conv1", "mapping.fc0"))
    layer["_buffers"]["noise_const"] = layer["_buffers"]["noise_const"].t().contiguous().t()
    assert not layer["_buffers"]["noise_const"].is_contiguous()
    common = torch.cat([torch.zeros(5), mapping["_parameters"]["bias"], mapping["_parameters"]["weight"].flatten()])
    mapping["_parameters"]["bias"], mapping["_parameters"]["weight"] = common[5:8], common[8:].view(3, 3)
    # layers that a training run froze are buffers
    frozen = root["D"]["b8.conv0"].state
    frozen["_buffers"], frozen["_parameters"] = frozen["_buffers"] | frozen["_parameters"], {}
    frozen["_buffers"]["extra"] = torch.ones(1)
    frozen["_non_persistent_buffers_set"] = {"extra"}
    assert equal(read_pickle(write(root)), G, D)
    assert equal(read_pickle(write(root, 3)), G, D)


# ---- Hostile files


def test_embedded_source_is_not_run(write: Callable[..., Path], tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    G, D = trained(SMALLEST)
    path = write(snapshot(G, D, True, f"open({str(marker)!r}, 'w').close()"))
    assert str(marker).encode() in path.read_bytes()
    assert equal(read_pickle(path), G, D)
    assert not marker.exists()


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


CALLS: dict[str, tuple[Callable[[str], Any], str]] = {
    "os.system": (lambda marker: Call(os.system, f"touch {marker}"), r"asks for '(posix|nt)\.system'.*nothing was run"),
    "eval": (lambda marker: Call(builtins.eval, f"open({marker!r}, 'w')"), "asks for 'builtins.eval'"),
    "rebuild_tensor": (lambda _: Call(torch._utils._rebuild_tensor, 1), "asks for 'torch._utils._rebuild_tensor'"),
    "torch.load": (lambda marker: Call(torch.load, marker), "asks for 'torch.serialization.load'"),
    "a class of ours": (lambda _: SMALLEST, "asks for 'semireal.stylegan2.networks.Config'"),
    "dict": (lambda _: Call(collections.Counter, {}), "asks for 'collections.Counter'"),
    "tensorflow": (lambda _: (TensorFlowNetwork(),) * 3, "TensorFlow era. Convert it"),
    "array": (lambda _: np.ones(3), "StyleGAN3 -T and -R"),
    "object dtype": (lambda _: np.dtype("O"), "numpy numbers of type 'O8'"),
    "big-endian": (lambda _: np.dtype(">f8"), "sets the state of a _Scalar: refused"),
    "call of a value": (lambda _: Call(Refused, 1), "asks for"),
}


class Refused:
    pass


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("kind", list(CALLS))
def test_other_names_are_refused(write: Callable[..., Path], tmp_path: Path, kind: str, protocol: int) -> None:
    marker = tmp_path / "marker"
    make, message = CALLS[kind]
    bad = make(str(marker))
    refuse(write({**pair(), "training_set_kwargs": {"x": bad}}, protocol), message)
    refuse(write({**pair(), "G_ema": bad}, protocol), message)
    refuse(write(bad, protocol), message)
    assert not marker.exists()


def raw(body: bytes) -> bytes:
    return b"\x80\x04" + body + b"."


RAW = {
    "dotted name": (short("collections") + short("OrderedDict.fromkeys") + b"\x93)R", "OrderedDict.fromkeys'"),
    "dots in between": (short("torch._utils") + short("os.system") + b"\x93)R", "asks for 'torch._utils.os.system'"),
    "name in two parts": (short("torch") + short("_utils _rebuild_tensor_v2") + b"\x93", "asks for"),
    "no string": (b"K\x01K\x02\x93", "has 1 for a name"),
    "instance": (b"(iposix\nsystem\n", "opcode INST"),
    "object": (b"(cposix\nsystem\no", "asks for 'posix.system'"),
    "persistent id": (b"K\x01Q", "opcode BINPERSID"),
    "persistent id, text": (b"P1\n", "opcode PERSID"),
    "extension code": (b"\x82\x01", "opcode EXT1"),
    "newobj_ex": (b"ccollections\nOrderedDict\n)}\x92", "opcode NEWOBJ_EX"),
    "out-of-band buffer": (b"\x97", "opcode NEXT_BUFFER"),
    "call of a dict": (b"})R", "calls a dict: refused"),
    "call without a tuple": (b"ccollections\nOrderedDict\n]R", "calls a _Function"),
    "state of an object": (b"ccollections\nOrderedDict\n)R}b", "sets the state of a dict"),
    "state of a dict": (b"}(K\x03" + short("<") + b"tb", "sets the state of a dict"),
    "state of a function": (b"ccollections\nOrderedDict\n}b", "sets the state of a _Function"),
    "append to a dict": (b"}K\x01a", "adds to a dict as to a list"),
    "item of a list": (b"]K\x01K\x02s", "adds to a list as to a dict"),
    "odd dict": (b"}(" + short("a") + b"u", "damaged"),
    "too many arguments": (b"ccollections\nOrderedDict\n(K\x01K\x02tR", "damaged.*TypeError"),
    "set of one": (b"cbuiltins\nset\nK\x01\x85R", "has a set of 1"),
    "set of ints": (b"cbuiltins\nset\n](K\x01e\x85R", "has 1 for a name"),
    "ints in a set": (b"\x8f(K\x01\x90", "has 1 for a name"),
    "long set": (b"cbuiltins\nset\n](" + short("a") * 300 + b"e\x85R", "has a set of a list, or one too long"),
    "set of many": (b"cbuiltins\nset\n](" + short("a") * 33 + b"e\x85R", "has a set of a list, or one too long"),
    "calls over and over": (b"ccollections\nOrderedDict\nq\x00(" + b"h\x00)R" * 20_001 + b"t", "more than 20000 calls"),
    "storage of a string": (b"ctorch.storage\n_load_from_bytes\n" + short("a") + b"\x85R", "need bytes"),
    "storage within one": (b"ctorch.storage\n_load_from_bytes\n" + b"C\x04\x80\x02N." + b"\x85R", "damaged"),
    "numpy number": (b"cnumpy\ndtype\n(" + short("f8") + b"\x89\x88tRC\x01a\x86cx\ny\n", "asks for 'x.y'"),
    "short number": (
        b"cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\n(" + short("f8") + b"\x89\x88tRC\x01a\x86R",
        "damaged.*error",
    ),
    "empty stack": (b"R", "damaged.*IndexError"),
    "no mark": (b"t", "damaged.*IndexError"),
    "nothing": (b"", "damaged.*IndexError"),
    "unknown memo": (b"h\x05", "damaged.*KeyError"),
    "bad string": (b"\x8c\x02\xff\xff", "damaged.*UnicodeDecodeError"),
    "unknown opcode": (b"\xff", "damaged.*unknown"),
    "a list": (b"]", "holds a list"),
    "an empty dict": (b"}", "has no G_ema"),
    "text of many lines": (b"}(" + short("G_ema") + b"C\x03a\nbu", "G_ema is a 'bytes', need a Generator"),
    # what claims more memory than it brings
    "long bytes": (b"\x8e" + struct.pack("<Q", 2**62) + b"abc", "damaged"),
    "longer bytes": (b"\x8e" + struct.pack("<Q", 2**64 - 1) + b"abc", "damaged"),
    "long string": (b"\x8d" + struct.pack("<Q", 2**40) + b"abc", "damaged"),
    "long bytearray": (b"\x96" + struct.pack("<Q", 2**40) + b"abc", "damaged"),
    "long frame": (b"\x95" + struct.pack("<Q", 2**40) + b"N", "holds None"),
    "long integer": (b"\x8b" + struct.pack("<i", 2**31 - 1) + b"abc", "damaged"),
    "integer as text": (b"L" + b"9" * 10000 + b"L\n", "damaged"),
    "far memo": (b"Nr" + struct.pack("<I", 2**32 - 1), "holds None"),
    # what is deep
    "deep list": (b"]" * 100_000 + b"a" * 99_999, "holds a list"),
    "deep tuple": (b")" + b"\x85" * 100_000, "holds a tuple"),
    "deep marks": (b"(" * 100_000, "damaged"),
    "deep key": (b"})" + b"\x85" * 100_000 + b"Ns", "has a tuple for a name"),
    "doubling key": (b"})\x94" + b"".join(b"h%c\x86\x94" % n for n in range(99)) + b"Ns", "has a tuple for a name"),
    "long key": (b"}X" + struct.pack("<I", 1000) + b"a" * 1000 + b"Ns", "need a short string"),
}


@pytest.mark.parametrize("kind", list(RAW))
def test_other_opcodes_and_claims_are_refused(write: Callable[..., Path], kind: str) -> None:
    body, message = RAW[kind]
    refuse(write(raw(body)), message)


def test_an_object_within_itself(write: Callable[..., Path]) -> None:
    """Its dict of modules (memo 1000) gets the object (memo 1001) once that exists."""
    shell: dict[str, Any] = {"_parameters": {}, "_buffers": {}, "z_dim": 1}
    meta = {"type": "class", "version": 6, "module_src": "", "class_name": "Generator"}
    inside = pickle.dumps(shell, 2)[2:-1] + short("_modules") + b"}r" + struct.pack("<I", 1000) + b"s"
    whole = pickle.dumps(meta, 2)[2:-1] + short("state") + inside + b"s"
    top = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n" + whole + b"\x85Rr" + struct.pack("<I", 1001)
    again = b"j" + struct.pack("<I", 1000) + short("x") + b"j" + struct.pack("<I", 1001) + b"s"
    refuse(write(raw(b"}(" + short("G_ema") + top + short("other") + again + b"u")), "where part of a network")


def test_the_same_part_over_and_over(write: Callable[..., Path]) -> None:
    empty = vars(nn.Module())
    part = Persistent("SynthesisNetwork", empty)
    for _ in range(2):
        part = Persistent("SynthesisNetwork", {**empty, "_modules": {f"m{i}": part for i in range(200)}})
    root = pair()
    root["G_ema"].state["_modules"]["more"] = part
    refuse(write(root), "more than 1000 objects")


def test_weights_that_share_their_numbers(write: Callable[..., Path]) -> None:
    """What is read is no larger than the file, however often a network uses the same numbers."""
    config = Config(img_resolution=8, z_dim=64, w_dim=64, mapping_layers=40, channel_base=16, channel_max=2)
    root = {**snapshot(build_generator(config, 0), None, flat=True), "G": None}
    read_pickle(write(root))
    for name, layer in root["G_ema"]["mapping"].state["_modules"].items():
        layer.state["_parameters"]["weight"] = root["G_ema"]["mapping.fc0"].state["_parameters"]["weight"]
        assert name.startswith("fc")
    assert write(root).stat().st_size < 300_000  # less than half of what the weights have
    refuse(write(root), "has more weights than bytes")


def test_limits(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(pair())
    read_pickle(path)
    for module, name, message in (
        (foreign, "MOST_BYTES", r"has \d+ bytes, need at most 100"),
        (foreign, "MOST_ELEMENTS", "more than 100 weights"),
        (foreign, "MOST_OBJECTS", "more than 10 objects"),
        (unpickle, "MOST_OPCODES", "more than 100 opcodes"),
        (unpickle, "HEADER_OPCODES", "more than 10 opcodes"),
        (unpickle, "HEADER_BYTES", "damaged"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, 10 if name in ("MOST_OBJECTS", "HEADER_OPCODES") else 100)
            refuse(path, message)


def outcome(path: Path, content: bytes, marker: Path) -> None:
    """A changed file is read or refused in one line, and nothing in it is run."""
    path.write_bytes(content)
    try:
        found = read_pickle(path)
    except UserError as error:
        refusing.check_line(path, str(error))
    else:
        assert all(tensor.isfinite().all() for tensor in found.generator.values())
    assert not marker.exists()


@pytest.fixture(scope="module")
def whole(scratch: Path) -> bytes:
    """A file whose every object carries source that leaves a marker."""
    source = f"open({str(scratch / 'marker')!r}, 'w').close()"
    root = snapshot(*trained(SMALLEST), True, source)
    del root["G"], root["augment_pipe"]
    return pickle.dumps(root, 4)


@pytest.fixture(scope="module")
def places(whole: bytes) -> list[int]:
    """Where the opcodes are."""
    return [place for _, _, place in pickletools.genops(whole) if place is not None]


def test_truncated_anywhere(whole: bytes, places: list[int], scratch: Path) -> None:
    ends = [*places[:: len(places) // 60], *range(0, len(whole), len(whole) // 60), len(whole) - 1]
    for end in ends:
        (scratch / "short.pkl").write_bytes(whole[:end])
        refuse(scratch / "short.pkl", "damaged, or no network pickle|no pickle")


PROPERTY = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@settings(PROPERTY, max_examples=200)
@given(data=st.data())
def test_changed_bytes(data: st.DataObject, whole: bytes, places: list[int], scratch: Path) -> None:
    content = bytearray(whole)
    where = st.integers(0, len(content) - 1) | st.sampled_from(places)
    opcodes = st.sampled_from([ord(opcode.code) for opcode in pickletools.opcodes])
    for place, byte in data.draw(st.lists(st.tuples(where, st.integers(0, 255) | opcodes), min_size=1, max_size=4)):
        content[place] = byte
    outcome(scratch / "changed.pkl", bytes(content), scratch / "marker")


@settings(PROPERTY, max_examples=200)
@given(
    body=st.lists(
        st.binary(max_size=8)
        | st.sampled_from([opcode.code.encode("latin-1") for opcode in pickletools.opcodes])
        | st.sampled_from([b"c" + name.replace(" ", "\n").encode() + b"\n" for name in unpickle.FUNCTIONS])
        | st.just(b"cposix\nsystem\n"),
        max_size=40,
    )
)
def test_random_opcodes(body: list[bytes], scratch: Path) -> None:
    outcome(scratch / "random.pkl", raw(b"".join(body)), scratch / "marker")


SNIPPETS = [
    *(b"c" + name.replace(" ", "\n").encode() + b"\n" for name in unpickle.FUNCTIONS),
    b"cposix\nsystem\n",
    *(bytes([ord(opcode.code)]) for opcode in pickletools.opcodes),
    *(b"h%c" % memo for memo in range(0, 250, 7)),
    *(b"r" + struct.pack("<I", memo) for memo in (0, 7, 2**31, 2**32 - 1)),
    *(b"\x8e" + struct.pack("<Q", count) for count in (0, 100, 2**31, 2**62, 2**64 - 1)),  # BINBYTES8
    *(b"\x8b" + struct.pack("<i", count) for count in (-1, 0, 100, 2**31 - 1)),  # LONG4
    *(b"\x95" + struct.pack("<Q", count) for count in (0, 100, 2**62)),  # FRAME
    *(b"J" + struct.pack("<i", number) for number in (-1, 0, 6, 2**31 - 1)),
    *(b"\x8a\x08" + struct.pack("<q", number) for number in (-1, 2**40, 2**62)),
    *(b"G" + struct.pack(">d", number) for number in (0.5, math.nan, math.inf)),
    *(map(short, ("state", "_modules", "_buffers", "img_resolution", "num_layers", "x"))),
    *(b"]" * 1000, b"(" * 1000, b")" + b"\x85" * 1000, b"}\x94" * 300),
]


@settings(PROPERTY, max_examples=300)
@given(data=st.data())
def test_edited_opcodes(data: st.DataObject, whole: bytes, places: list[int], scratch: Path) -> None:
    """Opcodes with their arguments are swapped, repeated, left out, or have others between them."""
    parts = [whole[begin:end] for begin, end in itertools.pairwise([*places, len(whole)])]
    for _ in range(data.draw(st.integers(1, 4))):
        a, b = (data.draw(st.integers(0, len(parts) - 1)) for _ in range(2))
        match data.draw(st.sampled_from(["swap", "repeat", "leave out", "put", "put instead"])):
            case "swap":
                parts[a], parts[b] = parts[b], parts[a]
            case "repeat":
                parts[a : a + 1] = parts[a : a + 10] * data.draw(st.sampled_from([2, 100]))
            case "leave out":
                del parts[a : a + data.draw(st.integers(1, 9))]
            case "put":
                parts[a:a] = data.draw(st.lists(st.sampled_from([*SNIPPETS, parts[b]]), min_size=1, max_size=5))
            case "put instead":
                parts[a] = data.draw(st.sampled_from(SNIPPETS))
        if not parts:
            return
    outcome(scratch / "edited.pkl", b"".join(parts), scratch / "marker")


# ---- Tensors


def storage_bytes(tensor: Tensor) -> bytes:
    """The genuine bytes of a storage in the older format."""
    file = io.BytesIO()
    torch.save(tensor.storage(), file, _use_new_zipfile_serialization=False)  # type: ignore[no-untyped-call]
    return file.getvalue()


def stored(content: Any, offset: Any = 0, size: Any = (3,), stride: Any = (1,)) -> Call:
    """A tensor of any storage, offset, size and stride; the network that it goes to needs [3]."""
    storage = Call(torch.storage._load_from_bytes, content)
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, collections.OrderedDict())


@pytest.fixture
def with_bias(write: Callable[..., Path]) -> Callable[[Any], Path]:
    """Write a network whose mapping.fc0.bias, [3], is something else."""

    def change(bias: Any) -> Path:
        root = pair()
        root["G_ema"]["mapping.fc0"].state["_parameters"]["bias"] = bias
        return write(root)

    return change


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_storages_made_by_hand(with_bias: Callable[[Any], Path]) -> None:
    """The good case of the tests below."""
    content = storage_bytes(torch.arange(10.0))
    for offset, stride, need in ((0, 1, [0, 1, 2]), (7, 1, [7, 8, 9]), (1, 4, [1, 5, 9])):
        found = read_pickle(with_bias(stored(content, offset, (3,), (stride,))))
        assert found.generator["mapping.fc0.bias"].tolist() == need
    elsewhere = content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    assert elsewhere != content
    assert read_pickle(with_bias(stored(elsewhere))).generator["mapping.fc0.bias"].tolist() == [0, 1, 2]


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize(
    ("offset", "size", "stride", "message"),
    [
        (0, (4,), (4,), "reaches past its storage"),
        (8, (3,), (1,), "reaches past its storage"),
        (2**62, (3,), (1,), "reaches past its storage"),
        (0, (3,), (2**70,), "reaches past its storage"),
        (0, (11,), (0,), "reaches past its storage"),
        (0, (2**40, 2**40), (0, 0), "reaches past its storage"),
        (-1, (3,), (1,), "not made of counts"),
        (0, (-3,), (1,), "not made of counts"),
        (4, (3,), (-1,), "not made of counts"),
        (0.0, (3,), (1,), "not made of counts"),
        (True, (3,), (1,), "not made of counts"),
        (0, [3], (1,), "not made of counts"),
        (0, ("3",), (1,), "not made of counts"),
        (0, (1,) * 9, (1,) * 9, "not made of counts"),
        (0, (3,), (1, 1), "unequal size and stride"),
        (0, (1,), (2**70,), "damaged"),
        (0, (0, 2**62), (1, 1), "damaged|mapping.fc0.bias is"),
        (11, (0,), (1,), r"mapping.fc0.bias is \[0\] and not \[3\]"),
        (0, (3, 1), (1, 1), r"mapping.fc0.bias is \[3, 1\] and not \[3\]"),
        (0, (), (), r"mapping.fc0.bias is \[\] and not \[3\]"),
    ],
)
def test_tensors_outside_their_storage(
    with_bias: Callable[[Any], Path], offset: Any, size: Any, stride: Any, message: str
) -> None:
    refuse(with_bias(stored(storage_bytes(torch.arange(10.0)), offset, size, stride)), message)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_spoilt_storages(with_bias: Callable[[Any], Path]) -> None:
    content = storage_bytes(torch.arange(10.0))
    count, numbers = struct.pack("<q", 10), np.arange(10, dtype="<f4").tobytes()
    assert content.endswith(count + numbers)
    head = content.removesuffix(count + numbers)
    claimed = head.replace(b"K\x0aN", b"K\x09N")
    assert claimed != head
    other = "other than the .* numbers it claims"
    for spoilt, message in (
        (content + b"\0", other),
        (content[:-1], other),
        (head + struct.pack("<q", 9) + numbers, other),
        (head + struct.pack("<q", -1) + numbers, other),
        (claimed + count + numbers, other),
        (head.replace(b"K\x0aN", b"J\xff\xff\xff\xffN") + struct.pack("<q", -1) + numbers, "another layout"),
        (head, other),
        (content[:100], "damaged"),
        (b"", "damaged"),
        (content.replace(b"\x6c\xfc\x9c\x46", b"\x6d\xfc\x9c\x46"), "another layout"),
        (content.replace(b"little_endianq\x02\x88", b"little_endianq\x02\x89"), "another layout"),
        (content.replace(b"M\xe9\x03.", b"M\xea\x03."), "another layout"),
        (content.replace(b"ctorch\nFloatStorage", b"cposix\nsystem"), "numbers of type 'posix.system'"),
        (content.replace(b"ctorch\nFloatStorage\n", b"ctorch\nload\n)R"), "numbers of type 'torch.load'"),
        (content.replace(b"ctorch\nFloatStorage\n", b"ctorch\nFloatStorage\n)R"), "calls a .*[dD][tT]ype: refused"),
        (head[:-5] + b"x" + head[-4:] + count + numbers, "another layout"),
        (b"PK\x03\x04" + content, "opcode PERSID|damaged"),
    ):
        assert spoilt != content
        refuse(with_bias(stored(spoilt)), message)
    with_zip = io.BytesIO()
    torch.save(torch.arange(3.0), with_zip)
    refuse(with_bias(stored(with_zip.getvalue())), "opcode|damaged")
    refuse(with_bias(Call(torch._utils._rebuild_tensor_v2, {}, 0, (3,), (1,), False, {})), "without storage")
    refuse(with_bias(Call(torch._utils._rebuild_parameter, "x", False, {})), "need a tensor")
    refuse(with_bias([1.0, 2.0, 3.0]), r"G_ema.mapping.fc0: 'bias' is a list, need a tensor")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int32, torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_other_types_of_numbers_are_refused(with_bias: Callable[[Any], Path], dtype: torch.dtype) -> None:
    refuse(with_bias(torch.ones(3, dtype=dtype)), r"numbers of type 'torch\.\w+Storage', need FloatStorage")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_numbers_that_are_not_finite_are_refused(with_bias: Callable[[Any], Path], value: float) -> None:
    bias = torch.tensor([0, value, 0], dtype=torch.float64)
    refuse(with_bias(bias), r"G_ema\.mapping\.fc0\.bias has numbers that are not finite")


# ---- Networks that we cannot represent


def state(root: Any, path: str) -> dict[str, Any]:
    """Attributes of a part, such as D or G_ema.mapping.fc0."""
    first, _, rest = path.partition(".")
    part = root[first][rest] if rest else root[first]
    found: dict[str, Any] = part.state
    return found


@pytest.mark.parametrize(
    ("path", "key", "value", "message"),
    [
        ("G_ema", "c_dim", 10, "G_ema: c_dim is 10, need 0. Only unconditional"),
        ("D", "c_dim", 10, "D: c_dim is 10, need 0. Only unconditional"),
        ("G_ema", "img_channels", 4, "G_ema: img_channels is 4, need 3"),
        ("D", "img_channels", 1, "D: img_channels is 1, need 3"),
        ("D", "img_resolution", 16, "D: img_resolution is 16, need 8"),
        ("G_ema", "img_resolution", 48, "need a power of two|img_resolution"),
        ("G_ema", "img_resolution", 16, "D: img_resolution is 8, need 16"),
        ("G_ema", "img_resolution", 2**21, "img_resolution is 2097152, need an integer from 1 to"),
        ("G_ema", "img_resolution", None, "img_resolution is None, need an integer"),
        ("G_ema", "z_dim", 4, r"mapping.fc0.weight is \[3, 3\] and not \[3, 4\]"),
        ("G_ema", "z_dim", 10**100, "z_dim is 1000"),
        ("G_ema", "w_dim", True, "w_dim is True, need an integer"),
        ("G_ema", "w_dim", "3", "w_dim is '3', need an integer"),
        ("G_ema", "_init_kwargs", None, "G_ema has no constructor arguments"),
        ("G_ema", "_init_kwargs", {"synthesis_kwargs": 1}, "G_ema has no constructor arguments"),
        ("G_ema", "_init_kwargs", {"channel_base": 64.0}, "channel_base is 64.0, need an integer"),
        ("G_ema", "_init_kwargs", {"channel_max": 5}, "at 4x4 G_ema has 5 channels and D 2"),
        ("D", "_init_kwargs", {"channel_max": 5}, "at 4x4 G_ema has 2 channels and D 5"),
        ("G_ema", "_modules", {}, "G_ema has no synthesis.b4.torgb"),
        ("G_ema", "_modules", None, "_modules of a 'Generator' is None"),
        ("G_ema", "_modules", {"mapping": 1}, "has 1 named 'mapping'"),
        ("G_ema", "_buffers", {f"b{i}": None for i in range(300)}, "too long"),
        ("G_ema.mapping", "num_layers", 2, "mapping.fc1.bias is missing"),
        ("G_ema.mapping", "num_layers", 10**6, "num_layers is 1000000, need an integer from 1 to 256"),
        ("G_ema.mapping", "_non_persistent_buffers_set", ["w_avg"] * 9, "_buffers_set is a list, need a set"),
        ("G_ema.mapping.fc0", "bias_gain", 1, "mapping.fc0: bias_gain is 1, but only 0.01"),
        ("G_ema.mapping.fc0", "activation", "relu", "mapping.fc0: activation is 'relu', but only 'lrelu'"),
        ("G_ema.synthesis.b8", "architecture", "orig", "synthesis.b8: architecture is 'orig', but only 'skip'"),
        ("G_ema.synthesis.b8.conv0", "up", 1, "conv0: up is 1, but only 2"),
        ("G_ema.synthesis.b8.conv1", "activation", "swish", "activation is 'swish', but only 'lrelu'"),
        ("G_ema.synthesis.b8.conv1", "conv_clamp", 256, "conv_clamp is 256, but only None"),
        ("G_ema.synthesis.b4.torgb", "conv_clamp", 256, "conv_clamp is None, but only 256"),
        ("G_ema.synthesis.b4.torgb", "conv_clamp", -1, "conv_clamp: found -1.0, need more than 0"),
        ("G_ema.synthesis.b4.torgb", "conv_clamp", "x", "conv_clamp is 'x', need a number or None"),
        ("D.b8", "architecture", "skip", "D.b8: architecture is 'skip', but only 'resnet'"),
        ("D.b4", "architecture", "orig", "D.b4: architecture is 'orig', but only 'resnet'"),
        ("D.b8.conv0", "activation", "relu", "D.b8.conv0: activation is 'relu', but only 'lrelu'"),
        ("D.b8.conv0", "conv_clamp", 256, "D.b8.conv0: conv_clamp is 256, but only None"),
        ("D.b8.skip", "conv_clamp", 256, "D.b8.skip: conv_clamp is 256, but only None"),
        ("D.b4.mbstd", "group_size", None, "group_size is None, need an integer"),
        ("D.b4.mbstd", "num_channels", 1, ""),
    ],
)
def test_other_architectures(write: Callable[..., Path], path: str, key: str, value: Any, message: str) -> None:
    root = pair()
    assert key in state(root, path)
    state(root, path)[key] = value
    if message:
        refuse(write(root), message)
    else:
        read_pickle(write(root))  # the same value as before


def test_other_filters(write: Callable[..., Path]) -> None:
    for filter_ in (torch.ones(4, 4) / 16, torch.ones(12)):
        root = pair()
        state(root, "D.b8.conv1")["_buffers"]["resample_filter"] = filter_
        refuse(write(root), "D.'b8.conv1.resample_filter' is not that of")


def test_missing_unexpected_and_misshapen_tensors(write: Callable[..., Path]) -> None:
    root = pair()
    fc0, fc1 = state(root, "G_ema.mapping.fc0")["_parameters"], state(root, "D.b4.fc")["_parameters"]
    fc0["weight"], fc0["more\n"] = torch.ones(2, 3), torch.ones(1)
    del fc0["bias"]
    del fc1["weight"]
    with pytest.raises(UserError) as error:
        read_pickle(write(root))
    for part in (
        "G_ema: weights do not fit",
        "mapping.fc0.bias is missing",
        r"'mapping.fc0.more\n' is unexpected",
        "mapping.fc0.weight is [2, 3] and not [3, 3]",
    ):
        assert part in str(error.value)
    root["G_ema"] = pair()["G_ema"]
    refuse(write(root), "D: weights do not fit the network: b4.fc.weight is missing")
    state(root, "G_ema.mapping")["_buffers"]["w_avg"] = None
    refuse(write(root), "mapping.w_avg is missing")


def test_other_classes(write: Callable[..., Path]) -> None:
    for name, message in (
        ("G_ema", "G_ema is a 'Discriminator', need a Generator"),
        ("D", "D is a 'Generator', need a Discriminator"),
    ):
        root = pair()
        root[name] = root["D" if name == "G_ema" else "G"]
        refuse(write(root), message)
    root = pair()
    root["G_ema"]["synthesis"].state["_modules"]["input"] = Persistent("SynthesisInput", vars(nn.Module()))
    refuse(write(root), "G_ema.synthesis.input is a 'SynthesisInput', which StyleGAN2 does not have .StyleGAN3")
    refuse(write({"G_ema": {}}), "G_ema is a 'dict', need a Generator")
    refuse(write({"G": None}), "has no G_ema")
    refuse(write((1, 2, 3)), "holds a tuple")


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"version": 7}, "objects of version 7, need 6"),
        ({"version": 5}, "objects of version 5, need 6"),
        ({"version": "6"}, "without type, version"),
        ({"type": "function"}, "without type, version"),
        ({"type": None}, "without type, version"),
        ({"version": None}, "without type, version"),
        ({"module_src": None}, "without type, version"),
        ({"module_src": b"pass"}, "without type, version"),
        ({"class_name": None}, "without type, version"),
        ({"class_name": ["Generator"]}, "without type, version"),
        ({"class_name": "Ge\nnerator"}, r"which StyleGAN2 does not have|Ge\\nnerator"),
        ({"state": None}, "without type, version"),
    ],
)
def test_spoilt_objects(write: Callable[..., Path], meta: dict[str, Any], message: str) -> None:
    root = pair()
    layer = root["G_ema"]["mapping.fc0"]
    layer.meta |= meta
    if "state" in meta:
        layer.state = None
    refuse(write(root), message)


# ---- Files that are something else


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no pickle"),
        (b"<!DOCTYPE html>\n<html>Too many requests</html>", "no pickle, perhaps the page of a failed download"),
        (struct.pack("<Q", 2) + b"{}", "no pickle"),
        (b"PK\x03\x04 zip", "no pickle"),
        (b"\x80", "damaged"),
        (b"\x80\x04", "damaged"),
        (pickle.dumps({"G_ema": None}) + b"\0", "bytes after its end"),
        (pickle.dumps({"G_ema": None}), "has no G_ema"),
        (pickle.dumps([1, 2]), "holds a list"),
    ],
)
def test_other_files(write: Callable[..., Path], content: bytes, message: str) -> None:
    refuse(write(content), message)


def test_trailing_bytes(write: Callable[..., Path]) -> None:
    content = pickle.dumps(pair())
    read_pickle(write(content))
    for more in (b"\0", content):
        refuse(write(content + more), "bytes after its end")


def test_no_file(tmp_path: Path) -> None:
    refuse(tmp_path / "none.pkl", "no such file")
    refuse(tmp_path, "no such file")
    os.mkfifo(tmp_path / "pipe")
    refuse(tmp_path / "pipe", "no such file")
    refuse(tmp_path / ("long" * 100), "no such file|cannot be read")


# ---- Command line


def command(*args: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "semireal", "convert", *map(str, args)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_convert(write: Callable[..., Path], tmp_path: Path) -> None:
    G, D = trained(TINY)
    source, target = write(snapshot(G, D, False)), tmp_path / "out.safetensors"
    target.write_text("an older file")
    done = command(source, target)
    assert (done.returncode, done.stderr) == (0, "")
    generator, discriminator = (f"{sum(t.numel() for t in n.state_dict().values()):,}" for n in (G, D))
    need = f"{target}: 16x16 pixels, a generator of {generator} numbers, a discriminator of {discriminator}\n"
    assert done.stdout == need
    first = target.read_bytes()
    found = read_pickle(source)
    assert equal(found, G, D)
    z = torch.ones(1, TINY.z_dim)
    assert torch.equal(load_generator(target)(z), G(z))
    convert.convert(source, target)
    assert target.read_bytes() == first


def test_a_pickle_is_blended_with_a_file_of_ours(write: Callable[..., Path], tmp_path: Path) -> None:
    G, D = trained(TINY)
    source, child, target = write(snapshot(G, D, True)), tmp_path / "child.safetensors", tmp_path / "out.safetensors"
    tuned = {name: tensor + 0.5 * name.endswith("weight") for name, tensor in G.state_dict().items()}
    save_networks(child, TINY, tuned, None, {})
    dial.run(source, child, target, 8, 0.5, None)
    for name, tensor in load_networks(target).generator.items():
        moves = name.endswith("weight") and name.startswith(("synthesis.b8", "synthesis.b16"))
        assert torch.allclose(tensor, G.state_dict()[name] + 0.25 * moves), name


def test_convert_refuses_in_one_line(write: Callable[..., Path], tmp_path: Path) -> None:
    marker, target = tmp_path / "marker", tmp_path / "out.safetensors"
    source = write({"G_ema": Call(os.system, f"touch {marker}")})
    done = command(source, target)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {source}: asks for 'posix.system': refused")
    assert done.stderr.count("\n") == 1
    assert not marker.exists()
    assert not target.exists()


def test_bad_targets(write: Callable[..., Path], tmp_path: Path) -> None:
    source = write(pair())
    (tmp_path / "folder.safetensors").mkdir()
    for target, message in (
        ("out.pkl", "need .safetensors"),
        ("none/out.safetensors", "no folder"),
        ("folder.safetensors", "is a folder"),
    ):
        with pytest.raises(UserError, match=message) as error:
            convert.convert(source, tmp_path / target)
        refusing.check_line(tmp_path / target, str(error.value))
    with pytest.raises(UserError, match="missing"):
        convert.convert(tmp_path / "none.pkl", tmp_path / "out.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.safetensors", "network.pkl"]
