"""The model card that goes with an exported generator, as Markdown: use, data and licences, metrics, parameters."""

import dataclasses
import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from semireal import code, manifest, paths, schema
from semireal.errors import UserError
from semireal.pipeline import markdown
from semireal.stylegan2 import Config
from semireal.training import start
from semireal.training.blend import Recipe, recipe_of

LOCK = Path("dvc.lock")
# as dvc.lock writes them
DATASET, RAW, METRICS = str(paths.DATASET), f"{paths.RAW}/", str(paths.HEADLINE)
NETWORK = str(paths.NETWORK)
SNAPSHOTS = {str(paths.GENERATOR): "last", str(paths.BEST): "best"}

USE = {
    "safetensors": """\
import torch
from semireal.stylegan2 import load_generator

G = load_generator({file})
images = G(torch.randn(4, {z_dim}), psi=0.7)  # [4, 3, {side}, {side}], about -1 to 1""",
    "onnx": """\
import numpy as np, onnxruntime

session = onnxruntime.InferenceSession({file})
z = np.random.default_rng(0).standard_normal((4, {z_dim}), dtype=np.float32)
(images,) = session.run(["images"], {{"z": z, "psi": np.array(0.7, np.float32)}})  # [4, 3, {side}, {side}], -1 to 1""",
    "torchscript": """\
import torch

draw = torch.jit.load({file})
images = draw(torch.randn(4, {z_dim}), torch.tensor(0.7))  # [4, 3, {side}, {side}], -1 to 1""",
}

LIMITS = """\
- It draws what its training images show, in their style and with their gaps: it knows no other characters, poses or
  surroundings, and repeats what they have too much of. With few images it may come close to single ones of them.
- The pictures are of no real person; where photos of people were trained on, some may resemble them.
- psi between 0.5 and 0.7 gives the cleanest pictures; at 1 they vary most and more of them fail.
- The metrics compare with the training images; those whose names have an ending (`_whole`, `_layout`, `_eyes`) are on
  features of this project: they rank networks of this project, and cannot be compared with FID values of others.
- Whether the pictures may be used depends on the licences above and on the law where you are; this card is no licence.
"""


@dataclasses.dataclass(frozen=True)
class Origin:
    """What dvc.lock and the files it names tell about a generator.

    snapshot: `last` or `best`; start: the network that the training started from, empty for a random one; base: the
    network that it was blended with by stage blend, empty where it was not; data: path: hash of the dataset, the raw
    collection and these networks; parameters: by stage; metrics: None where it was not measured; images: the kept rows
    of the dataset's manifest.
    """

    snapshot: str
    start: str
    base: str
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
    stages = schema.load_yaml(root / LOCK)["stages"]
    own = _md5(generator.read_bytes())
    path, base = _trained_as(stages, own, generator.name), ""
    if path is None:
        path, base = _blended_of(stages, own)
    if path is None:
        return None
    trained_on = _hashes(stages, "train", "deps")
    raw = {dep: md5 for dep, md5 in _hashes(stages, "crop", "deps").items() if dep.startswith(RAW)}
    images = pd.read_csv(io.BytesIO(_locked(root, f"{DATASET}/manifest.csv", trained_on[DATASET])), dtype=str)
    # stage code looks at all parameters, and decides nothing
    parameters = {name: _flat_params(one) for name, one in stages.items() if name != code.STAGE}
    init = parameters["train"]["train.init"]
    begun = {} if _is_noise(root / init, trained_on[init]) else {init: trained_on[init]}
    mixed = {base: _hashes(stages, "blend", "deps")[base]} if base else {}
    metrics = None
    if _hashes(stages, "evaluate", "deps").get(NETWORK) == own:
        metrics = json.loads(_locked(root, METRICS, None))
    return Origin(
        SNAPSHOTS[path],
        "".join(begun),
        base,
        {DATASET: trained_on[DATASET]} | raw | begun | mixed,
        parameters,
        metrics,
        images[images["status"] == manifest.KEPT].fillna(""),
    )


def _trained_as(stages: Mapping[str, Any], own: str, name: str) -> str | None:
    """The path of the snapshot that has this MD5: the one of the same name, where both snapshots are one."""
    known = [path for path in SNAPSHOTS if _hashes(stages, "train", "outs").get(path) == own]
    return next((one for one in known if Path(one).name == name), known[0] if known else None)


def _blended_of(stages: Mapping[str, Any], own: str) -> tuple[str | None, str]:
    """The snapshot and the base that stage blend made the network with this MD5 of.

    None where it did not, or where the training was another one: of that there is nothing in dvc.lock.
    """
    if _hashes(stages, "blend", "outs").get(NETWORK) != own:
        return None, ""
    given = _flat_params(stages["blend"])
    path = next(path for path, snapshot in SNAPSHOTS.items() if snapshot == given["sample.snapshot"])
    same = _hashes(stages, "blend", "deps")[path] == _hashes(stages, "train", "outs").get(path)
    return (path, given["blend.base"]) if same else (None, "")


