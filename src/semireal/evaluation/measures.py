"""The measures of a generator, each with its interval and the protocol it was taken by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from semireal.metrics import copies, distances, inception, intervals
from semireal.metrics.copies import Nearest
from semireal.metrics.distances import Features
from semireal.metrics.extractors import Extractor
from semireal.metrics.intervals import MOST, Interval, Mask, Pairs

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
class Measure:
    """One number and how it came about: a row of the full table.

    low, high: 95 % interval made by `interval`; spread: standard deviation over `settings` (subsets, splits).
    against: dataset (the training mixture), photo or portrait (all images of the domain), training images (nearest
    of them), real halves (no generated images at all), or empty.
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
class Seen:
    """Real and generated images through one extractor.

    real [N, D]: all of the dataset; mirrored [T, D]: the training images, mirrored; drawn: psi -> [M, D] of the seeds
    from 0 on, logits likewise (empty without).
    domain [N]; trained [N]: which of the N are in the training mixture, T of them.
    """

    extractor: Extractor
    real: Features
    mirrored: Features
    drawn: dict[float, Features]
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
        """A fresh generator, so that no measure depends on what was measured before it."""
        return np.random.default_rng(self.seed)


# --- distances, quality and variety --------------------------------------------------------------------------------


def of_set(seen: Seen, psi: float, settings: Settings) -> list[Measure]:
    """All measures of the images of one psi: against the training mixture, and against each domain."""
    pairs = _pairs(seen, psi)
    found = _distances(seen, psi, "dataset", pairs, settings) + _neighbourhood(seen, psi, settings)
    found.append(_diversity(seen, psi, settings))
    for domain in DOMAINS:
        if seen.members(domain).sum() >= LEAST_DOMAIN:
            found += _distances(seen, psi, domain, pairs, settings)
    found += _blend(seen, psi, settings)
    if psi in seen.logits:
        found.append(_score(seen, psi, settings))
    return found


def kernel(extractor: Extractor, real: Features, fake: Features) -> tuple[float, float | None, str]:
    """Kernel distance, its spread over subsets, and how it was computed: KID as published, or of all pairs."""
    if extractor.suffix:
        return distances.kernel(real[:MOST].astype(np.float64), fake[:MOST].astype(np.float64)), None, "all pairs"
    mean, spread = inception.kid(real, fake)
    size = inception.subset_size(len(real), len(fake))
    return mean, spread, f"mean of {inception.SUBSETS} subsets of {size}"


def precision_recall(extractor: Extractor, real: Features, fake: Features, k: int) -> tuple[float, float]:
    """Precision and recall: torch-fidelity's on the published features."""
    if extractor.suffix:
        return distances.precision_recall(real, fake, k)
    return inception.precision_recall(real, fake, k)


