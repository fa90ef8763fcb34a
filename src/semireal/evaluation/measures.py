"""The rows of measures.csv: each metric of a generator with its interval and the protocol it was taken by.

`real` are images of the dataset, `generated` those that the generator drew.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semireal.metrics import distances, domains, inception, intervals, layout
from semireal.metrics.distances import Features
from semireal.metrics.estimates import Estimate
from semireal.metrics.extractors import Space
from semireal.metrics.intervals import MAX_IMAGES, Interval, Mask, Pairs, some
from semireal.params.evaluate import SPLITS
from semireal.vision import copies

DOMAINS = ("photo", "portrait")
SHOWN = "dataset, also mirrored"
BASE = "base"
FEW = 5000  # images; below this KID comes first
FID_LEAST = 2048  # images; with fewer the covariance of the 2048 features of FID has not even full rank
LEAST_DOMAIN = domains.LEAST  # images of a domain that distances to it need
LEAST_HELD_OUT = 4  # training images that the memorisation check and the kernel distances need
COMMON = 0.95  # of the training images are less like another one than what is called a copy
ALIKE = 0.75  # where that is more, copies of which a quarter is replaced are among them
SIZES, REPEATS = 5, 10  # of the Frechet distance against the number of images
HALVES = 10  # random splits of the training images
LOGITS = "Inception-v3 of 2015, class logits"
PERFECT = "a perfect generator"
ALL_PAIRS = "all pairs"
JACKKNIFE = f"jackknife of seeds and images in {intervals.GROUPS} groups, for as many images"


@dataclass(frozen=True)
class Result:
    """The value of one metric and how it came about: the columns of measures.csv.

    measure: name of the metric. low, high: 95 % interval made by `interval`; spread: standard deviation over `settings`
    (subsets, splits). against: dataset (the training mixture), photo or portrait (all images of the domain), training
    images (nearest of them), real halves (no generated images at all), base (what it draws of the same seeds), or
    empty.
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
    """The features of one kind, of the real and the generated images.

    real [N, D]: all of the dataset; generated: psi -> [M, D] of the seeds from 0 on. domain [N]; trained [N]: which of
    the N are in the training mixture, T of them. logits: psi -> [M, C] class logits, and those of the real images
    [N, C]; nothing where the network has no classes. mirrored [T, D]: of the mixture, where it was also shown so.
    """

    space: Space
    real: Features
    generated: dict[float, Features]
    domain: Sequence[str]
    trained: Mask
    logits: dict[float, Features]
    real_logits: Features | None
    mirrored: Features | None = None

    @property
    def training(self) -> Features:
        """The training mixture, [T, D]."""
        return self.real_of("dataset")

    def members(self, against: str) -> Mask:
        """Which of the N real images are in the set of that name."""
        return self.trained if against == "dataset" else np.array([name == against for name in self.domain])

    def real_of(self, against: str) -> Features:
        """The features of the set of that name; no copy where it is everything."""
        members = self.members(against)
        return self.real if members.all() else self.real[members]

    def some_of(self, against: str) -> Features:
        """At most MAX_IMAGES of them, as `some` chooses, without the others."""
        places = np.flatnonzero(self.members(against))
        return self.real[places[intervals.places(len(places))]]


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
    found = [_kernel(sets, psi, "dataset", settings), *_against_what_was_shown(sets, psi)]
    if not sets.space.whole:
        return found
    if min(sets.trained.sum(), len(sets.generated[psi])) < FEW:
        found.append(_frechet(sets, psi, "dataset", settings))
    else:
        found.insert(0, _frechet(sets, psi, "dataset", settings))
    found += _neighbourhood(sets, psi, settings)
    for domain in DOMAINS:
        if sets.members(domain).sum() >= LEAST_DOMAIN:
            found += [_kernel(sets, psi, domain, settings), _frechet(sets, psi, domain, settings)]
    found += _blend(sets, psi, settings)
    if sets.logits:
        found.append(_score(sets, psi))
    return found


