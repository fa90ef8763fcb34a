"""The rows of measures.csv: each metric of a generator with its interval and the protocol it was taken by.

`real` are images of the dataset, `generated` those that the generator drew.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from semireal.metrics import copies, distances, inception, intervals
from semireal.metrics.copies import Nearest
from semireal.metrics.distances import Features
from semireal.metrics.extractors import Extractor
from semireal.metrics.intervals import MAX_IMAGES, Interval, Mask, Pairs
from semireal.vision import hashes

DOMAINS = ("photo", "portrait")
FEW = 5000  # images; below this KID comes first
FID_LEAST = 2048  # images; with fewer the covariance of the 2048 features of FID has not even full rank
LEAST_DOMAIN = 10  # images of a domain that distances to it need
LEAST_HELD_OUT = 3  # training images that the memorisation check needs
COARSE = 20  # with fewer training images 5 % of them is no image
SPREAD_ROUNDS = 50  # resamples where only a standard deviation is wanted, and each one is expensive
SIZES, REPEATS = 5, 10  # of the Frechet distance against the number of images
AXES = 16  # of the blend position; with them held-out photos, portraits and mixtures come out right
HALVES = 10  # random splits of the training images


@dataclass(frozen=True)
class Result:
    """The value of one metric and how it came about: the columns of measures.csv.

    measure: name of the metric. low, high: 95 % interval made by `interval`; spread: standard deviation over `settings`
    (subsets, splits). against: dataset (the training mixture), photo or portrait (all images of the domain), training
    images (nearest of them), real halves (no generated images at all), or empty.
    """

    measure: str
    value: float
    features: str
    against: str
    psi: float | None = None
    real_images: int | None = None
    generated_images: int | None = None
    low: float | None = None
    high: float | None = None
    interval: str = ""
    spread: float | None = None
    settings: str = ""
    warning: str = ""


@dataclass(frozen=True)
class FeatureSets:
    """The features that one extractor gives of the real and the generated images.

    real [N, D]: all of the dataset; mirrored [T, D]: the training images, mirrored; generated: psi -> [M, D] of the
    seeds from 0 on, logits likewise (empty without). domain [N]; trained [N]: which of the N are in the training
    mixture, T of them.
    """

    extractor: Extractor
    real: Features
    mirrored: Features
    generated: dict[float, Features]
    logits: dict[float, Features]
    domain: Sequence[str]
    trained: Mask

    @property
    def training(self) -> Features:
        """The training mixture, [T, D]."""
        return self.real[self.trained]

    def members(self, against: str) -> Mask:
        """Which of the N real images are in the set of that name."""
        return self.trained if against == "dataset" else np.array([name == against for name in self.domain])


@dataclass(frozen=True)
class Settings:
    """What the caller decides. neighbours: k; rounds: of the bootstrap; seed: of everything random."""

    neighbours: int
    rounds: int
    seed: int

    def rng(self) -> np.random.Generator:
        """A fresh generator, so that no metric depends on those before it."""
        return np.random.default_rng(self.seed)


# --- distances, quality and variety --------------------------------------------------------------------------------


def at_psi(sets: FeatureSets, psi: float, settings: Settings) -> list[Result]:
    """All metrics of the images of one psi: against the training mixture, and against each domain."""
    pairs = _pairs(sets, psi)
    found = _distances(sets, psi, "dataset", pairs, settings) + _neighbourhood(sets, psi, settings)
    found.append(_diversity(sets, psi, settings))
    for domain in DOMAINS:
        if sets.members(domain).sum() >= LEAST_DOMAIN:
            found += _distances(sets, psi, domain, pairs, settings)
    found += _blend(sets, psi, settings)
    if psi in sets.logits:
        found.append(_score(sets, psi, settings))
    return found


def kernel(extractor: Extractor, real: Features, generated: Features) -> tuple[float, float | None, str]:
    """Kernel distance, its spread over subsets, and how it was computed: KID as published, or of all pairs."""
    if extractor.suffix:
        x, y = (features[:MAX_IMAGES].astype(np.float64) for features in (real, generated))
        return distances.kernel(x, y), None, "all pairs"
    mean, spread = inception.kid(real, generated)
    size = inception.subset_size(len(real), len(generated))
    return mean, spread, f"mean of {inception.SUBSETS} subsets of {size}"


def precision_recall(extractor: Extractor, real: Features, generated: Features, k: int) -> tuple[float, float]:
    """Precision and recall: torch-fidelity's on the published features."""
    if extractor.suffix:
        return distances.precision_recall(real, generated, k)
    return inception.precision_recall(real, generated, k)


