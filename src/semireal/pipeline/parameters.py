"""The page docs/params.md: all parameters, from their declarations and the graph."""

import dataclasses
import typing
from pathlib import Path

from semireal import schema
from semireal.params.whole import Params
from semireal.pipeline import markdown
from semireal.pipeline.compose import choices_of, compose, default, flat, text
from semireal.pipeline.graph import again, downstream, stages_of

HEAD = """\
# Parameters

Made by `semireal parameters > docs/params.md` from the declarations in `src/semireal/params/`, the
values in `experiments/` (for the character {character}) and the graph in `dvc.yaml`; a test keeps it up to date.

`again` says which stages another value makes run again:

{order}
"""


def table(root: Path) -> str:
    """All parameters as Markdown: meaning, what they may be, the value in each profile, which stages run again."""
    character, stages = default(root)["character"], stages_of(root)
    profiles = choices_of(root, "profile")
    values = {p: flat(compose(root, f"character={character}", f"profile={p}")) for p in profiles}
    order = {name: downstream(stages, [name]) for name in stages}
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
        hints, meaning = typing.get_type_hints(kind), schema.docs(kind)
        rows = []
        for field in fields:
            key = prefix + schema.name_of(field)
            shown = [text(values[profile][key]) for profile in profiles]
            allowed = schema.may_be(hints[field.name], field.metadata)
            rows.append([f"`{key}`", meaning[field.name], allowed, *shown, again(stages, key)])
        parts.append(f"\n## {title}\n\n{doc.strip()}\n\n{markdown.table(columns, rows)}")
    return "".join(parts)
