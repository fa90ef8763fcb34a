"""How fast are near hashes found, and which copies of pictures are?

    python benchmarks/dedupe.py --faces DIR --json OUT [--pictures 100] [--largest 1000000] [--half second]

search: pairs of 256-bit hashes within 36 bits, random ones with a hundredth of near copies, and clustered ones; one
process each, so that its peak of memory is its own. Beside it, where that takes seconds, comparing all with all.

found: DIR holds faces.csv (columns path, class, has_face, group) and its images. Whole pictures are changed, go through
stages crop and resize by the committed parameters, and stage dedupe says whether the crop is a copy of the original's.
Pictures whose copy has no crop do not count. The limits were chosen on the first half of the groups; the second half is
reported. false: linked pairs of originals of different groups. Beside it imagededup's hashes of the whole pictures at
its usual limit of 10 of 64 bits, if it is installed (no part of the requirements).
"""

import argparse
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from semireal import images
from semireal.curate import dedupe, resize
from semireal.faces import crop, detect, upright
from semireal.images import Pixels
from semireal.params import whole
from semireal.vision import hashes, landmarks, neighbours

ROOT = Path(__file__).resolve().parents[1]
BITS = 36
USUAL = 10  # of 64 bits
Rng = np.random.Generator


# --- search ---------------------------------------------------------------------------------------


def hashes_of(kind: str, count: int) -> neighbours.Words:
    """Random hashes, a hundredth with a near copy; or clusters of twenty, 26 bits around their middle."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**64, (count, 4), dtype=np.uint64)
    if kind == "random":
        few = count // 100
        words[:few] = words[count - few :]
    else:
        few, words = count, words[rng.integers(0, count // 20, count)]
    for start in range(0, few, 10_000):
        part = words[start : min(start + 10_000, few)]
        part ^= np.packbits(rng.random((len(part), 256)) < 0.1, axis=1).view(np.uint64)
    return words


def one_search(kind: str, count: int, plainly: bool) -> dict[str, float]:
    """Seconds, seconds of CPU, and the peak of memory of this process."""
    words = hashes_of(kind, count)
    if plainly:
        neighbours.PLAIN = 0.0
    start, cpu = time.perf_counter(), time.process_time()
    found = neighbours.groups(words, BITS)
    done = {"seconds": time.perf_counter() - start, "CPU seconds": time.process_time() - cpu}
    status = Path("/proc/self/status").read_text()  # getrusage counts what the process was before, too
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return done | {"peak MB": peak, "groups": int(found.max()) + 1}


def search(largest: int) -> pd.DataFrame:
    """All sizes, each in a process of its own; the exponent is that of CPU time from the size before."""
    rows: list[dict[str, Any]] = []
    sizes = [size for size in (10_000, 100_000, 1_000_000) if size <= largest]
    cases = [(kind, size, False) for kind in ("random", "clustered") for size in sizes] + [("random", sizes[0], True)]
    cases += [("random", 30_000, True)]
    for kind, size, plainly in tqdm(cases, desc="search"):
        call = [sys.executable, __file__, "--one", kind, str(size), str(int(plainly))]
        done = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        name = f"{kind}, all with all" if plainly else kind
        rows.append({"hashes": name, "count": size} | done)
        before = rows[-2] if len(rows) > 1 else rows[-1]
        if before["hashes"] == name and before["count"] < size:
            grown = np.log(done["CPU seconds"] / before["CPU seconds"]) / np.log(size / before["count"])
            rows[-1]["exponent"] = float(grown)
    return pd.DataFrame(rows)


# --- found ----------------------------------------------------------------------------------------


def watermark(img: Pixels, rng: Rng) -> Pixels:
    """A text across the picture, half transparent."""
    whole_img = Image.fromarray(img).convert("RGBA")
    width, height = whole_img.size
    layer = Image.new("RGBA", whole_img.size, (0, 0, 0, 0))
    place = (width * 0.12, height * rng.uniform(0.3, 0.7))
    font = ImageFont.load_default(size=max(width // 9, 10))
    ImageDraw.Draw(layer).text(place, "sample.example", fill=(255, 255, 255, 140), font=font)
    return np.asarray(Image.alpha_composite(whole_img, layer).convert("RGB"))


def cut(img: Pixels, rng: Rng, share: float) -> Pixels:
    """Without a share of width and height, anywhere."""
    height, width = (round(length * (1 - share)) for length in img.shape[:2])
    y, x = rng.integers(0, img.shape[0] - height + 1), rng.integers(0, img.shape[1] - width + 1)
    return img[y : y + height, x : x + width]


def border(img: Pixels, rng: Rng) -> Pixels:
    """Black or white, a twentieth of the longer side."""
    wide = round(0.05 * max(img.shape[:2]))
    return np.pad(img, ((wide, wide), (wide, wide), (0, 0)), constant_values=int(rng.choice([0, 255])))


def turned(img: Pixels, rng: Rng) -> Pixels:
    """By 3 degrees; corners are black."""
    return np.asarray(Image.fromarray(img).rotate(float(rng.choice([-3, 3])), Image.Resampling.BICUBIC))


def half(img: Pixels, _: Rng) -> Pixels:
    """Half the size."""
    size = img.shape[1] // 2, img.shape[0] // 2
    return np.asarray(Image.fromarray(img).resize(size, Image.Resampling.LANCZOS))


def lit(img: Pixels, by: float) -> Pixels:
    """Brighter or darker."""
    return np.asarray((img * by).round().clip(0, 255), np.uint8)


def grey(img: Pixels, _: Rng) -> Pixels:
    """Without colours."""
    return np.repeat(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2).astype(np.uint8)


WAYS: dict[str, Callable[[Pixels, Rng], Pixels]] = {
    "JPEG at quality 30": lambda img, _: img,
    "half size": half,
    "brightness 0.7": lambda img, _: lit(img, 0.7),
    "brightness 1.3": lambda img, _: lit(img, 1.3),
    "watermark": watermark,
    "grey": grey,
    "turned 3 degrees": turned,
    "5 % cut": lambda img, rng: cut(img, rng, 0.05),
    "10 % cut": lambda img, rng: cut(img, rng, 0.1),
    "border": border,
    "mirrored": lambda img, _: img[:, ::-1],
}


def saved(img: Pixels, quality: int) -> bytes:
    """As JPEG, like copies that go around."""
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(img)).save(data, "JPEG", quality=quality)
    return data.getvalue()


def others(data: bytes) -> dict[str, NDArray[np.uint8]]:
    """imagededup's hashes of a whole picture, as bytes; none where it is not installed."""
    try:
        from imagededup.methods import hashing  # type: ignore[import-not-found]
    except ImportError:
        return {}
    img = images.decode(data)
    kinds = {"pHash": hashing.PHash, "dHash": hashing.DHash, "wHash": hashing.WHash, "aHash": hashing.AHash}
    return {
        f"imagededup {name}": np.frombuffer(bytes.fromhex(kind(verbose=False).encode_image(image_array=img)), np.uint8)
        for name, kind in kinds.items()
    }


