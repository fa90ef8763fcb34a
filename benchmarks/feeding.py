"""What it takes to feed the GPUs, and to evaluate many images.

    python benchmarks/feeding.py [--images 2000] [--evaluated 10000 50000] [--json benchmarks/results/feeding.json]

Makes a set of JPEGs of SIDE px, and measures on one core: images per second that are decoded; that training takes from
the mapped array, in random batches, as floats, mirrored; and in processes of their own how much memory it takes to load
the set, now and as it was done before: decoded, stacked, turned, hashed. Then the memory of what evaluate does with
synthetic features of so many images. Small: `--images 100 --evaluated 2000`.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch

from semireal import arrays, images, tensors
from semireal.metrics import distances, domains, extractors, intervals
from semireal.stylegan2 import training
from semireal.stylegan2.step import Part, Step
from semireal.training import decoded
from semireal.vision import looks
from semireal.vision.looks import Band

SIDE, BATCH = 512, 32
DIFFERENT = 16  # pictures; the files of a set are links to them
NEED = 8 * 66 / 16  # images/s and core: eight GPUs at 15 s a thousand, 16 cores
RUNS = 5
NARROW = slice(0, 16)  # columns that pairs are taken of: the tables are as large, and quicker to make
K, ROUNDS = 3, 500
SAMPLE_S = 0.005


def make_set(folder: Path, count: int) -> list[str]:
    """JPEGs of about 100 kB, with the detail of photographs: noise of all sizes."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    names = [f"images/{n:06d}.jpg" for n in range(count)]
    for n, name in enumerate(names):
        if n >= DIFFERENT:
            os.link(folder / names[n % DIFFERENT], folder / name)
            continue
        img = np.full((SIDE, SIDE, 3), 128.0)
        for size in (4, 16, 64, 256):
            noise = rng.normal(0, 60 / size**0.5, (size, size, 3))
            img += cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        (folder / name).write_bytes(images.encode_jpeg(np.clip(img, 0, 255).astype(np.uint8), 95))
    return names


def names_of(folder: Path) -> list[str]:
    """The files of the set."""
    return sorted(str(path.relative_to(folder)) for path in folder.glob("images/*"))


def rates(work: Callable[[], int]) -> list[float]:
    """Images per second of one core, of each run."""
    work()
    found = []
    for _ in range(RUNS):
        start = time.process_time()
        count = work()
        found.append(count / (time.process_time() - start))
    return found


def decoding(folder: Path, names: list[str]) -> int:
    """Decode some of the set."""
    for name in names[:BATCH]:
        images.resize(images.load_rgb(folder / name), SIDE)
    return len(names[:BATCH])


def batches(pixels: images.Pixels, count: int = 4) -> int:
    """Take batches as a step of training does."""
    step: Any = SimpleNamespace(
        given=SimpleNamespace(batch=BATCH, mirror=True),
        seed=0,
        state=SimpleNamespace(nimg=0),
        images=decoded.tensor(pixels),
        rng=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
    )
    for _ in range(count):
        Step._draw_reals(step)(Part(torch.arange(BATCH), slice(None)))
        step.state.nimg += BATCH
    return count * BATCH


# --- memory: each of these is a process ----------------------------------------------------------------------------


def load(folder: Path, _: int) -> None:
    """Load the set and hash it, as train does."""
    pixels = decoded.load(folder, names_of(folder), SIDE)
    hashlib.sha256(pixels.data).hexdigest()


def load_before(folder: Path, _: int) -> None:
    """The same as it was done before."""
    shown = [images.resize(images.load_rgb(folder / name), SIDE) for name in names_of(folder)]
    hashlib.sha256(tensors.to_nchw(shown).numpy().tobytes()).hexdigest()


def nothing(_: Path, __: int) -> None:
    """Import all that the others do."""


def both(folder: Path, count: int) -> tuple[distances.Features, distances.Features]:
    """Features of so many real and generated images."""
    found = arrays.load(folder / f"features{count}.npy")
    return found, found[::-1]


def kernel(folder: Path, count: int) -> None:
    """The distance of the layout, which has most columns."""
    layout = extractors.from_the_box(Band(0.3, 0.6, 0.2, 0.8)).spaces[1]
    pairs = layout.kernel(*(intervals.some(x[:, layout.columns]) for x in both(folder, count)))
    intervals.kernel(pairs, np.ones(len(pairs.real), dtype=bool), np.random.default_rng(0))


