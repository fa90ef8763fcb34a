"""The parameters: one declared schema, checked before any work starts.

Each section of params.yaml is a dataclass here; values, ranges and the meaning of a key are declared once, with
`param`. Unknown and missing keys are refused.

`python -m semireal.params check` checks params.yaml and experiments/ and says where they differ; `... table` prints
docs/params.md.
"""

import argparse
import dataclasses
import re
import sys
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from semireal import stage
from semireal.errors import UserError

FILE = Path("params.yaml")
DETECTORS = ("verified", "yunet", "animeface", "haar")
T = TypeVar("T")


def param(
    doc: str, *, low: float | None = None, high: float | None = None, choices: tuple[str, ...] | None = None
) -> Any:
    """Declare a parameter: its meaning and what it may be (bounds included)."""
    return dataclasses.field(metadata={"doc": doc, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True)
class Paper:
    """What the 2022 report did and measured for this character, to compare with."""

    epochs: int = param("epochs it trained", low=1)
    photo_ratio: float | None = param("share of photos in its training set; null = not known", low=0, high=1)
    fid: float | None = param("its FID", low=0)
    inception_score: float | None = param("its Inception Score", low=1)


@dataclass(frozen=True)
class Crop:
    """Face detection and the square around a face."""

    detector_photo: str = param(f"for photos: one of {', '.join(DETECTORS)}, or several joined by +")
    detector_portrait: str = param("for portraits, likewise")
    score: float = param("least confidence of YuNet; 0.5 with verification, 0.8 without", low=0.1, high=1)
    detect_size: int = param("longer side of the image given to the detector, px", low=64, high=4096)
    faces: str = param("which faces of an image to take", choices=("largest", "all"))
    geometry: str = param(
        "aligned: turned and scaled so that eyes and mouth are where FFHQ has them; a detector without landmarks, and "
        "box: a square around the face",
        choices=("box", "aligned"),
    )
    margin: float = param("box: border on each side of the face, in sides of its box", low=0, high=3)
    lift: float = param("box: how far the square is moved up, in sides of the box", low=-1, high=1)
    scale: float = param("aligned: side of the square, in sides of FFHQ's", low=0.5, high=3)
    min_face: int = param("smaller faces are left out, px", low=1)


@dataclass(frozen=True)
class Resize:
    """The format of the dataset."""

    size: int = param("side of the images, px", low=8, high=2048)
    quality: int = param("JPEG quality", low=50, high=100)


@dataclass(frozen=True)
class Filter:
    """Which images are good enough."""

    min_bytes: int = param("smaller JPEG files are left out (the report: 40 kB at 512 px)", low=0)
    min_side: int = param("smaller crops, before scaling, are left out, px", low=1)
    min_sharpness: float = param("least variance of the Laplacian at 256 px", low=0)
    min_detail: float | None = param("least detail: side in px that would hold what the crop shows; null = any", low=0)
    max_line_art: float | None = param("highest probability of line art; null = any", low=0, high=1)
    max_anime: float | None = param("highest probability of flat anime; null = any", low=0, high=1)
    max_turn: float | None = param(
        "how far the nose may be from midway between the eyes: 1 = over an eye; null = any", low=0
    )
    max_tilt: float | None = param("how far the head may lie on its side, degrees; null = any", low=0, high=180)
    min_agreement: float | None = param(
        "least probability that it is the photo or portrait that its source declares; null = any", low=0, high=1
    )


@dataclass(frozen=True)
class Dedupe:
    """What counts as the same picture."""

    max_distance: int = param("perceptual hashes up to so many of 256 bits apart are one picture", low=0, high=128)


@dataclass(frozen=True)
class Train:
    """StyleGAN2 and its training."""

    epochs: int = param("how long to train; one epoch = 1000 images shown", low=1)
    photo_ratio: float | None = param("share of photos in the training mixture; null = as found", low=0, high=1)
    resolution: int = param("side of the generated images, px; a power of two", low=8, high=1024)
    z_dim: int = param("size of the latent z", low=1)
    w_dim: int = param("size of the intermediate latent w", low=1)
    mapping_layers: int = param("layers of the mapping network", low=1, high=16)
    channel_base: int = param("channels at a resolution = channel_base / resolution ...", low=16)
    channel_max: int = param("... but at most so many", low=1)
    batch: int = param("images per step", low=1)
    lr: float = param("learning rate of both networks", low=1e-8, high=1)
    r1_gamma: float = param("weight of the R1 penalty", low=0)
    r1_interval: int = param("steps between R1 penalties", low=1)
    pl_weight: float = param("weight of the path length penalty", low=0)
    pl_interval: int = param("steps between path length penalties", low=1)
    ema_kimg: float = param("half-life of the averaged generator, thousands of images", low=0)
    ema_rampup: float | None = param("half-life is at most this share of the images seen; null = off", low=0)
    style_mixing: float = param("probability of mixing two latents", low=0, high=1)
    mirror: bool = param("show images mirrored half of the time")
    ada_target: float | None = param(
        "augmentation (ADA): wanted mean sign of the discriminator on real images; null = off", low=-1, high=1
    )
    ada_kimg: float = param("ADA: thousands of images from probability 0 to 1 at the fastest", low=0.001)
    ada_transforms: str = param("ADA: blit, geometric and colour transforms", choices=("b", "bg", "bgc"))
    ada_rotate90: bool = param("ADA: also turn by 90 degrees; not for faces")
    snapshot_epochs: int = param("epochs between sample grids and measurements", low=1)
    patience: int | None = param("stop after so many measurements without a better one; null = never", low=1)
    init: str | None = param(
        "network to start from: path or URL of a .safetensors of ours or a .pkl of stylegan2-ada-pytorch or "
        "stylegan3; null = from scratch"
    )
    init_sha256: str | None = param("SHA-256 that the file of init must have; null = any")
    freeze_d: int = param("first layers of the discriminator that stay as they start (freeze-D)", low=0)
    conv_clamp: float | None = param("activations are clamped to +- this; null = not; float16 needs 256", low=1)
    precision: str = param("of the features at high resolutions", choices=("float32", "bfloat16", "float16"))
    low_precision_res: int = param("so many of the highest resolutions use `precision`", low=0, high=9)
    channels_last: bool = param("memory format of the features; faster on CPUs and for 16 bits")
    tf32: bool = param("faster, rougher float32 on GPUs")
    compile: bool = param("torch.compile where no second derivative is needed")
    micro_batch: int | None = param("images that a process works on at once, to save memory; null = all", low=1)
    device: str = param("where to train", choices=("auto", "cpu", "cuda"))
    processes: int = param("GPUs (or CPU processes) that share each batch", low=1)


@dataclass(frozen=True)
class Sample:
    """The pictures to look at."""

    snapshot: str = param("generator: the last, or that with the least snapshot_kernel_r64", choices=("last", "best"))
    psi: float = param("truncation: 0 = the average face, 1 = as trained", low=-2, high=2)
    seeds: int = param("how many single images, from seed 0 on", low=1, high=100_000)
    psi_steps: int = param("pictures in the psi row, from 0 to 1", low=2, high=64)
    mix_rows: int = param("rows and columns of the style-mixing grid", low=1, high=32)


@dataclass(frozen=True)
class Evaluate:
    """Metrics."""

    images: int = param("generated images to compare with the dataset, at psi = 1 and at sample.psi", low=2)
    neighbours: int = param("k of precision, recall, density and coverage", low=1, high=100)
    psis: tuple[float, ...] = param("truncations of the psi sweep", low=-2, high=2)
    psi_images: int = param("generated images at each psi of the sweep, evaluate.images at most", low=2)
    resamples: int = param("rounds of the bootstrap that gives the intervals", low=20, high=100_000)
    inception: str | None = param(
        "2015 Inception weights for fid, kid and inception_score: a path, `download` (or what $SEMIREAL_INCEPTION "
        "names), or null = leave them out"
    )


@dataclass(frozen=True)
class Report:
    """The HTML page."""

    training_images: int = param("training images to show of each domain; 0 for sets that may not be shown", low=0)


@dataclass(frozen=True)
class Params:
    """All of params.yaml."""

    name: str = param("the character")
    collection: str = param("the raw collection under data/raw")
    seed: int = param("seed of everything random", low=0)
    paper: Paper = param("what the report did")
    crop: Crop = param("stage crop")
    resize: Resize = param("stage resize")
    filter: Filter = param("stage filter")
    dedupe: Dedupe = param("stage dedupe")
    train: Train = param("stage train")
    sample: Sample = param("stage sample")
    evaluate: Evaluate = param("stage evaluate")
    report: Report = param("stage report")


def load(path: Path = FILE) -> Params:
    """Read and check params.yaml; raises UserError naming key, value and what is allowed."""
    return check(load_yaml(path))


def check(content: Any) -> Params:
    """Check what params.yaml holds, each value and those that must go together."""
    params = parse(Params, content, "")
    _check_together(params)
    return params


def load_yaml(path: Path) -> Any:
    """Content of a YAML file; raises UserError if it is missing or cannot be read."""
    try:
        return yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: not found") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def parse(kind: type[T], given: Any, where: str) -> T:
    """Build the dataclass `kind` from a mapping, refusing unknown, missing and impossible values.

    where: prefix of the keys in messages.
    """
    if not isinstance(given, dict):
        raise UserError(f"{where or FILE}: found {given!r}, need a section with keys")
    prefix = f"{where}." if where else ""
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = [key for key in given if key not in fields]
    if unknown:
        raise UserError(f"{prefix}{unknown[0]}: unknown parameter; known here: {', '.join(fields)}")
    missing = [key for key in fields if key not in given]
    if missing:
        raise UserError(f"{prefix}{missing[0]}: missing parameter")
    hints = typing.get_type_hints(kind)
    values = {}
    for key, field in fields.items():
        if dataclasses.is_dataclass(hints[key]):
            values[key] = parse(hints[key], given[key], prefix + key)
        else:
            values[key] = _value(given[key], hints[key], field.metadata, prefix + key)
    return kind(**values)


def _value(value: Any, hint: Any, meta: typing.Mapping[str, Any], key: str) -> Any:
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or not value:
            raise UserError(f"{key}: found {value!r}, need a list of numbers, such as [0.5, 1]")
        return tuple(_value(item, typing.get_args(hint)[0], meta, key) for item in value)
    hints = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    allowed = tuple(typing.get_origin(kind) or kind for kind in hints)
    if value is None and types.NoneType in allowed:
        return None
    found = value
    # YAML reads 1 as int where 1.0 is meant, and true is an int to Python
    if float in allowed and type(value) is int:
        value = float(value)
    good = type(value) in allowed
    low, high, choices = meta["low"], meta["high"], meta["choices"]
    if good and choices:
        good = value in choices
    if good and isinstance(value, (int, float)) and not isinstance(value, bool):
        good = (low is None or value >= low) and (high is None or value <= high)  # false for NaN with a bound
    if not good:
        raise UserError(f"{key}: found {found!r}, need {_need(allowed, low, high, choices)}")
    return value


def _need(allowed: tuple[Any, ...], low: float | None, high: float | None, choices: tuple[str, ...] | None) -> str:
    if choices:
        return "one of " + ", ".join(choices)
    names = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        bool: "true or false",
        dict: "a mapping",
        types.NoneType: "null",
    }
    text = " or ".join(names[kind] for kind in allowed)
    if low is not None:
        text += f" from {low:g}" + (f" to {high:g}" if high is not None else " up")
    return text


