"""Files of ours that others wrote or that broke: whatever is in them, they are read, or refused in one line."""

import copy
import dataclasses
import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

import refusing
from semireal.errors import UserError
from semireal.params.sample import Sample
from semireal.pipeline import export
from semireal.stylegan2 import (
    checkpoint,
    convert,
    load_discriminator,
    load_generator,
    load_networks,
    save_networks,
    training,
)
from semireal.stylegan2.checkpoint import history_of
from semireal.stylegan2.networks import Config, build_discriminator, build_generator
from semireal.training import sample, train
from tiny import TRAIN

TINY = Config(8, z_dim=4, w_dim=4, mapping_layers=2, channel_base=16, channel_max=2)
SHORT = dataclasses.replace(TRAIN, epochs=1, channel_base=16, channel_max=2, pl_weight=0)
IMAGES = torch.arange(3 * 3 * 8 * 8).reshape(3, 3, 8, 8).to(torch.uint8)
EPOCH = 8  # images
MOST = 800  # letters of a message beside the path

Header = dict[str, Any]


@pytest.fixture(autouse=True)
def _short_epochs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(training, "EPOCH", EPOCH)
    monkeypatch.setattr(training, "GRID", 2)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of networks."""
    path = tmp_path_factory.mktemp("networks") / "g.safetensors"
    save_networks(path, TINY, build_generator(TINY, 0).state_dict(), build_discriminator(TINY, 1).state_dict(), {})
    return path.read_bytes()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of a training state of one epoch."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "EPOCH", EPOCH)
        patch.setattr(training, "GRID", 2)
        go_on(folder / training.STATE)
    return (folder / training.STATE).read_bytes()


def go_on(path: Path) -> None:
    """Train for another epoch from a state, if there is one."""
    epochs = 2 if path.exists() else 1
    (path.parent / training.GRIDS).mkdir(exist_ok=True)
    training.train(IMAGES, dataclasses.replace(SHORT, epochs=epochs), 0, path.parent, "data")


def resume(path: Path) -> None:
    """Read a state to go on from, and take no step."""
    given = dataclasses.replace(SHORT, epochs=2)
    training._resume(path.parent, training.new_state(given, 0, "data", torch.device("cpu"), None), given)


def pieces(content: bytes) -> tuple[Header, bytes]:
    """The header of a file and the numbers."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def joined(header: Header | bytes, numbers: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def info_of(content: bytes) -> dict[str, Any]:
    """What is beside the tensors."""
    found: dict[str, Any] = json.loads(pieces(content)[0]["__metadata__"][checkpoint.METADATA])
    return found


def with_info(content: bytes, info: Any) -> bytes:
    """The same file with other things beside the tensors; info: a text, or what JSON can say."""
    header, numbers = pieces(content)
    header["__metadata__"] = {checkpoint.METADATA: info if isinstance(info, str) else json.dumps(info)}
    return joined(header, numbers)


def refuse(read: Callable[[Path], Any], path: Path, message: str = ".") -> None:
    refusing.refuse(read, path, message, MOST)


def sampled(path: Path) -> None:
    with TemporaryDirectory() as out:
        sample.run(path, Path(out), Sample(snapshot="last", psi=0.5, seeds=1, psi_steps=2, mix_rows=1))


def exported(path: Path) -> None:
    export.run(path, path.with_name("out.safetensors"), "safetensors", path.parent)


def started(path: Path) -> None:
    train.start_of(str(path))


READERS = (load_networks, load_generator, load_discriminator, sampled, exported, started)


class Raw(str):
    """A value as it stands in JSON."""

    __slots__ = ()


def changed(info: dict[str, Any], place: str, value: Any) -> str:
    """JSON of what is beside the tensors, with another value at a place such as config.z_dim."""
    info = copy.deepcopy(info)
    *sections, last = place.split(".")
    part: Any = info
    for section in sections:
        part = part[int(section) if isinstance(part, list) else section]
    part[int(last) if isinstance(part, list) else last] = "HERE" if isinstance(value, Raw) else value
    return json.dumps(info).replace('"HERE"', value) if isinstance(value, Raw) else json.dumps(info)


