"""evaluate: what the generated images are worth, with intervals, and by which protocol each number came about.

Features come from EfficientNet-Lite0, which comes with the installation, and the names of the metrics say what of a
picture they see: `distance_whole`, `distance_layout`, `distance_eyes`, beside a plain statistic of colour. The names
`fid`, `kid`, `inception_score`, `precision`, `recall` and `blend` are used for the 2015 Inception alone, when
evaluate.inception names its weights, `fd_dinov2` and `kd_dinov2` for DINOv2. docs/metrics.md says what each can and
cannot see. Everything is measured at psi = 1 (the practice of the field) and at sample.psi (that of the report).
Features are computed once for all metrics, and cached by content in `.work/features`.

What is written to the folder `out` (results/evaluation):

evaluation.json   everything: `name`; `protocol` (what holds for all metrics); `counts` (images by set); `warnings`
                  (sentences for people); `measures` (the full table, see `semireal.evaluation.measures.Result`).
measures.csv      the same table: measure, value, features, against, psi, real_images, generated_images, low, high,
                  interval (how these two were made), spread, settings, warning, seeds, format, mirroring.
psi_sweep.csv     one row per psi, sample.psi among them: psi, images, then distance_whole, frechet_whole,
                  precision_whole, recall_whole, diversity_whole, distance_layout, distance_eyes, distance_colour, and
                  with Inception kid, fid, precision, recall, diversity, with DINOv2 likewise.
psi_row.png       the first seeds, one a row, at the psis of psi_sweep.csv, one a column.
fid_by_size.csv   Frechet distance at psi = 1 against the number of generated images: images, frechet_whole,
                  frechet_whole_spread, and with Inception fid, fid_spread. Where it ends: `..._extrapolated` in
                  measures.
nearest.csv       one row per generated image that was looked at (kind `generated`; psi, seed) and per training image
                  compared with all others (kind `held-out`; id): nearest (id of the training image that is most alike),
                  nearest_domain, score (0 to 1, see semireal.vision.copies), form (how that image was turned to lie
                  over this one, for people), copy (0 or 1).
closest_pairs.png       the generated images at psi = 1 that are most like a training image, that image below, turned to
                        lie over it
closest_held_out.png    the training images most like another one, that image below: what is normal

The stage adds psi_sweep_plot.png, fid_by_size_plot.png and metrics.json, the few numbers that experiments are compared
by (see `headline`).
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from semireal import arrays, files, images, stage
from semireal.errors import UserError
from semireal.evaluation import measures
from semireal.evaluation.measures import DOMAINS, FeatureSets, Result, Settings
from semireal.evaluation.names import AT_PSI, MAIN
from semireal.faces import detect
from semireal.images import Pixels
from semireal.manifest import Row
from semireal.metrics import dinov2, extractors, inception, layout
from semireal.metrics.distances import Features
from semireal.metrics.extractors import Extractor
from semireal.metrics.intervals import Mask
from semireal.params.blend import Blend
from semireal.params.evaluate import Evaluate
from semireal.schema import param
from semireal.stylegan2 import Generator, load_generator
from semireal.training import dataset, sample, start
from semireal.training.sample import device, draw
from semireal.vision import copies
from semireal.vision.copies import Match

FACE_SCORE = 0.6  # generated faces are softer than pictures; the score at which YuNet finds all real ones
FACE_SIZE = 320  # px; small samples are enlarged to what the detector was made for
PAIRS, ROWS = 10, 3  # pictures of the closest pairs; seeds in the psi row
SIDE = 128  # px of an image in them, at most
DIGITS = 7  # significant ones in the files
HEADLINE = (
    *("fid", "kid", "inception_score", "precision", "recall", "blend", "fd_dinov2", "kd_dinov2", "copies"),
    *(f"{kind}_whole" for kind in ("frechet", "distance", "precision", "recall", "blend", "diversity")),
    *("distance_layout", "distance_eyes", "distance_colour", "layout_kept"),
)
SEEDS_OF_BASE = 128  # at most, of which the layout is compared with that of the base
LOOKED_AT = 1000  # generated images, at most, that are compared with all training images


@dataclass(frozen=True)
class Given:
    """What the stage takes of params.yaml."""

    name: str
    seed: int
    evaluate: Evaluate
    blend: Blend
    photo_ratio: float | None = param(key="train.photo_ratio")
    resolution: int = param(key="train.resolution")
    mirror: bool = param(key="train.mirror")
    psi: float = param(key="sample.psi")
    snapshot: str = param(key="sample.snapshot")


@dataclass(frozen=True)
class Pictures:
    """The real images.

    real [N, H, W, 3] uint8, mapped: all of the dataset; rows: its manifest; trained [N]: which of them are in the
    training mixture; training [T, H, W, 3]: these.
    """

    real: Pixels
    rows: list[Row]
    trained: Mask
    training: Pixels


def run(generator: Path, data: Path, samples: Path, funnel: Path, out: Path, given: Given) -> dict[str, float]:
    """Measure a generator against its dataset; writes to `out` what is listed above, returns the headline numbers.

    samples: the pictures of stage sample, for `face_rate`; funnel: funnel.json, for `yield`.
    """
    steps = read_funnel(funnel)
    pictures = load_real(data, given)
    asked = extractors_of(given, pictures)
    G = load_generator(generator).to(device())
    sets, matches = features_of(asked, pictures, G, given)
    table = results_of(sets, given)
    table += write_nearest(out, matches, pictures, G, given)
    write_sweep(out, sets, G, given)
    table += write_sizes(out, sets, given)
    kept, unlike = layout_of(G, given)
    table += kept
    rate, problem = face_rate(samples)
    warnings = problem + unlike + warnings_of(table, sets)
    write_table(out, table, pictures, asked, given, warnings)
    for warning in warnings:
        stage.say(f"evaluate: {warning}")
    return headline(table, pictures, given, rate, steps)


def extractors_of(given: Given, pictures: Pictures) -> list[Extractor]:
    """What comes with the installation, and the published networks that the parameters ask for."""
    weights = inception.find(given.evaluate.inception)
    dino = dinov2.find(given.evaluate.dinov2)
    return [
        extractors.from_the_box(dataset.band(pictures.rows)),
        *([extractors.published(weights)] if weights else []),
        *([extractors.dino(dino)] if dino else []),
    ]


def read_funnel(path: Path) -> dict[str, int]:
    """The images left after each step, from stage funnel."""
    try:
        found: dict[str, int] = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: not found. Run `dvc repro`") from None
    return found


def load_real(data: Path, given: Given) -> Pictures:
    """All images of the dataset at the training resolution, and which are in the training mixture.

    Distances to a domain are to all of its images, so that they compare across training mixtures.
    """
    real, rows = dataset.load(data, given.resolution, None, given.seed)
    training, chosen = dataset.load(data, given.resolution, given.photo_ratio, given.seed)
    ids = {row["id"] for row in chosen}
    trained = np.array([row["id"] in ids for row in rows])
    least = max(given.evaluate.neighbours + 1, measures.LEAST_HELD_OUT)
    if trained.sum() < least:
        raise UserError(
            f"evaluate.neighbours: found {given.evaluate.neighbours}, need less than the {trained.sum()} images of "
            f"{data} that were trained on, which must be {least} at least"
        )
    return Pictures(real.permute(0, 2, 3, 1).numpy(), rows, trained, training.permute(0, 2, 3, 1).numpy())


def psis_of(given: Given) -> tuple[list[float], list[float]]:
    """The psis of the full table, and those of the sweep."""
    return sorted({1.0, given.psi}, reverse=True), sorted({*given.evaluate.psis, given.psi})


def swept_images(given: Given) -> int:
    """Generated images at each psi of the sweep."""
    return min(given.evaluate.psi_images, given.evaluate.images)


def features_of(
    asked: Sequence[Extractor], pictures: Pictures, G: Generator, given: Given
) -> tuple[list[FeatureSets], dict[float, Match]]:
    """Features of all pictures, and for the generated ones of each psi of the full table the nearest training images.

    Images are drawn for one psi at a time, to a file without a name: 10,000 of 512 x 512 px take 8 GB.
    """
    main, swept = psis_of(given)
    few = swept_images(given)
    features: list[dict[float, Features]] = [{} for _ in asked]
    matches = {}
    for psi in sorted({*main, *swept}):
        count = given.evaluate.images if psi in main else few
        shown: Pixels = arrays.aside(stage.work_root(), count, sample.drawn(G, range(count), psi))
        for extractor, found in zip(asked, features, strict=True):
            found[psi] = extractors.cached(extractor, shown, device())
        if psi in main:
            matches[psi] = copies.find(shown[:LOOKED_AT], pictures.training)
    sets = [
        one
        for extractor, found in zip(asked, features, strict=True)
        for one in _sets_of(extractor, pictures, found, given.mirror)
    ]
    return sets, matches


def _sets_of(extractor: Extractor, pictures: Pictures, drawn: dict[float, Features], mirror: bool) -> list[FeatureSets]:
    real = extractors.cached(extractor, pictures.real, device())
    turned = extractors.cached(extractor, pictures.training[:, :, ::-1], device()) if mirror else None
    domains, logits = [row["domain"] for row in pictures.rows], extractor.logits
    return [
        FeatureSets(
            space,
            real[:, space.columns],
            {psi: found[:, space.columns] for psi, found in drawn.items()},
            domains,
            pictures.trained,
            {psi: found[:, logits] for psi, found in drawn.items()} if logits else {},
            real[:, logits] if logits else None,
            None if turned is None else turned[:, space.columns],
        )
        for space in extractor.spaces
    ]


def results_of(sets: Sequence[FeatureSets], given: Given) -> list[Result]:
    """The full table, but for the rows about memorising and sizes."""
    settings = settings_of(given)
    table: list[Result] = []
    for one in sets:
        for psi in psis_of(given)[0]:
            table += measures.at_psi(one, psi, settings)
        table += measures.perfect(one, settings)
    return table


def layout_of(G: Generator, given: Given) -> tuple[list[Result], list[str]]:
    """How much of the layout of the base is kept, at each psi; nothing, and perhaps why, where there is no such base.

    The trained network, too, is compared, so that a blend can be read beside it.
    """
    path = start.existing(given.blend.base, Path(), "blend.base")
    if start.is_noise(path, "blend.base"):
        return [], []
    base = load_generator(path).to(device())
    if base.config.z_dim != G.config.z_dim:
        sizes = f"{base.config.z_dim} and {G.config.z_dim}"
        return [], [f"no layout_kept: seeds of {given.blend.base} and of the network do not compare (z_dim {sizes})"]
    seeds, found = range(min(SEEDS_OF_BASE, given.evaluate.images)), []
    for psi in psis_of(given)[0]:
        a, b = (layout.edges(draw(network, seeds, psi)) for network in (base, G))
        found += measures.layout_kept(psi, a, b, settings_of(given))
    return found, []


def settings_of(given: Given) -> Settings:
    """How the metrics are computed."""
    return Settings(given.evaluate.neighbours, given.evaluate.resamples, given.seed)


def warnings_of(table: Sequence[Result], sets: Sequence[FeatureSets]) -> list[str]:
    """What a reader of the numbers must know, one sentence each."""
    found = [f"{one.measure}: {one.warning}" for one in table if one.warning and one.against not in DOMAINS]
    counts = {domain: int(sets[0].members(domain).sum()) for domain in DOMAINS}
    few = [f"{n} images of domain {domain}" for domain, n in counts.items() if n < measures.LEAST_DOMAIN]
    if few:
        found.append(f"no blend, and no distance to such a domain: {', '.join(few)}, need {measures.LEAST_DOMAIN}")
    names = [one.space.name("blend") for one in sets if one.space.whole]
    known = {one.measure for one in table}
    found += [
        f"no {name}: photos and portraits cannot be told apart by these features"
        for name in names
        if not few and name not in known
    ]
    if not any(one.space.suffix == "_eyes" for one in sets):
        found.append("nothing of the eyes: the detector gave no landmarks of these faces")
    return list(dict.fromkeys(found))


def headline(
    table: Sequence[Result], pictures: Pictures, given: Given, rate: float | None, funnel: dict[str, int]
) -> dict[str, float]:
    """What experiments are compared by: the metrics against the training mixture at psi = 1, and at sample.psi under
    the same names with `_at_psi` behind them; yield and face_rate.

    yield: share of the raw images that reached the dataset. Those that could not be computed are left out.
    """
    found = {}
    for one in table:
        if one.measure in HEADLINE and one.against in MAIN:
            if one.psi == given.psi:
                found[one.measure + AT_PSI] = one.value
            if one.psi == 1:
                found[one.measure] = one.value
    counts = {
        "real_images": int(pictures.trained.sum()),
        "real_photos": sum(
            row["domain"] == "photo" for row, t in zip(pictures.rows, pictures.trained, strict=True) if t
        ),
        "generated_images": given.evaluate.images,
    }
    if rate is not None:
        found["face_rate"] = rate
    found["yield"] = funnel["de-duplicated"] / funnel["raw"]
    return {name: rounded(value) for name, value in (found | counts).items()}


def face_rate(samples: Path) -> tuple[float | None, list[str]]:
    """Share of `samples/images/*.png` in which YuNet finds a face; None, and why, where YuNet cannot be had."""
    try:
        detector = detect.YuNet(FACE_SCORE, FACE_SIZE)
    except UserError as error:
        return None, [f"no face_rate: {error}"]
    found = [bool(detector(images.load_rgb(path))) for path in sorted((samples / "images").glob("*.png"))]
    return float(np.mean(found)), []


# --- the files -----------------------------------------------------------------------------------------------------


def write_table(
    out: Path,
    table: Sequence[Result],
    pictures: Pictures,
    asked: Sequence[Extractor],
    given: Given,
    warnings: Sequence[str],
) -> None:
    """evaluation.json and measures.csv."""
    size = given.resolution
    rows = []
    for one in table:
        row = {key: rounded(value) for key, value in dataclasses.asdict(one).items()}
        row["seeds"] = f"0-{one.generated_images - 1}" if one.generated_images else ""
        row["format"] = f"tensors, {size} px"
        shown = one.measure == "copies" or one.against == measures.SHOWN
        row["mirroring"] = "training images also mirrored" if shown else "none"
        rows.append(row)
    frame = pd.DataFrame(rows)
    for column in ("real_images", "generated_images"):
        frame[column] = frame[column].astype("Int64")
    frame.to_csv(out / "measures.csv", index=False, lineterminator="\n")
    main, swept = psis_of(given)
    few = swept_images(given)
    protocol = {
        "features": {extractor.title: list(map(str, extractor.settings)) for extractor in asked},
        "eyes": str(dataset.band(pictures.rows) or "left out: the detector gave no landmarks"),
        "psi": main,
        "seeds": f"0 to {given.evaluate.images - 1}, one image each, constant noise",
        "sweep": f"psi {', '.join(f'{psi:g}' for psi in swept)}; the first {few} seeds",
        "format": f"uint8 RGB tensors of {size} x {size} px, both sides; generated images were never files, training "
        f"images were read from the dataset and scaled (Lanczos)",
        "mirroring": "none, but for the rows that say so",
        "training_set": "dataset: the mixture of train.photo_ratio; photo, portrait: all images of the domain",
        "training_images": extractors.digest(pictures.training)[:16],
        "snapshot": given.snapshot,
        "blend": blend_of(given.blend),
        "seed": given.seed,
        "bootstrap_rounds": given.evaluate.resamples,
    }
    domains = [row["domain"] for row in pictures.rows]
    counts = {
        "dataset": len(domains),
        **{domain: domains.count(domain) for domain in DOMAINS},
        "trained": int(pictures.trained.sum()),
        **{f"trained_{domain}": int((pictures.trained & (np.array(domains) == domain)).sum()) for domain in DOMAINS},
        "generated": given.evaluate.images,
    }
    content = {
        "name": given.name,
        "protocol": protocol,
        "counts": counts,
        "warnings": list(warnings),
        "measures": rows,
    }
    files.write_json(out / "evaluation.json", content)


def blend_of(given: Blend) -> str:
    """What of the network is blended, in words."""
    if given.is_trained:
        return "none: as trained"
    part = f"from {given.from_} x {given.from_} on" if given.from_ else "all of it, the mapping too,"
    return f"{part} {given.amount:g} of the way from {given.base} to the trained network"


def write_sweep(out: Path, sets: Sequence[FeatureSets], G: Generator, given: Given) -> None:
    """psi_sweep.csv and psi_row.png."""
    swept = psis_of(given)[1]
    few = swept_images(given)
    columns = [measures.sweep(one, swept, few, given.evaluate.neighbours) for one in sets]
    rows: list[dict[str, Any]] = [{"psi": psi, "images": few} for psi in swept]
    for row, *found in zip(rows, *columns, strict=True):
        for values in found:
            row |= values
    write_csv(out / "psi_sweep.csv", rows)
    shown = np.stack([draw(G, range(ROWS), psi) for psi in swept], axis=1)
    images.save_png(out / "psi_row.png", images.grid(shown.reshape(-1, *shown.shape[2:]), len(swept)))


def write_sizes(out: Path, sets: Sequence[FeatureSets], given: Given) -> list[Result]:
    """fid_by_size.csv; returns what the distances extrapolate to."""
    rows: list[dict[str, Any]] = []
    limits = []
    for one in (one for one in sets if one.space.whole):
        found, limit = measures.by_size(one, settings_of(given))
        limits.append(limit)
        name = one.space.name("frechet")
        rows = rows or [{"images": row["images"]} for row in found]
        for row, values in zip(rows, found, strict=True):
            row |= {name: values["value"], f"{name}_spread": values["spread"]}
    write_csv(out / "fid_by_size.csv", rows)
    return limits


def write_nearest(
    out: Path, matches: dict[float, Match], pictures: Pictures, G: Generator, given: Given
) -> list[Result]:
    """nearest.csv and the pictures of the closest pairs; returns the results about memorising."""
    training = pictures.training
    ids = [row["id"] for row, trained in zip(pictures.rows, pictures.trained, strict=True) if trained]
    domains = {row["id"]: row["domain"] for row in pictures.rows}
    usual = copies.find(training, training, held_out=True)
    limit = measures.copied_from(usual.score)

    def rows(kind: str, psi: float | None, found: Match) -> list[dict[str, Any]]:
        return [
            {
                "kind": kind,
                "psi": psi,
                "seed": n if psi is not None else None,
                "id": ids[n] if psi is None else None,
                "nearest": ids[found.index[n]],
                "nearest_domain": domains[ids[found.index[n]]],
                "score": found.score[n],
                "form": str(found.form[n]),
                "copy": int(found.score[n] > limit),
            }
            for n in range(len(found.index))
        ]

    psis = psis_of(given)[0]
    everything = [row for psi in psis for row in rows("generated", psi, matches[psi])]
    write_csv(out / "nearest.csv", everything + rows("held-out", None, usual))

    def generated(seed: int) -> Pixels:
        img: Pixels = draw(G, range(seed, seed + 1), 1.0)[0]
        return img

    show_pairs(out / "closest_pairs.png", generated, training, matches[1.0])
    show_pairs(out / "closest_held_out.png", training.__getitem__, training, usual)
    return [measures.copying(psi, matches[psi].score, usual.score) for psi in psis] + [
        measures.copying(None, usual.score, usual.score)
    ]


def show_pairs(path: Path, query: Callable[[int], Pixels], training: Pixels, found: Match) -> None:
    """The images with the highest score in one row, below each the training image that it is like, laid over it."""
    chosen = closest(found.score)
    above = [query(n) for n in chosen]
    below = [found.form[n].apply(training[found.index[n]]) for n in chosen]
    side = min(SIDE, training.shape[1])
    images.save_png(path, images.grid(np.stack([images.resize(img, side) for img in above + below]), len(chosen)))


def closest(score: Features) -> list[int]:
    """The images with the highest score, best first."""
    return [int(n) for n in np.argsort(-score, kind="stable")[:PAIRS]]


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A table with rounded numbers."""
    frame = pd.DataFrame([{key: rounded(value) for key, value in row.items()} for row in rows])
    if "seed" in frame:
        frame["seed"] = frame["seed"].astype("Int64")
    frame.to_csv(path, index=False, lineterminator="\n")


def rounded(value: Any) -> Any:
    """A float with DIGITS significant digits; anything else as it is."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, (float, np.floating)) else value
