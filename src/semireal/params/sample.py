"""The section `sample` of params.yaml."""

from dataclasses import dataclass

from semireal.schema import param


@dataclass(frozen=True)
class Sample:
    """The pictures to look at."""

    snapshot: str = param(choices=("last", "best"))
    """generator: the last, or the best, as train.monitor chooses"""
    psi: float = param(low=-2, high=2)
    """truncation: 0 = the average face, 1 = as trained"""
    seeds: int = param(low=1, high=100000)
    """how many single images, from seed 0 on"""
    psi_steps: int = param(low=2, high=64)
    """pictures in the psi row, from 0 to 1"""
    mix_rows: int = param(low=1, high=32)
    """rows and columns of the style-mixing grid"""
