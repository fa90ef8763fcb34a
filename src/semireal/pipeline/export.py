"""export: a generator as one file for use elsewhere, with a model card beside it.

`semireal export --format onnx` writes exports/network.onnx and exports/network.onnx.md. ONNX and
TorchScript files need neither this package nor its Python: they take latents z [N, z_dim], standard normal, and psi
(a scalar), and give images [N, 3, H, W] in [-1, 1] with the constant noise.
"""

import dataclasses
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import torch
from torch import Tensor, nn

from semireal import stage
from semireal.errors import UserError
from semireal.files import replacing, write_atomic
from semireal.pipeline.card import card_of
from semireal.stylegan2 import Config, Generator, extra_of, load_generator, load_networks, save_networks
from semireal.training.blend import RECIPE

OPSET = 18  # what the exporter of PyTorch writes without converting
IR_VERSION = 8  # the least that goes with it: onnxruntime 1.15 of 2023 reads the file


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


def run(generator: Path, out: Path | None, kind: str, root: Path) -> Path:
    """Write the generator as `out` in the format `kind` and a card beside it; gives the path of the card.

    out: None = exports/<name of the generator>.<suffix>. root: of the repository, whose dvc.lock knows where the
    generator comes from. Files are whole or not there; the same command gives the same bytes. UserError where the
    generator or what the card needs cannot be read.
    """
    suffix, write = FORMATS[kind]
    out = out or Path("exports") / f"{generator.stem}{suffix}"
    if out.suffix != suffix:
        raise UserError(f"--out: found {out}, need a name that ends in {suffix} for --format {kind}")
    if out.resolve() == generator.resolve():
        raise UserError(f"--out: {out} is the generator itself. Give another name")
    G = load_generator(generator)
    card = out.with_name(f"{out.name}.md")
    text = card_of(generator, G.config, out.name, kind, root)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as partial:
        write(generator, G, partial)
        write_atomic(card, text.encode())
    stage.say(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB) and {card}")
    return card


def write_safetensors(generator: Path, G: Generator, out: Path) -> None:
    """The averaged generator and its configuration, as `load_generator` reads them, and what it was blended of."""
    recipe = {name: told for name, told in extra_of(generator).items() if name == RECIPE}
    save_networks(out, G.config, load_networks(generator).generator, None, recipe)


def write_onnx(_: Path, G: Generator, out: Path) -> None:
    """One ONNX file: inputs `z` (any number of rows) and `psi`, output `images`."""
    try:
        import onnx  # here, since it is slow to load
        import onnxscript  # noqa: F401 - torch writes the graph with it
    except ImportError:
        raise UserError(
            "--format onnx: needs packages: pip install --require-hashes -r requirements-export.txt"
        ) from None
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
    model.ir_version = IR_VERSION
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