def without(info: dict[str, Any], place: str) -> str:
    first, _, second = place.partition(".")
    info = copy.deepcopy(info)
    del (info[first] if second else info)[second or first]
    return json.dumps(info)


COUNT = "need a whole number from 1 to"
SHAPES = "weights do not fit the network"
NO_COUNTS: tuple[Any, ...] = (2.5, -1, True, "8", None, [8], {}, 2**53 + 1, 10**30, Raw("1e999"))
DEEP = Raw("[" * 100_000 + "]" * 100_000)


def test_the_files_that_are_spoilt_here_can_be_read(networks: bytes, state: bytes, tmp_path: Path) -> None:
    path = tmp_path / training.STATE
    path.write_bytes(with_info(networks, info_of(networks)))
    for read in READERS:
        read(path)
    path.write_bytes(with_info(state, info_of(state)))
    assert len(history_of(path)) == 1
    for read in READERS:
        read(path)
    go_on(path)
    assert len(history_of(path)) == 2


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("config.z_dim", 2.5, rf"damaged: config\.z_dim: found 2\.5, {COUNT} 1e\+06\. Make or fetch"),
        ("config.z_dim", Raw("NaN"), "not valid JSON: NaN is no number"),
        ("config.z_dim", Raw("Infinity"), "not valid JSON: Infinity is no number"),
        ("config.z_dim", Raw("1e999"), f"config.z_dim: found inf, {COUNT}"),
        ("config.z_dim", Raw("9" * 5000), "not valid JSON: Exceeds the limit"),
        ("config.z_dim", 10**9, f"config.z_dim: found 1000000000, {COUNT}"),
        ("config.z_dim", 10**4000, f"config.z_dim: found 1000.*, {COUNT}"),
        ("config.z_dim", -1, COUNT),
        ("config.z_dim", 0, COUNT),
        ("config.z_dim", True, COUNT),
        ("config.z_dim", "4", COUNT),
        ("config.z_dim", "4" * 10**6, COUNT),
        ("config.z_dim", None, COUNT),
        ("config.z_dim", [4] * 10**5, COUNT),
        ("config.z_dim", Raw('{"' + '":{"'.join("a" * 500) + '":1' + "}" * 500), COUNT),
        ("config.z_dim", 5, SHAPES),
        ("config.z_dim", 10**6, r"fc0\.weight is \[4, 4\] and not \[4, 1000000\]"),
        ("config.w_dim", 10**6, SHAPES),
        ("config.mapping_layers", 1_048_576, COUNT),
        ("config.mapping_layers", 256, SHAPES),
        ("config.mapping_layers", 1, "mapping.fc1.bias' is unexpected"),
        ("config.img_resolution", 2**20, "img_resolution: found 1048576"),
        ("config.img_resolution", 2**19, "channel_base: found 16, need at least 524288"),
        ("config.img_resolution", 16, SHAPES),
        ("config.img_resolution", 12, "need a power of two of at least 8"),
        ("config.img_resolution", -8, "need a power of two of at least 8"),
        ("config.img_resolution", "8\n9", r"found '8\\n9', need a whole number"),
        ("config.channel_base", 10**13, "channel_base: found 10000000000000"),
        ("config.channel_base", 8, SHAPES),
        ("config.channel_max", 10**6, SHAPES),
        ("config.channel_max", 1, SHAPES),
        ("config.mbstd_group_size", 0, COUNT),
        ("config.conv_clamp", 0, "conv_clamp: found 0.0, need more than 0"),
        ("config.conv_clamp", Raw("-1e999"), "conv_clamp: found -inf, need"),
        ("config.conv_clamp", Raw("1e999"), "conv_clamp: found inf, need a number or null"),
        ("config.conv_clamp", [], "conv_clamp: found \\[\\], need a number or null"),
        ("config.more", 1, r"config\.more: unknown parameter"),
        ("config.a\nb" + "c" * 10**5, 1, r"config\.a\\nb.* unknown parameter"),
        ("config", [], r"config: found \[\], need a section"),
        ("config", {}, r"config\.img_resolution: missing"),
        ("extra", [], "extra: found \\[\\], need a mapping"),
        ("extra", DEEP, "not valid JSON"),
        ("more", 1, "more: unknown parameter"),
        ("kind", "state", "config|key: missing"),
        ("kind", ["networks"], "found a list version 2, need networks or state"),
        ("kind", "x\n" * 10**6, "version 2, need networks or state"),
        ("version", "2", "version '2', need networks"),
        ("version", {}, "version a dict, need networks"),
    ],
)
def test_headers_of_networks(networks: bytes, tmp_path: Path, place: str, value: Any, message: str) -> None:
    path = tmp_path / "g.safetensors"
    path.write_bytes(with_info(networks, changed(info_of(networks), place, value)))
    for read in READERS:
        refuse(read, path, message)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]  # nothing was made


