"""evaluate: how close the generated images are to the dataset.

Offline, features come from a random VGG16 ("R64") and the names say so; `fid`, `kid` and `inception_score` are used
for the 2015 Inception alone.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from semireal import dataset, detect, features, images, metrics, weights
from semireal.errors import UserError
from semireal.images import Pixels
from semireal.params import Params
from semireal.sample import device, draw
from semireal.stylegan2 import load_generator

FACE_SCORE = 0.6  # generated faces are softer than pictures; the score at which YuNet finds all real ones
FACE_SIZE = 320  # px; small samples are enlarged to what the detector was made for
KID_SUBSET = 1000  # torch-fidelity's default, as far as the set is large enough


def run(generator: Path, data: Path, samples: Path, params: Params) -> dict[str, Any]:
    """Compare the generator (psi = 1, seeds from 0, no truncation) with the training mixture; returns metrics.

    Also `face_rate`: the share of the pictures of the sample stage in which a detector finds a face.
    """
    given = params.evaluate
    inception = _inception(given.inception)
    tensor, rows = dataset.load(data, params.train.resolution, params.train.photo_ratio, params.seed)
    real = tensor.permute(0, 2, 3, 1).numpy()
    if len(real) <= given.neighbours:
        raise UserError(
            f"evaluate.neighbours: found {given.neighbours}, need less than the {len(real)} images of {data}"
        )
    fake = draw(load_generator(generator).to(device()), range(given.images), psi=1.0)
    result = {
        "face_rate": face_rate(samples),
        "real_images": len(real),
        "real_photos": sum(row["domain"] == "photo" for row in rows),
        "generated_images": len(fake),
    }
    result |= offline(real, fake, given.neighbours)
    if inception:
        result |= published(real, fake, inception)
    return result


def offline(real: Pixels, fake: Pixels, k: int) -> dict[str, float]:
    """Metrics on R64 features of NHWC uint8 images: `frechet_r64`, `kernel_r64`, `precision_r64`, `recall_r64`."""
    net = features.r64()
    x, y = (features.extract(net, pictures, device()) for pictures in (real, fake))
    precision, recall = metrics.precision_recall(x, y, k)
    return {
        "frechet_r64": metrics.frechet(x, y),
        "kernel_r64": metrics.kernel(x, y),
        "precision_r64": precision,
        "recall_r64": recall,
    }


def published(real: Pixels, fake: Pixels, inception: Path) -> dict[str, float]:
    """`fid`, `kid`, `inception_score` (of the generated images) through torch-fidelity."""
    # not needed, and not everywhere installed, without the weights
    from torch_fidelity import calculate_metrics

    found = calculate_metrics(
        input1=_Set(fake),
        input2=_Set(real),
        fid=True,
        isc=True,
        kid=True,
        kid_subset_size=min(KID_SUBSET, len(real), len(fake)),
        feature_extractor_weights_path=str(inception),
        cuda=torch.cuda.is_available(),
        num_workers=0,  # the images are in memory
        cache=False,
        verbose=False,
    )
    return {
        "fid": found["frechet_inception_distance"],
        "kid": found["kernel_inception_distance_mean"],
        "inception_score": found["inception_score_mean"],
    }


class _Set(torch.utils.data.Dataset[torch.Tensor]):
    """NHWC uint8 images as the CHW uint8 tensors that torch-fidelity reads."""

    def __init__(self, pictures: Pixels) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.pictures[index]).permute(2, 0, 1)


def face_rate(samples: Path) -> float:
    """Share of `samples/images/*.png` in which the default detector finds a face."""
    detector = detect.YuNet(FACE_SCORE, FACE_SIZE)
    found = [bool(detector(images.load_rgb(path))) for path in sorted((samples / "images").glob("*.png"))]
    return float(np.mean(found))


def _inception(given: str | None) -> Path | None:
    if given is None:
        return None
    if given == "download":
        return weights.find(weights.INCEPTION)
    return weights.check(Path(given), weights.INCEPTION, "evaluate.inception")
