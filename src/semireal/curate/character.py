"""Is a head that of the character? The odd ones out, then what a person's decisions teach about the others.

A decision teaches by its reason: what was rejected as decisions.STRANGER is somebody else, what was kept is the
character. Rejected for another reason it says nothing about who it is.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from semireal import images, manifest, measured, stage, workers
from semireal.curate import filter
from semireal.curate.decisions import KEEP, REJECT, STRANGER, Decision
from semireal.manifest import Row
from semireal.measured import Image, Job
from semireal.params.filter import Filter
from semireal.vision import efficientnet, identity
from semireal.vision.identity import Heads, Vector

SIDE = 256  # px; heads are looked at in one size

_nets = workers.Pool(efficientnet.load)  # one for each thread


@dataclass(frozen=True)
class Known:
    """What is known of a set: ids and heads in one order, answers by number, and, if any taught it, probabilities."""

    ids: Sequence[str]
    heads: Heads
    answers: Mapping[int, bool]
    learned: Vector | None

    def to_ask(self, count: int) -> list[str]:
        """Ids of up to `count` heads about which a person should be asked."""
        return [self.ids[number] for number in identity.to_ask(self.heads, self.learned, self.answers, count)]

    def wrong(self) -> float | None:
        """How many heads without an answer are taken wrongly, as far as the probabilities know; None without them."""
        if self.learned is None:
            return None
        left = [value for number, value in enumerate(self.learned) if number not in self.answers]
        return float(np.minimum(left, np.subtract(1, left)).sum())


def known(paths: Sequence[Path], rows: Sequence[Row], decided: Mapping[str, Decision]) -> Known | None:
    """Look at heads, each once and not again, and learn from decisions by id; None of fewer than two heads.

    paths: of the files, in the order of their rows, of which `id` and `domain` are taken.
    """
    found = measured.each(Job("character", __name__, None, _looked_at), [Image(path) for path in paths])
    seen = [(row, one.value) for row, one in zip(rows, found, strict=True) if one is not None]
    if len(seen) < 2:
        return None
    ids = [str(row["id"]) for row, _ in seen]
    vectors = np.stack([_read(value) for _, value in seen])
    heads = identity.compared(vectors, [str(row["domain"]) for row, _ in seen])
    answers = answered(ids, decided)
    return Known(ids, heads, answers, identity.probabilities(heads, answers))


def recognised(resized: Path, looked: Sequence[Row], params: Filter, decided: Mapping[str, Decision]) -> Sequence[Row]:
    """The rows of stage filter, `character` in those that its other rules keep: the probability of being it.

    As they are while nothing was learned.
    """
    rest = [row for row in looked if row["status"] == manifest.KEPT and not filter.verdict(row, params)]
    found = known([resized / row["file"] for row in rest], rest, decided)
    if found is None or found.learned is None:
        stage.say(
            f"filter: filter.min_character has nothing to go by: nobody was rejected as {STRANGER!r} yet. "
            "`semireal review` asks for those whose answer helps most"
        )
        return looked
    shares = dict(zip(found.ids, found.learned.round(4).tolist(), strict=True))
    return [row | {"character": shares[row["id"]]} if row["id"] in shares else row for row in looked]


def answered(ids: Sequence[str], decided: Mapping[str, Decision]) -> dict[int, bool]:
    """What decisions say about who it is: by place in ids, whether it is the character."""
    found = {}
    for number, key in enumerate(ids):
        made = decided.get(key)
        if made is not None and made.decision == KEEP:
            found[number] = True
        if made is not None and made.decision == REJECT and made.reason == STRANGER:
            found[number] = False
    return found


def _looked_at(path: Path, _: None, __: Path) -> tuple[str, Sequence[Path]]:
    """The features of a head as a text; see semireal.measured.Job.work."""
    head = cv2.resize(images.load_rgb(path), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    with _nets.borrowed() as net:
        vector = identity.features(net, np.asarray(head, np.uint8)[None])[0]
    return base64.b64encode(vector.astype("<f2").tobytes()).decode(), ()


def _read(text: str) -> NDArray[np.float16]:
    return np.frombuffer(base64.b64decode(text), "<f2")
