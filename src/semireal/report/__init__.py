"""The report: one HTML file that shows experiments side by side, from the raw images to the metrics.

It needs nothing but itself: pictures, curves and styles are inside, so that it can be mailed and read on a phone.
"""

from collections.abc import Sequence
from pathlib import Path

import jinja2

from semireal.files import write_atomic
from semireal.published import REPORT
from semireal.report import charts, differences, pictures, tables
from semireal.report.experiment import Experiment

PAGE = Path(__file__).with_name("page.html")


def write(path: Path, experiments: Sequence[Experiment]) -> None:
    """Write the page about some experiments, in their order; nothing in it depends on the time or the machine."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = tables.number
    text = environment.get_template(PAGE.name).render(
        experiments=experiments,
        title=", ".join(dict.fromkeys(one.title for one in experiments)),
        headline=tables.headline,
        measures=tables.measures(experiments),
        columns=tables.columns(experiments),
        differences=differences.between,
        same_images=differences.same_images,
        pairs=tables.pairs,
        published={name: one for name, one in REPORT.items() if name in {each.name for each in experiments}},
        comparable=tables.comparable,
        funnel=tables.funnel,
        variety=tables.variety,
        curves=charts.curves,
        sweep=charts.sweep,
        picture=pictures.embedded,
        training=pictures.training,
    )
    write_atomic(path, text.encode(errors="replace"))
