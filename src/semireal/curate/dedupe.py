"""dedupe: of each group of near-duplicates keep one."""

import shutil
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from semireal import images, manifest, workers
from semireal.curate import quality
from semireal.curate.decisions import DOMAIN_BY_HAND, KEPT_BY_HAND
from semireal.manifest import Row
from semireal.params.dedupe import Dedupe
from semireal.vision import hashes
from semireal.vision.hashes import Bits

SAME = 1.15  # sides of sources that differ by a smaller factor are about the same
# enlarged copies show 1.00 to 1.13 times the detail of their originals, sources of 1.5 times the side 1.06 to 1.72
# times, 1.43 in the median (benchmarks/thresholds.py)
FINER = 1.13
ROWS_AT_ONCE = 256  # distances are computed in stripes, so that memory stays linear in the number of images


def run(filtered: Path, out: Path, params: Dedupe) -> None:
    """Read `filtered`, copy the survivors to `out`, with manifest and report."""
    (out / "images").mkdir()

    def one(row: Row) -> tuple[Bits, Row]:
        img = images.load_rgb(filtered / row["file"])
        bits = hashes.of(img)
        # `fine`, unlike `detail`, is measured at the size that all have by now
        return bits, row | {"phash": hashes.text(bits), "fine": round(quality.detail(img))}

    rows = manifest.read_kept(filtered, "domain", "source", "crop_side", "sharpness")
    found = list(workers.each(one, rows, "dedupe"))
    groups = clusters([bits for bits, _ in found], params.max_distance)
    decided = [row for group in groups for row in decide([found[index][1] for index in group])]
    for row in decided:
        if row["file"]:
            shutil.copyfile(filtered / row["file"], out / row["file"])
    manifest.save(out, decided, "dedupe", "Look at the manifest of the filtered images")


def clusters(found: Sequence[Bits], max_distance: int) -> list[list[int]]:
    """Group indices of hashes that are linked by Hamming distances of at most `max_distance` bits.

    found: N hashes [B]. Every index is in exactly one group; both levels are sorted. Time is O(N^2).
    """
    if not found:
        return []
    table = np.stack(found)
    links = [_links(table, start, max_distance) for start in range(0, len(table), ROWS_AT_ONCE)]
    pairs = np.concatenate(links)
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(table), len(table)))
    _, labels = connected_components(graph, directed=False)
    groups: dict[int, list[int]] = {}
    for index, label in enumerate(labels.tolist()):
        groups.setdefault(label, []).append(index)
    return sorted(groups.values())


def better(small: Row, large: Row) -> Row:
    """The better one of two copies, where the second has the larger source, or about the same and a sharper picture.

    A source that is clearly larger, but shows no finer detail, was enlarged, and the other one may be its original.
    """
    larger = large["crop_side"] > SAME * small["crop_side"]
    return small if larger and large["fine"] < FINER * small["fine"] else large


def _links(table: Bits, start: int, max_distance: int) -> NDArray[np.int64]:
    distance = hashes.hamming(table[start : start + ROWS_AT_ONCE], table)
    return np.asarray(np.argwhere(distance <= max_distance) + np.array([start, 0]))


def decide(group: list[Row]) -> list[Row]:
    """Mark the survivor of a group kept and the others rejected, except those that a person kept.

    The survivor was kept by hand, or else has the largest source that was not enlarged: see `better`. Where the sources
    do not agree on the domain, it is what a person said of a copy, or else what was measured.
    """

    def by_hand(row: Row) -> bool:
        return row.get("note") == KEPT_BY_HAND

    candidates = [row for row in group if by_hand(row)] or group
    from_last = sorted(candidates, key=lambda row: row["id"], reverse=True)  # of equals the first one wins
    survivor = reduce(better, sorted(from_last, key=lambda row: (row["crop_side"], row["sharpness"])))
    cluster = min(row["id"] for row in group) if len(group) > 1 else ""
    marks = {"cluster": cluster, "survivor": survivor["id"] if cluster else ""}
    contested = len({row["domain"] for row in group}) > 1
    reason = manifest.NEAR_DUPLICATE + (manifest.OTHER_DOMAIN if contested else "")
    decided = []
    for row in group:
        if row is survivor and contested:
            decided.append(manifest.kept(row, **marks, domain=_settled(row, group)))
        elif row is survivor or by_hand(row):
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
