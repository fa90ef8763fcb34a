"""Does the training learn from real faces, and what does ADA change?

Trains the demo's network from scratch on folders of real pictures, with and without augmentation, and compares the
kernel distance of the snapshots on the 768 features of an Inception (torch-fidelity's layer 768).

    python benchmarks/ada.py prepare WORK --faces DIR        DIR holds the folders photo and portrait
    python benchmarks/ada.py train WORK --ada TARGET|off     twice; may run side by side
    python benchmarks/ada.py measure WORK --weights FILE --out DIR
"""

import argparse
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from semireal.collect import scrape
from semireal.curate import dedupe, resize
from semireal.curate.filter import run as run_filter
from semireal.faces import crop
from semireal.metrics import distances
from semireal.params import whole
from semireal.stylegan2 import Generator, load_generator, save_networks, training
from semireal.training import dataset
from semireal.training.sample import device, draw

RESOLUTION = 64
EVERY = 20  # epochs between snapshots
FAKES = 300
BATCH = 32
ROOT = Path(__file__).resolve().parents[1]
# outside the demo profile faces are cut with this border, in which hair and ears of real people fit
MARGIN, LIFT = 0.45, 0.12


def prepare(work: Path, faces: Path) -> None:
    """Bring the pictures through the stages of the pipeline."""
    given = whole.load(ROOT / "params.yaml")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    sources = {kind: {"folder": str((faces / kind).resolve()), "domain": kind} for kind in ("photo", "portrait")}
    (work / "sources.yaml").write_text(yaml.safe_dump({"sources": sources}))
    folders = [work / name for name in ("raw", "crops", "resized", "filtered", "dataset")]
    for folder in folders:
        folder.mkdir()
    raw, crops, resized, filtered, out = folders
    scrape.run(work / "sources.yaml", raw, work / "downloads")
    crop.run(raw, crops, dataclasses.replace(given.crop, margin=MARGIN, lift=LIFT), given.resize)
    resize.run(crops, resized, given.resize)
    # no least size in bytes: the real pictures are smaller than 512 px, and 64 px are wanted
    run_filter(resized, filtered, dataclasses.replace(given.filter, min_bytes=0))
    dedupe.run(filtered, out, given.dedupe)


def train_one(work: Path, ada: str, epochs: int, ada_kimg: float) -> None:
    """Train with the demo's parameters; goes on where it stopped."""
    given = whole.load(ROOT / "params.yaml")
    train = dataclasses.replace(
        given.train,
        epochs=epochs,
        ada_target=None if ada == "off" else float(ada),
        ada_kimg=ada_kimg,
        snapshot_epochs=EVERY,
    )
    pixels, _ = dataset.load(work / "dataset", RESOLUTION, None, given.seed)
    out = work / f"ada-{ada}"
    (out / "snapshots").mkdir(parents=True, exist_ok=True)

    def keep(row: dict[str, float], G: Generator) -> None:
        if row["epoch"] % EVERY == 0:
            path = out / "snapshots" / f"{row['epoch']:05.0f}.safetensors"
            save_networks(path, G.config, G.state_dict(), None, {})

    state = training.train(pixels, train, given.seed, out, "faces", device(), on_epoch=keep)
    pd.DataFrame(state.history, columns=training.columns(state.history)).to_csv(out / "history.csv", index=False)


def measure(work: Path, weights: Path, out: Path) -> None:
    """Write table and curves to `out`; the grids of the runs stay in `work`, since the pictures may not be shown."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    net = FeatureExtractorInceptionV3("inception", ["768"], feature_extractor_weights_path=str(weights))
    pixels, _ = dataset.load(work / "dataset", RESOLUTION, None, 0)
    real = features(net, pixels)
    half = np.random.default_rng(0).permutation(len(real))
    rows = []
    for run in sorted(work.glob("ada-*")):
        for snapshot in sorted((run / "snapshots").glob("*.safetensors")):
            drawn = torch.from_numpy(draw(load_generator(snapshot), range(FAKES), psi=1.0)).permute(0, 3, 1, 2)
            value = distances.kernel(real, features(net, drawn))
            rows.append({"run": run.name, "kimg": int(snapshot.stem), "kernel_768": value})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows).pivot_table(index="kimg", columns="run", values="kernel_768")
    table.to_csv(out / "ada.csv", float_format="%.5f")
    floor = distances.kernel(real[half[::2]], real[half[1::2]])
    found = {
        "images": len(real),
        "fakes": FAKES,
        "kernel_768_of_two_halves_of_the_real_images": floor,
        "last": table.iloc[-1].to_dict(),
        "least": table.min().to_dict(),
        "at_kimg": table.idxmin().to_dict(),
    }
    (out / "ada.json").write_text(json.dumps(found, indent=2) + "\n")
    plot(table, work, out / "ada-curves.png")
    print(table.to_string())


def features(net: torch.nn.Module, pixels: torch.Tensor) -> distances.Features:
    """768 features [N,768] of uint8 images [N,3,H,W]."""
    found = [net(part)[0].double().numpy() for part in torch.split(pixels, BATCH)]
    return np.concatenate(found)


def plot(table: pd.DataFrame, work: Path, path: Path) -> None:
    """Kernel distance, and the probability of the augmentation, over the images shown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), layout="constrained")
    FigureCanvasAgg(figure)
    distance, other = figure.subplots(2, sharex=True)
    for run in table.columns:
        distance.plot(table.index, table[run], marker="o", markersize=3, label=run)
        history = pd.read_csv(work / run / "history.csv")
        other.plot(history["kimg"], history["logits_real"] - history["logits_fake"], label=f"{run}: logit gap")
        if history["ada_p"].any():
            other.plot(history["kimg"], history["ada_p"] * 10, "--", label=f"{run}: 10 p")
    distance.set(ylabel="kernel distance, 768 features", yscale="log")
    other.set(xlabel="thousand images shown")
    for axes in (distance, other):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prepare", "train", "measure"))
    parser.add_argument("work", type=Path)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--ada", default="off")
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--ada-kimg", type=float, default=100)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    if given.what == "prepare":
        prepare(given.work, given.faces)
    elif given.what == "train":
        train_one(given.work, given.ada, given.epochs, given.ada_kimg)
    else:
        given.out.mkdir(parents=True, exist_ok=True)
        measure(given.work, given.weights, given.out)


if __name__ == "__main__":
    main()
