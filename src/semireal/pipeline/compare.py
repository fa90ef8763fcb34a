"""Experiments side by side: `semireal compare`, and with names what differs: `semireal compare A B`."""

import sys
from collections.abc import Sequence
from itertools import groupby

from semireal import stage
from semireal.errors import UserError
from semireal.evaluation.names import AT_PSI
from semireal.pipeline import markdown
from semireal.pipeline.commands import dvc
from semireal.report import compared, differences
from semireal.report.experiment import Experiment
from semireal.report.tables import number

# `dvc exp show` alone has a hundred
MEASURES = (
    *("kid", "fid", "inception_score", "precision", "recall", "blend", "kd_dinov2", "fd_dinov2"),
    *(f"distance_{kind}" for kind in ("whole", "layout", "eyes", "colour")),
    *("precision_whole", "recall_whole", "blend_whole", "layout_kept", "copies"),
)
COLUMNS = (
    *("Experiment", "State", "name", "train.epochs", "train.photo_ratio", "blend.from", "blend.amount", "sample.psi"),
    *("yield", "face_rate"),
    *(f"{name}({AT_PSI})?" for name in MEASURES),
)


def run(names: Sequence[str]) -> None:
    """Print the table of all experiments, and who is best; with names, how the others differ from the first."""
    if names:
        _differences([compared.one(name) for name in names])
        return
    dvc("exp", "show", "--md", "--drop", ".*", "--keep", f"^({'|'.join(COLUMNS)})$")
    try:
        found = compared.everything()
    except UserError:  # nothing to tell: the table has said so
        return
    for line in winners(found):
        stage.say(line)


def winners(experiments: Sequence[Experiment]) -> list[str]:
    """For each set of training images with several experiments: who has the least distances, if that can be told."""
    known = [one for one in experiments if differences.images_of(one)]
    lines = []
    for _, group in groupby(sorted(known, key=differences.images_of), differences.images_of):
        several = list(group)
        for found in differences.best(several) if len(several) > 1 else ():
            at = several[found.place]
            who = f"{label(at)} ({number(differences.measured(at)[found.measure].value)})"
            clear = f"least in {who}" if found.clear else f"no winner: {who} is not seen to differ from the others"
            lines.append(f"{several[0].title}: {found.measure}: {clear}")
    return lines


def label(experiment: Experiment) -> str:
    """The name of an experiment for people."""
    return experiment.label or compared.WORKSPACE


def _differences(experiments: Sequence[Experiment]) -> None:
    if len(experiments) < 2:
        raise UserError("compare: name two experiments or more, e.g. semireal compare workspace main")
    first, *others = experiments
    for other in others:
        if not differences.same_images(first, other):
            stage.say(
                f"{label(first)} and {label(other)} had other training images, and each is measured against its own"
            )
        rows = [
            [
                one.measure,
                number(one.first.value),
                number(one.second.value),
                f"{number(one.more.value)} ({number(one.more.low)} to {number(one.more.high)})",
                "" if one.seen else "no difference seen",
            ]
            for one in differences.between(first, other)
        ]
        sys.stdout.write(
            markdown.table(
                ["measure", *(markdown.text(label(one)) for one in (first, other)), "difference (95 %)", ""], rows
            )
        )