def _against_what_was_shown(sets: FeatureSets, psi: float) -> list[Result]:
    """The kernel distance to all that the training has shown, where that was mirrored half of the time.

    A generator that draws just that is away from the images as they are, if these face one way more than the other.
    """
    if sets.mirrored is None:
        return []
    real, generated = sets.training, sets.generated[psi]
    if sets.space.suffix:
        chosen = intervals.places(len(real) + len(sets.mirrored))
        after = np.searchsorted(chosen, len(real))
        real = np.concatenate([real[chosen[:after]], sets.mirrored[chosen[after:] - len(real)]])
    else:
        real = np.concatenate([real, sets.mirrored])
    value, spread, how = kernel(sets.space, real, generated)
    counts = [len(some(x)) if sets.space.suffix else len(x) for x in (real, generated)]
    of = Result(sets.space.name("kernel"), value, sets.space.title, SHOWN, psi, counts[0], counts[1])
    return [replace(of, spread=spread, settings=how)]


def kernel(space: Space, real: Features, generated: Features) -> tuple[float, float | None, str]:
    """Kernel distance, its spread over subsets, and how it was computed: KID as published, or of all pairs."""
    if space.suffix:
        pairs = space.kernel(some(real), some(generated))
        ones = (np.ones((1, len(table))) for table in (pairs.real, pairs.generated))
        return float(pairs.kernel(*ones)[0]), None, ALL_PAIRS
    mean, spread = inception.kid(real, generated)
    size = inception.subset_size(len(real), len(generated))
    return mean, spread, f"mean of {inception.SUBSETS} subsets of {size}"


def _about(sets: FeatureSets, psi: float, against: str, most: int | None = None) -> dict[str, Any]:
    """What a measure is of; most: images of a set that it looks at, at most."""
    counts = {"real_images": int(sets.members(against).sum()), "generated_images": len(sets.generated[psi])}
    used = {name: min(count, most or count) for name, count in counts.items()}
    return {"features": sets.space.title, "against": against, "psi": psi} | used


def _kernel(sets: FeatureSets, psi: float, against: str, settings: Settings) -> Result:
    generated = sets.generated[psi]
    pairs = sets.space.kernel(sets.some_of(against), some(generated))
    found = intervals.kernel(pairs, np.ones(len(pairs.real), dtype=bool), settings.rng())
    spread, how, about = None, ALL_PAIRS, _about(sets, psi, against, MAX_IMAGES)
    if not sets.space.suffix:  # the interval of all pairs, around the published mean over subsets
        value, spread, how = kernel(sets.space, sets.real_of(against), generated)
        about = _about(sets, psi, against)
        found = Estimate(value, value + found.low - found.value, value + found.high - found.value)
    return Result(
        sets.space.name("kernel"),
        **_estimate(found, JACKKNIFE),
        **about,
        spread=spread,
        settings=how,
    )


def _frechet(sets: FeatureSets, psi: float, against: str, settings: Settings) -> Result:
    space = sets.space
    real, generated = sets.real_of(against), sets.generated[psi]
    least = min(len(real), len(generated))
    biased = f"biased upwards: {least} images, fewer than {FID_LEAST}; read {space.name('kernel')}"
    return Result(
        space.name("frechet"),
        **_estimate(intervals.frechet(real, generated, settings.rng()), JACKKNIFE),
        **_about(sets, psi, against),
        warning=biased if not space.suffix and least < FID_LEAST else "",
    )


def _neighbourhood(sets: FeatureSets, psi: float, settings: Settings) -> list[Result]:
    """Precision, recall, density, coverage and diversity against the training mixture."""
    real, generated = (x.astype(np.float64) for x in (sets.some_of("dataset"), some(sets.generated[psi])))
    pairs, rng = intervals.tables(real, generated), settings.rng()
    found = intervals.neighbourhood(pairs, settings.neighbours, rng)
    if not sets.space.suffix:  # the published values, which are ours but for rounding at borders
        precision, recall = inception.precision_recall(sets.training, sets.generated[psi], settings.neighbours)
        found = found._replace(
            precision=found.precision._replace(value=precision), recall=found.recall._replace(value=recall)
        )
    about = _about(sets, psi, "dataset") | {"settings": f"{settings.neighbours} neighbours"}
    about |= {"real_images": len(real), "generated_images": len(generated)}
    rows = [
        Result(sets.space.name(name), **_estimate(estimate, JACKKNIFE), **about)
        for name, estimate in zip(found._fields, found, strict=True)
    ]
    return [*rows, *_diversity(sets, psi, pairs, settings)]


