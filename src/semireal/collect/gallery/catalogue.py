"""Which posts the gallery has: good pictures, and among them what a real site also has."""

import itertools
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from semireal.collect.gallery import finish, scene, spoil
from semireal.collect.gallery.faces import ANYBODY, CHARACTERS, STYLES, Box, draw, face_box, passes_for
from semireal.collect.gallery.ink import Colour, Image

Kind = Literal[
    "good", "noface", "sketch", "anime", "duplicate", "tiny", "blurred", "truncated", "html", "intruder", "made"
]

_KINDS = get_args(Kind)
_FACES = ("good", "intruder", "made")  # as they were drawn
TAGS = (*CHARACTERS, ANYBODY)
GOOD_PER_STYLE = dict.fromkeys(CHARACTERS, 112) | {ANYBODY: 750}
# Posts of each kind per character and style, besides the good ones: a quarter of the list of a character.
_SPOILED: dict[Kind, int] = {
    "noface": 8,
    "sketch": 6,
    "anime": 5,
    "duplicate": 8,
    "tiny": 3,
    "blurred": 3,
    "truncated": 3,
    "html": 2,
}
# Good pictures of somebody else per character and style: a twelfth of the list, as a search by a tag finds them.
INTRUDERS = dict.fromkeys(CHARACTERS, 13) | {ANYBODY: 0}
# Good pictures per character and style that are marked as made by a machine: one by a tag, the others by their files.
_MADE = dict.fromkeys(CHARACTERS, ("jpeg", "declared", "settings")) | {ANYBODY: ()}
_MADE_TAG = "ai_generated"
# Good pictures per character and style in other encodings than an ordinary JPEG.
_ENCODED = {
    "png": 7,
    "webp": 6,
    "cmyk": 2,
    "deep": 1,
    "palette": 1,
    "alpha": 2,
    "turned": 3,
    "gif": 1,
    "apng": 1,
    "moving_webp": 1,
}
_NEWEST = 1_700_000_000  # s since 1970; the posts are an hour apart
_AUTHORS = (
    "aldra",
    "brenwick",
    "corvane",
    "dunmire",
    "eskelo",
    "faelin",
    "gorsthill",
    "hanneke",
    "ivarra",
    "jorunda",
)
_LICENCES = ("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0")
_TITLES = (
    "study",
    "in the morning",
    "commission",
    "by the road",
    "close-up",
    "old work",
    "evening light",
    "quick one",
)
_CARTOON: dict[str, tuple[list[Colour], Colour]] = {
    "elf": ([(240, 210, 130), (120, 190, 120), (210, 110, 80)], (90, 180, 110)),
    "geralt": ([(232, 232, 238)], (240, 180, 50)),
    "wonder_woman": ([(62, 44, 60)], (90, 140, 220)),
}
_CARTOON[ANYBODY] = ([hair for hairs, _ in _CARTOON.values() for hair in hairs], (90, 180, 110))


@dataclass(frozen=True)
class Post:
    """One entry of the gallery: what its page says, and (from `kind` on) how its file is made."""

    id: int
    tags: tuple[str, ...]
    title: str
    author: str
    licence: str
    created_at: int
    extension: str
    kind: Kind
    encoding: str
    character: str
    style: str
    number: int
    seed: int


@dataclass(frozen=True)
class Truth:
    """What a post really shows; `box` is in px of the turned original, None without a photographic face.

    Near-duplicates and their originals share `group`.
    """

    kind: Kind
    style: str
    encoding: str
    box: Box | None
    group: int | None


def _rng(seed: int, character: str, style: str, purpose: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, TAGS.index(character), STYLES.index(style), purpose, number])


