"""export: a generator as one file for use elsewhere, with a model card beside it.

`python -m semireal.pipeline.export --format onnx` writes exports/generator.onnx and exports/generator.onnx.md. ONNX and
TorchScript files need neither this package nor its Python: they take latents z [N, z_dim], standard normal, and psi
(a scalar), and give images [N, 3, H, W] in [-1, 1] with the constant noise.
"""

import argparse
import dataclasses
import hashlib
import io
import json
import os
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import pandas as pd
import torch
import yaml
from torch import Tensor, nn

from semireal import manifest, stage
from semireal.errors import UserError
from semireal.files import write_atomic
from semireal.stylegan2 import Config, Generator, load_generator, load_networks, save_networks

LOCK = Path("dvc.lock")
DATASET = "data/dataset"
RAW = "data/raw/"
METRICS = "results/metrics.json"
OPSET = 18  # what the exporter of PyTorch writes without converting


class Drawing(nn.Module):
    """From latents and psi to images, as one graph: psi is an input, and no branch depends on it."""

    def __init__(self, G: Generator) -> None:
        super().__init__()
        self.G = G

    def forward(self, z: Tensor, psi: Tensor) -> Tensor:
        """Z [N,z_dim], psi [] -> images [N,3,H,W] in [-1,1]."""
        w_avg = self.G.mapping.w_avg
        ws = w_avg + psi * (self.G.mapping(z) - w_avg)
        img: Tensor = self.G.synthesis(ws, noise="const")
        return img.clamp(-1, 1)


def run(generator: Path, out: Path, kind: str, root: Path) -> Path:
    """Write the generator as `out` in the format `kind` and a card beside it; gives the path of the card.

    root: of the repository, whose dvc.lock knows where the generator comes from. Files are whole or not there; the
    same command gives the same bytes. UserError where the generator or what the card needs cannot be read.
    """
    suffix, write = FORMATS[kind]
    if out.suffix != suffix:
        raise UserError(f"--out: found {out}, need a name that ends in {suffix} for --format {kind}")
    if out.resolve() == generator.resolve():
        raise UserError(f"--out: {out} is the generator itself. Give another name")
    G = load_generator(generator)
    card = out.with_name(f"{out.name}.md")
    text = card_of(generator, G.config, out.name, kind, root)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        write(generator, G, partial)
        write_atomic(card, text.encode())
        partial.chmod(card.stat().st_mode & 0o777)  # safetensors writes for the owner alone
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return card


def write_safetensors(generator: Path, G: Generator, out: Path) -> None:
    """The averaged generator and its configuration, as `load_generator` reads them."""
    save_networks(out, G.config, load_networks(generator).generator, None, {})


