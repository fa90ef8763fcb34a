"""Make a collection that the gallery does not draw, or go on with it: `semireal scrape elf`.

A collection from live sites or from a folder of somebody cannot be made again by whoever has the repository. So it is
no stage of the graph but data that `dvc add` takes in: data/raw/<kind>/<name> with its .dvc file, and beside it what
it was collected from.
"""

import json
import re
from typing import Any

import yaml
from filelock import FileLock, Timeout

from semireal import code, paths, stage
from semireal.collect import gallerydl, scrape, source
from semireal.errors import UserError
from semireal.files import sha256_of, write_atomic
from semireal.params.whole import DRAWN
from semireal.pipeline.commands import dvc, git
from semireal.pipeline.compose import provenance
from semireal.schema import load_yaml

KINDS = ("web", "open", "own")
HEAD = "# How this collection came about; `semireal scrape` writes it. Commit it together with the .dvc file.\n"


def run(collection: str) -> None:
    """Collect e.g. web/elf, or go on with it, and say what to do with the result; raises as `collect` does."""
    before = images(collection)
    collect(collection)
    _say_what_next(collection, before, images(collection))


def collect(collection: str) -> None:
    """Collect e.g. web/elf into data/raw/web/elf, and let DVC take it in.

    Raises UserError, with everything as it was before, if the collection is not known or cannot be collected, and
    Unfinished while it is not complete; the files fetched by then are in `.work`, and the same command goes on.
    """
    _check(collection)
    stage.work_root().mkdir(exist_ok=True)
    lock = FileLock(stage.work_root() / "collection.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError("scrape: another `semireal scrape` is running here. Wait for it, or stop it") from None
    with lock:
        scrape.make(collection)
        dvc("add", "--quiet", str(paths.RAW / collection))
        write_atomic(provenance(collection), (HEAD + yaml.safe_dump(_origin(collection), sort_keys=False)).encode())


def kind_of(character: str) -> str:
    """The first of KINDS that the character has sources of; `web` where it has none, for the message about that."""
    return next((kind for kind in KINDS if (paths.SOURCES / kind / f"{character}.yaml").is_file()), KINDS[0])


def images(collection: str) -> int:
    """How many images the collection has, by what says how it came about; 0 if there is none yet."""
    path = provenance(collection)
    return int(load_yaml(path)["images"]) if path.is_file() else 0


def _check(collection: str) -> None:
    definition = paths.SOURCES / f"{collection}.yaml"
    if collection.startswith(DRAWN):
        raise UserError(f"scrape: {collection} is drawn by the embedded gallery: `dvc repro` makes it")
    if not re.fullmatch(r"[\w-]+/[\w-]+", collection) or not definition.is_file():
        known = sorted(path.relative_to(paths.SOURCES) for path in (paths.SOURCES).glob("*/*.yaml"))
        names = ", ".join(str(path.with_suffix("")) for path in known if not str(path).startswith(DRAWN))
        raise UserError(f"scrape: {collection}: there is no {definition} that says what it is; there are {names}")
    source.load_sources(definition)


def _origin(collection: str) -> dict[str, Any]:
    """What the collection was made of: by whom it was taken down is not told."""
    definition = paths.SOURCES / f"{collection}.yaml"
    report = json.loads((paths.RAW / collection / "report.json").read_text())
    return {
        "collection": collection,
        "images": report["kept"],
        "rejected": report["rejected"],
        "takedowns": sha256_of(paths.TAKEDOWNS),
        "gallery_dl": gallerydl.VERSION,
        "code": code.key_of_modules(scrape.__name__),
        "sources": load_yaml(definition)["sources"],
    }


def to_commit(collection: str) -> list[str]:
    """The files that a clone needs for the collection and its character, as far as git has them not as they are."""
    kind, _, name = collection.partition("/")
    folder = paths.RAW / kind
    files = [paths.EXPERIMENTS / "character" / f"{name}.yaml", paths.SOURCES / f"{collection}.yaml"]
    files += [paths.DECISIONS / f"{name}.csv", folder / f"{name}.dvc", folder / f"{name}.yaml", folder / ".gitignore"]
    return [str(path) for path in files if path.exists() and git("status", "--porcelain", "--", str(path))]


def _say_what_next(collection: str, before: int, now: int) -> None:
    folder = paths.RAW / collection
    stage.say(f"\n{folder}: {now} images, before: {before}")
    if now < before:
        stage.say(f"Fewer than before! To stay with those: git checkout {folder}.* && dvc checkout {folder}")
    files = to_commit(collection)
    if not files:
        stage.say("Git has it as it is: nothing to commit. The same command collects more.")
        return
    stage.say(
        "To keep and share it (the queue and other clones know only what is committed):\n"
        f"  git add {' '.join(files)} && git commit -m 'Collect {collection}'\n"
        f"  dvc push {folder} && git push\n"
        "The same command collects more."
    )