@pytest.mark.parametrize("place", ["config", "extra", "kind", "version", "config.z_dim", "config.conv_clamp"])
def test_missing_keys(networks: bytes, tmp_path: Path, place: str) -> None:
    path = tmp_path / "g.safetensors"
    path.write_bytes(with_info(networks, without(info_of(networks), place)))
    refuse(load_generator, path, f"{place.rpartition('.')[2]}: missing|found .*None")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "found None version None, need networks or state version 2"),
        ("", "not valid JSON"),
        ("null", "found None version None"),
        ('"networks"', "found None version None"),
        ("{", "not valid JSON"),
        (DEEP, "not valid JSON"),
        ('{"kind": "networks", "kind": "networks"}', "not valid JSON: a key stands there twice"),
    ],
)
def test_no_header_of_ours(networks: bytes, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "g.safetensors"
    path.write_bytes(with_info(networks, text))
    refuse(load_generator, path, message)
    refuse(history_of, path, message.replace("networks or ", ""))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        *((name, value, f"{name}: found") for name in ("nimg", "step") for value in NO_COUNTS),
        ("key", 1, "key: found 1, need a text"),
        ("ada", [], "ada: found"),
        ("ada", {}, "ada.p: missing"),
        ("ada.p", 1.5, "ada.p: found 1.5, need a number from 0 to 1"),
        ("ada.p", Raw("NaN"), "NaN is no number"),
        ("ada.signs", Raw("1e999"), "ada.signs: found inf"),
        ("ada.count", 0.5, "ada.count: found 0.5"),
        ("ada.more", 1, "ada.more: unknown"),
        ("history", {}, "history: found {}, need a list"),
        ("history", [1], "history: found 1, need a mapping"),
        ("history", [{}], "history: found another row 1"),
        ("history.0.epoch", 2, "history: found another row 1"),
        ("history.0.epoch", Raw("1e999"), "history.epoch: found inf, need a finite number"),
        ("history.0.epoch", True, "history: found another row 1"),
        ("history.0.loss_g", "x", "history: found another row 1"),
        ("history.0.loss_g", None, "history: found another row 1"),
        ("history.0.loss_g", [], "history: found another row 1"),
        ("history.0.loss_g", Raw("9" * 4000), "history: found another row 1"),
        ("history.0.loss_g", Raw("-1e999"), "history.loss_g: found -inf, need a finite number"),
        ("history.0.snapshot_distance", False, "history: found another row 1"),
        ("history.0", DEEP, "not valid JSON"),
        ("config.z_dim", 2.5, "config.z_dim: found 2.5"),
        ("extra", {}, "extra: unknown"),
        ("version", 1, "version 1, need"),
    ],
)
def test_headers_of_states(state: bytes, tmp_path: Path, place: str, value: Any, message: str) -> None:
    path = tmp_path / training.STATE
    path.write_bytes(before := with_info(state, changed(info_of(state), place, value)))
    for read in (history_of, load_networks, go_on):
        refuse(read, path, message)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("nimg", 0, "damaged: found 0 images in 2 steps of 4, and 0.008 thousand in its history. Remove it"),
        ("nimg", 2**53, "damaged: found 9007199254740992 images"),
        ("nimg", 12, "damaged: found 12 images"),
        ("step", 3, "damaged: found 8 images in 3 steps"),
        ("history", [], "damaged: found 8 images in 2 steps of 4, and 0 thousand"),
        ("history.0.kimg", 0.012, "damaged: found 8 images in 2 steps of 4, and 0.012 thousand"),
        ("key", "x\n" * 10**6, "found a training with other parameters or data"),
    ],
)
def test_states_that_contradict_themselves(state: bytes, tmp_path: Path, place: str, value: Any, message: str) -> None:
    path = tmp_path / training.STATE
    path.write_bytes(with_info(state, changed(info_of(state), place, value)))
    refuse(go_on, path, message)


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


