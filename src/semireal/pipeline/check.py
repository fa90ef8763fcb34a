"""All checks of the parameters, in one place: the stage `code`, which runs first, makes them before anything else.

`semireal check` also looks at every composition of `experiments/`.
"""

import os
from pathlib import Path
from typing import Any

from semireal import devices, machine, paths, stage
from semireal.curate import decisions
from semireal.errors import UserError
from semireal.faces import detect
from semireal.params import FILE, whole
from semireal.pipeline.compose import (
    compose_all,
    default,
    differences,
    missing,
    not_default,
    provenance,
    text,
    told,
)
from semireal.schema import load_yaml
from semireal.training import blend, start


def before_run(root: Path) -> list[str]:
    """Check params.yaml and machine.yaml before any stage runs; gives notes where params.yaml is not as `experiments/`.

    An experiment has just been composed, and its -S are no surprise: no notes. Raises UserError.
    """
    given = whole.load(root / FILE)
    collection, init = given.collection, given.train.init
    sources = paths.SOURCES / f"{collection}.yaml"
    if not (root / sources).is_file():
        raise UserError(f"collection: found {collection!r}, but there is no {sources} that says what it is")
    decided = decisions.file_of(given.name)
    if not (root / decided).is_file():
        raise UserError(
            f"name: {given.name}: there is no {decided}. `semireal new` makes it with a character; for another name "
            f"make it yourself, with the line {','.join(decisions.COLUMNS)}"
        )
    why = missing(root, collection)
    if why:
        raise UserError(why)
    if not (root / f"{init}.dvc").is_file():  # then it may still be to come out of the cache of DVC
        start.existing(init, root)
    if not (root / f"{given.blend.base}.dvc").is_file():
        if given.blend.is_trained:
            start.existing(given.blend.base, root, "blend.base")
        else:
            blend.foresee(given.blend, given.train, root)
    for detector in (given.crop.detector_photo, given.crop.detector_portrait):
        detect.check(detector)
    devices.check(machine.load(), given.train.batch, given.train.group)
    if "DVC_EXP_BASELINE_REV" in os.environ:
        return []
    try:
        return _outdated(root, collection) + [_note(*difference) for difference in differences(root)]
    except UserError as error:  # in experiments/, which this run does not need
        return [str(error)]


def _outdated(root: Path, collection: str) -> list[str]:
    """A note if the sources of a collection are no longer those that it was collected from."""
    definition, made = (root / paths.SOURCES / f"{collection}.yaml", root / provenance(collection))
    if not made.is_file() or load_yaml(definition).get("sources") == load_yaml(made).get("sources"):
        return []
    kind, _, name = collection.partition("/")
    return [
        f"{collection} was collected from other sources than {definition.relative_to(root)} has now; to go on with it: "
        f"semireal scrape {name} --kind {kind}"
    ]


def check(root: Path) -> list[str]:
    """Check params.yaml and every composition of a repository; gives notes about where they differ.

    Raises UserError for a value that params.yaml or experiments/ may not have.
    """
    lines = before_run(root)
    usual = {group: f"{group}={choice}" for group, choice in default(root).items()}
    compose_all(root)
    kept = not_default(root)
    if kept:
        lines.append(
            f"the workspace is not the default ({told(usual)}): `dvc exp run` needs {told(kept)}, or --no-hydra"
        )
    return lines


def _note(key: str, here: Any, there: Any, chosen: str) -> str:
    return (
        f"{key} is {text(here)} in {FILE}, but {text(there)} in {paths.EXPERIMENTS}/ ({chosen}). `dvc repro` takes it "
        f"as it is; `dvc exp run` sets it back, unless you add -S {key}={text(here)} or --no-hydra"
    )


def run(root: Path) -> None:
    """Check a repository and say what there is to say about it; raises UserError as `check` does."""
    for note in check(root):
        stage.say(f"note: {note}")
    given = whole.load(root / FILE)
    stage.say(f"parameters: all good ({given.name}, {given.collection})")