def _diversity(sets: FeatureSets, psi: float, pairs: Pairs, settings: Settings) -> list[Result]:
    rng = settings.rng()
    images = intervals.weights(np.ones(len(pairs.real), dtype=bool), settings.rounds, rng)
    varied = pairs.among_generated(_weights_of_generated(pairs, settings, rng))
    relative = distances.relative(varied, pairs.among_real(images))
    if not np.isfinite(relative).all():  # all training images are one and the same
        return []
    return [
        Result(
            sets.space.name("diversity"),
            float(relative[0]),
            **_about(sets, psi, "dataset", MAX_IMAGES),
            **_interval(intervals.percentiles(relative[1:]), _bootstrap(settings)),
            settings="mean pairwise distance, relative to that of the training images",
        )
    ]


def _blend(sets: FeatureSets, psi: float, settings: Settings) -> list[Result]:
    """The blend position; none where a domain has too few images, or the domains cannot be told apart."""
    photo, portrait = (sets.members(domain) for domain in DOMAINS)
    found = domains.blend(sets.real, photo, portrait, sets.generated[psi], settings.rounds, settings.rng())
    if found is None:
        return []
    far = f"neither photo nor portrait nor between them: {found.off:.2f} away, in distances between the two"
    about = _about(sets, psi, "dataset") | {
        "against": "photo and portrait",
        "real_images": int(photo.sum() + portrait.sum()),
    }
    return [
        Result(
            sets.space.name("blend"),
            found.value,
            **about,
            **_interval((found.low, found.high), _bootstrap(settings)),
            settings=f"0: as the portraits, 1: as the photos; {found.off:.2f} away from there",
            warning=f"at psi = {psi:g} {far}" if found.neither else "",
        )
    ]


def _score(sets: FeatureSets, psi: float) -> Result:
    logits = sets.logits[psi]
    return Result(
        "inception_score",
        **_estimate(intervals.score(logits), JACKKNIFE),
        **_about(sets, psi, "dataset") | {"features": LOGITS, "against": "", "real_images": None},
        spread=inception.score(logits)[1],
        settings=f"mean of {SPLITS} splits",
        warning=f"biased downwards: {len(logits)} images in {SPLITS} splits" if len(logits) < FEW else "",
    )


# --- how much of a distance is the number of images ----------------------------------------------------------------


def perfect(sets: FeatureSets, settings: Settings) -> list[Result]:
    """What a perfect generator would get: distances between random halves of the training images, and what depends on
    the number of images for as many generated ones as there are.
    """
    total, real = int(sets.trained.sum()), sets.some_of("dataset")
    if total // 2 < 2:
        return []
    rng, space = settings.rng(), sets.space
    pairs = space.kernel(real, real[:0])
    halves = [_between_halves(pairs.real, rng.permutation(len(pairs.real))) for _ in range(HALVES)]
    found = [
        Result(
            space.name("kernel"),
            float(np.mean(halves)),
            features=space.title,
            against="real halves",
            real_images=len(pairs.real) // 2,
            spread=float(np.std(halves)),
            settings=f"mean of {HALVES} random splits",
        )
    ]
    generated = len(sets.generated[1.0])
    expected = distances.perfect_frechet(sets.training, generated, settings.rng()) if space.whole else np.nan
    if np.isfinite(expected):
        how = f"what {generated} images of a perfect generator would get, from parts of the training images"
        name = space.name("frechet")
        found.append(Result(name, expected, space.title, PERFECT, real_images=total, settings=how))
    if sets.real_logits is not None and total >= SPLITS:
        value, spread = inception.score(sets.real_logits[sets.trained])
        how = f"of the training images themselves; mean of {SPLITS} splits"
        score = Result("inception_score", value, LOGITS, PERFECT, real_images=total, spread=spread, settings=how)
        found.append(score)
    return found


def _between_halves(table: Features, order: NDArray[np.intp]) -> float:
    """Kernel distance of the first and the second half of images in an order, from the table of all pairs."""
    first, second = np.array_split(order, 2)
    parts = [table[np.ix_(a, b)] for a, b in ((first, first), (second, second), (first, second))]
    ones = (np.ones((1, len(half))) for half in (first, second))
    return float(Pairs(*parts).kernel(*ones)[0])