NAME = "G_ema.mapping.fc0.bias"  # [4] of float32
TENSORS: dict[str, tuple[Callable[[Header, int, int], Any], str]] = {
    "float64": (lambda h, a, b: h | {NAME: entry("F64", [2], a, b)}, r"fc0\.bias is \[2\] and not \[4\]"),
    "other type of that shape": (lambda h, a, b: h | {NAME: entry("I32", [4], a, b)}, "is I32 and not F32"),
    "unsigned": (lambda h, a, b: h | {NAME: entry("U32", [4], a, b)}, "is U32 and not F32"),
    "bool": (lambda h, a, b: h | {NAME: entry("BOOL", [16], a, b)}, SHAPES),
    "fp8": (lambda h, a, b: h | {NAME: entry("F8_E4M3", [4, 4], a, b)}, SHAPES),
    "fp4": (lambda h, a, b: h | {NAME: entry("F4", [32], a, b)}, SHAPES),
    "unknown type": (lambda h, a, b: h | {NAME: entry("F31", [4], a, b)}, "damaged"),
    "scalar": (lambda h, a, b: h | {NAME: entry("F32", [], a, b)}, "damaged"),
    "another rank": (lambda h, a, b: h | {NAME: entry("F32", [2, 2], a, b)}, SHAPES),
    "a million dimensions": (lambda h, a, b: h | {NAME: entry("F32", [4] + [1] * 10**6, a, b)}, "of 1000001 dim"),
    "huge": (lambda h, a, b: h | {NAME: entry("F32", [2**62], a, b)}, "damaged"),
    "terabytes": (lambda h, a, b: h | {NAME: entry("F32", [2**40], a, a + 2**42)}, "damaged"),
    "negative": (lambda h, a, b: h | {NAME: entry("F32", [-4], a, b)}, "damaged"),
    "backwards": (lambda h, a, b: h | {NAME: entry("F32", [4], b, a)}, "damaged"),
    "overlapping": (lambda h, a, b: h | {"x": entry("F32", [4], a, b)}, "damaged"),
    "empty": (lambda h, a, b: h | {"x": entry("F32", [0], a, a)}, "'x' is unexpected"),
    "empty and huge": (lambda h, a, b: h | {"x\ny": entry("F32", [0, 2**62], b, b)}, r"'x\\ny' is unexpected"),
    "empty of D": (lambda h, a, b: h | {"D.b8.x": entry("F32", [0], b, b)}, "'D.b8.x' is unexpected"),
    "no name": (lambda h, a, b: h | {"": entry("F32", [0], b, b)}, "'' is unexpected"),
    "many": (lambda h, a, b: h | {f"x{n}": entry("F32", [0], b, b) for n in range(10**4)}, "and 9990 more"),
    "numbers as metadata": (lambda h, a, b: h | {"__metadata__": {"semireal": 1}}, "damaged"),
    "no metadata": (lambda h, a, b: {k: v for k, v in h.items() if k != "__metadata__"}, "found None version None"),
    "no object": (lambda h, a, b: b"[]", "is damaged"),
    "no text": (lambda h, a, b: b'{"\xff": 1}', "damaged"),
    "deep": (lambda h, a, b: b'{"x":' + b"[" * 10**6, "damaged"),
}


