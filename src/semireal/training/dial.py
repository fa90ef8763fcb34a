"""`semireal blend A B OUT`: a generator between two as a file, and a picture of what lies between them."""

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from semireal import images
from semireal.errors import UserError
from semireal.images import Pixels
from semireal.stylegan2 import Generator
from semireal.stylegan2.between import blended
from semireal.stylegan2.convert import check_target
from semireal.training import sample
from semireal.training.blend import Ends, ends_of, save

AMOUNTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # the columns of a sheet
SEEDS = range(8)  # its rows
PSI = 0.7  # where faces are clean and still differ


def run(base: Path, child: Path, target: Path, first: int, amount: float, sheet: Path | None) -> str:
    """Write the blend (see stylegan2.between) of two files of networks to target, and a sheet; gives a line about it.

    target: see `blend.save`. sheet: PNG of `draw_sheet`, or None. Existing files are replaced; nothing is written
    before all is known to fit. UserError where a file or a number is unfit; strangers are only noted.
    """
    outputs = {target: ".safetensors"} | ({sheet: ".png"} if sheet else {})
    for output, suffix in outputs.items():
        check_target(output, suffix)
        if output.resolve() in (base.resolve(), child.resolve()):
            raise UserError(f"{output}: is one of the networks to blend. Name another output")
    ends = ends_of(base, child, first, amount, "--")
    if sheet:
        images.save_png(sheet, draw_sheet(ends, first))
    save(target, ends, first, amount)
    size = ends.a.config.img_resolution
    below = f"{base.name} below {first}x{first}, from there on" if first else f"all of {base.name}"
    return f"{target}: {size}x{size} pixels, {below} {amount:g} of the way to {child.name}"


def draw_sheet(ends: Ends, first: int) -> Pixels:
    """The same seeds (rows) at amounts 0, 0.25, 0.5, 0.75 and 1 (columns); one HWC picture."""
    with torch.device("meta"):  # no random initialisation
        G = Generator(ends.a.config)
    columns = []
    for amount in tqdm(AMOUNTS, desc="sheet", unit="amount", delay=2):
        G.load_state_dict(blended(ends.a.generator, ends.b.generator, first, amount), assign=True)
        columns.append(sample.draw(G.to(sample.device()), SEEDS, PSI))
    by_row = np.stack(columns, axis=1)
    return images.grid(by_row.reshape(-1, *by_row.shape[2:]), len(AMOUNTS))
