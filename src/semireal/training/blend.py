"""`semireal blend A B OUT`: a generator between two as a file, and a picture of what lies between them."""

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from semireal import images, stage
from semireal.errors import UserError
from semireal.files import sha256_of
from semireal.images import Pixels
from semireal.stylegan2 import Generator, Networks, load_networks, save_networks
from semireal.stylegan2.between import are_kin, blended, check
from semireal.stylegan2.convert import check_target
from semireal.training import sample

AMOUNTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # the columns of a sheet
SEEDS = range(8)  # its rows
PSI = 0.7  # where faces are clean and still differ


def run(base: Path, child: Path, target: Path, first: int, amount: float, sheet: Path | None) -> str:
    """Write the blend (see stylegan2.between) of two files of networks to target, and a sheet; gives a line about it.

    target: has the generator alone, and beside it the recipe: SHA-256 of both files, `from` and `amount`. The same
    content and numbers give the same bytes. sheet: PNG of `draw_sheet`, or None. Existing files are replaced; nothing
    is written before all is known to fit. UserError where a file or a number is unfit; strangers are only noted.
    """
    outputs = {target: ".safetensors"} | ({sheet: ".png"} if sheet else {})
    for output, suffix in outputs.items():
        check_target(output, suffix)
        if output.resolve() in (base.resolve(), child.resolve()):
            raise UserError(f"{output}: is one of the networks to blend. Name another output")
    a, b = load_networks(base), load_networks(child)
    check(a.config, b.config, first, amount, f"{base} and {child}")
    if not are_kin(a.generator, b.generator):
        stage.say(
            f"note: {base} and {child} have no common ancestor (their noise maps differ): expect no faces between them"
        )
    recipe = {"base": sha256_of(base), "child": sha256_of(child), "from": first, "amount": float(amount)}
    tensors = blended(a.generator, b.generator, first, amount)
    if sheet:
        images.save_png(sheet, draw_sheet(a, b, first))
    save_networks(target, a.config, tensors, None, {"blend": recipe})
    size = a.config.img_resolution
    way = f"{base.name} below {first}x{first}, from there on {amount:g} of the way to {child.name}"
    return f"{target}: {size}x{size} pixels, {way}"


def draw_sheet(base: Networks, child: Networks, first: int) -> Pixels:
    """The same seeds (rows) at amounts 0, 0.25, 0.5, 0.75 and 1 (columns); one HWC picture."""
    with torch.device("meta"):  # no random initialisation
        G = Generator(base.config)
    columns = []
    for amount in tqdm(AMOUNTS, desc="sheet", unit="amount", delay=2):
        G.load_state_dict(blended(base.generator, child.generator, first, amount), assign=True)
        columns.append(sample.draw(G.to(sample.device()), SEEDS, PSI))
    by_row = np.stack(columns, axis=1)
    return images.grid(by_row.reshape(-1, *by_row.shape[2:]), len(AMOUNTS))
