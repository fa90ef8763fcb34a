"""What keeps params.yaml and `experiments/` together: checks, notes, and the table of all parameters.

`dvc exp run` composes params.yaml anew each time, `dvc repro` never does. So the two differ legitimately after
`dvc exp run -S ...`: that is a note and never an error.
"""

import dataclasses
import itertools
import json
import os
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from semireal import params
from semireal.errors import UserError
from semireal.params import FILE, Params

EXPERIMENTS = Path("experiments")
PIPELINE = Path("dvc.yaml")
KEYS = {"character": "name", "profile": "collection"}  # the groups of experiments/config.yaml, and what tells them
Values = dict[str, Any]  # dotted keys, without sections
Stages = dict[str, Any]  # of dvc.yaml


def check(root: Path) -> list[str]:
    """Check params.yaml and every composition of a repository; gives notes about where they differ.

    Raises UserError for a value that params.yaml or experiments/ may not have.
    """
    given = params.load(root / FILE)
    sources = EXPERIMENTS / "sources" / f"{given.collection}.yaml"
    if not (root / sources).is_file():
        raise UserError(f"collection: found {given.collection!r}, but there is no {sources} that says what it is")
    default = {group: f"{group}={choice}" for group, choice in _default(root).items()}
    for choices in itertools.product(*(_named(root, group) for group in KEYS)):
        compose(root, *(f"{group}={choice}" for group, choice in zip(KEYS, choices, strict=True)))
    lines = [_note(*difference) for difference in differences(root)]
    kept = _not_default(root)
    if kept:
        lines.append(
            f"the workspace is not the default ({_told(default)}): `dvc exp run` needs {_told(kept)}, or --no-hydra"
        )
    return lines


def before_stage(stage: str, root: Path) -> list[str]:
    """What every stage does first when DVC runs it: check all parameters; gives the notes about its own ones.

    stage: as in DVC_STAGE, e.g. `train` or `data/dvc.yaml:scrape@elf`. An experiment has just been composed, and its
    -S are no surprise: no notes.
    """
    params.load(root / FILE)
    if "DVC_EXP_BASELINE_REV" in os.environ:
        return []
    name = stage.rpartition(":")[2].partition("@")[0]
    stages = stages_of(root)
    try:
        found = differences(root)
    except UserError as error:  # in experiments/, which this run does not need
        return [str(error)]
    return [_note(key, *rest) for key, *rest in found if name in direct(stages, key)]


def _note(key: str, here: Any, there: Any, choices: str) -> str:
    return (
        f"{key} is {_text(here)} in {FILE}, but {_text(there)} in {EXPERIMENTS}/ ({choices}). `dvc repro` takes it as "
        f"it is; `dvc exp run` sets it back, unless you add -S {key}={_text(here)} or --no-hydra"
    )


def differences(root: Path) -> list[tuple[str, Any, Any, str]]:
    """Where params.yaml differs from the composition of its own character and profile (the default, if unknown).

    Rows of key, value here, value there and the choices; UserError where the composition is not valid.
    """
    here = flat(params.load_yaml(root / FILE))
    choices = _default(root) | {group: choice for group, (_, choice) in _choices(root).items() if choice}
    overrides = [f"{group}={choice}" for group, choice in choices.items()]
    there = flat(compose(root, *overrides))
    return [(key, here[key], there[key], " ".join(overrides)) for key in here if here[key] != there.get(key)]


def compose(root: Path, *overrides: str) -> dict[str, Any]:
    """What `dvc exp run -S <override> ...` would write to params.yaml; UserError where that is not valid."""
    # slow to load, and not needed to read params.yaml
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    where = f"{EXPERIMENTS}/ ({' '.join(overrides) or 'defaults'})"
    try:
        with initialize_config_dir(str((root / EXPERIMENTS).resolve()), version_base=None):
            content = OmegaConf.to_container(hydra_compose("config", overrides=list(overrides)), resolve=True)
        params.check(content)
    except (HydraException, OmegaConfBaseException, UserError, yaml.YAMLError) as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from None
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def flat(content: Mapping[str, Any], prefix: str = "") -> Values:
    """Nested parameters with dotted keys."""
    values: Values = {}
    for key, value in content.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return values


def leaving(root: Path, arguments: Sequence[str]) -> str | None:
    """Why `dvc <arguments>` must not run: it is an `exp run` that silently goes back to another character or profile.

    None if it may. A choice that the arguments name (`-S character=...`) is not silent.
    """
    if "run" not in arguments or not {"exp", "experiments"} & set(arguments) or "--no-hydra" in arguments:
        return None
    override = re.compile(rf"(?:-S|--set-param=)?(?:{FILE}:)?\+*(\w+)=")
    named = {found[1] for argument in arguments if (found := override.match(argument))}
    try:
        kept = {group: told for group, told in _not_default(root).items() if not named & {group, KEYS[group]}}
        back = {group: f"{group}={_default(root)[group]}" for group in kept}
    except (UserError, TypeError, KeyError, AttributeError):  # missing or odd files: that is for others to say
        return None
    if not kept:
        return None
    return (
        f"params.yaml is about {', '.join(kept.values())}, but this would silently go back to the default, "
        f"{', '.join(back.values())}. Add {_told(kept)} to stay, {_told(back)} to go back, or --no-hydra to keep "
        "params.yaml as it is"
    )


