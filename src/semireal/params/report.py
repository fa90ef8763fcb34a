"""The section `report` of params.yaml."""

from dataclasses import dataclass

from semireal.schema import param


@dataclass(frozen=True)
class Report:
    """The HTML page."""

    training_images: int = param(low=0)
    """training images to show of each domain; 0 for sets that may not be shown"""