@pytest.mark.parametrize("kind", list(TENSORS))
def test_headers_of_tensors(networks: bytes, tmp_path: Path, kind: str) -> None:
    header, numbers = pieces(networks)
    change, message = TENSORS[kind]
    path = tmp_path / "g.safetensors"
    path.write_bytes(joined(change(header, *header[NAME]["data_offsets"]), numbers))
    for read in READERS:
        refuse(read, path, message)


def rebuilt(path: Path, content: bytes, change: Callable[[dict[str, Tensor]], Any]) -> Path:
    """Write a file with other tensors."""
    path.write_bytes(content)
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {checkpoint.METADATA: json.dumps(info_of(content))})
    return path


BIAS = "mapping.fc0.bias"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(f"G.{BIAS}"), f"G.{BIAS} is missing"),
        (lambda t: t.pop("pl_mean"), "pl_mean is missing"),
        (lambda t: t.pop("D.b4.out.bias"), "D.b4.out.bias is missing"),
        (lambda t: t.pop(f"opt_g.{BIAS}.step"), f"opt_g.{BIAS}.step is missing"),
        (lambda t: t.update({"pl_mean": torch.zeros(1)}), r"pl_mean is \[1\] and not \[\]"),
        (lambda t: t.update({f"opt_g.{BIAS}.exp_avg": torch.zeros(5)}), r"exp_avg is \[5\] and not \[4\]"),
        (lambda t: t.update({f"opt_g.{BIAS}.step": torch.ones(4)}), r"step is \[4\] and not \[\]"),
        (lambda t: t.update({f"opt_g.{BIAS}.more": torch.ones(4)}), "more' is unexpected"),
        (lambda t: t.update({f"opt_g.{BIAS}.step": torch.tensor(-1.0)}), "step is negative"),
        (lambda t: t.update({"opt_d.b4.out.bias.exp_avg_sq": -torch.ones(1)}), "exp_avg_sq is negative"),
        (lambda t: t.update({"opt_d.b4.out.bias.exp_avg": torch.tensor([math.nan])}), "exp_avg is not finite"),
        (lambda t: t.update({"pl_mean": torch.tensor(math.inf)}), "pl_mean is not finite"),
        (lambda t: t.update({f"G.{BIAS}": torch.zeros(4, dtype=torch.int32)}), "is I32 and not F32"),
    ],
)
def test_tensors_of_states(
    state: bytes, tmp_path: Path, change: Callable[[dict[str, Tensor]], Any], message: str
) -> None:
    path = rebuilt(tmp_path / training.STATE, state, change)
    for read in (load_networks, go_on):
        refuse(read, path, message)


def test_moments_may_be_missing_as_a_whole(state: bytes, tmp_path: Path) -> None:
    """Adam has none of a layer that is frozen."""
    names = [f"opt_d.b4.out.bias.{kind}" for kind in checkpoint.ADAM]
    go_on(rebuilt(tmp_path / training.STATE, state, lambda tensors: [tensors.pop(name) for name in names]))


def test_a_discriminator_is_whole_or_not_there(networks: bytes, tmp_path: Path) -> None:
    def only(names: Callable[[str], bool]) -> Path:
        return rebuilt(
            tmp_path / "g.safetensors", networks, lambda t: [t.pop(name) for name in list(t) if not names(name)]
        )

    assert load_networks(only(lambda name: name.startswith("G_ema."))).discriminator is None
    refuse(load_generator, only(lambda name: name.startswith("G_ema.") or name == "D.b4.out.bias"), "D.b4.fc.* missing")
    refuse(load_generator, only(lambda name: name.startswith("D.")), "G_ema.* is missing")
    refuse(load_generator, only(lambda _: False), "G_ema.* is missing")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_are_written_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    G = build_generator(TINY, 0).to(dtype)
    save_networks(tmp_path / "g", TINY, G.state_dict(), None, {})
    found = load_networks(tmp_path / "g").generator
    assert all(torch.equal(found[name], value.float()) for name, value in G.state_dict().items())


