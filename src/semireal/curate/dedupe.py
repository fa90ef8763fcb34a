"""dedupe: of each group of near-duplicates keep one."""

import shutil
from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semireal import images, manifest, measured
from semireal.curate import quality, variety
from semireal.curate.decisions import DOMAIN_BY_HAND, KEPT_BY_HAND
from semireal.images import Pixels
from semireal.manifest import Row
from semireal.measured import Image, Job
from semireal.params.dedupe import Dedupe
from semireal.vision import copies, hashes, landmarks, neighbours
from semireal.vision.hashes import Words

SAME = 1.15  # sides of sources that differ by a smaller factor are about the same
# enlarged copies show 1.00 to 1.13 times the detail of their originals, sources of 1.5 times the side 1.06 to 1.72
# times, 1.43 in the median (benchmarks/thresholds.py)
FINER = 1.13
# scores of 154 copies that went through crop again were 0.95 and more (kinds of benchmarks/dedupe.py, the half of the
# groups that is not reported there), of the demo's pictures that show one drawn face in two ways 0.82 at most
SAME_DETAILS = 0.9
LOOK = 64  # px, as semireal.vision.copies looks at them
AT_HAND = 20_000  # pictures of that size that are kept, 12 kB each: of many versions of one each is looked at often
MIRRORED = hashes.packed(hashes.mirrored(np.zeros(hashes.HEAD_BITS, bool)))  # bits that change their sign

# what the measures of an image depend on, beside its pixels
GIVEN = ("landmarks", "crop_box", "angle")

Copies = Callable[[Row, list[Row]], list[Row]]


def run(filtered: Path, out: Path, params: Dedupe) -> None:
    """Read `filtered`, copy the survivors to `out`, with manifest and report."""
    write(filtered, out, look(filtered), params)


def look(filtered: Path) -> list[tuple[Row, dict[str, Any] | None]]:
    """The rows of the images and what is known of each, see `measure`; None of one that ends its program."""
    rows = manifest.read_kept(filtered, "domain", "source", "crop_side", "sharpness")
    asked = [Image(filtered / row["file"], {name: row.get(name) for name in GIVEN}) for row in rows]
    found = measured.each(Job("dedupe", __name__, None, measured_image), asked)
    return [(row, one.value if one else None) for row, one in zip(rows, found, strict=True)]


def measured_image(path: Path, given: Row, _: Path) -> tuple[dict[str, Any], Sequence[Path]]:
    """What is known of an image; see semireal.measured.Job.work."""
    return measure(images.load_rgb(path), given), ()


def write(filtered: Path, out: Path, looked: Sequence[tuple[Row, dict[str, Any] | None]], params: Dedupe) -> None:
    """Copy the survivors, with manifest and report."""
    (out / "images").mkdir()
    known = [(row, one) for row, one in looked if one]
    found = [one for _, one in known]
    rows = [row | {"phash": one["phash"], "fine": one["fine"]} for row, one in known]
    seen = Seen(filtered, rows, found, params)
    decided: list[Row] = []
    with tqdm(total=len(rows), desc="dedupe", unit="img", mininterval=1) as bar:
        for group in seen.groups():
            decided += decide([rows[index] for index in group], seen.copies)
            bar.update(len(group))
    for row in decided:
        if row["file"]:
            shutil.copyfile(filtered / row["file"], out / row["file"])
    decided += [manifest.rejected(row, measured.DIED) for row, one in looked if not one]
    about = {"variety": variety.summary(decided)}
    manifest.save(out, decided, "dedupe", "Look at the manifest of the filtered images", **about)


def measure(img: Pixels, row: Row) -> dict[str, Any]:
    """What is known of a finished crop: `phash`, `heads`, the hashes of its head, and `fine`, its detail.

    `fine`, unlike `detail`, is measured at the size that all have by now.
    """
    return {
        "phash": hashes.text(hashes.of(img)),
        "heads": [hashes.text(bits) for bits in hashes.heads(img, landmarks.of(row) if row.get("landmarks") else None)],
        "fine": round(quality.detail(img)),
    }


