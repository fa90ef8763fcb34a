"""How params.yaml comes from `experiments/`: what `dvc exp run` composes, and where the two differ.

`dvc exp run` composes params.yaml anew each time, `dvc repro` never does. So the two differ legitimately after
`dvc exp run -S ...`.
"""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from semireal import paths, schema
from semireal.errors import UserError
from semireal.params import FILE, whole
from semireal.params.whole import DRAWN
from semireal.pipeline.commands import git

KEYS = {"character": "name", "profile": "profile"}  # the groups of experiments/config.yaml, and what tells them
Values = dict[str, Any]  # dotted keys, without sections


def compose(root: Path, *overrides: str) -> dict[str, Any]:
    """What `dvc exp run -S <override> ...` would write to params.yaml; UserError where that is not valid."""
    # slow to load, and not needed to read params.yaml
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for path in sorted([*(root / paths.EXPERIMENTS).glob("*.yaml"), *(root / paths.EXPERIMENTS).glob("*/*.yaml")]):
        schema.load_mapping(path)  # Hydra would write out all aliases, however many
    where = f"{paths.EXPERIMENTS}/ ({' '.join(overrides) or 'defaults'})"
    try:
        with initialize_config_dir(str((root / paths.EXPERIMENTS).resolve()), version_base=None):
            content = OmegaConf.to_container(hydra_compose("config", overrides=list(overrides)), resolve=True)
        whole.check(content)
    except (HydraException, OmegaConfBaseException, UserError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from None
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def compose_all(root: Path) -> None:
    """Compose each character with each profile; raises UserError for the first that is not valid."""
    for chosen in itertools.product(*(choices_of(root, group) for group in KEYS)):
        compose(root, *(f"{group}={choice}" for group, choice in zip(KEYS, chosen, strict=True)))


def flat(content: Mapping[str, Any], prefix: str = "") -> Values:
    """Nested parameters with dotted keys."""
    values: Values = {}
    for key, value in content.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return values


def text(value: Any) -> str:
    """A value as one writes it after -S."""
    return value if isinstance(value, str) else json.dumps(value)


def differences(root: Path) -> list[tuple[str, Any, Any, str]]:
    """Where params.yaml differs from the composition of its own character and profile (the default, if unknown).

    Rows of key, value here, value there and the choices; UserError where the composition is not valid.
    """
    here = flat(schema.load_yaml(root / FILE))
    chosen = default(root) | {group: choice for group, choice in _choices(root).items() if choice}
    overrides = [f"{group}={choice}" for group, choice in chosen.items()]
    there = flat(compose(root, *overrides))
    return [(key, here[key], there[key], " ".join(overrides)) for key in here if here[key] != there.get(key)]


def leaving(root: Path, arguments: Sequence[str]) -> str | None:
    """Why `dvc <arguments>` must not run: it is an `exp run` that silently goes back to another character or profile.

    None if it may. A choice that the arguments name (`-S character=...`) is not silent.
    """
    if not _composes(arguments):
        return None
    given = _overrides(arguments)
    try:
        kept = {key: told for key, told in not_default(root).items() if not given.keys() & {key, KEYS.get(key, key)}}
        usual = default(root) | {"collection": _wanted(root, given)[0]}
        back = {key: f"{key}={usual[key]}" for key in kept}
    except (UserError, TypeError, KeyError, AttributeError):  # missing or odd files: that is for others to say
        return None
    if not kept:
        return None
    return (
        f"params.yaml is about {', '.join(kept.values())}, but this would silently go back to the default, "
        f"{', '.join(back.values())}. Add {told(kept)} to stay, {told(back)} to go back, or --no-hydra to keep "
        "params.yaml as it is"
    )


def never_made(root: Path, arguments: Sequence[str]) -> str | None:
    """Why `dvc <arguments>` must not run: it is an `exp run` of a collection that nobody has made or committed.

    DVC would find out when outputs and params.yaml have been changed. None if it may.
    """
    if not _composes(arguments):
        return None
    given = _overrides(arguments)
    try:
        wanted = _wanted(root, given)
    except (UserError, TypeError, KeyError, AttributeError):
        return None
    apart = bool({"--queue", "--temp"} & set(arguments))
    reasons = (missing(root, one) or (apart and _untracked(root, one)) or None for one in wanted)
    return next((why for why in reasons if why), None)


def _wanted(root: Path, given: Mapping[str, list[str]]) -> list[str]:
    """The collections of the experiments that overrides span, by what the files of experiments/ name."""
    files = {group: choices_of(root, group) for group in KEYS}
    chosen = {group: given.get(group, [choice]) for group, choice in default(root).items()}
    found = [
        collection.replace("${name}", str(name))
        for character, profile in itertools.product(*chosen.values())
        for name in given.get("name", [files["character"][character]["name"]])
        for collection in given.get("collection", [_pattern(files, character, profile)])
    ]
    return list(dict.fromkeys(found))


def _untracked(root: Path, collection: str) -> str | None:
    """What to do about a collection that a run in a copy of the repository would not have; None if it would."""
    if collection.startswith(DRAWN):
        return None
    decided = paths.DECISIONS / f"{collection.rpartition('/')[2]}.csv"
    for path in (paths.RAW / f"{collection}.dvc", paths.SOURCES / f"{collection}.yaml", decided):
        if (root / path).exists() and not git("ls-files", str(path), root=root):
            return f"collection: {path} is not in git, so a run in a copy would be without it. `git add {path}` first"
    return None


def missing(root: Path, collection: str) -> str | None:
    """What to do about a collection that is not here; None if it is, or if the gallery draws it."""
    if collection.startswith(DRAWN) or (root / paths.RAW / f"{collection}.dvc").is_file():
        return None
    kind, _, name = collection.partition("/")
    return (
        f"collection: {collection} has not been made here: there is no {paths.RAW / collection}.dvc. Collect it "
        f"(semireal scrape {name} --kind {kind}) and commit that file, or get the commit that has it"
    )


def provenance(collection: str) -> Path:
    """The file that says how a collection came about."""
    return paths.RAW / f"{collection}.yaml"


def _composes(arguments: Sequence[str]) -> bool:
    return "run" in arguments and bool({"exp", "experiments"} & set(arguments)) and "--no-hydra" not in arguments


def _overrides(arguments: Sequence[str]) -> dict[str, list[str]]:
    """What `-S key=value,value` of a command line sets in params.yaml."""
    override = re.compile(rf"(?:-S|--set-param=)?(?:{FILE}:)?\+*(\w+)=(.*)")
    return {found[1]: found[2].split(",") for argument in arguments if (found := override.fullmatch(argument))}


def usual_collection(root: Path) -> str:
    """The collection of the character and the profile of params.yaml, unless an experiment sets another."""
    content, usual = schema.load_yaml(root / FILE), default(root)
    chosen = {group: choice or usual[group] for group, choice in _choices(root).items()}
    files = {group: choices_of(root, group) for group in KEYS}
    return _pattern(files, chosen["character"], chosen["profile"]).replace("${name}", str(content["name"]))


def _pattern(files: Mapping[str, Mapping[str, Any]], character: str, profile: str) -> str:
    """The collection as the files of experiments/ name it: that of the character, or else of the profile."""
    return str(files["character"][character].get("collection") or files["profile"][profile]["collection"])


def _choices(root: Path) -> dict[str, str | None]:
    """Of each group, the choice that params.yaml was made with, if there is one."""
    content = schema.load_yaml(root / FILE)
    return {
        group: next((choice for choice, one in choices_of(root, group).items() if one.get(key) == content[key]), None)
        for group, key in KEYS.items()
    }


def not_default(root: Path) -> dict[str, str]:
    """Where params.yaml is not the default, and how to say what it is: `character=elf`, `name=me`.

    By group, and `collection` where it is none that character and profile come with.
    """
    usual, content = default(root), schema.load_yaml(root / FILE)
    found = {
        group: f"{group}={choice}" if choice else f"{KEYS[group]}={content[KEYS[group]]}"
        for group, choice in _choices(root).items()
        if choice != usual[group]
    }
    collection = content["collection"]
    if collection != usual_collection(root):
        found["collection"] = f"collection={collection}" + ("" if collection.startswith(DRAWN) else " -S drawn=[]")
    return found


def told(chosen: Mapping[str, str]) -> str:
    """Choices as one writes them on the command line."""
    return " ".join(f"-S {choice}" for choice in chosen.values())


def default(root: Path) -> dict[str, str]:
    """The choices of experiments/config.yaml: character: geralt, profile: demo."""
    listed = schema.load_mapping(root / paths.EXPERIMENTS / "config.yaml").get("defaults")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    found = {group: choice for entry in entries for group, choice in entry.items()}
    absent = [group for group in KEYS if not isinstance(found.get(group), str)]
    if absent:
        raise UserError(f"{paths.EXPERIMENTS}/config.yaml: need `- {absent[0]}: ...` in its `defaults:`")
    return {group: found[group] for group in KEYS}


def choices_of(root: Path, group: str) -> dict[str, Any]:
    """The content of the files of a group, by choice."""
    return {path.stem: schema.load_mapping(path) for path in sorted((root / paths.EXPERIMENTS / group).glob("*.yaml"))}