def test_half_the_room(tmp_path: Path) -> None:
    G, D = build_generator(TINY, 0), build_discriminator(TINY, 0)
    save_networks(tmp_path / "half", TINY, G.state_dict(), D.state_dict(), {}, half=True)
    save_networks(tmp_path / "whole", TINY, G.state_dict(), D.state_dict(), {})
    found = load_networks(tmp_path / "half")
    assert found.discriminator is not None
    for module, tensors in ((G, found.generator), (D, found.discriminator)):
        for name, value in module.state_dict().items():
            assert tensors[name].dtype == torch.float32
            assert torch.equal(tensors[name], value.half().float())
    numbers = sum(value.numel() for module in (G, D) for value in module.state_dict().values())
    sizes = [(tmp_path / name).stat().st_size for name in ("whole", "half")]
    assert sizes[0] - sizes[1] == pytest.approx(2 * numbers, abs=64)  # the header has other offsets
    large = G.state_dict() | {"mapping.fc0.bias": torch.full([4], 7e4)}
    with pytest.raises(UserError, match=r"G_ema.mapping.fc0.bias has numbers that float16 has not"):
        save_networks(tmp_path / "more", TINY, large, None, {}, half=True)
    assert not (tmp_path / "more").exists()


def test_convert_takes_of_a_training_state_what_others_start_from(state: bytes, tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes(state)
    convert.convert(tmp_path / "state.safetensors", tmp_path / "start.safetensors", half=True)
    found = load_file(tmp_path / "start.safetensors")
    parts = {name: value for name, value in load_file(tmp_path / "state.safetensors").items() if _to_start(name)}
    assert found.keys() == parts.keys()
    assert all(torch.equal(found[name], value.half()) for name, value in parts.items())
    assert load_networks(tmp_path / "start.safetensors").discriminator is not None


def _to_start(name: str) -> bool:
    return name.startswith(("G_ema.", "D."))


# ---- What is no whole file


def test_truncated_anywhere(networks: bytes, state: bytes, tmp_path: Path) -> None:
    path = tmp_path / training.STATE
    for content in (networks, state):
        header = 8 + int.from_bytes(content[:8], "little")
        for end in (0, 1, 7, 8, 9, header // 2, header - 1, header, header + 1, len(content) - 1):
            path.write_bytes(content[:end])
            for read in (load_generator, started):
                refuse(read, path, "damaged")
            refuse(history_of, path, "damaged")
        path.write_bytes(content + b"\0")
        refuse(load_generator, path, "damaged")


@pytest.fixture(params=["folder", "pipe", "loop", "nowhere", "no memory", "long name", "device"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Something else than a file that can be read."""
    path = tmp_path / "g.safetensors"
    match request.param:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "loop":
            path.symlink_to(path)
        case "nowhere":
            path.symlink_to(tmp_path / "none")
        case "no memory":
            return Path("/proc/self/mem")  # the one that root cannot read either
        case "long name":
            return tmp_path / ("long" * 100)
        case "device":
            return Path("/dev/zero")
    return path


def test_what_is_no_file(odd: Path) -> None:
    for read in (load_networks, load_generator, history_of):
        refuse(read, odd)
    with pytest.raises(UserError, match=r"^train\.init: "):
        started(odd)


def test_files_that_are_larger_than_any_of_ours(networks: bytes, tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    for header, size, message in (
        (2**63, 100, "has 9223372036854775808 bytes of names"),
        (checkpoint.MOST_HEADER + 1, 2**30, "bytes of names, need at most 16777216"),
        (2, checkpoint.MOST_BYTES + 1, "bytes, need at most 17179869184"),
    ):
        path.write_bytes(struct.pack("<Q", header) + b"{}")
        os.truncate(path, size)  # a file with a hole, which takes no room
        refuse(load_generator, path, message)


GREEDY = """
import sys, time
from pathlib import Path
from semireal.errors import UserError
from semireal.stylegan2 import load_generator

def memory(kind):
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind)]
    return int(line.split()[1]) * 1024

for path in map(Path, sys.argv[1:]):
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, begun = memory("VmRSS"), time.process_time()
    try:
        load_generator(path)
        told = "read"
    except UserError as error:
        told = str(error)
    print(memory("VmHWM") - before, time.process_time() - begun, told.removeprefix(str(path))[:150], sep="\t")
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of the memory")
def test_hostile_files_take_no_more_memory_and_time_than_their_size_explains(networks: bytes, tmp_path: Path) -> None:
    header, numbers = pieces(networks)
    info = info_of(networks)
    a, b = header[NAME]["data_offsets"]
    contents = {
        "units": with_info(networks, changed(info, "config.w_dim", 10**6)),
        "layers": with_info(networks, changed(info, "config.mapping_layers", 256)),
        "dimensions": joined(header | {NAME: entry("F32", [4] + [1] * 10**6, a, b)}, numbers),
        "names": joined(header | {f"x{n}": entry("F32", [0], b, b) for n in range(200_000)}, numbers),
        "lists": with_info(networks, changed(info, "extra", {"x": [[]] * (3 * 10**6)})),
    }
    paths = [tmp_path / name for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content)
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", GREEDY, *map(str, paths)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    for path, (memory, seconds, _) in zip(paths, lines, strict=True):
        assert int(memory) < 3 * path.stat().st_size + 300e6, path
        assert float(seconds) < 30, path  # a hang, and not a slow machine
    assert [told for *_, told in lines].count("read") == 1  # extra may be anything


# ---- Whatever is changed

PROPERTY = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 1, -1, 2**31, 2**53, 2**63, 2**64, 10**30, 1e308, True])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("changed") / training.STATE


