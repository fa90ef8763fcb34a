"""The published metrics, FID, KID, Inception Score, precision and recall, through torch-fidelity.

torch-fidelity is imported only where they are asked for: everything else works without it.
"""

import functools
from pathlib import Path

import numpy as np
import torch

from semireal.images import Pixels
from semireal.metrics.distances import Features
from semireal.params.evaluate import SPLITS
from semireal.tensors import to_nchw
from semireal.vision import weights

ENV = "SEMIREAL_INCEPTION"  # where the weights are, on machines that are offline
EXTRACTOR = "inception-v3-compat"  # torch-fidelity's name of the 2015 network
LAYERS = ("2048", "logits_unbiased")  # features of FID, KID, precision and recall; of the Inception Score
WIDTH = 2048  # of the first
BATCH = 64  # torch-fidelity's own: the same sums in the same order
SUBSETS, SUBSET = 100, 1000  # of KID, its defaults
TABLE = 10_000  # rows and columns of the tables of precision and recall, its default


def find(given: str | None) -> Path | None:
    """The checked weights that evaluate.inception asks for: a path, `download`, or None for none.

    `download` takes the file that $SEMIREAL_INCEPTION names, or the cache, or the network.
    """
    return weights.asked(given, "evaluate.inception", ENV, weights.INCEPTION, "fid, kid and inception_score")


def version() -> str:
    """Version of torch-fidelity."""
    import torch_fidelity

    return str(torch_fidelity.__version__)


@functools.cache
def _network(path: Path, layers: tuple[str, ...]) -> torch.nn.Module:
    from torch_fidelity.utils import create_feature_extractor

    net: torch.nn.Module = create_feature_extractor(
        EXTRACTOR, list(layers), cuda=False, feature_extractor_weights_path=str(path), verbose=False
    )
    return net


@torch.no_grad()
def extract(
    path: Path, pictures: Pixels, device: torch.device, layers: tuple[str, ...] = LAYERS, batch: int = BATCH
) -> Features:
    """Features of NHWC uint8 images: the layers of the network side by side, [N, D] float32."""
    net = _network(path, layers).to(device)
    parts = []
    for start in range(0, len(pictures), batch):
        img = to_nchw(list(pictures[start : start + batch])).to(device)
        parts.append(torch.cat(net(img), dim=1).cpu().numpy())
    return np.concatenate(parts)


def subset_size(real: int, generated: int) -> int:
    """Images in each subset of KID: the published 1000, or half of the smaller set."""
    least = min(real, generated)
    return SUBSET if least >= SUBSET else max(least // 2, 2)


def kid(real: Features, generated: Features) -> tuple[float, float]:
    """KID: mean and standard deviation over SUBSETS random subsets; features as they came from `extract`."""
    from torch_fidelity.metric_kid import kid_features_to_metric

    found = kid_features_to_metric(
        _tensor(generated),
        _tensor(real),
        kid_subsets=SUBSETS,
        kid_subset_size=subset_size(len(real), len(generated)),
        verbose=False,
    )
    return found["kernel_inception_distance_mean"], found["kernel_inception_distance_std"]


def score(logits: Features) -> tuple[float, float]:
    """Inception Score: mean and standard deviation over SPLITS parts; logits: [N, 1008], N at least SPLITS."""
    from torch_fidelity.metric_isc import isc_features_to_metric

    found = isc_features_to_metric(_tensor(logits), splits=SPLITS)
    return found["inception_score_mean"], found["inception_score_std"]


def precision_recall(real: Features, generated: Features, k: int) -> tuple[float, float]:
    """Precision and recall with k neighbours, on the features of FID instead of torch-fidelity's VGG16."""
    from torch_fidelity.metric_prc import prc_features_to_metric

    most = max(len(real), len(generated))
    found = prc_features_to_metric(
        _tensor(generated),
        _tensor(real),
        prc_neighborhood=k,
        save_cpu_ram=most > TABLE,  # otherwise its tables are whole, 10 GB each for 50,000 images
        prc_batch_size=min(TABLE, TABLE**2 // most),
        verbose=False,
    )
    return found["precision"], found["recall"]


def _tensor(features: Features) -> torch.Tensor:
    """A copy, since nobody may write to mapped features, which PyTorch warns of."""
    return torch.from_numpy(np.array(features))
