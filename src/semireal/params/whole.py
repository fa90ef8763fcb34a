"""All of params.yaml, for who checks the whole; a stage takes its own sections (`semireal.params.load`)."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semireal import schema
from semireal.errors import UserError
from semireal.params import FILE
from semireal.params.blend import LOWEST, Blend
from semireal.params.crop import Crop
from semireal.params.dedupe import Dedupe
from semireal.params.evaluate import Evaluate
from semireal.params.filter import Filter
from semireal.params.report import Report
from semireal.params.resize import Resize
from semireal.params.sample import Sample
from semireal.params.train import Train
from semireal.schema import param

DRAWN = "demo/"  # collections that the embedded gallery draws


@dataclass(frozen=True)
class Params:
    """All of params.yaml."""

    name: str = param()
    """the character"""
    profile: str = param()
    """the file of experiments/profile that the values come from"""
    collection: str = param()
    """the raw collection under data/raw"""
    drawn: tuple[str, ...] = param(empty=True)
    """the character whose collection the embedded gallery draws; empty for collections of any other kind"""
    seed: int = param(low=0)
    """seed of everything random"""
    crop: Crop = param()
    """stage crop"""
    resize: Resize = param()
    """stage resize"""
    filter: Filter = param()
    """stage filter"""
    dedupe: Dedupe = param()
    """stage dedupe"""
    train: Train = param()
    """stage train"""
    blend: Blend = param()
    """stage blend"""
    sample: Sample = param()
    """stage sample"""
    evaluate: Evaluate = param()
    """stage evaluate"""
    report: Report = param()
    """stage report"""

    def __post_init__(self) -> None:
        """Check what must go together, and what becomes a path; a section checks itself."""
        if not re.fullmatch(r"[\w-]+", self.name):
            raise UserError(f"name: found {self.name[:80]!r}, need letters, digits, _ and -")
        if not re.fullmatch(r"[\w-]+/[\w-]+", self.collection):
            raise UserError(f"collection: found {self.collection[:80]!r}, need KIND/NAME of letters, digits, _ and -")
        if self.train.resolution > self.resize.size:
            need = f"at most resize.size = {self.resize.size}"
            raise UserError(f"train.resolution: found {self.train.resolution}, need {need}")
        if self.blend.from_ > self.train.resolution:
            need = f"0 or a power of two from {LOWEST} to train.resolution = {self.train.resolution}"
            raise UserError(f"blend.from: found {self.blend.from_}, need {need}")
        need_drawn = (self.collection.removeprefix(DRAWN),) if self.collection.startswith(DRAWN) else ()
        if self.drawn != need_drawn:
            raise UserError(
                f"drawn: found {list(self.drawn)}, need {list(need_drawn)} for the collection {self.collection}"
            )


def load(path: Path = FILE) -> Params:
    """Read and check params.yaml; raises UserError naming key, value and what is allowed."""
    return check(schema.load_yaml(path))


def check(content: Any) -> Params:
    """Check what params.yaml holds, each value and those that must go together."""
    return schema.parse(Params, content, "")