def posts(character: str, seed: int = 0) -> list[Post]:
    """List the posts of one character, or of anybody, newest first; ValueError for a character that is not drawn."""
    if character not in TAGS:
        raise ValueError(f"found character {character!r}, need one of {', '.join(TAGS)}")
    which, good = TAGS.index(character), GOOD_PER_STYLE[character]
    rng = np.random.default_rng([seed, which])
    plans: list[tuple[str, Kind, str, int]] = []
    for style in STYLES:
        odd = [name for name, count in _ENCODED.items() for _ in range(count)]
        encodings = rng.permutation([*odd, *["jpeg"] * (good - len(odd))])
        plans += [(style, "good", str(encoding), number) for number, encoding in enumerate(encodings)]
        for kind, count in _SPOILED.items():
            originals = rng.choice(good, count, replace=False)
            numbers = originals if kind == "duplicate" else np.arange(count) + 1000
            plans += [(style, kind, "jpeg", int(number)) for number in numbers]
        plans += [(style, "intruder", "jpeg", number) for number in _strangers(seed, character, style)]
    order = rng.permutation(len(plans)).tolist()
    # at the end of the list, so that they change nothing about the others
    made = [(style, "made", name, 3000 + n) for style in STYLES for n, name in enumerate(_MADE[character])]
    out = []
    for place, (style, kind, encoding, number) in enumerate([*(plans[k] for k in order), *made]):
        marks = [_MADE_TAG] if kind == "made" and encoding == "jpeg" else []
        title, author, licence = (str(rng.choice(names)) for names in (_TITLES, _AUTHORS, _LICENCES))
        out.append(
            Post(
                id=(which + 1) * 10_000 + len(plans) - place,
                tags=tuple(sorted((character, style, str(rng.choice(("fantasy", "fan_art", "character"))), *marks))),
                title=f"{character.replace('_', ' ')}, {title}",
                author=author,
                licence=licence,
                created_at=_NEWEST - 3600 * place,
                extension=spoil.ENCODINGS[encoding][0],
                kind=kind,
                encoding=encoding,
                character=character,
                style=style,
                number=number,
                seed=seed,
            )
        )
    return out


def _picture_rng(post: Post) -> np.random.Generator:
    """What decides the character's picture behind a post; a near-duplicate has its original's."""
    return _rng(post.seed, post.character, post.style, 0, post.number)


def shown(post: Post) -> str:
    """Who is in the picture: the character that it is tagged with, or somebody else."""
    return _stranger(post.seed, post.character, post.style, post.number) if post.kind == "intruder" else post.character


def _stranger(seed: int, character: str, style: str, number: int) -> str:
    others = [name for name in CHARACTERS if name != character]
    rng = _rng(seed, character, style, 1 + _KINDS.index("intruder"), number)
    return str(rng.choice([ANYBODY, *others], p=[0.6, 0.2, 0.2]))


def _strangers(seed: int, character: str, style: str) -> list[int]:
    """Numbers of the intruders; nobody who has the mark of the character, a pointed ear say, is one."""
    found: list[int] = []
    for number in itertools.count(2000):
        if len(found) == INTRUDERS[character]:
            break
        who = _stranger(seed, character, style, number)
        if not passes_for(character, who, _rng(seed, character, style, 0, number)):
            found.append(number)
    return found


def _picture(post: Post) -> Image:
    return draw(shown(post), post.style, _picture_rng(post))


def _faceless(post: Post, rng: np.random.Generator) -> Image:
    height, width = int(rng.integers(560, 900)), int(rng.integers(560, 900))
    image = scene.faceless(height, width, rng)
    if post.style == "photo":
        return finish.photograph(image, rng)
    focus = (width / 2, height / 2, width / 4)
    return finish.painting(image, focus, np.zeros((height, width), np.uint8), rng)


def render(post: Post) -> bytes:
    """Make the bytes of a post's file; the same post gives the same bytes."""
    rng = _rng(post.seed, post.character, post.style, 1 + _KINDS.index(post.kind), post.number)
    if post.kind in _FACES:
        return spoil.ENCODINGS[post.encoding][1](_picture(post), rng)
    if post.kind == "html":
        return spoil.PAGE
    if post.kind == "noface":
        return spoil.jpeg(_faceless(post, rng), 90)
    if post.kind == "anime":
        hairs, iris = _CARTOON[post.character]
        size = int(rng.integers(560, 860))
        return spoil.jpeg(spoil.cartoon(size, size, hairs[rng.integers(len(hairs))], iris, rng), 92)
    spoilers = {
        "sketch": spoil.pencil,
        "duplicate": spoil.near_copy,
        "tiny": spoil.thumbnail,
        "blurred": spoil.washed_out,
        "truncated": spoil.truncated,
    }
    return spoilers[post.kind](_picture(post), rng)


def truth(post: Post) -> Truth:
    """Tell what a post shows; for tests and measurements only."""
    grouped = post.kind in ("good", "duplicate")
    group = post.number + (0 if post.style == STYLES[0] else GOOD_PER_STYLE[post.character]) if grouped else None
    box = face_box(shown(post), post.style, _picture_rng(post)) if post.kind in _FACES else None
    return Truth(post.kind, post.style, post.encoding, box, group)
