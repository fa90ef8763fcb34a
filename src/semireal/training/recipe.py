"""A picture and its recipe: `semireal sample` draws one of a seed and writes beside it how to draw it again.

The same recipe gives the same bytes on the same machine, with the same versions and number of threads; elsewhere the
sums of a convolution may be ordered differently, which shows in single grey levels.
"""

import dataclasses
import re
from pathlib import Path
from typing import cast

import torch

from semireal import files, images, schema, stage, tensors
from semireal.errors import UserError
from semireal.files import replacing, sha256_of, write_atomic
from semireal.images import Pixels
from semireal.schema import param
from semireal.stylegan2 import Generator, load, load_generator
from semireal.stylegan2.networks import Noise
from semireal.training import sample

LARGEST = 10_000  # bytes of a recipe, which has 250
SEEDS = 2**53  # up to here every reader of JSON keeps a whole number as it is
NOISES = ("const", "none")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that a picture depends on; a UserError names the first value that makes no sense."""

    network: str = param()
    """SHA-256 of the file of the generator"""
    seed: int = param(low=0, high=SEEDS)
    """of the latents"""
    psi: float = param(low=-2, high=2)
    """truncation: 0 = the average face, 1 = as trained"""
    noise: str = param(choices=NOISES)
    """const = the maps in the file of the generator; none = no noise, which is smoother"""
    mix_seed: int | None = param(low=0, high=SEEDS)
    """another seed, of the fine layers; null = no mixing"""
    mix_from: int | None = param(low=8, high=2**20)
    """they are those from this resolution on; null = no mixing"""

    def __post_init__(self) -> None:
        schema.check(self)
        if not re.fullmatch("[0-9a-f]{64}", self.network):
            raise UserError(f"network: found {self.network[:100]!r}, need 64 hexadecimal digits in lower case")
        if (self.mix_seed is None) != (self.mix_from is None):
            raise UserError("mix_seed, mix_from: need both, or neither")


def read(path: Path) -> Recipe:
    """Read a recipe; raises UserError where it is missing, or says anything that no recipe says."""
    try:
        content = files.read(path, LARGEST).decode()
    except FileNotFoundError:
        raise UserError(f"{path}: not found") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not valid JSON: not UTF-8 text") from None
    given = schema.parse_json(content, str(path))
    if not isinstance(given, dict):
        raise UserError(f"{path}: found no recipe, need {{...}} as `semireal sample --seed` writes it")
    try:
        return schema.parse(Recipe, given, "")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def again(recipe: Recipe, network: Path, out: Path) -> None:
    """Draw a picture again as the PNG `out`; UserError where the network is not the one of the recipe."""
    _check_name(out)
    found = hash_of(network)
    if found != recipe.network:
        raise UserError(
            f"{network}: another network than the recipe's (SHA-256 {found[:12]}..., need {recipe.network[:12]}...). "
            "Name that one with --network"
        )
    picture = _drawn(recipe, network)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, picture)
    stage.say(f"wrote {out}")


def new(recipe: Recipe, network: Path, out: Path) -> Path:
    """Draw a picture as the PNG `out`, and write its recipe beside it, `<name>.json`; gives the path of that."""
    _check_name(out)
    picture = _drawn(recipe, network)
    beside = out.with_suffix(".json")
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as partial:
        partial.write_bytes(picture)
        files.write_json(beside, dataclasses.asdict(recipe))
    stage.say(f"wrote {out} and {beside}")
    return beside


def hash_of(network: Path) -> str:
    """What names a network in recipes: SHA-256 of its file; UserError where that holds no network."""
    load.kind_of(network)
    return sha256_of(network)


@torch.no_grad()
def draw(G: Generator, recipe: Recipe) -> Pixels:
    """The picture [H, W, 3] of a recipe, drawn alone; UserError where there are no layers to mix from there on."""
    ws = _styles(G, recipe.seed, recipe.psi)
    if recipe.mix_seed is not None and recipe.mix_from is not None:
        first = first_style(G, recipe.mix_from)
        ws = torch.cat([ws[:, :first], _styles(G, recipe.mix_seed, recipe.psi)[:, first:]], dim=1)
    picture: Pixels = tensors.to_uint8(G.synthesis(ws, noise=cast(Noise, recipe.noise)))[0]
    return picture


def _styles(G: Generator, seed: int, psi: float) -> torch.Tensor:
    """The styles [1, num_ws, w_dim] of one seed, mapped alone: those of two may differ from them in the last bits."""
    z = sample.latents(range(seed, seed + 1), G.config.z_dim)
    ws: torch.Tensor = G.mapping(z.to(next(G.parameters()).device), psi=psi)
    return ws


def first_style(G: Generator, resolution: int) -> int:
    """Index of the first of the styles ws that a resolution above 4 takes.

    The last style of a block, which colours, is also the first of the next (Karras et al. 2020): so the colours of the
    block before go with it.
    """
    resolutions = G.config.block_resolutions()[1:]
    if resolution not in resolutions:
        raise UserError(f"mix_from: found {resolution}, need one of {', '.join(map(str, resolutions))}")
    return 2 * resolutions.index(resolution) + 1


def _drawn(recipe: Recipe, network: Path) -> bytes:
    return images.encode_png(draw(load_generator(network).to(sample.device()), recipe))


def _check_name(out: Path) -> None:
    if out.suffix != ".png":
        raise UserError(f"--out: found {out}, need a name that ends in .png")