class Seen:
    """Which pictures show the same, by their hashes, and where only those of the heads say so, by their pixels.

    A mirror image is the same picture, also to training, which mirrors itself or must not see the like.
    """

    def __init__(self, folder: Path, rows: list[Row], found: list[dict[str, Any]], params: Dedupe) -> None:
        self._folder, self._params = folder, params
        self._small = lru_cache(AT_HAND)(self._read_small)
        self._index = {row["id"]: index for index, row in enumerate(rows)}
        self._crops = _words([one["phash"] for one in found])
        self._heads = _words([text for one in found for text in one["heads"]])

    def groups(self) -> list[list[int]]:
        """Indices of pictures that may be linked, though not each with each; both levels are sorted."""
        kinds = [neighbours.groups(self._crops, self._params.max_distance)[:, None]]
        if self._params.max_head_distance is not None:
            both = np.concatenate([self._heads, self._heads ^ MIRRORED])
            views = neighbours.groups(both, self._params.max_head_distance)
            kinds += [views.reshape(2, len(self._crops), -1).transpose(1, 0, 2).reshape(len(self._crops), -1)]
        labels = neighbours.joined(*kinds)
        order = np.argsort(labels, kind="stable")
        return [part.tolist() for part in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(part)]

    def copies(self, row: Row, others: list[Row]) -> list[Row]:
        """Those of the others that show the same as one picture."""
        one, places = self._index[row["id"]], np.array([self._index[other["id"]] for other in others], np.int64)
        sure = _apart(self._crops[one], self._crops[places]) <= self._params.max_distance
        doubt = np.flatnonzero(~sure & self._may_be(one, places))
        if len(doubt):
            sure[doubt] = self._alike(row, [others[place] for place in doubt])
        return [other for other, same in zip(others, sure, strict=True) if same]

    def _may_be(self, one: int, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether any view of their heads [N] is near any of one head, or of its mirror image."""
        if self._params.max_head_distance is None:
            return np.zeros(len(places), bool)
        heads = self._heads.reshape(len(self._crops), len(hashes.VIEWS), -1)
        mine = np.concatenate([heads[one], heads[one] ^ MIRRORED])
        least = [_apart(view, heads[places]).min(axis=1) for view in mine]
        return np.asarray(np.min(least, axis=0) <= self._params.max_head_distance)

    def _alike(self, row: Row, others: list[Row]) -> NDArray[np.bool_]:
        """The second look: whether the details of the pictures are the same."""
        pictures = [self._small(str(one["file"])) for one in [row, *others]]
        return copies.find(np.stack(pictures[1:]), np.stack(pictures[:1])).score >= SAME_DETAILS

    def _read_small(self, file: str) -> Pixels:
        return images.resize(images.load_rgb(self._folder / file), LOOK)


def _words(texts: list[str]) -> Words:
    """Hashes [N, W] of their hexadecimal digits."""
    if not texts:
        return np.zeros((0, 1), np.uint64)
    found = np.frombuffer(bytes.fromhex("".join(texts)), np.uint8).reshape(len(texts), -1)
    return np.pad(found, ((0, 0), (0, -found.shape[1] % 8))).view(np.uint64)


def _apart(one: Words, others: Words) -> NDArray[np.int64]:
    """Bits in which hashes [..., W] differ from one [W]."""
    return np.asarray(np.bitwise_count(others ^ one).sum(axis=-1, dtype=np.int64))


def better(small: Row, large: Row) -> Row:
    """The better one of two copies, where the second has the larger source, or about the same and a sharper picture.

    A source that is clearly larger, but shows no finer detail, was enlarged, and the other one may be its original.
    """
    larger = large["crop_side"] > SAME * small["crop_side"]
    return small if larger and large["fine"] < FINER * small["fine"] else large


def decide(group: list[Row], copies_of: Copies = lambda _, others: others) -> list[Row]:
    """Of pictures that may be copies keep those that are none of a kept one, and those that a person kept.

    copies_of: which of some rows show the same picture as one. No chains: each picture that is left out is a copy of
    the very one that is named as its survivor. The best of all survives, then the best of those that are no copies of
    it, and so on. The best one was kept by hand, or else has the largest source that was not enlarged: see `better`.
    The order of the rows does not matter. Where the sources do not agree on the domain, it is what a person said of a
    copy, or else what was measured.
    """
    rest, decided = sorted(group, key=lambda row: str(row["id"])), []
    while rest:
        best = _best(rest)
        named = {best["id"]: best}  # survivor of each, by id
        keep = [best]
        for one in keep:  # and those kept by hand that are met
            found = copies_of(one, [row for row in rest if row["id"] not in named])
            named |= {row["id"]: one for row in found}
            keep += [row for row in found if _by_hand(row)]
        decided += _marked([row for row in rest if row["id"] in named], best, named)
        rest = [row for row in rest if row["id"] not in named]
    return decided


def _by_hand(row: Row) -> bool:
    return row.get("note") == KEPT_BY_HAND


def _best(rows: list[Row]) -> Row:
    """The one that survives, if all show the same."""
    candidates = [row for row in rows if _by_hand(row)] or rows
    from_last = sorted(candidates, key=lambda row: row["id"], reverse=True)  # of equals the first one wins
    return reduce(better, sorted(from_last, key=lambda row: (row["crop_side"], row["sharpness"])))


def _marked(group: list[Row], best: Row, named: dict[str, Row]) -> list[Row]:
    """The rows of copies, kept or not, with their cluster and survivors."""
    cluster = min(row["id"] for row in group) if len(group) > 1 else ""
    contested = len({row["domain"] for row in group}) > 1
    reason = manifest.NEAR_DUPLICATE + (manifest.OTHER_DOMAIN if contested else "")
    decided = []
    for row in group:
        marks = {"cluster": cluster, "survivor": named[row["id"]]["id"] if cluster else ""}
        if row is best and contested:
            decided.append(manifest.kept(row, **marks, domain=_settled(row, group)))
        elif row is best or _by_hand(row):
            decided.append(manifest.kept(row, **marks))
        else:
            decided.append(manifest.rejected(row, reason, **marks))
    return decided


def _settled(survivor: Row, group: list[Row]) -> str:
    """The domain of copies that are declared as both."""
    if survivor.get("note") in (DOMAIN_BY_HAND, KEPT_BY_HAND):
        return str(survivor["domain"])
    said = {row["domain"] for row in group if row.get("note") == DOMAIN_BY_HAND}
    return str(said.pop()) if len(said) == 1 else quality.measured(survivor)