def _distances(seen: Seen, psi: float, against: str, pairs: Pairs, settings: Settings) -> list[Measure]:
    e, rng = seen.extractor, settings.rng()
    members = seen.members(against)
    real, fake = seen.real[members], seen.drawn[psi]
    value, spread, how = kernel(e, real, fake)
    kernels = pairs.kernel(
        intervals.weights(members[: len(pairs.real)], settings.rounds, rng), _fakes(pairs, settings, rng)
    )
    x, y = real.astype(np.float64), fake.astype(np.float64)
    frechet = distances.frechet(x, y)
    others = intervals.resampled(distances.frechet, x, y, SPREAD_ROUNDS, rng)
    about: dict[str, Any] = {
        "features": e.title,
        "against": against,
        "psi": psi,
        "real_images": len(real),
        "generated_images": len(fake),
    }
    least = min(len(real), len(fake))
    biased = f"biased upwards: {least} images, fewer than {FID_LEAST}; read {e.name('kernel')}"
    measures = [
        Measure(
            e.name("kernel"),
            value,
            **about,
            **_interval(intervals.percentiles(kernels[1:]), _bootstrap(settings)),
            spread=spread,
            settings=how,
        ),
        Measure(
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
    return measures if least < FEW else measures[::-1]


def _neighbourhood(seen: Seen, psi: float, settings: Settings) -> list[Measure]:
    """Precision, recall, density and coverage against the training mixture."""
    e, k, rng = seen.extractor, settings.neighbours, settings.rng()
    real, fake = seen.training, seen.drawn[psi]
    about: dict[str, Any] = {
        "features": e.title,
        "against": "dataset",
        "psi": psi,
        "real_images": len(real),
        "generated_images": len(fake),
        "settings": f"{k} neighbours",
    }
    precision, recall = precision_recall(e, real, fake, k)
    densities, coverage = distances.density_coverage(real.astype(np.float64), fake.astype(np.float64), k)
    resampled = [densities[rng.integers(0, len(fake), len(fake))].mean() for _ in range(settings.rounds)]
    bootstrap = _interval(
        intervals.percentiles(np.array(resampled)), f"bootstrap of seeds, {settings.rounds} rounds, images fixed"
    )
    return [
        Measure(e.name("precision"), precision, **about, **_share(precision, len(fake), "seeds, images fixed")),
        Measure(e.name("recall"), recall, **about, **_share(recall, len(real), "images, seeds fixed")),
        Measure(e.name("density"), float(densities.mean()), **about, **bootstrap),
        Measure(e.name("coverage"), coverage, **about, **_share(coverage, len(real), "images, seeds fixed")),
    ]


def _diversity(seen: Seen, psi: float, settings: Settings) -> Measure:
    rng = settings.rng()
    real, fake = seen.training[:MOST].astype(np.float64), seen.drawn[psi][:MOST].astype(np.float64)
    pairs = Pairs.of(distances.distances, real, fake)
    images = intervals.weights(np.ones(len(real), dtype=bool), settings.rounds, rng)
    relative = pairs.among_fake(_fakes(pairs, settings, rng)) / np.maximum(pairs.among_real(images), 1e-12)
    return Measure(
        seen.extractor.name("diversity"),
        float(relative[0]),
        features=seen.extractor.title,
        against="dataset",
        psi=psi,
        real_images=len(seen.training),
        generated_images=len(seen.drawn[psi]),
        **_interval(intervals.percentiles(relative[1:]), _bootstrap(settings)),
        settings="mean pairwise distance, relative to that of the training images",
    )


def _blend(seen: Seen, psi: float, settings: Settings) -> list[Measure]:
    """The blend position; none where a domain has too few images, or the domains cannot be told apart.

    Measured along the main axes of the features of the real images, each scaled to variance 1: in the raw features
    brightness and the like drown what tells a photo from a painting. More axes than images / 8 are noise.
    """
    photo, portrait = (seen.members(domain) for domain in DOMAINS)
    if min(photo.sum(), portrait.sum()) < LEAST_DOMAIN:
        return []
    rng = settings.rng()
    real, fake = whitened(seen.real[:MOST], seen.drawn[psi][:MOST])
    pairs = Pairs.of(lambda a, b: a @ b.T, real, fake)
    photos, portraits = (
        intervals.weights(domain[: len(pairs.real)], settings.rounds, rng) for domain in (photo, portrait)
    )
    if intervals.percentiles(pairs.apart(photos, portraits)[1:])[0] <= 0:
        return []
    at = pairs.blend(photos, portraits, _fakes(pairs, settings, rng))
    raw = float(at[0])
    return [
        Measure(
            seen.extractor.name("blend"),
            _unit(raw),
            features=seen.extractor.title,
            against="photo and portrait",
            psi=psi,
            real_images=int(photo.sum() + portrait.sum()),
            generated_images=len(seen.drawn[psi]),
            **_interval(intervals.percentiles(np.clip(at[1:], 0, 1)), _bootstrap(settings)),
            settings="0: as the portraits, 1: as the photos",
            warning="" if raw == _unit(raw) else f"{raw:.2f} at psi = {psi:g}, cut to 0..1: not between the domains",
        )
    ]


def whitened(real: Features, fake: Features) -> tuple[Features, Features]:
    """Both along the main axes of the real features, in units in which the real ones have variance 1."""
    mean = real.mean(axis=0, dtype=np.float64)
    centred = real - mean
    axes = max(1, min(AXES, len(real) // 8))
    _, spread, turn = np.linalg.svd(centred, full_matrices=False)
    scaled = turn[:axes].T / np.maximum(spread[:axes, None].T / np.sqrt(len(real)), 1e-12)
    return centred @ scaled, (fake - mean) @ scaled


def _score(seen: Seen, psi: float, settings: Settings) -> Measure:
    logits, rng = seen.logits[psi], settings.rng()
    mean, spread = inception.score(logits)
    others = [inception.score(logits[rng.integers(0, len(logits), len(logits))])[0] for _ in range(SPREAD_ROUNDS)]
    return Measure(
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


def real_halves(seen: Seen, settings: Settings) -> list[Measure]:
    """Distances between two random halves of the training images: what a perfect generator of that many would get."""
    e, rng = seen.extractor, settings.rng()
    real = seen.training
    half = len(real) // 2
    if half < 2:
        return []
    splits = [rng.permutation(len(real)) for _ in range(HALVES)]
    sets = [(real[order[:half]], real[order[half : 2 * half]]) for order in splits]
    kernels = [distances.kernel(x[:MOST].astype(np.float64), y[:MOST].astype(np.float64)) for x, y in sets]
    frechets = [distances.frechet(x.astype(np.float64), y.astype(np.float64)) for x, y in sets]
    return [
        Measure(
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


def by_size(seen: Seen, settings: Settings) -> tuple[list[dict[str, float]], Measure]:
    """Frechet distance of subsets of the generated images at psi = 1, and what it extrapolates to.

    Rows: images, value, spread over REPEATS random orders. The bias is about linear in 1 / images, so a line gives
    the value for endlessly many (Chong and Forsyth 2020). The real images stay as they are.
    """
    e, rng = seen.extractor, settings.rng()
    real, fake = seen.training.astype(np.float64), seen.drawn[1.0].astype(np.float64)
    inverse = np.linspace(4 / len(fake), 1 / len(fake), SIZES)
    sizes = sorted({max(2, round(1 / x)) for x in inverse})
    orders = [rng.permutation(len(fake)) for _ in range(REPEATS)]
    whole = distances.frechet(real, fake)
    values = np.array(
        [[whole if n == len(fake) else distances.frechet(real, fake[order[:n]]) for n in sizes] for order in orders]
    )
    limits = [np.polyfit(1 / np.array(sizes), row, 1)[1] if len(sizes) > 1 else whole for row in values]
    rows = [
        {"images": n, "value": float(column.mean()), "spread": float(column.std())}
        for n, column in zip(sizes, values.T, strict=True)
    ]
    return rows, Measure(
        f"{e.name('frechet')}_extrapolated",
        float(np.mean(limits)),
        features=e.title,
        against="dataset",
        psi=1.0,
        real_images=len(real),
        generated_images=len(fake),
        spread=float(np.std(limits)),
        settings=f"line through {len(sizes)} sizes from {sizes[0]} to {sizes[-1]} images, {REPEATS} orders",
    )


# --- psi and memory ------------------------------------------------------------------------------------------------


def sweep(seen: Seen, psis: Sequence[float], images: int, k: int) -> Iterator[dict[str, float]]:
    """Quality against variety: for each psi the measures of the first `images` seeds, by name."""
    e, real = seen.extractor, seen.training
    own = distances.mean_distance(real[:MOST].astype(np.float64))
    for psi in psis:
        fake = seen.drawn[psi][:images]
        precision, recall = precision_recall(e, real, fake, k)
        x, y = real.astype(np.float64), fake.astype(np.float64)
        values = {
            "kernel": kernel(e, real, fake)[0],
            "frechet": distances.frechet(x, y),
            "precision": precision,
            "recall": recall,
            "diversity": distances.mean_distance(y[:MOST]) / max(own, 1e-12),
        }
        yield {e.name(kind): value for kind, value in values.items()}


def copying(e: Extractor, psi: float, fake: Nearest, held_out: Nearest) -> list[Measure]:
    """How near the generated images are to the training images, and how near these are to each other."""
    limit = copies.limit(held_out)
    share, usual = float((fake.ratio < limit).mean()), float((held_out.ratio < limit).mean())
    n, m = len(held_out.ratio), len(fake.ratio)
    about: dict[str, Any] = {"features": e.title, "real_images": n}
    how = f"nearest training image nearer, relative to the next {copies.NEXT}, than for 95 % of the held-out images"
    coarse = f"only {n} training images to tell what is near" if n < COARSE else ""
    relative = float(np.median(fake.distance) / max(float(np.median(held_out.distance)), 1e-12))
    return [
        Measure(
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
        Measure(
            e.name("near_copies"),
            usual,
            against="held-out training images",
            settings=how,
            warning=coarse,
            **about,
            **_share(usual, n, "images"),
        ),
        Measure(
            e.name("nearest_distance"),
            relative,
            against="training images",
            psi=psi,
            generated_images=m,
            settings="median distance to the nearest, relative to that of the held-out images",
            **about,
        ),
    ]


def hash_copying(psi: float, fake: Nearest, held_out: Nearest, bits: int) -> list[Measure]:
    """Share of the generated images that stage dedupe would call duplicates of a training image."""
    rows = []
    for against, found, at in (("training images", fake, psi), ("held-out training images", held_out, None)):
        share = float((found.distance <= bits).mean())
        rows.append(
            Measure(
                "copies",
                share,
                features=f"perceptual hash, {copies.HASH_SIDE**2} bits",
                against=against,
                psi=at,
                real_images=len(held_out.distance),
                generated_images=len(fake.distance) if at is not None else None,
                settings=f"at most {bits} bits apart",
                **_share(share, len(found.distance), "seeds" if at is not None else "images"),
            )
        )
    return rows


# --- helpers -------------------------------------------------------------------------------------------------------


def _pairs(seen: Seen, psi: float) -> Pairs:
    real, fake = seen.real[:MOST].astype(np.float64), seen.drawn[psi][:MOST].astype(np.float64)
    return Pairs.of(distances.cubic, real, fake)


def _fakes(pairs: Pairs, settings: Settings, rng: np.random.Generator) -> Features:
    return intervals.weights(np.ones(len(pairs.fake), dtype=bool), settings.rounds, rng)


def _bootstrap(settings: Settings) -> str:
    return f"bootstrap of seeds and images, {settings.rounds} rounds"


def _interval(interval: Interval, how: str) -> dict[str, Any]:
    return {"low": interval[0], "high": interval[1], "interval": how}


def _share(share: float, n: int, what: str) -> dict[str, Any]:
    return _interval(intervals.wilson(share, n), f"Wilson interval of {n} {what}")


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)
