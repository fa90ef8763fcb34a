"""blend: the network that is sampled and measured, between the base of a training and what was trained."""

from dataclasses import dataclass
from pathlib import Path

from semireal import paths, schema, stage
from semireal.errors import UserError
from semireal.files import sha256_of, write_atomic
from semireal.params.blend import Blend
from semireal.params.train import Train
from semireal.schema import param
from semireal.stylegan2 import Networks, extra_of, load_networks, save_networks
from semireal.stylegan2.between import are_kin, blended, check
from semireal.stylegan2.config import network_of
from semireal.training import start

RECIPE = "blend"  # the name of a Recipe in a file


@dataclass(frozen=True)
class Given:
    """What the stage takes of params.yaml."""

    blend: Blend
    snapshot: str = param(key="sample.snapshot")


@dataclass(frozen=True)
class Recipe:
    """What a file says about the blend that it is: SHA-256 of both files as hex digits, and the two numbers."""

    base: str = param()
    child: str = param()
    from_: int = param(low=0)
    amount: float = param(low=0, high=1)


@dataclass(frozen=True)
class Ends:
    """The two ends of the dial that fit each other: their files, and what is in them."""

    base: Path
    child: Path
    a: Networks
    b: Networks


def make(models: Path, target: Path, given: Given) -> None:
    """Write the network that is sampled and measured to target: a blend as of `save`, or the trained file as it is.

    models: the folder of stage train. All that follows takes target, so that what is drawn is chosen here alone. It is
    a copy and no link, since what is at the name of a model may itself be a link to the cache of DVC, which keeps equal
    files once. UserError where a file is unfit, or there is no base to blend with.
    """
    trained, dial = trained_of(models, given.snapshot), given.blend
    if dial.is_trained:
        load_networks(trained)  # or a damaged file would go on
        write_atomic(target, trained.read_bytes())
    else:
        ends = ends_of(base_of(dial, Path()), trained, dial.from_, dial.amount, "blend.")
        save(target, ends, dial.from_, dial.amount)


def trained_of(models: Path, snapshot: str) -> Path:
    """The file of the `last` or the `best` generator of a training."""
    return models / {"last": paths.GENERATOR, "best": paths.BEST}[snapshot].name


def base_of(given: Blend, root: Path) -> Path:
    """The file to blend with; UserError where it is missing, or only stands for random networks.

    root: of the repository.
    """
    path = start.existing(given.base, root, "blend.base")
    if start.is_noise(path, "blend.base"):
        raise UserError(
            f"blend.base: {given.base} stands for random networks, and between those and the trained one there are no "
            "faces. Name the network that the training came from, or leave blend.from at 0 and blend.amount at 1"
        )
    return path


def foresee(given: Blend, train: Train, root: Path) -> None:
    """Raise a UserError, before anything is trained, where what would be trained could not be blended with the base.

    root: of the repository.
    """
    base = load_networks(base_of(given, root)).config
    check(base, network_of(train), given.from_, given.amount, f"{given.base} and what is trained by train.*", "blend.")


def ends_of(base: Path, child: Path, first: int, amount: float, prefix: str) -> Ends:
    """Read two networks; UserError where they, or the numbers, which messages call by prefix and name, do not fit."""
    a, b = load_networks(base), load_networks(child)
    check(a.config, b.config, first, amount, f"{base} and {child}", prefix)
    if not are_kin(a.generator, b.generator):
        stage.say(
            f"note: {base} and {child} have no common ancestor (their noise maps differ): expect no faces between them"
        )
    return Ends(base, child, a, b)


def save(target: Path, ends: Ends, first: int, amount: float) -> None:
    """Write the blend (see stylegan2.between): the generator alone, and beside it its Recipe.

    The same content and numbers give the same bytes.
    """
    hashes = {"base": sha256_of(ends.base), "child": sha256_of(ends.child)}
    tensors = blended(ends.a.generator, ends.b.generator, first, amount)
    save_networks(target, ends.a.config, tensors, None, {RECIPE: hashes | {"from": first, "amount": float(amount)}})


def recipe_of(network: Path) -> Recipe | None:
    """What the file of a network says that it was blended of; None where it was not, UserError where it is damaged."""
    found = extra_of(network).get(RECIPE)
    try:
        return None if found is None else schema.parse(Recipe, found, RECIPE)
    except UserError as error:
        raise UserError(f"{network}: damaged: {error}. Make or fetch the file again") from None