def frechet(folder: Path, count: int) -> None:
    """The Frechet distance of the whole, of all but a few images as in the jackknife."""
    kept = np.arange(count) % 20 > 0
    distances.frechet(*(x[:, : looks.WHOLE][kept] for x in both(folder, count)))


def blending(folder: Path, count: int) -> None:
    """The place between the domains."""
    real, generated = (x[:, : looks.WHOLE] for x in both(folder, count))
    photo = np.arange(count) % 2 > 0
    domains.blend(real, photo, ~photo, generated, ROUNDS, np.random.default_rng(0))


def neighbourhood(folder: Path, count: int) -> None:
    """Precision to coverage with their intervals; fewer groups, which take as much memory."""
    intervals.GROUPS = 4
    pairs = intervals.tables(*(intervals.some(x[:, NARROW]) for x in both(folder, count)))
    intervals.neighbourhood(pairs, K, np.random.default_rng(0))


def precision_recall(folder: Path, count: int) -> None:
    """Those of the sweep, of all images."""
    real, generated = (x[:, NARROW] for x in both(folder, count))
    distances.precision_recall(real, generated, K)


EVALUATED = (kernel, frechet, blending, neighbourhood, precision_recall)
PROCESSES = {work.__name__: work for work in (load, load_before, nothing, *EVALUATED)}


def peak(work: Callable[[Path, int], None], folder: Path, count: int = 0) -> dict[str, float]:
    """Peaks in MB of a process: `own` memory (RssAnon, sampled) and `all`, with the page cache (VmHWM); its seconds.

    What the page cache holds is there once for all processes, and the kernel takes it back where others need it.
    """
    command = [sys.executable, __file__, "--process", work.__name__, str(folder), str(count)]
    own, most = 0, 0
    start = time.perf_counter()
    with subprocess.Popen(command, env=os.environ | {"DVC_ROOT": str(folder)}, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            if "VmHWM" in status:
                anonymous, high = (int(re.findall(rf"{name}:\s*(\d+)", status)[0]) for name in ("RssAnon", "VmHWM"))
                own, most = max(own, anonymous), max(most, high)
            time.sleep(SAMPLE_S)
        if process.returncode:
            assert process.stderr is not None
            raise SystemExit(process.stderr.read().decode())
    return {"own": own / 1000, "all": most / 1000, "seconds": round(time.perf_counter() - start, 1)}


def make_features(path: Path, count: int) -> None:
    """Float32 features as wide as evaluate's."""
    rng, width = np.random.default_rng(0), looks.WHOLE + looks.LAYOUT + looks.EYES + 6
    sizes = [min(1000, count - start) for start in range(0, count, 1000)]
    arrays.save(path, count, (rng.standard_normal((size, width), np.float32) for size in sizes))


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--evaluated", type=int, nargs="*", default=[10_000, 50_000])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--process", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.process:
        name, folder, count = given.process
        PROCESSES[name](Path(folder), int(count))
        return
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(Path(scratch).resolve(), given.images, given.evaluated)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


def measure(folder: Path, count: int, evaluated: list[int]) -> dict[str, Any]:
    """Everything, printed as it comes."""
    training.prepare(tf32=False)
    names = make_set(folder, count)
    base, memory = peak(nothing, folder), {"now": peak(load, folder), "before": peak(load_before, folder)}
    os.environ["DVC_ROOT"] = str(folder)
    pixels = decoded.load(folder, names, SIDE)
    found: dict[str, Any] = {"images": count, "side": SIDE, "need_per_core": NEED, "imports_mb": base}
    for title, run in (
        ("decoded", lambda: decoding(folder, names)),
        ("in batches", lambda: batches(pixels)),
    ):
        runs = rates(run)
        found[title] = [round(rate, 1) for rate in runs]
        say(f"{title}: {np.median(runs):.0f} images/s and core ({min(runs):.0f} to {max(runs):.0f}), need {NEED:.0f}")
    megabytes = pixels.nbytes / 1e6
    for title, one in memory.items():
        ratio = round((one["own"] - base["own"]) / megabytes, 3)
        found[f"load {title}"] = one | {"own_to_pixels": ratio}
        say(f"load {title}: {ratio} times the {megabytes:.0f} MB of pixels in memory of its own")
    for size in evaluated:
        make_features(folder / f"features{size}.npy", size)
        peaks = {work.__name__: peak(work, folder, size) for work in EVALUATED}
        found[f"evaluate {size}"] = peaks
        for name, one in peaks.items():
            say(f"{size} images: {name}: {one['own']:.0f} MB of its own, {one['all']:.0f} with the page cache")
        (folder / f"features{size}.npy").unlink()
    return found


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
