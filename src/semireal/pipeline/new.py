"""A character of your own: `semireal new yennefer --photos DIR --portraits DIR`.

Writes what the three characters of the repository have too: who it is, where its pictures come from, an empty list of
decisions, and the collection. Then `dvc exp run -S character=yennefer` works, here, in the queue and in other clones.
"""

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from semireal import devices, images, machine, manifest, paths, stage
from semireal.collect import scrape
from semireal.collect.source import load_sources
from semireal.curate import decisions
from semireal.errors import Unfinished, UserError
from semireal.files import write_atomic
from semireal.params import whole
from semireal.params.train import Train
from semireal.pipeline import collection, compose
from semireal.pipeline.commands import git
from semireal.published import REPORT

KIND = "own"
RAW = paths.RAW / KIND
CHARACTER = paths.EXPERIMENTS / "character"
CHARACTER_TEXT = """\
# @package _global_
name: {name}
collection: {collection}
drawn: []

# What stands here wins over the profile, e.g.
# train:
#   epochs: 60          # of 1000 images shown
#   photo_ratio: 0.5    # share of photos; null = as found
"""
LARGEST_ON_CPU = 128  # px; a step of larger networks takes minutes on a CPU


@dataclass(frozen=True)
class Source:
    """What the user named: where pictures come from, and what they show."""

    where: str  # a folder, or a URL that gallery-dl knows
    domain: str  # photo, portrait or auto
    is_url: bool = False


def run(
    name: str, named: Sequence[Source], limit: int | None, licence: str | None, *, dry_run: bool, commit: bool
) -> None:
    """Make the character; raises UserError, with nothing left behind, where something is wrong.

    limit: images of each URL. dry_run: only say what would be written. commit: commit the files, instead of saying how.
    A collection that is not complete yet raises Unfinished: `semireal scrape` goes on with it.
    """
    check(name)
    for one in named:
        if not one.is_url:
            _look_at(Path(one.where))
    texts = _texts(name, _sources(named, limit, licence))
    after = _next(name, _trainings(name, texts))
    if dry_run:
        stage.say("\n".join(f"--- {path}\n{text.rstrip()}" for path, text in texts.items()))
        stage.say(f"--- {RAW / name}.dvc: the pictures, taken in by DVC\n\nNothing was written (--dry-run).\n{after}")
        return
    _make(name, texts)
    stage.say(_size(name))
    problem = _keep(name, commit)
    stage.say(after)
    if problem:
        raise UserError(problem)


def check(name: str) -> None:
    """Raise UserError for a name that cannot be that of a character, or is one already."""
    from hydra.core.override_parser.overrides_parser import OverridesParser  # slow to load

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(
            f"{name!r} is no name for a character: need lower-case letters a-z, digits and _, such as yennefer"
        )
    for reads, value in (
        ("YAML", yaml.safe_load(name)),
        ("`dvc exp run -S`", OverridesParser.create().parse_override(f"character={name}").value()),
    ):
        if value != name:
            raise UserError(f"{name!r} is no name for a character: {reads} reads it as {value!r}")
    if not Path(".git").exists():
        raise UserError(
            f"{Path.cwd()} is not the top of a git repository; DVC needs one (git init, git add, git commit)"
        )
    there = [path for path in (*_paths(name), *_made(name)) if path.exists()]
    if there:
        raise UserError(f"{name}: {there[0]} exists. Choose another name, or go on with it: semireal scrape {name}")


def _paths(name: str) -> tuple[Path, Path, Path]:
    return CHARACTER / f"{name}.yaml", paths.SOURCES / KIND / f"{name}.yaml", decisions.file_of(name)


def _made(name: str) -> tuple[Path, Path, Path]:
    return RAW / name, RAW / f"{name}.dvc", RAW / f"{name}.yaml"


def _look_at(folder: Path) -> None:
    """Say which files of a folder are no pictures; raises UserError if none is one."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Name one with pictures")
    if Path.cwd().is_relative_to(folder.resolve()):
        raise UserError(f"{folder}: this repository lies in it. Name a folder that has pictures alone")
    files = list(scrape.files_below(folder))
    if not files:
        raise UserError(f"{folder}: the folder is empty. Put pictures there")
    problems = {path: images.problem(path) for path in files}
    other = manifest.count(_kind(path, problem) for path, problem in problems.items() if problem)
    kinds, count = ", ".join(f"{n} {suffix}" for suffix, n in sorted(other.items())), sum(other.values())
    if count == len(files):
        raise UserError(
            f"{folder}: none of its {count} files is a picture that can be read ({kinds}). Convert them to JPEG or PNG"
        )
    if count:
        stage.say(
            f"note: {folder}: {count} of {len(files)} files are no pictures that can be read, and stay out ({kinds})"
        )


def _kind(path: Path, problem: str) -> str:
    return problem if problem.startswith(images.UNSUPPORTED) else path.suffix.lower() or "no suffix"


def _sources(named: Sequence[Source], limit: int | None, licence: str | None) -> dict[str, Any]:
    """The content of the file of sources."""
    found: dict[str, Any] = {}
    for one in named:
        label = (
            _host(one.where)
            if one.is_url
            else {"photo": "photos", "portrait": "portraits", "auto": "mixed"}[one.domain]
        )
        numbered = (label if n == 0 else f"{label}_{n + 1}" for n in range(len(named)))
        entry: dict[str, Any] = {"url" if one.is_url else "folder": one.where, "domain": one.domain}
        entry |= {"limit": limit} if one.is_url and limit is not None else {}
        entry |= {"licence": licence} if licence else {}
        found[next(label for label in numbered if label not in found)] = entry
    return {"sources": found}


def _host(url: str) -> str:
    """The site of a URL as the name of a source."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    if not host:
        raise UserError(f"--url {url}: need a whole address, such as https://www.example.org/gallery")
    return re.sub(r"[^a-z0-9]+", "_", host.removeprefix("www.")).strip("_") or "site"


