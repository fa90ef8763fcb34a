"""How does the default detector do on pictures of which neither it nor we knew anything?

    for name in wesnoth-1.16-{data,httt,low,trow,sota,ei,did,nr} mate-backgrounds gnome-backgrounds \\
        plasma-workspace-wallpapers freeorion-data; do apt-get download $name; done
    for file in *.deb; do dpkg-deb -x $file DIR; done
    python benchmarks/detect_elsewhere.py DIR --json OUT [--sheets FOLDER]

The painted figures of a game in Debian, most of them from the knees up, and pictures without a face: photos and
paintings of landscapes, beasts and planets. Looked at by eye: in those that NO_FACE names a helmet, a mask or a hood
hides the face, or it is one of a snake, a lizard, a tree or a skull.

portraits: share in which a face is found. false: share of the faceless ones in which one is found. `detector alone`:
without its second look. pictures_per_s: on one thread, without reading files, beside YuNet alone.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from semireal import images
from semireal.classifiers import verifier
from semireal.faces import detect
from semireal.files import write_json
from semireal.images import Pixels
from semireal.params import whole

ROOT = Path(__file__).resolve().parents[1]
GAME = "share/games/wesnoth/1.16/data"
PEOPLE = ("humans", "elves", "dwarves", "orcs", "merfolk", "goblins", "trolls", "dunefolk")
BEASTS = ("monsters", "wolves", "woses", "drakes", "nagas", "saurians")
NO_FACE = {
    *("assassin+female", "grand-knight", "grand-knight-2", "halberdier", "iron-mauler", "knight", "lieutenant"),
    *("royal-guard", "royal-warrior", "sovereign", "troll-warrior", "malin_lich-ancient", "mal-ravanal", "Arthian"),
    *("Malifor", "Ro_Sothian", "jevyan", "lady_outlaw", "rithrandil", "rithrandil-winter"),
}
FACE = {"jinn", "ogre", "young-ogre"}  # among the beasts
LONGEST = 1600  # px; wallpapers are larger than what sites of pictures give
SHEET, ACROSS = 200, 8  # px of a picture on a contact sheet, and pictures in a row
EVERY = 6  # of the planets and stars, which are alike
LEAST = 60_000  # bytes; smaller ones are icons


def people(folder: Path) -> Iterator[Path]:
    """The pictures with a face that can be seen."""
    game = folder / "usr" / GAME
    places = [game / "core/images/portraits" / name for name in PEOPLE] + sorted((game / "campaigns").glob("*/images"))
    for place in places:
        for path in _pictures(place):
            if "portraits" in path.parts and path.stem not in NO_FACE:
                yield path


def faceless(folder: Path) -> Iterator[Path]:
    """The pictures without a face."""
    share = folder / "usr/share"
    for path in _pictures(share):
        if path.suffix == ".jpg" and ("background" in str(path) or "wallpaper" in str(path)):
            yield path
    for name in BEASTS:
        for path in _pictures(folder / "usr" / GAME / "core/images/portraits" / name):
            if path.stem not in FACE:
                yield path
    yield from [one for one in _pictures(share / "games/freeorion") if one.stat().st_size > LEAST][::EVERY]


def _pictures(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.suffix in (".png", ".jpg", ".webp")]


def read(path: Path) -> Pixels:
    """A picture of at most LONGEST px."""
    img = images.load_rgb(path)
    return detect.scaled(img, LONGEST)[0] if max(img.shape[:2]) > LONGEST else img


def sheet(pictures: list[Pixels]) -> Pixels:
    """All of them in rows, each on a square of SHEET px."""
    tiles = []
    for img in pictures + [np.zeros((1, 1, 3), np.uint8)] * (-len(pictures) % ACROSS):
        small = detect.scaled(img, SHEET)[0]
        tiles.append(np.pad(small, [(0, SHEET - small.shape[0]), (0, SHEET - small.shape[1]), (0, 0)]))
    return np.concatenate([np.concatenate(tiles[k : k + ACROSS], 1) for k in range(0, len(tiles), ACROSS)])


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--sheets", type=Path)
    given = parser.parse_args()
    verifier.one_thread()
    crop = whole.load(ROOT / "params.yaml").crop
    ways = {
        "default": detect.make(crop.detector_portrait, crop.score, crop.detect_size, largest=True),
        "detector alone": detect.YuNet(crop.score, crop.detect_size),
    }
    sets = {"portraits": list(people(given.folder)), "faceless": list(faceless(given.folder))}
    found: dict[str, dict[str, list[bool]]] = {way: {kind: [] for kind in sets} for way in ways}
    spent = dict.fromkeys(ways, 0.0)
    errors: dict[str, list[Pixels]] = {kind: [] for kind in sets}
    for kind, paths in sets.items():
        for img in map(read, paths):
            for way, detector in ways.items():
                start = time.perf_counter()
                faces = detector(img)
                spent[way] += time.perf_counter() - start
                found[way][kind].append(bool(faces))
            if found["default"][kind][-1] == (kind == "faceless"):
                errors[kind].append(img)
    total = sum(map(len, sets.values()))
    result = {kind: len(paths) for kind, paths in sets.items()} | {
        way: {
            "portraits": round(float(np.mean(of["portraits"])), 4),
            "false": round(float(np.mean(of["faceless"])), 4),
            "pictures_per_s": round(total / spent[way], 1),
        }
        for way, of in found.items()
    }
    print(result)
    write_json(given.json, result)
    if given.sheets:
        given.sheets.mkdir(parents=True, exist_ok=True)
        for kind, pictures in errors.items():
            if pictures:
                cv2.imwrite(str(given.sheets / f"{kind}.png"), sheet(pictures)[..., ::-1])


if __name__ == "__main__":
    main()