class Made:
    """Whole pictures, their finished crops in a folder, and what is measured on both."""

    def __init__(self, folder: Path) -> None:
        self.given = whole.load(ROOT / "params.yaml")
        self.folder, self.rows, self.measured, self.others = folder, [], [], []  # type: ignore[var-annotated]
        self.seconds = [0.0, 0.0]
        shape = self.given.crop
        self._detector = detect.make(shape.detector_photo, shape.score, shape.detect_size, shape.min_face)
        self._up = upright.Upright()
        (folder / "images").mkdir()

    def add(self, data: bytes, domain: str, id_: str) -> int | None:
        """Index of the picture; None if it has no crop."""
        path = self.folder / "raw.jpg"
        path.write_bytes(data)
        about, stem = {"id": id_, "domain": domain}, self.folder / id_
        rows = crop.crop_image(path, about, self._detector, self._up, self.given.crop, self.given.resize, stem)
        if not rows[0]["file"]:
            return None
        data = resize.finished(self.folder / rows[0]["file"], self.given.resize)
        row = rows[0] | {"file": f"images/{rows[0]['id']}.jpg"}
        (self.folder / row["file"]).write_bytes(data)
        small = images.decode(data)
        start = time.thread_time()
        hashes.of(small)
        middle = time.thread_time()
        hashes.heads(small, landmarks.of(row) if row["landmarks"] else None)
        self.seconds = [a + b for a, b in zip(self.seconds, (middle - start, time.thread_time() - middle), strict=True)]
        self.rows.append(row)
        self.measured.append(dedupe.measure(small, row))
        self.others.append(others(data))
        return len(self.rows) - 1