def by_size(sets: FeatureSets, settings: Settings) -> tuple[list[dict[str, float]], Result]:
    """Frechet distance of subsets of the generated images at psi = 1, and what it extrapolates to.

    Rows: images, value, spread over REPEATS random orders. The bias is about linear in 1 / images, so a line gives
    the value for endlessly many (Chong and Forsyth 2020). The real images stay as they are.
    """
    e, rng = sets.space, settings.rng()
    real, generated = sets.training, sets.generated[1.0]
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
        warning=f"the bias of only {len(real)} real images stays in it" if len(real) < FID_LEAST else "",
        settings=f"line through {len(sizes)} sizes from {sizes[0]} to {sizes[-1]} images, {REPEATS} orders",
    )


# --- psi and memory ------------------------------------------------------------------------------------------------


def sweep(sets: FeatureSets, psis: Sequence[float], images: int, k: int) -> Iterator[dict[str, float]]:
    """Quality against variety: for each psi the metrics of the first `images` seeds, by name."""
    space, few = sets.space, sets.some_of("dataset")
    real = sets.training if space.whole else few
    own = distances.mean_distance(few.astype(np.float64))
    balls = distances.balls(real, k) if space.whole and space.suffix else None
    for psi in psis:
        generated = sets.generated[psi][:images]
        values = {"kernel": kernel(space, real, generated)[0]}
        if space.whole:
            values["frechet"] = distances.frechet(real, generated)
            if balls is None:  # torch-fidelity's on the published features
                values["precision"], values["recall"] = inception.precision_recall(real, generated, k)
            else:
                values["precision"], values["recall"] = distances.precision_recall(real, generated, k, balls)
            varied = distances.mean_distance(some(generated).astype(np.float64))
            values["diversity"] = float(distances.relative(varied, own))
        yield {space.name(kind): value for kind, value in values.items()}


def copied_from(held_out: Features) -> float:
    """The score from which on an image is called a copy: higher where the training images are alike themselves.

    held_out: how much each of them is like another one. At most 1 - COMMON of new pictures of the same kind are called
    copies.
    """
    return max(copies.LIMIT, float(np.quantile(held_out, COMMON)))


def copying(psi: float | None, scores: Features, held_out: Features) -> Result:
    """Share of the generated images that are copies of a training image; psi None: of these among each other."""
    limit = copied_from(held_out)
    share = float((scores > limit).mean())
    return Result(
        "copies",
        share,
        features="pictures laid over each other",
        against="training images" if psi is not None else "held-out training images",
        psi=psi,
        real_images=len(held_out),
        generated_images=len(scores) if psi is not None else None,
        settings=f"more than {limit:.2f} alike, mirrored, turned, zoomed or in part",
        warning=f"the training images are alike themselves, so copies in part are missed (limit {limit:.2f})"
        if limit > ALIKE and psi is not None
        else "",
        **_share(share, len(scores), "seeds" if psi is not None else "images"),
    )


def layout_kept(psi: float, base: Features, generated: Features, settings: Settings) -> list[Result]:
    """How much of the layout of the base is kept, from `layout.edges` of the same seeds of both; none at psi = 0."""
    found = layout.kept(base, generated, settings.rounds, settings.rng())
    if found is None:
        return []
    return [
        Result(
            "layout_kept",
            **_estimate(found, f"bootstrap of seeds, {settings.rounds} rounds"),
            features=layout.TITLE,
            against=BASE,
            psi=psi,
            generated_images=len(generated),
            settings="1: as the base draws the same seeds, 0: no nearer to that than to other seeds",
        )
    ]


# --- helpers -------------------------------------------------------------------------------------------------------


def _weights_of_generated(pairs: Pairs, settings: Settings, rng: np.random.Generator) -> Features:
    return intervals.weights(np.ones(len(pairs.generated), dtype=bool), settings.rounds, rng)


def _bootstrap(settings: Settings) -> str:
    return f"bootstrap of seeds and images, {settings.rounds} rounds"


def _estimate(estimate: Estimate, how: str) -> dict[str, Any]:
    """A value with its interval; without one where there are too few images to tell."""
    if np.isnan(estimate.low):
        return {"value": estimate.value}
    return {"value": estimate.value} | _interval((estimate.low, estimate.high), how)


def _interval(interval: Interval, how: str) -> dict[str, Any]:
    return {"low": interval[0], "high": interval[1], "interval": how}


def _share(share: float, n: int, what: str) -> dict[str, Any]:
    return _interval(intervals.wilson(share, n), f"Wilson interval of {n} {what}")
