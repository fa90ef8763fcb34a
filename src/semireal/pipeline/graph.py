"""Which stages another value of a parameter makes run again, by dvc.yaml."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from semireal import code, schema
from semireal.errors import UserError
from semireal.watch import PIPELINE

Stages = dict[str, Any]  # of dvc.yaml


def stages_of(root: Path) -> Stages:
    """The stages of dvc.yaml, without `code`: it looks at all parameters, and none of them changes what it leaves."""
    declared = schema.load_mapping(root / PIPELINE).get("stages")
    if not isinstance(declared, dict) or not all(isinstance(stage, dict) for stage in declared.values()):
        raise UserError(f"{root / PIPELINE}: need `stages:` with what each is. Take it from git")
    return {name: stage.get("do", stage) for name, stage in declared.items() if name != code.STAGE}


def outs_of(stage: Stages) -> list[str]:
    """The outputs of a stage; dvc.yaml has those that git keeps with how."""
    return [out if isinstance(out, str) else next(iter(out)) for out in stage["outs"]]


def direct(stages: Stages, key: str) -> list[str]:
    """The stages that declare the parameter, or its section, or (collection) a path with it."""
    parts = key.split(".")
    declared = {".".join(parts[: n + 1]) for n in range(len(parts))}
    return [
        name
        for name, stage in stages.items()
        if declared & {one for one in stage.get("params", []) if isinstance(one, str)}
        or any(f"${{{key}}}" in dep for dep in stage["deps"])
    ]


def affected(stages: Stages, key: str) -> list[str]:
    """All stages that another value of the parameter makes run again, in the order of dvc.yaml."""
    return downstream(stages, direct(stages, key))


def downstream(stages: Stages, start: Iterable[str]) -> list[str]:
    """The stages and all that follow them, in the order of dvc.yaml."""
    found = set(start)
    more = found
    while more:
        outs = [Path(out) for name in more for out in outs_of(stages[name])]
        more = {
            name
            for name, stage in stages.items()
            for dep in map(Path, stage["deps"])
            if any(out == dep or out in dep.parents or dep in out.parents for out in outs)
        } - found
        found |= more
    return [name for name in stages if name in found]


def again(stages: Stages, key: str) -> str:
    """Words for `affected`: `from crop on`, or the one stage."""
    heads = direct(stages, key)
    follow = {name: downstream(stages, [name]) for name in heads}
    heads = [name for name in heads if not any(name in follow[one] for one in heads if one != name)]
    if not heads:
        return "nothing"
    last = all(follow[name] == [name] for name in heads)
    return " and ".join(heads) if last else f"from {' and '.join(heads)} on"