def _choices(root: Path) -> dict[str, tuple[str, str | None]]:
    """Of each group, what params.yaml has (its name, its collection), and the choice that gives it, if there is one."""
    content = params.load_yaml(root / FILE)
    found = {}
    for group, key in KEYS.items():
        has = content[key]
        gives = {
            choice: str(one.get(key)).replace("${name}", content["name"]) for choice, one in _named(root, group).items()
        }
        found[group] = (has, next((choice for choice, value in gives.items() if value == has), None))
    return found


def _not_default(root: Path) -> dict[str, str]:
    """The groups in which params.yaml is not the default, and how to say what it is: `character=elf`, `name=me`."""
    default = _default(root)
    return {
        group: f"{group}={choice}" if choice else f"{KEYS[group]}={has}"
        for group, (has, choice) in _choices(root).items()
        if choice != default[group]
    }


def _told(choices: Mapping[str, str]) -> str:
    return " ".join(f"-S {choice}" for choice in choices.values())


def _default(root: Path) -> dict[str, str]:
    """The choices of experiments/config.yaml: character: geralt, profile: demo."""
    listed = (params.load_yaml(root / EXPERIMENTS / "config.yaml") or {}).get("defaults", [])
    found = {group: choice for entry in listed if isinstance(entry, dict) for group, choice in entry.items()}
    missing = [group for group in KEYS if group not in found]
    if missing:
        raise UserError(f"{EXPERIMENTS}/config.yaml: need `- {missing[0]}: ...` in its `defaults:`")
    return found


def _named(root: Path, group: str) -> dict[str, Any]:
    """The content of the files of a group, by choice."""
    return {path.stem: params.load_yaml(path) or {} for path in sorted((root / EXPERIMENTS / group).glob("*.yaml"))}


def _text(value: Any) -> str:
    """A value as one writes it after -S."""
    return value if isinstance(value, str) else json.dumps(value)


# ------------------------------------------------------------------------------------- which stages a parameter runs


def stages_of(root: Path) -> Stages:
    """The stages of dvc.yaml, as they stand there."""
    stages: Stages = params.load_yaml(root / PIPELINE)["stages"]
    return stages


def direct(stages: Stages, key: str) -> list[str]:
    """The stages that declare the parameter, or its section, or (collection) a path with it."""
    parts = key.split(".")
    declared = {".".join(parts[: n + 1]) for n in range(len(parts))}
    return [
        name
        for name, stage in stages.items()
        if declared & set(stage.get("params", [])) or any(f"${{{key}}}" in dep for dep in stage["deps"])
    ]


def affected(stages: Stages, key: str) -> list[str]:
    """All stages that another value of the parameter makes run again, in the order of dvc.yaml."""
    return _downstream(stages, direct(stages, key))


def _downstream(stages: Stages, start: Iterable[str]) -> list[str]:
    found = set(start)
    more = found
    while more:
        outs = [Path(out) for name in more for out in stages[name]["outs"]]
        more = {
            name
            for name, stage in stages.items()
            for dep in map(Path, stage["deps"])
            if any(out == dep or out in dep.parents or dep in out.parents for out in outs)
        } - found
        found |= more
    return [name for name in stages if name in found]


def _again(stages: Stages, key: str) -> str:
    """Words for `affected`: `from crop on`, or the one stage."""
    heads = direct(stages, key)
    follow = {name: _downstream(stages, [name]) for name in heads}
    heads = [name for name in heads if not any(name in follow[one] for one in heads if one != name)]
    if not heads:
        return "nothing"
    last = all(follow[name] == [name] for name in heads)
    return " and ".join(heads) if last else f"from {' and '.join(heads)} on"


# --------------------------------------------------------------------------------------------------------- the table

HEAD = """\
# Parameters

Made by `python -m semireal.params table > docs/params.md` from the declarations in `src/semireal/params.py`, the values
in `experiments/` (for the character {character}) and the graph in `dvc.yaml`; a test keeps it up to date.

`again` says which stages another value makes run again:

{order}
"""


def table(root: Path) -> str:
    """All parameters as Markdown: meaning, what they may be, the value in each profile, which stages run again."""
    character, stages = _default(root)["character"], stages_of(root)
    profiles = list(_named(root, "profile"))
    values = {p: flat(compose(root, f"character={character}", f"profile={p}")) for p in profiles}
    order = {name: _downstream(stages, [name]) for name in stages}
    follow = [f"- from {name} on: {', '.join(order[name])}" for name in order if len(order[name]) > 1]
    parts = [HEAD.format(character=character, order="\n".join(follow))]
    columns = ["parameter", "meaning", "may be", *profiles, "again"]
    hints = typing.get_type_hints(Params)
    top = [field for field in dataclasses.fields(Params) if not dataclasses.is_dataclass(hints[field.name])]
    sections = [(field.name, hints[field.name]) for field in dataclasses.fields(Params) if field not in top]
    for title, prefix, kind, fields in [
        ("For all stages", "", Params, top),
        *((name, f"{name}.", kind, dataclasses.fields(kind)) for name, kind in sections),
    ]:
        doc = f" {kind.__doc__}" if prefix else " They stand at the top of params.yaml."
        parts.append(f"\n## {title}\n\n{doc.strip()}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n")
        hints = typing.get_type_hints(kind)
        for field in fields:
            key = prefix + field.name
            shown = [_text(values[profile][key]) for profile in profiles]
            allowed = params.may_be(hints[field.name], field.metadata)
            cells = [f"`{key}`", field.metadata["doc"], allowed, *shown, _again(stages, key)]
            parts.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n")
    return "".join(parts)
