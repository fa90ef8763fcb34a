"""Numbers of the public StyleGAN2 that ours must give: a part of them in tests/data/reference, whose README says more.

`python tests/reference.py FOLDER` makes that part from the full set in FOLDER.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

SUBSET = Path(__file__).parent / "data" / "reference"
NETWORKS, OPS = "stylegan2_small.npz", "ops_ada.npz"
SEED = 1234  # of the networks
DRAWN = ("const", "affine.weight", "weight", "noise_const")  # what a layer draws, in this order
LAYER = re.compile(rf"(.+?)\.({'|'.join(map(re.escape, DRAWN))})")
IMAGES = {"img_psi1": 2, "img_mixed": 2, "img_nonoise_psi1": 1, "img_psi0.7": 1, "img_psi0.5": 1}  # of 8
ADA = (
    *("xflip_p0.5", "rotate90_p0.5", "xint_p0.9", "scale_p0.9", "aniso_p0.1", "xfrac_p0.9"),
    *("bg_p0.9", "color_p0.1", "bgc_p0.1", "bgc_p0.9", "gray_bgc_p0.9"),
)
Case = dict[str, NDArray[Any]]


def load(folder: Path, name: str) -> Case:
    """All arrays of a file; those of the networks that the subset does not store are drawn again."""
    with np.load(folder / name, allow_pickle=False) as file:
        case = dict(file)
    return case | dict(_drawn(case))


def _drawn(case: Case) -> Iterator[tuple[str, NDArray[Any]]]:
    rng = torch.Generator().manual_seed(SEED)
    for line in case.get("names/drawn", ()):
        name, *shape = str(line).split()
        gain = 0.01 if name.startswith("G/mapping.") else 1  # weights are stored divided by their learning rate
        yield name, (torch.randn([int(side) for side in shape], generator=rng) / gain).numpy()


def subset_of_networks(full: Case) -> Case:
    """All in float32 but for what is drawn again, and of most images the first alone."""
    drawn = [name for name in full if name[:2] in ("G/", "D/") and LAYER.fullmatch(name)]
    layers = [_layer(name)[0] for name in drawn]  # in the order in which they are made
    drawn.sort(key=lambda name: (layers.index(_layer(name)[0]), DRAWN.index(_layer(name)[1])))
    lines = [" ".join([name, *map(str, full[name].shape)]) for name in drawn]
    chosen = {name: value for name, value in _single(full).items() if name not in drawn}
    for name, count in IMAGES.items():
        chosen[f"f32/{name}"] = chosen[f"f32/{name}"][:count]
    return chosen | {"names/drawn": np.array(lines)}


def _layer(name: str) -> tuple[str, str]:
    found = LAYER.fullmatch(name)
    assert found, name
    return found[1], found[2]


def subset_of_ops(full: Case) -> Case:
    """The single operations in float32, and the first image of some outputs of the augmentation."""
    chosen = {name: value for name, value in _single(full).items() if "/ada/" not in name}
    ada = {f"f32/ada/{name}": full[f"f32/ada/{name}"][:1] for name in ADA}
    inputs = {"in/ada/images": full["in/ada/images"][:1], "in/ada/Hz_geom": full["in/ada/Hz_geom"]}
    return chosen | inputs | ada


def _single(full: Case) -> Case:
    """What belongs to float32, all of it as float32."""
    kept = {name: value for name, value in full.items() if "f64/" not in name}
    return {name: value.astype(np.float32) if value.dtype == np.float64 else value for name, value in kept.items()}


def write_subset(full: Path, folder: Path) -> None:
    """Make the subset; the same bytes each time."""
    np.savez(folder / NETWORKS, **subset_of_networks(load(full, NETWORKS)))  # type: ignore[arg-type]
    np.savez(folder / OPS, **subset_of_ops(load(full, OPS)))  # type: ignore[arg-type]


if __name__ == "__main__":
    write_subset(Path(sys.argv[1]), SUBSET)