def outcome(path: Path, content: bytes, readers: Collection[Callable[[Path], Any]]) -> None:
    """A changed file is read, or refused in one line."""
    path.write_bytes(content)
    for read in readers:
        try:
            read(path)
        except UserError as error:
            refusing.check_line(path, str(error), MOST)
        path.write_bytes(content)


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of what JSON says."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(way for key, one in inside for way in places(one, (*place, key)))]


def edited(data: st.DataObject, value: Any) -> Any:
    """With one to three parts replaced, removed or added."""
    value = copy.deepcopy(value)
    for _ in range(data.draw(st.integers(1, 3))):
        ways = places(value)
        *way, last = data.draw(st.sampled_from([way for way in ways if way] or [("x",)]))
        part = value
        for key in way:
            part = part[key]
        match data.draw(st.sampled_from(["replace", "remove", "add"])):
            case "remove":
                del part[last]
            case "add" if isinstance(part, dict):
                part[data.draw(st.text(max_size=8) | st.sampled_from(list(part)))] = data.draw(JSON)
            case _:
                part[last] = data.draw(JSON)
        if not value:
            break
    return value


@settings(PROPERTY, max_examples=100)
@given(data=st.data())
def test_changed_info(data: st.DataObject, networks: bytes, state: bytes, scratch: Path) -> None:
    content = data.draw(st.sampled_from([networks, state]))
    info = json.dumps(edited(data, info_of(content)))
    outcome(scratch, with_info(content, info), (load_generator, history_of, resume))


@settings(PROPERTY, max_examples=100)
@given(data=st.data())
def test_changed_entries(data: st.DataObject, networks: bytes, scratch: Path) -> None:
    header, numbers = pieces(networks)
    few = dict(data.draw(st.permutations(list(header.items())))[:3])
    outcome(scratch, joined(header | edited(data, few), numbers), (load_generator, load_discriminator, history_of))


@settings(PROPERTY, max_examples=100)
@given(data=st.data())
def test_changed_bytes(data: st.DataObject, networks: bytes, state: bytes, scratch: Path) -> None:
    content = bytearray(data.draw(st.sampled_from([networks, state])))
    header = 8 + int.from_bytes(content[:8], "little")
    where = st.integers(0, 7) | st.integers(8, header - 1) | st.integers(0, len(content) - 1)
    what = st.integers(0, 255) | st.sampled_from(list(b'{}[]",:0123456789-.eE\\'))
    for place, byte in data.draw(st.lists(st.tuples(where, what), min_size=1, max_size=4)):
        content[place] = byte
    outcome(scratch, bytes(content), (load_generator, history_of, resume))