def _distances(sets: FeatureSets, psi: float, against: str, pairs: Pairs, settings: Settings) -> list[Result]:
    e, rng = sets.extractor, settings.rng()
    members = sets.members(against)
    real, generated = sets.real[members], sets.generated[psi]
    value, spread, how = kernel(e, real, generated)
    kernels = pairs.kernel(
        intervals.weights(members[: len(pairs.real)], settings.rounds, rng), _weights_of_generated(pairs, settings, rng)
    )
    x, y = real.astype(np.float64), generated.astype(np.float64)
    frechet = distances.frechet(x, y)
    others = intervals.resampled(distances.frechet, x, y, SPREAD_ROUNDS, rng)
    about: dict[str, Any] = {
        "features": e.title,
        "against": against,
        "psi": psi,
        "real_images": len(real),
        "generated_images": len(generated),
    }
    least = min(len(real), len(generated))
    biased = f"biased upwards: {least} images, fewer than {FID_LEAST}; read {e.name('kernel')}"
    found = [
        Result(
            e.name("kernel"),
            value,
            **about,
            **_interval(intervals.percentiles(kernels[1:]), _bootstrap(settings)),
            spread=spread,
            settings=how,
        ),
        Result(
            e.name("frechet"),
            frechet,
            **about,
            **_interval(
                intervals.normal(frechet, others),
                f"1.96 standard deviations, bootstrap of seeds and images, {SPREAD_ROUNDS} rounds; without the bias",
            ),
            warning=biased if not e.suffix and least < FID_LEAST else "",
        ),
    ]
    return found if least < FEW else found[::-1]


def _neighbourhood(sets: FeatureSets, psi: float, settings: Settings) -> list[Result]:
    """Precision, recall, density and coverage against the training mixture."""
    e, k, rng = sets.extractor, settings.neighbours, settings.rng()
    real, generated = sets.training, sets.generated[psi]
    about: dict[str, Any] = {
        "features": e.title,
        "against": "dataset",
        "psi": psi,
        "real_images": len(real),
        "generated_images": len(generated),
        "settings": f"{k} neighbours",
    }
    precision, recall = precision_recall(e, real, generated, k)
    densities, coverage = distances.density_coverage(real.astype(np.float64), generated.astype(np.float64), k)
    resampled = [densities[rng.integers(0, len(generated), len(generated))].mean() for _ in range(settings.rounds)]
    bootstrap = _interval(
        intervals.percentiles(np.array(resampled)), f"bootstrap of seeds, {settings.rounds} rounds, images fixed"
    )
    return [
        Result(e.name("precision"), precision, **about, **_share(precision, len(generated), "seeds, images fixed")),
        Result(e.name("recall"), recall, **about, **_share(recall, len(real), "images, seeds fixed")),
        Result(e.name("density"), float(densities.mean()), **about, **bootstrap),
        Result(e.name("coverage"), coverage, **about, **_share(coverage, len(real), "images, seeds fixed")),
    ]


def _diversity(sets: FeatureSets, psi: float, settings: Settings) -> Result:
    rng = settings.rng()
    real, generated = sets.training[:MAX_IMAGES].astype(np.float64), sets.generated[psi][:MAX_IMAGES].astype(np.float64)
    pairs = Pairs.of(distances.distances, real, generated)
    images = intervals.weights(np.ones(len(real), dtype=bool), settings.rounds, rng)
    varied = pairs.among_generated(_weights_of_generated(pairs, settings, rng))
    relative = varied / np.maximum(pairs.among_real(images), 1e-12)
    return Result(
        sets.extractor.name("diversity"),
        float(relative[0]),
        features=sets.extractor.title,
        against="dataset",
        psi=psi,
        real_images=len(sets.training),
        generated_images=len(sets.generated[psi]),
        **_interval(intervals.percentiles(relative[1:]), _bootstrap(settings)),
        settings="mean pairwise distance, relative to that of the training images",
    )