def _is_noise(path: Path, recorded: str) -> bool:
    """Whether a training that started from this file had random networks; not where it is another one by now."""
    return path.is_file() and _md5(path.read_bytes()) == recorded and start.is_noise(path)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _hashes(stages: Mapping[str, Any], name: str, kind: str) -> dict[str, str]:
    """The MD5 of each of the `deps` or `outs` of a stage by its path; none of a stage that dvc.lock has not."""
    return {one["path"]: one["md5"] for one in stages.get(name, {}).get(kind, [])}


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
    if _md5(content) != recorded:
        raise UserError(f"export: {path} was changed since it was made. {again}")
    return content


def card_of(generator: Path, config: Config, file: str, kind: str, root: Path) -> str:
    """The model card as Markdown: use, data with its hash and licences, metrics, parameters, limits."""
    origin, recipe = origin_of(generator, root), recipe_of(generator)
    name = origin.parameters["filter"]["name"] if origin else "unknown origin"
    side = config.img_resolution
    use = USE[kind].format(file=json.dumps(file, ensure_ascii=False), z_dim=config.z_dim, side=side)
    parts = [
        f"# {markdown.text(name)}: StyleGAN2 generator, {side} x {side}\n",
        f"{markdown.code(file)} takes latents z [N, {config.z_dim}], standard normal, and the truncation psi (0: the "
        f"average picture, 1: all variety), and gives RGB pictures [N, 3, {side}, {side}]. The noise is constant: "
        "equal z, equal picture.\n",
        f"```python\n{use}\n```\n",
    ]
    if recipe is not None:
        parts.append(_blend(recipe, origin))
    if origin is None:
        parts.append(
            "## Data\n\nNot known: the `dvc.lock` of the repository has no such generator. Ask whoever made it what it "
            "was trained on and what its licence is.\n"
        )
    else:
        parts += [_data(origin), _metrics(origin)]
    parts.append(f"## Limits\n\n{LIMITS}")
    if origin is not None:
        parts.append(_parameters(origin))
    network = {key: value for key, value in dataclasses.asdict(config).items() if key != "mbstd_group_size"}
    parts.append(f"## Network\n\n{markdown.table(['', ''], [[key, _text(value)] for key, value in network.items()])}")
    return "\n".join(parts)


def _blend(recipe: Recipe, origin: Origin | None) -> str:
    """What the network was blended of, by its own file; and whose data it is made of, where stage blend made it."""
    rows = [
        ["base", f"{markdown.code(recipe.base)} (SHA-256)"],
        ["trained on from it", f"{markdown.code(recipe.child)} (SHA-256)"],
        ["from", f"{recipe.from_}"],
        ["amount", f"{recipe.amount:g}"],
    ]
    part = f"from {recipe.from_} x {recipe.from_} on" if recipe.from_ else "all of it, the mapping too,"
    whose = "The licences of both hold for it."
    if origin is not None and origin.base:
        whose = (
            f"The base is {markdown.code(origin.base)}, the other one the {origin.snapshot} snapshot below. "
            "It is made of the data of both, and both licences hold for it."
        )
    return (
        f"## Blend\n\nThis network was not trained: it lies between two, {part} {recipe.amount:g} of the way from the "
        f"base to the other. {whose}\n\n{markdown.table(['', ''], rows)}"
    )


def _data(origin: Origin) -> str:
    hashes = markdown.table(
        ["data", "DVC hash (MD5)"], [[markdown.text(path), f"`{md5}`"] for path, md5 in origin.data.items()]
    )
    licences = origin.images["licence"].replace("", "not stated by the source")
    groups = Counter(zip(origin.images["source"], origin.images["domain"], licences, strict=True))
    rows = [[*map(markdown.text, group), str(n)] for group, n in sorted(groups.items())]
    artists = len(set(origin.images["artist"]) - {""})
    ratio = origin.parameters["train"].get("train.photo_ratio")
    chosen = "" if ratio is None else f" Of them a mixture with {ratio:.0%} photos was trained on."
    begun = (
        f" The training started from {markdown.code(origin.start)}, whose licence holds as well."
        if origin.start
        else ""
    )
    return (
        f"## Data\n\n{hashes}\n{len(origin.images)} images of {artists} named artists; "
        f"`{DATASET}/manifest.csv` names each with its page.{chosen}{begun}\n\n"
        f"{markdown.table(['source', 'domain', 'licence', 'images'], rows)}"
    )


def _metrics(origin: Origin) -> str:
    if origin.metrics is None:
        which = f"{origin.snapshot} snapshot"
        return f"## Metrics\n\nNot measured: the stage evaluate did not run on this network ({which}).\n"
    rows = [[markdown.text(key), _text(value)] for key, value in sorted(origin.metrics.items())]
    return f"## Metrics\n\n{markdown.table(['metric', 'value'], rows)}"


def _parameters(origin: Origin) -> str:
    rows = {key: value for values in origin.parameters.values() for key, value in values.items()}
    snapshot = f"The {origin.snapshot} snapshot of the run. "
    return (
        f"## Parameters\n\n{snapshot}What each means is in docs/params.md of the repository.\n\n"
        f"{markdown.table(['parameter', 'value'], [[markdown.code(key), _text(rows[key])] for key in sorted(rows)])}"
    )


def _text(value: Any) -> str:
    """A number, a text or a list as Markdown."""
    if isinstance(value, float):
        return f"{value:.5g}"
    return markdown.text(value if isinstance(value, str) else json.dumps(value))
