"""What stays in `.work`, which would grow for ever otherwise: what was used last.

trainings to go on with (train)   the TRAININGS that were used last; each one that goes is named
cached features (features)        those that were used last, up to FEATURES
decoded images (images)           those of the last run, and those that were used last, up to IMAGES
what was found of images          of each of these stages, under the SEEN parameters and versions of the code that were
(crop, ..., character, dedupe)    used last; the files are those of the outputs under another name, while these exist

What a process holds the lock of stays in any case, and so do collections (scrape), so that nothing is fetched twice.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

TRAININGS = 10
FEATURES = 4_000_000_000  # bytes: about three evaluations of 10,000 images each, or hundreds of the demo
IMAGES = 50_000_000_000  # bytes: 60,000 images of 512 x 512 px, or all resolutions of a smaller collection
SEEN = 3
LOCK = ".lock"


def run(work: Path) -> list[str]:
    """Remove what does not stay; returns what a person should know. work: the `.work` folder of a repository.

    Any number of processes may do this at once, while others work.
    """
    _prune_features(work / "features")
    _prune_images(work / "images")
    for stage in ("crop", "resize", "filter", "character", "dedupe"):
        _prune_all_but(SEEN, work / stage)
    return [
        f".work: training {folder.name} can no longer be gone on with; the {TRAININGS} that were used last are kept"
        for folder in _prune_all_but(TRAININGS, work / "train")
    ]


def lock_of(folder: Path) -> Path:
    """The file that whoever works in a folder of `.work` holds the lock of."""
    return folder.with_name(folder.name + LOCK)


@contextmanager
def held(folder: Path, timeout: float = -1) -> Iterator[None]:
    """Hold the lock of a folder, and take it away where the folder is gone; raises Timeout where another has it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_of(folder))
    lock.acquire(timeout=timeout)
    try:
        yield
    finally:
        if not folder.exists():
            # still held: who waits for it sees that it is gone, and makes another
            lock_of(folder).unlink(missing_ok=True)
        lock.release()


def _prune_all_but(most: int, parent: Path) -> list[Path]:
    """Remove all folders but those that were used last, which changes a folder; gives those that are gone."""
    folders = sorted(_folders(parent), key=_age_s)
    gone = [folder for folder in folders[most:] if folder.exists() and _remove(folder)]
    for folder in folders:
        if not folder.exists():
            _remove(folder)  # a lock without a folder
    return gone


def _prune_features(features: Path) -> None:
    left = FEATURES
    for file in sorted(features.glob("*.npy"), key=_age_s):
        left -= _size(file)
        if left < 0:
            file.unlink(missing_ok=True)


def _prune_images(images: Path) -> None:
    """Remove folders of decoded images; who has mapped one keeps what is in it."""
    left = IMAGES
    for n, folder in enumerate(sorted(_folders(images), key=_age_s)):
        left -= sum(_size(file) for file in folder.rglob("*"))
        if not folder.exists() or (n > 0 and left < 0):
            _remove(folder)


def _size(path: Path) -> int:
    """Bytes of a file; none where it is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _folders(parent: Path) -> list[Path]:
    """The folders that are there, or whose lock is."""
    if not parent.is_dir():
        return []
    return sorted({path.with_name(path.name.removesuffix(LOCK)) for path in parent.iterdir()})


def _remove(folder: Path) -> bool:
    """Remove a folder and its lock unless a process works in it, or has since this one looked; whether it did."""
    age = _age_s(folder)
    try:
        with held(folder, timeout=0):
            if _age_s(folder) < age:
                return False
            shutil.rmtree(folder, ignore_errors=True)
            return True
    except Timeout:
        return False


def _age_s(path: Path) -> float:
    """Seconds since a file or folder was changed; endless where it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