def _blend(sets: FeatureSets, psi: float, settings: Settings) -> list[Result]:
    """The blend position; none where a domain has too few images, or the domains cannot be told apart.

    Measured along the main axes of the features of the real images, each scaled to variance 1: in the raw features
    brightness and the like drown what tells a photo from a painting. More axes than images / 8 are noise.
    """
    photo, portrait = (sets.members(domain) for domain in DOMAINS)
    if min(photo.sum(), portrait.sum()) < LEAST_DOMAIN:
        return []
    rng = settings.rng()
    real, generated = whitened(sets.real[:MAX_IMAGES], sets.generated[psi][:MAX_IMAGES])
    pairs = Pairs.of(lambda a, b: a @ b.T, real, generated)
    photos, portraits = (
        intervals.weights(domain[: len(pairs.real)], settings.rounds, rng) for domain in (photo, portrait)
    )
    if intervals.percentiles(pairs.apart(photos, portraits)[1:])[0] <= 0:
        return []
    at = pairs.blend(photos, portraits, _weights_of_generated(pairs, settings, rng))
    raw = float(at[0])
    return [
        Result(
            sets.extractor.name("blend"),
            _unit(raw),
            features=sets.extractor.title,
            against="photo and portrait",
            psi=psi,
            real_images=int(photo.sum() + portrait.sum()),
            generated_images=len(sets.generated[psi]),
            **_interval(intervals.percentiles(np.clip(at[1:], 0, 1)), _bootstrap(settings)),
            settings="0: as the portraits, 1: as the photos",
            warning="" if raw == _unit(raw) else f"{raw:.2f} at psi = {psi:g}, cut to 0..1: not between the domains",
        )
    ]