def _texts(name: str, sources: dict[str, Any]) -> dict[Path, str]:
    """The files to write."""
    texts = (
        CHARACTER_TEXT.format(name=name, collection=f"{KIND}/{name}"),
        yaml.safe_dump(sources, sort_keys=False, allow_unicode=True),
        ",".join(decisions.COLUMNS) + "\n",
    )
    return dict(zip(_paths(name), texts, strict=True))


def _trainings(name: str, texts: dict[Path, str]) -> dict[str, Train]:
    """How each profile would train the character; raises UserError where the files would not do."""
    with tempfile.TemporaryDirectory(prefix="semireal-new-") as folder:
        root = Path(folder)
        shutil.copytree(paths.EXPERIMENTS, root / paths.EXPERIMENTS)
        _write(root, texts)
        load_sources(root / _paths(name)[1])
        profiles = compose.choices_of(root, "profile")
        composed = {one: compose.compose(root, f"character={name}", f"profile={one}") for one in profiles}
    return {profile: whole.check(content).train for profile, content in composed.items()}


def _write(root: Path, texts: dict[Path, str]) -> None:
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(root / path, text.encode())


def _make(name: str, texts: dict[Path, str]) -> None:
    """Write the files and collect; nothing stays where that fails but what was fetched, which is in `.work`."""
    ignored = RAW / ".gitignore"
    before = ignored.read_bytes() if ignored.exists() else None
    try:
        _write(Path(), texts)
        collection.collect(f"{KIND}/{name}")
    except Unfinished as pause:
        more = f"{name} is there, not committed; to go on with its collection: semireal scrape {name}"
        raise Unfinished(f"{pause}\n{more}") from None
    except BaseException:
        shutil.rmtree(RAW / name, ignore_errors=True)
        for path in (*texts, *_made(name)[1:], ignored):
            path.unlink(missing_ok=True)
        if before is not None:
            write_atomic(ignored, before)
        raise


def _size(name: str) -> str:
    rows = manifest.read_kept(RAW / name, "domain", "raw_bytes")
    kinds = ", ".join(f"{n} {domain}" for domain, n in manifest.count(row["domain"] for row in rows).items())
    megabytes = sum(int(row["raw_bytes"]) for row in rows) / 1e6
    reported = ", ".join(f"{one.images} ({one.title})" for one in REPORT.values())
    return (
        f"\n{RAW / name}: {len(rows)} images ({kinds}), {megabytes:.1f} MB. Some will be left out for want of a "
        f"good face.\nThe report of 2022 trained on {reported} images."
    )


def _keep(name: str, commit: bool) -> str | None:
    """Commit the files, or say how; returns why git would not."""
    files, problem = collection.to_commit(f"{KIND}/{name}"), None
    message, share = f"Add the character {name}", f"dvc push {RAW / name} && git push"
    if commit:
        try:
            git("add", "--", *files)
            git("commit", "--quiet", "--message", message, "--", *files)
        except UserError as error:
            problem = (
                f"--commit: {name} is made, but git would not commit it: {str(error).rpartition(f'{files[-1]}: ')[2]}"
            )
        else:
            stage.say(f"\nCommitted: {message}. Where there is a remote: {share}")
            return None
    stage.say(
        "\nCommit it, since the queue and other clones know only what is committed:\n"
        f"  git add {' '.join(files)} && git commit -m '{message}'\n"
        f"  {share}    # where there is a remote"
    )
    return problem


def _next(name: str, trainings: dict[str, Train]) -> str:
    """What to run next, and what it costs here."""
    usual, lines = compose.default(Path())["profile"], ["\nThen:"]
    for profile, train in trainings.items():
        lines.append(f"  dvc exp run -S character={name}" + ("" if profile == usual else f" -S profile={profile}"))
        size = f"{train.resolution} x {train.resolution}"
        lines.append(f"      trains on {train.epochs * 1000:,} images shown at {size}: {_cost(train)}")
    return "\n".join(lines)


def _cost(train: Train) -> str:
    here = machine.load()
    if devices.kind(here) == "cpu" and train.resolution > LARGEST_ON_CPU:
        return "for GPUs; not measured on this CPU"
    from semireal.training import speed  # slow to load

    rate = speed.images_per_second(train, here)
    minutes = train.epochs * 1000 / rate / 60
    time = f"about {minutes:.0f} minutes" if minutes >= 2 else "less than two minutes"
    return f"{time} here, at the {rate:.0f} images a second measured just now"
