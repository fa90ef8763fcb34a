"""sample: pictures of a trained generator, for people to look at."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from semireal import devices, images, machine, tensors
from semireal.files import write_json
from semireal.images import Pixels
from semireal.params.sample import Sample
from semireal.stylegan2 import Generator, load_generator

BATCH = 16
COLUMNS = 8


def run(generator: Path, out: Path, params: Sample) -> None:
    """Write `images/seed<n>.png`, `grid.png`, `psi_row.png`, `style_mix.png` and `report.json` to `out`."""
    G = load_generator(generator).to(device())
    pictures = draw(G, range(params.seeds), params.psi)
    (out / "images").mkdir()
    for seed, img in enumerate(pictures):
        images.save_png(out / "images" / f"seed{seed:05d}.png", img)
    images.save_png(out / "grid.png", images.grid(pictures[: COLUMNS * COLUMNS], COLUMNS))
    images.save_png(out / "psi_row.png", psi_row(G, params.psi_steps))
    images.save_png(out / "style_mix.png", style_mix(G, params.mix_rows, params.psi))
    write_json(out / "report.json", {"images": params.seeds, "psi": params.psi})


def device() -> torch.device:
    """Where the networks run on this machine."""
    return torch.device(devices.kind(machine.load()))


def latents(seeds: range, z_dim: int) -> torch.Tensor:
    """Standard normal latents [len(seeds), z_dim]; each depends on its own seed alone."""
    return torch.stack([torch.randn(z_dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def draw(G: Generator, seeds: range, psi: float) -> Pixels:
    """Images of the seeds, truncated by psi (Karras et al. 2019, appendix B), with constant noise; NHWC uint8."""
    return np.concatenate(list(drawn(G, seeds, psi)))


@torch.no_grad()
def drawn(G: Generator, seeds: range, psi: float) -> Iterator[Pixels]:
    """The same in parts, for more images than memory holds."""
    at = next(G.parameters()).device
    batches = [seeds[start : start + BATCH] for start in range(0, len(seeds), BATCH)]
    few = len(batches) < 4
    for batch in tqdm(batches, desc="draw", unit_scale=BATCH, unit="img", mininterval=1, disable=few):
        ws = G.mapping(latents(batch, G.config.z_dim).to(at), psi=psi)
        yield tensors.to_uint8(G.synthesis(ws, noise="const"))


@torch.no_grad()
def psi_row(G: Generator, steps: int, rows: int = 3) -> Pixels:
    """The first seeds, one a row, from psi = 0 (the average face) to psi = 1; one HWC picture."""
    drawn = [draw(G, range(rows), psi) for psi in np.linspace(0, 1, steps).tolist()]
    by_row = np.stack(drawn, axis=1)
    return images.grid(by_row.reshape(-1, *by_row.shape[2:]), steps)


@torch.no_grad()
def style_mix(G: Generator, count: int, psi: float) -> Pixels:
    """Style mixing (Karras et al. 2019, section 3.1): coarse and middle layers from the row, fine ones from the column.

    The first row and column show the sources. HWC picture of count + 1 by count + 1 images.
    """
    at = next(G.parameters()).device
    ws = G.mapping(latents(range(2 * count), G.config.z_dim).to(at), psi=psi)
    rows, columns = ws[:count], ws[count:]
    cutoff = ws.shape[1] // 2
    blank = torch.full((1, 3, G.config.img_resolution, G.config.img_resolution), -1.0, device=at)
    parts = [blank, G.synthesis(columns, noise="const")]
    for row in rows:
        mixed = columns.clone()
        mixed[:, :cutoff] = row[:cutoff]
        parts.append(G.synthesis(torch.cat([row[None], mixed]), noise="const"))
    return images.grid(tensors.to_uint8(torch.cat(parts)), count + 1)
