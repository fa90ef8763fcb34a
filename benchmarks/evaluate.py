"""The published metrics of stage evaluate against calling torch-fidelity once per measure, on folders of PNG.

    python benchmarks/evaluate.py --real 24 --fake 32 [--weights PATH] [--size 64]

Both make the same table: FID, KID, Inception Score, precision and recall against all real images, FID and KID against
each half of them (as against photos and portraits). Without --weights the network is random, of the right shape. Prints
the times, their ratio, and the largest difference of a value; then the time of the whole of `measures.at_psi`, with
intervals, diversity and blend.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from semireal import images
from semireal.evaluation import measures
from semireal.images import Pixels
from semireal.metrics import distances, inception
from semireal.metrics.extractors import published
from semireal.training.sample import device

K = 3  # neighbours
Values = dict[str, float]


class Untrained(FeatureExtractorInceptionV3):  # type: ignore[misc]
    """torch-fidelity's Inception as it is before its weights are loaded."""

    def load_state_dict(self, state: object) -> None:
        """Keep the random weights."""


def random_weights(path: Path) -> Path:
    """Weights of the right shape."""
    torch.save({}, path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Untrained("net", ["2048"], feature_extractor_weights_path=str(path))
    torch.save(net.state_dict(), path)
    return path


def pictures(count: int, size: int, seed: int) -> Pixels:
    """Random pictures with structure, NHWC uint8."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 7, 7, 3), dtype=np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(img).resize((size, size))) // (1 + n % 3) for n, img in enumerate(small)]
    )


def one_by_one(real: Pixels, fake: Pixels, weights: Path, folder: Path) -> Values:
    """Write both sets as PNG, then call torch-fidelity for each measure."""
    half = len(real) // 2
    for name, shown in (("fake", fake), ("all", real), ("photo", real[:half]), ("portrait", real[half:])):
        (folder / name).mkdir()
        for n, img in enumerate(shown):
            images.save_png(folder / name / f"{n:05}.png", img)
    found: Values = {}
    tables = {"all": ("fid", "kid", "isc", "prc"), "photo": ("fid", "kid"), "portrait": ("fid", "kid")}
    for against, wanted in tables.items():
        count = len(real) if against == "all" else half
        for name in wanted:
            values = calculate_metrics(
                input1=str(folder / "fake"),
                input2=None if name == "isc" else str(folder / against),
                **{name: True},
                feature_extractor=inception.EXTRACTOR,
                feature_extractor_weights_path=str(weights),
                kid_subset_size=inception.subset_size(count, len(fake)),
                prc_neighborhood=K,
                cuda=torch.cuda.is_available(),
                verbose=False,
            )
            found |= {f"{against} {key}": value for key, value in values.items()}
    return found


def at_once(real: Pixels, fake: Pixels, weights: Path) -> tuple[Values, measures.FeatureSets]:
    """The same values from features that are computed once."""
    extractor = published(weights)
    x, y = (extractor.compute(shown, device()) for shown in (real, fake))
    space, classes = extractor.spaces[0], extractor.logits
    assert classes is not None
    logits, real_logits, x, y = y[:, classes], x[:, classes], x[:, space.columns], y[:, space.columns]
    half = len(real) // 2
    found: Values = {}
    for against, part in (("all", x), ("photo", x[:half]), ("portrait", x[half:])):
        mean, spread = inception.kid(part, y)
        found |= {
            f"{against} frechet_inception_distance": distances.frechet(part.astype(np.float64), y.astype(np.float64)),
            f"{against} kernel_inception_distance_mean": mean,
            f"{against} kernel_inception_distance_std": spread,
        }
    mean, spread = inception.score(logits)
    precision, recall = inception.precision_recall(x, y, K)
    found |= {"all inception_score_mean": mean, "all inception_score_std": spread}
    found |= {"all precision": precision, "all recall": recall}
    domain, trained = ["photo"] * half + ["portrait"] * (len(real) - half), np.ones(len(real), dtype=bool)
    return found, measures.FeatureSets(space, x, {1.0: y}, domain, trained, {1.0: logits}, real_logits)


def main() -> None:
    """Parse the command line and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=int, default=24)
    parser.add_argument("--fake", type=int, default=32)
    parser.add_argument("--size", type=int, default=64, help="px")
    parser.add_argument("--weights", type=Path)
    given = parser.parse_args()
    real, fake = pictures(given.real, given.size, 0), pictures(given.fake, given.size, 1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        weights = given.weights or random_weights(folder / "weights.pth")
        start = time.perf_counter()
        once, sets = at_once(real, fake, weights)
        middle = time.perf_counter()
        own = one_by_one(real, fake, weights, folder)
        end = time.perf_counter()
        measures.at_psi(sets, 1.0, measures.Settings(K, 500, 0))
        whole = time.perf_counter() - end + middle - start
    worst = max(abs(once[name] - own[name]) / max(abs(own[name]), 1e-9) for name in own if not name.endswith("f_score"))
    sys.stdout.write(f"{given.real} real and {given.fake} generated images of {given.size} px, {device()}\n")
    sys.stdout.write(f"at once {middle - start:.1f} s, one by one {end - middle:.1f} s: ")
    sys.stdout.write(f"{(end - middle) / (middle - start):.1f} times faster\n")
    sys.stdout.write(f"with intervals, diversity and blend {whole:.1f} s: {(end - middle) / whole:.1f} times faster\n")
    sys.stdout.write(f"largest relative difference of {len(once)} values: {worst:.1e}\n")


if __name__ == "__main__":
    main()
