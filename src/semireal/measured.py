"""Find out about each image once: on all cores or a cluster, and not again.

A stage says what is done to one image (Job). What comes of it depends on the content of the file, on what else is
given, on the code and the parameters, and on nothing else. So it is kept, in `.work/<stage>/<key>`, where the key
stands for code and parameters: a stage that was killed goes on where it was, a collection that grew by ten images has
ten worked on, and thresholds and decisions that are applied afterwards cost nothing here.

    *.jsonl   one line per image: {"image": ..., "found": ..., "files": {name: stamp}}, and before it {"begun": ...}
    files/    the files that belong to the images

Images are worked on in shards. A shard writes to a log of its own, so whatever takes it to a process of this machine or
of another (semireal.workers) has to bring nothing home, and what a process had done before it died is not lost. An
image that was begun and not ended is tried again, alone. If that ends the process as well, None is found of it.
"""

import contextlib
import hashlib
import json
import math
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from semireal import code, files, limits, machine, stage, workers
from semireal.errors import Unfinished, UserError

DIED = "ends the program that reads it"  # the reason for the manifest where None is found
WHOLE = "found.jsonl"  # the log of all runs that came to their end
SHARD = 64  # images, at most

Work = Callable[[Path, Any, Path], tuple[Any, Sequence[Path]]]


@dataclass(frozen=True)
class Image:
    """An image to work on; given: what decides the result beside its content, as of JSON."""

    path: Path
    given: Any = None


@dataclass(frozen=True)
class Job:
    """What a stage does to each image.

    stage: its name. module: the one that decides the result, with what it imports. params: those parameters that do.
    work: (path, what is given, stem) -> what is found, as of JSON, and the files that were written for it, whose paths
    begin with the stem. A function of a module or a partial of one, so that other processes can be told of it.
    """

    stage: str
    module: str
    params: Any
    work: Work

    @property
    def key(self) -> str:
        """Stands for all that decides the results, but for the images."""
        return files.key_of(code.key_of_modules(self.module, __name__), repr(self.params))


@dataclass(frozen=True)
class Found:
    """What is known of an image; files: the stamps of those that belong to it, by path in `folder`."""

    value: Any
    files: Mapping[str, list[int]]
    folder: Path

    def paths(self) -> dict[str, Path]:
        """Where its files are, by their names."""
        return {Path(name).name: self.folder / name for name in self.files}

    def is_whole(self) -> bool:
        """Whether all files are as they were written.

        The outputs of stages are links to them, into which somebody may write; a power failure may leave them empty.
        """
        return all(_stamp(self.folder / name) == stamp for name, stamp in self.files.items())


def each(job: Job, images: Sequence[Image]) -> list[Found | None]:
    """What is found of each image, in their order; None of one that ended its process twice.

    Raises Unfinished where this machine is to do a part alone (machine.part), and that is done.
    """
    settings = machine.load()
    names = list(workers.each(_name, images, f"{job.stage}: look"))
    # whole paths: the processes may have been started elsewhere
    todo = {name: Image(image.path.absolute(), image.given) for name, image in zip(names, images, strict=True)}
    if settings.part is not None:
        number, count = settings.parts()
        mine = {name: image for name, image in todo.items() if int(name, 16) % count == number - 1}
        # no lock: the others work in the same folder, on other images
        _complete(job, stage.work_root() / job.stage / job.key, mine, settings)
        raise Unfinished(f"{job.stage}: part {settings.part} is done, {len(mine)} of {len(todo)} images")
    with stage.work(job.stage, job.key) as folder:
        os.utime(folder)  # semireal.prune keeps those that were used last
        found = _complete(job, folder, todo, settings)
        _gather(folder)
    return [found.get(name) for name in names]


def _name(image: Image) -> str:
    """Hexadecimal digits that stand for the content of a file and what is given with it.

    What is no file, or longer than any that is read, has no content: nothing but that is found of it.
    """
    content = ""
    try:
        if image.path.is_file() and image.path.stat().st_size <= limits.BYTES:
            content = files.sha256_of(image.path)
        elif image.path.is_file():
            content = "too long"
    except OSError:
        pass
    return hashlib.sha256(json.dumps([content, image.given], sort_keys=True).encode()).hexdigest()[:32]


