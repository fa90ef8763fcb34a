"""Who is shown how often: images of the training set in groups, by artist or by what they look like.

A generator leans towards whatever is pictured most. With train.balance, groups fill equal parts of every pass over the
data, as far as no image is shown more than MOST times as often as without: an artist of a single picture must not be
learned by heart. Photos and portraits are kept apart, so that their ratio stays what train.photo_ratio makes it.
"""

import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from semireal import text
from semireal.manifest import Row
from semireal.metrics import extractors, usual
from semireal.metrics.distances import Features
from semireal.stylegan2 import parallel
from semireal.stylegan2.order import Groups
from semireal.vision.looks import Band

MOST = 4  # an image shown so many times as often is like one of a set of a quarter of the size
CLUSTERS = 64  # of looks in a domain, at most
STARTS = 10  # of k-means, of which the best result counts


def groups(rows: Sequence[Row], images: torch.Tensor, how: str, band: Band | None, device: torch.device) -> Groups:
    """The groups of train.balance; all processes call this.

    rows and images, uint8 [N, 3, H, W]: in one order. band: as the evaluation takes it, whose features serve here.
    """
    if how == "artist":
        return share(artists(rows))
    found: list[str] = []
    with parallel.agreed():
        if parallel.rank() == 0:
            found = _clusters(rows, images, band, device)
    return share(parallel.tell(found))


def artists(rows: Sequence[Row]) -> list[str]:
    """A name of the group of each image: its domain and artist.

    An image whose artist is not known is a group of its own: such images are most likely by many, and all of them as
    one artist would be as rare as one.
    """
    named = [(row, text.folded(str(row.get("artist") or ""))) for row in rows]
    return [f"{row['domain']} by {name}" if name else f"{row['domain']} {row['id']}" for row, name in named]


def clusters(features: Features) -> list[int]:
    """The group of each of [N, D] by looks: k-means (Lloyd 1982, from the starts of Arthur and Vassilvitskii 2007).

    There are sqrt(N / 2) groups, a rule of thumb (Mardia et al. 1979, p. 365): 10 of 200 images, 25 of 1212.
    """
    count = min(max(round(math.sqrt(len(features) / 2)), 1), CLUSTERS)
    model = KMeans(count, n_init=STARTS, random_state=0)
    # one thread: several add up in the order in which they are done, which no seed decides
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different images than groups
        found: list[int] = model.fit(features).labels_.tolist()
    return found


def share(names: Sequence[str]) -> Groups:
    """Groups of images by the name of each, which begins with its domain: equal parts of the passes of each domain."""
    members: dict[str, list[int]] = {name: [] for name in sorted(set(names))}
    for number, name in enumerate(names):
        members[name].append(number)
    shown: dict[str, int] = {}
    for domain in sorted({name.partition(" ")[0] for name in members}):
        own = [name for name in members if name.partition(" ")[0] == domain]
        shown |= dict(zip(own, evenly([len(members[name]) for name in own]), strict=True))
    return Groups([np.array(one) for one in members.values()], [shown[name] for name in members])


def evenly(sizes: Sequence[int]) -> list[int]:
    """How many images of each group a pass shows: as even as MOST lets them be, at least one; sum(sizes) together."""
    found, left = [0] * len(sizes), sum(sizes)
    for place, group in enumerate(sorted(range(len(sizes)), key=lambda one: sizes[one])):
        found[group] = min(MOST * sizes[group], left // (len(sizes) - place))
        left -= found[group]
    return found


def told(found: Groups, how: str) -> str:
    """What a person should know of it, as one line."""
    sizes = [len(members) for members in found.members]
    largest, times = int(np.argmax(sizes)), found.times()
    before, now = (part / sum(sizes) for part in (sizes[largest], found.shown[largest]))
    return (
        f"train.balance: {len(sizes)} groups by {how}; the largest has {before:.0%} of the images and {now:.0%} of the "
        f"showings; images are shown {times.min():.2g} to {times.max():.2g} times as often as without"
    )


def _clusters(rows: Sequence[Row], images: torch.Tensor, band: Band | None, device: torch.device) -> list[str]:
    extractor = extractors.from_the_box(band)
    found = extractors.cached(extractor, images.permute(0, 2, 3, 1).numpy(), device)
    whole = usual.load()["whole"](found[:, extractor.spaces[0].columns])
    domains = [str(row["domain"]) for row in rows]
    names = [""] * len(rows)
    for domain in sorted(set(domains)):
        own = [number for number, one in enumerate(domains) if one == domain]
        for number, label in zip(own, clusters(whole[own]), strict=True):
            names[number] = f"{domain} {label}"
    return names