def whitened(real: Features, generated: Features) -> tuple[Features, Features]:
    """Both along the main axes of the real features, in units in which the real ones have variance 1."""
    mean = real.mean(axis=0, dtype=np.float64)
    centred = real - mean
    axes = max(1, min(AXES, len(real) // 8))
    _, spread, turn = np.linalg.svd(centred, full_matrices=False)
    scaled = turn[:axes].T / np.maximum(spread[:axes, None].T / np.sqrt(len(real)), 1e-12)
    return centred @ scaled, (generated - mean) @ scaled


def _score(sets: FeatureSets, psi: float, settings: Settings) -> Result:
    logits, rng = sets.logits[psi], settings.rng()
    mean, spread = inception.score(logits)
    others = [inception.score(logits[rng.integers(0, len(logits), len(logits))])[0] for _ in range(SPREAD_ROUNDS)]
    return Result(
        "inception_score",
        mean,
        features="Inception-v3 of 2015, class logits",
        against="",
        psi=psi,
        generated_images=len(logits),
        **_interval(
            intervals.normal(mean, np.array(others)),
            f"1.96 standard deviations, bootstrap of seeds, {SPREAD_ROUNDS} rounds; without the bias",
        ),
        spread=spread,
        settings=f"mean of {inception.SPLITS} splits",
        warning=f"biased downwards: {len(logits)} images in {inception.SPLITS} splits" if len(logits) < FEW else "",
    )


# --- how much of a distance is the number of images ----------------------------------------------------------------


def real_halves(sets: FeatureSets, settings: Settings) -> list[Result]:
    """Distances between two random halves of the training images: what a perfect generator of that many would get."""
    e, rng = sets.extractor, settings.rng()
    real = sets.training.astype(np.float64)
    half = len(real) // 2
    if half < 2:
        return []
    splits = [rng.permutation(len(real)) for _ in range(HALVES)]
    halves = [(real[order[:half]], real[order[half : 2 * half]]) for order in splits]
    kernels = [distances.kernel(x[:MAX_IMAGES], y[:MAX_IMAGES]) for x, y in halves]
    frechets = [distances.frechet(x, y) for x, y in halves]
    return [
        Result(
            e.name(kind),
            float(np.mean(values)),
            features=e.title,
            against="real halves",
            real_images=half,
            spread=float(np.std(values)),
            settings=f"mean of {HALVES} random splits",
        )
        for kind, values in (("kernel", kernels), ("frechet", frechets))
    ]


def by_size(sets: FeatureSets, settings: Settings) -> tuple[list[dict[str, float]], Result]:
    """Frechet distance of subsets of the generated images at psi = 1, and what it extrapolates to.

    Rows: images, value, spread over REPEATS random orders. The bias is about linear in 1 / images, so a line gives
    the value for endlessly many (Chong and Forsyth 2020). The real images stay as they are.
    """
    e, rng = sets.extractor, settings.rng()
    real, generated = sets.training.astype(np.float64), sets.generated[1.0].astype(np.float64)
    inverse = np.linspace(4 / len(generated), 1 / len(generated), SIZES)
    sizes = sorted({max(2, round(1 / x)) for x in inverse})
    orders = [rng.permutation(len(generated)) for _ in range(REPEATS)]
    whole = distances.frechet(real, generated)
    values = np.array(
        [
            [whole if n == len(generated) else distances.frechet(real, generated[order[:n]]) for n in sizes]
            for order in orders
        ]
    )
    limits = [np.polyfit(1 / np.array(sizes), row, 1)[1] if len(sizes) > 1 else whole for row in values]
    rows = [
        {"images": n, "value": float(column.mean()), "spread": float(column.std())}
        for n, column in zip(sizes, values.T, strict=True)
    ]
    return rows, Result(
        f"{e.name('frechet')}_extrapolated",
        float(np.mean(limits)),
        features=e.title,
        against="dataset",
        psi=1.0,
        real_images=len(real),
        generated_images=len(generated),
        spread=float(np.std(limits)),
        settings=f"line through {len(sizes)} sizes from {sizes[0]} to {sizes[-1]} images, {REPEATS} orders",
    )


# --- psi and memory ------------------------------------------------------------------------------------------------


def sweep(sets: FeatureSets, psis: Sequence[float], images: int, k: int) -> Iterator[dict[str, float]]:
    """Quality against variety: for each psi the metrics of the first `images` seeds, by name."""
    e, real = sets.extractor, sets.training
    own = distances.mean_distance(real[:MAX_IMAGES].astype(np.float64))
    for psi in psis:
        generated = sets.generated[psi][:images]
        precision, recall = precision_recall(e, real, generated, k)
        x, y = real.astype(np.float64), generated.astype(np.float64)
        values = {
            "kernel": kernel(e, real, generated)[0],
            "frechet": distances.frechet(x, y),
            "precision": precision,
            "recall": recall,
            "diversity": distances.mean_distance(y[:MAX_IMAGES]) / max(own, 1e-12),
        }
        yield {e.name(kind): value for kind, value in values.items()}


def copying(e: Extractor, psi: float, generated: Nearest, held_out: Nearest) -> list[Result]:
    """How near the generated images are to the training images, and how near these are to each other."""
    limit = copies.limit(held_out)
    share, usual = float((generated.ratio < limit).mean()), float((held_out.ratio < limit).mean())
    n, m = len(held_out.ratio), len(generated.ratio)
    about: dict[str, Any] = {"features": e.title, "real_images": n}
    how = f"nearest training image nearer, relative to the next {copies.NEXT}, than for 95 % of the held-out images"
    coarse = f"only {n} training images to tell what is near" if n < COARSE else ""
    relative = float(np.median(generated.distance) / max(float(np.median(held_out.distance)), 1e-12))
    return [
        Result(
            e.name("near_copies"),
            share,
            against="training images",
            psi=psi,
            generated_images=m,
            settings=how,
            warning=coarse,
            **about,
            **_share(share, m, "seeds"),
        ),
        Result(
            e.name("near_copies"),
            usual,
            against="held-out training images",
            settings=how,
            warning=coarse,
            **about,
            **_share(usual, n, "images"),
        ),
        Result(
            e.name("nearest_distance"),
            relative,
            against="training images",
            psi=psi,
            generated_images=m,
            settings="median distance to the nearest, relative to that of the held-out images",
            **about,
        ),
    ]


def hash_copying(psi: float, generated: Nearest, held_out: Nearest, bits: int) -> list[Result]:
    """Share of the generated images that stage dedupe would call duplicates of a training image."""
    rows = []
    for against, found, at in (("training images", generated, psi), ("held-out training images", held_out, None)):
        share = float((found.distance <= bits).mean())
        rows.append(
            Result(
                "copies",
                share,
                features=f"perceptual hash, {hashes.BITS} bits",
                against=against,
                psi=at,
                real_images=len(held_out.distance),
                generated_images=len(generated.distance) if at is not None else None,
                settings=f"at most {bits} bits apart",
                **_share(share, len(found.distance), "seeds" if at is not None else "images"),
            )
        )
    return rows


# --- helpers -------------------------------------------------------------------------------------------------------


def _pairs(sets: FeatureSets, psi: float) -> Pairs:
    real, generated = sets.real[:MAX_IMAGES].astype(np.float64), sets.generated[psi][:MAX_IMAGES].astype(np.float64)
    return Pairs.of(distances.cubic, real, generated)


def _weights_of_generated(pairs: Pairs, settings: Settings, rng: np.random.Generator) -> Features:
    return intervals.weights(np.ones(len(pairs.generated), dtype=bool), settings.rounds, rng)


def _bootstrap(settings: Settings) -> str:
    return f"bootstrap of seeds and images, {settings.rounds} rounds"


def _interval(interval: Interval, how: str) -> dict[str, Any]:
    return {"low": interval[0], "high": interval[1], "interval": how}


def _share(share: float, n: int, what: str) -> dict[str, Any]:
    return _interval(intervals.wilson(share, n), f"Wilson interval of {n} {what}")


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)