def chosen(faces: Path, half_of: str, most: int) -> pd.DataFrame:
    """Pictures with a face, of one half of the groups."""
    table = pd.read_csv(faces / "faces.csv")
    table = table[table["class"].isin(["photo", "portrait"]) & (table["has_face"] == 1)]
    names = np.random.default_rng(0).permutation(sorted(table["group"].unique()))
    table = table[table["group"].isin(names[int(half_of == "second") :: 2])]
    return table.sample(min(most, len(table)), random_state=0)


def found(faces: Path, half_of: str, most: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """By way and method the share of copies that are found; and falsely linked pairs, and ms per image."""
    with TemporaryDirectory() as folder:
        made = Made(Path(folder))
        originals: list[int] = []
        groups: list[str] = []
        pairs: list[tuple[str, int, int]] = []
        for number, record in enumerate(tqdm(chosen(faces, half_of, most).to_dict("records"), desc="copies")):
            img = images.load_rgb(faces / record["path"])
            first = made.add(saved(img, 85), record["class"], f"{number}-0")
            if first is None:
                continue
            originals.append(first)
            groups.append(record["group"])
            for way, change in WAYS.items():
                data = saved(change(img, np.random.default_rng(number)), 30 if "JPEG" in way else 85)
                copy = made.add(data, record["class"], f"{number}-{way.replace(' ', '').replace('%', '')}")
                pairs += [(way, first, copy)] if copy is not None else []
        return judged(made, originals, groups, pairs)


def judged(
    made: Made, originals: list[int], groups: list[str], pairs: list[tuple[str, int, int]]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of `found`: stage dedupe, the same by its first hash alone, and imagededup."""
    limits = made.given.dedupe
    alone = type(limits)(limits.max_distance, None)
    ours = {
        "dedupe": dedupe.Seen(made.folder, made.rows, made.measured, limits),
        "hash of the crop": dedupe.Seen(made.folder, made.rows, made.measured, alone),
    }
    tests: dict[str, Callable[[int, int], bool]] = {
        name: lambda a, b, seen=seen: bool(seen.copies(made.rows[a], [made.rows[b]]))  # type: ignore[misc]
        for name, seen in ours.items()
    }
    for name in made.others[0]:
        tests[name] = lambda a, b, n=name: bool(  # type: ignore[misc]
            np.bitwise_count(made.others[a][n] ^ made.others[b][n]).sum() <= USUAL
        )
    strangers = [(a, b) for i, a in enumerate(originals) for j, b in enumerate(originals[:i]) if groups[i] != groups[j]]
    shares: dict[str, Any] = {}
    wrong: dict[str, int] = {}
    for name, test in tests.items():
        hits = pd.DataFrame([(way, test(a, b)) for way, a, b in pairs], columns=["way", "found"])
        shares[name] = hits.groupby("way", sort=False)["found"].mean().to_dict()
        wrong[name] = sum(test(a, b) for a, b in strangers)
    table = pd.DataFrame(shares)
    table.loc["mean"] = table.mean()
    ms = [1000 * total / len(made.rows) for total in made.seconds]
    more = {
        "false": wrong,
        "pairs of strangers": len(strangers),
        "ms per image": dict(zip(("crop", "head"), ms, strict=True)),
    }
    return table, more | {"pictures": len(originals), "copies": len(pairs)}


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pictures", type=int, default=100, help="0: the search alone")
    parser.add_argument("--largest", type=int, default=1_000_000, help="0: no search")
    parser.add_argument("--half", choices=["first", "second"], default="second")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        kind, count, plainly = asked.one
        print(json.dumps(one_search(kind, int(count), plainly == "1")))
        return
    cv2.setNumThreads(1)
    result: dict[str, Any] = {}
    if asked.pictures:
        table, more = found(asked.faces, asked.half, asked.pictures)
        print(table.round(2).to_string(), json.dumps(more, indent=1), sep="\n")
        result["found"] = {"half": asked.half, "share": table.round(4).to_dict(), **more}
    if asked.largest:
        searched = search(asked.largest)
        print(searched.round(2).to_string(index=False))
        result["search"] = searched.round(3).astype(object).where(searched.notna(), None).to_dict("records")
    asked.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