def _complete(job: Job, folder: Path, images: Mapping[str, Image], settings: machine.Machine) -> dict[str, Found]:
    """Work on all images that nothing is known of, or not everything; gives what then is known."""
    (folder / "files").mkdir(parents=True, exist_ok=True)
    found = {name: one for name, one in _read(folder, _logs(folder))[0].items() if name in images and one.is_whole()}
    left = [name for name in sorted(images) if name not in found]
    doubtful: set[str] = set()
    with tqdm(total=len(images), initial=len(found), desc=job.stage, unit="img", mininterval=1) as bar:

        def work_on(shards: Sequence[Sequence[str]]) -> None:
            logs = [folder / f"{uuid.uuid4().hex}.jsonl" for _ in shards]
            given = [(log, [(name, images[name]) for name in shard]) for log, shard in zip(logs, shards, strict=True)]
            for count in workers.scattered(partial(_shard, job), given, settings):
                bar.update(count)
            new, begun = _read(folder, [log for log in logs if log.exists()])
            found.update(new)
            doubtful.update(begun - new.keys())

        while left:
            size = max(1, min(SHARD, math.ceil(len(left) / (4 * workers.count(settings)))))
            work_on([left[at : at + size] for at in range(0, len(left), size)])
            before, left = left, [name for name in left if name not in found and name not in doubtful]
            if left == before:
                raise UserError(f"{job.stage}: the processes that work on images end at once. Is there memory left?")
        for name in sorted(doubtful):  # each beside no other, which could be what ends the process
            work_on([[name]])
    return found


def _shard(job: Job, log: Path, images: Sequence[tuple[str, Image]]) -> int:
    """Work on some images, in any process; gives how many were done."""
    # a scheduler may send a shard again, to another process: not to what ended the first one
    done, begun = _read(log.parent, [log] if log.exists() else [])
    todo = [(name, image) for name, image in images if name not in done and name not in begun]
    with log.open("a") as file:
        file.write("\n" if log.stat().st_size else "")  # ends what a process that died was writing
        for name, image in todo:
            if _name(image) != name:
                raise UserError(f"{image.path}: changed, or not the same for the process that works on it")
            _say(file, {"begun": name})
            stem = log.parent / "files" / name[:2] / name
            stem.parent.mkdir(exist_ok=True)
            value, written = job.work(image.path, image.given, stem)
            stamps = {str(path.relative_to(log.parent)): _stamp(path) for path in written}
            _say(file, {"image": name, "found": value, "files": stamps})
    return len(todo)


def _stamp(path: Path) -> list[int]:
    """Bytes and time of the last change of a file; nothing where there is none."""
    try:
        seen = path.stat()
    except FileNotFoundError:
        return []
    return [seen.st_size, seen.st_mtime_ns]


def _say(file: Any, line: Any) -> None:
    file.write(json.dumps(line) + "\n")
    file.flush()


def _logs(folder: Path) -> list[Path]:
    """The logs, with that of earlier runs first: what others say of an image was found later, and counts."""
    return sorted(folder.glob("*.jsonl"), key=lambda log: (log.name != WHOLE, log.name))


def _read(folder: Path, logs: Sequence[Path]) -> tuple[dict[str, Found], set[str]]:
    """What is known by some logs, and which images were begun."""
    found: dict[str, Found] = {}
    begun: set[str] = set()
    for log in logs:
        for line in _lines(log):
            if "begun" in line:
                begun.add(line["begun"])
            else:
                found[line["image"]] = Found(line["found"], line["files"], folder)
    return found, begun


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log that are whole; its writers may have been killed."""
    with log.open() as file:
        for text in file:
            with contextlib.suppress(json.JSONDecodeError):
                yield json.loads(text)


def _gather(folder: Path) -> None:
    """Put what the logs say into one, or there would be more with each run."""
    logs, whole = _logs(folder), folder / WHOLE
    if logs == [whole]:
        return
    found, _ = _read(folder, logs)
    with files.replacing(whole) as one, one.open("w") as file:
        for name in sorted(found):
            _say(file, {"image": name, "found": found[name].value, "files": dict(found[name].files)})
    for log in logs:
        if log != whole:
            log.unlink()
