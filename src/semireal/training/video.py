"""video: one face turns into the next; `semireal video --seeds 1,5,9 --out walk.mp4`.

The ending of the file says what it becomes: .mp4 by PyAV, H.264 where its FFmpeg has x264 and else MPEG-4, or .gif by
Pillow. The same command gives the same bytes on the same machine.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from PIL import Image
from tqdm import tqdm

from semireal import files, stage, tensors
from semireal.errors import UserError
from semireal.images import Pixels
from semireal.schema import param
from semireal.stylegan2 import Generator, load_generator
from semireal.stylegan2.networks import Noise
from semireal.training import interpolate, sample
from semireal.training.recipe import NOISES, SEEDS

FPS = 25  # frames a second: 40 ms, which a GIF, that counts in hundredths, can say
LARGEST = 4096  # px of a side that common players of H.264 show
CODECS = {  # what is asked of each, the best first
    # hardly to be told from the frames; the tree of macroblocks of x264 165 gives small pictures other bytes each time
    "libx264": {"crf": "16", "x264-params": "mbtree=0"},
    "mpeg4": {"flags": "+qscale", "global_quality": "236"},  # twice FFmpeg's unit of 118
}


@dataclass(frozen=True)
class Walk:
    """A way through faces."""

    seeds: tuple[int, ...] = param(low=0, high=SEEDS)
    """of the faces, in order"""
    frames: int = param(low=1, high=10_000)
    """from one face to the next"""
    loop: bool = param()
    """whether it goes on from the last face to the first"""
    space: str = param(choices=("w", "z"))
    """w = on lines between styles; z = on arcs between latents"""
    psi: float = param(low=-2, high=2)
    """truncation: 0 = the average face, 1 = as trained"""
    noise: str = param(choices=NOISES)
    """const = the maps in the file of the generator; none = no noise"""
    scale: int = param(low=1, high=64)
    """how many times as large as the network draws"""

    def __post_init__(self) -> None:
        if len(self.seeds) < 2:
            raise UserError(f"seeds: found {len(self.seeds)}, need at least 2, such as 1,5")

    def __len__(self) -> int:
        return interpolate.length_of(len(self.seeds), self.frames, self.loop)


def run(walk: Walk, network: Path, out: Path) -> None:
    """Write the video `out`; UserError where its ending is of no kind of video, or what writes it is missing."""
    if out.suffix not in WRITERS:
        raise UserError(f"--out: found {out}, need a name that ends in {' or '.join(WRITERS)}")
    if out.suffix == ".mp4":
        check_av()
    G = load_generator(network).to(sample.device())
    most = LARGEST // G.config.img_resolution
    if walk.scale > most:
        raise UserError(f"scale: found {walk.scale}, need at most {most}: {most * G.config.img_resolution} px a side")
    out.parent.mkdir(parents=True, exist_ok=True)
    shown = tqdm(frames(G, walk), desc="draw", total=len(walk), unit="frame", mininterval=1)
    with files.replacing(out) as partial:
        WRITERS[out.suffix](partial, shown)
    stage.say(f"wrote {out}: {len(walk)} frames, {len(walk) / FPS:.3g} s")


@torch.no_grad()
def frames(G: Generator, walk: Walk) -> Iterator[Pixels]:
    """The pictures of a walk, [H, W, 3] each, with one noise for all of them."""
    for ws in styles(G, walk):
        for frame in tensors.to_uint8(G.synthesis(ws, noise=cast(Noise, walk.noise))):
            yield frame.repeat(walk.scale, axis=0).repeat(walk.scale, axis=1)


def styles(G: Generator, walk: Walk) -> Iterator[torch.Tensor]:
    """The styles [N, num_ws, w_dim] of a walk, in batches."""
    at = next(G.parameters()).device
    z = torch.cat([sample.latents(range(seed, seed + 1), G.config.z_dim) for seed in walk.seeds])
    if walk.space == "z":
        way = interpolate.way(z, walk.frames, walk.loop, interpolate.slerp)
        for start in range(0, len(walk), sample.BATCH):
            yield G.mapping(way[start : start + sample.BATCH].to(at), psi=walk.psi)
        return
    w = G.mapping(z.to(at), psi=walk.psi)[:, 0]
    way = interpolate.way(w, walk.frames, walk.loop, interpolate.line)
    for start in range(0, len(walk), sample.BATCH):
        yield way[start : start + sample.BATCH, None].expand(-1, G.mapping.num_ws, -1)


def check_av() -> None:
    """Raise UserError where PyAV is not installed."""
    try:
        import av  # noqa: F401 - here, since few need it
    except ImportError:
        raise UserError(
            "--out: .mp4 needs a package: pip install --require-hashes -r requirements-video.txt; or take .gif"
        ) from None


def write_mp4(path: Path, shown: Iterable[Pixels]) -> None:
    """Frames of one even size, as all of our networks draw, as a video that browsers play."""
    import av

    codec = next(name for name in CODECS if name in av.codecs_available)
    frames = iter(shown)
    first = next(frames)
    height, width = first.shape[:2]
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream(
            codec, rate=FPS, width=width, height=height, pix_fmt="yuv420p", options=CODECS[codec]
        )
        assert isinstance(stream, av.VideoStream)
        stream.thread_count = 1  # x264 decides by how many there are
        for frame in itertools.chain([first], frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_gif(path: Path, shown: Iterable[Pixels]) -> None:
    """Frames as a GIF that is shown again and again, each with 256 colours of its own.

    A frame like the one before makes that one stay longer.
    """
    pictures = (Image.fromarray(frame).quantize() for frame in shown)
    next(pictures).save(path, "GIF", save_all=True, append_images=pictures, duration=1000 // FPS, loop=0)


Writer = Callable[[Path, Iterable[Pixels]], None]
WRITERS: dict[str, Writer] = {".mp4": write_mp4, ".gif": write_gif}
