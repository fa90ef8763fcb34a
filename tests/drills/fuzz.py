"""Files of strangers with bytes changed, left out, doubled or taken from each other, for minutes, read by all readers.

    python tests/drills/fuzz.py --minutes 10 --seed 0 --out FILE.json

Each reader gets its share of the time. A file is survived if it is read, or refused by the error that the reader is
known for, within SECONDS of computing, in MEMORY, and without a program being started. One that is not is kept under
its hash in `.work/fuzz`. What the tests draw at random is the same in each run of theirs; here the seed decides.
"""

import argparse
import pickle
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "src")]

import hostile_images  # noqa: E402 - where it lies is said above
import test_fuzzed_files  # noqa: E402
from conftest import ROOT  # noqa: E402
from semireal import images, manifest  # noqa: E402
from semireal.collect import takedowns  # noqa: E402
from semireal.collect.source import load_sources  # noqa: E402
from semireal.curate import decisions  # noqa: E402
from semireal.errors import UserError  # noqa: E402
from semireal.files import key_of, write_json  # noqa: E402
from semireal.params import whole  # noqa: E402
from semireal.stylegan2.checkpoint import load_networks, save_networks  # noqa: E402
from semireal.stylegan2.foreign import read_pickle  # noqa: E402
from semireal.stylegan2.networks import build_discriminator, build_generator  # noqa: E402
from stylegan2 import test_foreign  # noqa: E402

SECONDS = 5.0
MEMORY = 8 * 2**30  # bytes of addresses; threads and libraries have some of them without using them
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
KEPT = ROOT / ".work/fuzz"
FAULT = "bytes changed at random"


@dataclass(frozen=True)
class Reader:
    """Something that reads files: sound ones to begin with, and how it is called."""

    name: str  # of what it reads
    sound: Callable[[Path], list[bytes]]
    read: Callable[[Path], Any]
    refuses: type[Exception] = UserError
    file: str = "x"


def pickles(_: Path) -> list[bytes]:
    """Small networks, as the public code writes them."""
    with test_foreign.modules():
        root = test_foreign.snapshot(*test_foreign.trained(test_foreign.SMALLEST), True)
        del root["G"], root["augment_pipe"]
        return [pickle.dumps(root, protocol) for protocol in (2, 4)]


def networks(folder: Path) -> list[bytes]:
    """A file of ours."""
    config = test_foreign.SMALLEST
    weights = build_generator(config, 0).state_dict(), build_discriminator(config, 1).state_dict()
    save_networks(folder / "g.safetensors", config, *weights, {})
    return [(folder / "g.safetensors").read_bytes()]


def texts(*patterns: str) -> Callable[[Path], list[bytes]]:
    """Files of the repository."""
    return lambda _: [file.read_bytes() for pattern in patterns for file in sorted(ROOT.glob(pattern))]


READERS = (
    Reader("pictures", lambda _: list(hostile_images.sound().values()), images.load_rgb, images.ImageError),
    Reader(
        "manifests",
        lambda _: [test_fuzzed_files.table()],
        lambda path: manifest.read_kept(path.parent, "domain"),
        file=manifest.FILE,
    ),
    Reader("parameters", texts("params.yaml"), whole.load),
    Reader("definitions of sources", texts("experiments/sources/*/*.yaml"), load_sources),
    Reader(
        "decisions",
        lambda _: [b'id,decision,domain,reason\na-0,keep,,\nb-0,,photo,x\nc,reject,,"y, z"\n'],
        decisions.read,
    ),
    Reader("takedowns", texts("experiments/takedowns.csv"), takedowns.read),
    Reader("networks", networks, load_networks),
    Reader("pickles", pickles, read_pickle),
)


def no_program(event: str, _: object) -> None:
    """An audit hook, which cannot be taken away again."""
    if event in STARTS:
        raise AssertionError(f"started a program: {event}")


def fuzz(reader: Reader, seconds: float, seed: int) -> dict[str, Any]:
    """Read changed files for so long; how many, and what was wrong."""
    found: dict[str, Any] = {"tried": 0, "survived": 0, "lost": 0, "wrong": []}
    with tempfile.TemporaryDirectory() as name:
        sound = reader.sound(Path(name))
        path = Path(name) / reader.file
        wrong = [
            hostile_images.mutations(data, sound, random.Random(f"{seed} {number}"))
            for number, data in enumerate(sound)
        ]
        end, slowest = time.monotonic() + seconds, 0.0
        while time.monotonic() < end:
            content = next(wrong[found["tried"] % len(wrong)])
            path.write_bytes(content)
            began, problem = time.process_time(), ""
            try:
                reader.read(path)
            except reader.refuses:
                pass
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"[:200]
            took = time.process_time() - began
            slowest = max(slowest, took)
            problem = problem or (f"took {took:.1f} s" if took > SECONDS else "")
            found["tried"] += 1
            found["lost" if problem else "survived"] += 1
            if problem:
                KEPT.mkdir(parents=True, exist_ok=True)
                kept = KEPT / key_of(content.hex())
                kept.write_bytes(content)
                found["wrong"].append(f"{kept.name}: {problem}")
    print(f"{reader.name}: {found['tried']} tried, {found['lost']} lost, slowest {slowest:.2f} s", flush=True)
    return found


def main() -> int:
    """Print a line for each reader."""
    parser = argparse.ArgumentParser(description="Read files of strangers with bytes changed at random.")
    parser.add_argument("--minutes", type=float, default=60, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", nargs="+", choices=[one.name for one in READERS], help="all without it")
    parser.add_argument("--out", type=Path, help="file for the counts, as JSON")
    given = parser.parse_args()
    chosen = [one for one in READERS if given.reader is None or one.name in given.reader]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    done = {}
    for reader in chosen:
        sys.stderr.write(f"{reader.name} ...\n")
        done[reader.name] = {FAULT: fuzz(reader, given.minutes * 60 / len(chosen), given.seed)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"at most {peak:.0f} MB", flush=True)
    if given.out:
        write_json(given.out, done)
    return 1 if any(found["lost"] for one in done.values() for found in one.values()) else 0


if __name__ == "__main__":
    sys.addaudithook(no_program)
    sys.exit(main())