def write_onnx(_: Path, G: Generator, out: Path) -> None:
    """One ONNX file: inputs `z` (any number of rows) and `psi`, output `images`."""
    # slow to load
    import onnx

    program = torch.onnx.export(
        Drawing(G).eval(),
        _example(G.config),
        input_names=["z", "psi"],
        output_names=["images"],
        dynamic_shapes={"z": {0: "batch"}, "psi": {}},
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    _forget_origin(model)
    onnx.helper.set_model_props(model, {"semireal": _config_text(G.config)})
    onnx.checker.check_model(model)
    out.write_bytes(model.SerializeToString(deterministic=True))


def _forget_origin(message: Any) -> None:
    """Remove what the exporter notes about each node: stack traces with paths of this machine."""
    for field, value in list(message.ListFields()):
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type is not None and field.name != "initializer":
            for part in value if field.is_repeated else [value]:
                _forget_origin(part)


def write_torchscript(_: Path, G: Generator, out: Path) -> None:
    """A traced module: `torch.jit.load(file)(z, psi)`."""
    whole = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # deprecated, but torch.export, which is to replace it, writes nothing that C++ or an old PyTorch reads; and
        # the tracer warns of shapes, of which only that of the batch changes, which it follows
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(Drawing(G).eval(), _example(G.config))  # type: ignore[no-untyped-call]
        torch.jit.save(traced, whole, _extra_files={"config.json": _config_text(G.config)})
    with ZipFile(whole) as full, ZipFile(out, "w") as archive:
        for name in full.namelist():
            if not name.endswith(".debug_pkl"):  # the position of each operation in the sources of this machine
                archive.writestr(ZipInfo(name), full.read(name))


Writer = Callable[[Path, Generator, Path], None]
FORMATS: dict[str, tuple[str, Writer]] = {
    "safetensors": (".safetensors", write_safetensors),
    "onnx": (".onnx", write_onnx),
    "torchscript": (".pt", write_torchscript),
}


def _example(config: Config) -> tuple[Tensor, Tensor]:
    """Inputs to trace with: two latents, since a single row would be taken for a constant."""
    z = torch.randn([2, config.z_dim], generator=torch.Generator().manual_seed(0))
    return z, torch.tensor(0.7)


def _config_text(config: Config) -> str:
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


# ---------------------------------------------------------------------------------------------------- the model card


@dataclasses.dataclass(frozen=True)
class Origin:
    """What dvc.lock and the files it names tell about a generator.

    snapshot: `last` or `best`; data: path: hash of the dataset and the raw collection; parameters: by stage;
    metrics: None where this snapshot was not measured; images: the kept rows of the dataset's manifest.
    """

    snapshot: str
    data: dict[str, str]
    parameters: dict[str, dict[str, Any]]
    metrics: dict[str, Any] | None
    images: pd.DataFrame


def origin_of(generator: Path, root: Path) -> Origin | None:
    """Where a generator comes from; None if dvc.lock does not know the file.

    Nothing is taken from a file that is not the one of dvc.lock: UserError where that is changed or nowhere to be had.
    """
    if not (root / LOCK).is_file():
        return None
    stages = yaml.safe_load((root / LOCK).read_text())["stages"]
    if "train" not in stages:
        return None
    hashes = {one["path"]: one["md5"] for one in stages["train"]["outs"]}
    own = hashlib.md5(generator.read_bytes(), usedforsecurity=False).hexdigest()
    snapshots = {"models/generator.safetensors": "last", "models/best.safetensors": "best"}
    known = [path for path in snapshots if hashes.get(path) == own]
    if not known:
        return None
    # the one of the same name, where both snapshots are one
    path = next((one for one in known if Path(one).name == generator.name), known[0])
    train = {one["path"]: one["md5"] for one in stages["train"]["deps"]}
    raw = {one["path"]: one["md5"] for one in stages.get("crop", {}).get("deps", []) if one["path"].startswith(RAW)}
    table = pd.read_csv(io.BytesIO(_locked(root, f"{DATASET}/manifest.csv", train[DATASET])), dtype=str)
    evaluate = stages.get("evaluate", {"deps": [], "outs": [], "params": {}})
    measured = {one["path"]: one["md5"] for one in evaluate["deps"]}
    parameters = {name: _flat_params(one) for name, one in stages.items() if _flat_params(one)}
    metrics = None
    if measured.get(path) == own and parameters["evaluate"].get("sample.snapshot") == snapshots[path]:
        metrics = json.loads(_locked(root, METRICS, None))
    return Origin(
        snapshots[path],
        {DATASET: train[DATASET]} | raw,
        parameters,
        metrics,
        table[table["status"] == manifest.KEPT].fillna(""),
    )


def _flat_params(locked: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a stage in dvc.lock, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in sorted(locked.get("params", {}).get("params.yaml", {}).items()):
        flat |= {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _locked(root: Path, path: str, folder_md5: str | None) -> bytes:
    """Content of a file as dvc.lock has it: from the workspace, the cache or the remote.

    folder_md5: what the folder must be besides; UserError where it or the file is another one.
    """
    # DVC is slow to load
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    again = f"Run `dvc repro`, or fetch it: `dvc pull {path}`"
    try:
        files = DVCFileSystem(str(root))
        recorded = files.info(path)["dvc_info"]["md5"]
        folder = files.info(str(Path(path).parent)).get("dvc_info", {}).get("md5")
        content: bytes = files.read_bytes(path)
    except (DvcException, OSError, KeyError) as error:
        raise UserError(f"export: {path}, which the card needs, is not to be had ({error}). {again}") from None
    if folder_md5 not in (None, folder):
        raise UserError(f"export: {Path(path).parent} is not what the generator was trained on. {again}")
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != recorded:
        raise UserError(f"export: {path} was changed since it was made. {again}")
    return content


USE = {
    "safetensors": """\
import torch
from semireal.stylegan2 import load_generator

G = load_generator("{file}")
images = G(torch.randn(4, {z_dim}), psi=0.7)  # [4, 3, {side}, {side}], about -1 to 1""",
    "onnx": """\
import numpy as np, onnxruntime

session = onnxruntime.InferenceSession("{file}")
z = np.random.default_rng(0).standard_normal((4, {z_dim}), dtype=np.float32)
(images,) = session.run(["images"], {{"z": z, "psi": np.array(0.7, np.float32)}})  # [4, 3, {side}, {side}], -1 to 1""",
    "torchscript": """\
import torch

draw = torch.jit.load("{file}")
images = draw(torch.randn(4, {z_dim}), torch.tensor(0.7))  # [4, 3, {side}, {side}], -1 to 1""",
}

LIMITS = """\
- It draws what its training images show, in their style and with their gaps: it knows no other characters, poses or
  surroundings, and repeats what they have too much of. With few images it may come close to single ones of them.
- The pictures are of no real person; where photos of people were trained on, some may resemble them.
- psi between 0.5 and 0.7 gives the cleanest pictures; at 1 they vary most and more of them fail.
- The metrics compare with the training images, on features of this project (`_r64`): they rank networks of this
  project, and cannot be compared with FID values of others.
- Whether the pictures may be used depends on the licences above and on the law where you are; this card is no licence.
"""


def card_of(generator: Path, config: Config, file: str, kind: str, root: Path) -> str:
    """The model card as Markdown: use, data with its hash and licences, metrics, parameters, limits."""
    origin = origin_of(generator, root)
    name = origin.parameters["filter"]["name"] if origin else "unknown origin"
    side = config.img_resolution
    use = USE[kind].format(file=file, z_dim=config.z_dim, side=side)
    parts = [
        f"# {name}: StyleGAN2 generator, {side} x {side}\n",
        f"`{file}` takes latents z [N, {config.z_dim}], standard normal, and the truncation psi (0: the average "
        f"picture, 1: all variety), and gives RGB pictures [N, 3, {side}, {side}]. The noise is constant: equal z, "
        "equal picture.\n",
        f"```python\n{use}\n```\n",
    ]
    if origin is None:
        parts.append(
            "## Data\n\nNot known: the `dvc.lock` of the repository has no such generator. Ask whoever made it what it "
            "was trained on and what its licence is.\n"
        )
    else:
        parts += [_data(origin), _measures(origin)]
    parts.append(f"## Limits\n\n{LIMITS}")
    if origin is not None:
        parts.append(_parameters(origin))
    network = {key: value for key, value in dataclasses.asdict(config).items() if key != "mbstd_group_size"}
    parts.append(f"## Network\n\n{_table(['', ''], [[key, _text(value)] for key, value in network.items()])}")
    return "\n".join(parts)


def _data(origin: Origin) -> str:
    hashes = _table(["data", "DVC hash (MD5)"], [[path, f"`{md5}`"] for path, md5 in origin.data.items()])
    licences = origin.images["licence"].replace("", "not stated by the source")
    groups = Counter(zip(origin.images["source"], origin.images["domain"], licences, strict=True))
    rows = [[*group, str(n)] for group, n in sorted(groups.items())]
    artists = len(set(origin.images["artist"]) - {""})
    start = origin.parameters["train"].get("train.init")
    ratio = origin.parameters["train"].get("train.photo_ratio")
    chosen = "" if ratio is None else f" Of them a mixture with {ratio:.0%} photos was trained on."
    begun = f" The training started from `{start}`, whose licence holds as well." if start else ""
    return (
        f"## Data\n\n{hashes}\n{len(origin.images)} images of {artists} named artists; "
        f"`{DATASET}/manifest.csv` names each with its page.{chosen}{begun}\n\n"
        f"{_table(['source', 'domain', 'licence', 'images'], rows)}"
    )


def _measures(origin: Origin) -> str:
    if origin.metrics is None:
        return f"## Metrics\n\nNot measured: the stage evaluate did not run on this snapshot ({origin.snapshot}).\n"
    rows = [[key, _text(value)] for key, value in sorted(origin.metrics.items()) if not isinstance(value, (dict, list))]
    return f"## Metrics\n\n{_table(['metric', 'value'], rows)}"


def _parameters(origin: Origin) -> str:
    rows = {key: value for values in origin.parameters.values() for key, value in values.items()}
    snapshot = f"The {origin.snapshot} snapshot of the run. "
    return (
        f"## Parameters\n\n{snapshot}What each means is in docs/params.md of the repository.\n\n"
        f"{_table(['parameter', 'value'], [[f'`{key}`', _text(rows[key])] for key in sorted(rows)])}"
    )


def _text(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def main() -> None:
    """Write a generator in a format for use elsewhere, and a model card beside it."""
    parser = argparse.ArgumentParser(prog="python -m semireal.pipeline.export", description=main.__doc__)
    parser.add_argument("--format", choices=FORMATS, default="safetensors", help="of the file (default: safetensors)")
    parser.add_argument(
        "--generator",
        type=Path,
        default=Path("models/generator.safetensors"),
        help="what to export (default: models/generator.safetensors, the last snapshot)",
    )
    parser.add_argument("--out", type=Path, help="file to write (default: exports/<name of the generator>.<suffix>)")
    given = parser.parse_args()
    out = given.out or Path("exports") / f"{given.generator.stem}{FORMATS[given.format][0]}"
    card = run(given.generator, out, given.format, Path())
    stage.say(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB) and {card}")


if __name__ == "__main__":
    stage.run(main)