def _check_together(params: Params) -> None:
    for key in ("detector_photo", "detector_portrait"):
        found = getattr(params.crop, key)
        if not set(found.split("+")) <= set(DETECTORS):
            raise UserError(f"crop.{key}: found {found!r}, need one of {', '.join(DETECTORS)}, or several joined by +")
    train = params.train
    for key in ("resolution", "channel_base", "batch", "micro_batch", "conv_clamp", "init_sha256"):
        need = _need_in_training(key, params)
        if need:
            raise UserError(f"train.{key}: found {getattr(train, key)!r}, need {need}")
    if params.evaluate.neighbours >= params.evaluate.images:
        need = f"less than evaluate.images = {params.evaluate.images}"
        raise UserError(f"evaluate.neighbours: found {params.evaluate.neighbours}, need {need}")


def _need_in_training(key: str, params: Params) -> str | None:
    """What train.<key> needs beyond its own range, where it has not got that."""
    train = params.train
    group = min(train.batch, 4)  # of the minibatch standard deviation
    if key == "resolution" and train.resolution & (train.resolution - 1):
        return "a power of two (64, 128, 256, 512, ...)"
    if key == "resolution" and train.resolution > params.resize.size:
        return f"at most resize.size = {params.resize.size}"
    if key == "channel_base" and train.channel_base < train.resolution:
        return f"at least train.resolution = {train.resolution}"
    if key == "batch" and train.batch % group:
        return f"a multiple of {group}"
    if key == "batch" and train.batch // group < train.processes:
        return f"at least {group * train.processes} for train.processes = {train.processes}"
    if key == "micro_batch" and train.micro_batch is not None and train.micro_batch % group:
        return f"null or a multiple of {group}"
    if key == "conv_clamp" and train.precision == "float16" and train.conv_clamp is None:
        return "a number (256) for train.precision = float16, whose largest number is exceeded without"
    if key == "init_sha256" and train.init_sha256 and not re.fullmatch("[0-9a-f]{64}", train.init_sha256):
        return "null or 64 hexadecimal digits in lower case"
    return None


def may_be(hint: Any, meta: typing.Mapping[str, Any]) -> str:
    """What a parameter may be, in words. hint: its type; meta: what `param` declared."""
    if typing.get_origin(hint) is tuple:
        return "a list, each " + may_be(typing.get_args(hint)[0], meta)
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return _need(allowed, meta["low"], meta["high"], meta["choices"])


def main() -> None:
    """Check the parameters, or print their table."""
    # guards needs this module
    from semireal.pipeline import guards

    parser = argparse.ArgumentParser(prog="python -m semireal.params", description=main.__doc__)
    parser.add_argument("command", choices=("check", "table"), help="check params.yaml; print docs/params.md")
    command = parser.parse_args().command
    if command == "table":
        sys.stdout.write(guards.table(Path()))
        return
    for note in guards.check(Path()):
        stage.say(f"note: {note}")
    given = load()
    stage.say(f"parameters: all good ({given.name}, {given.collection})")


if __name__ == "__main__":
    stage.run(main)
