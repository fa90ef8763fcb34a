"""scrape: collect the raw images of a character from web pages (gallery-dl), the demo gallery, or local folders.

Which images there are to fetch and when is the work of `semireal.collect.collector`; here is what a source is, and how
the collection comes from what was fetched.
"""

import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import Any

from semireal import code, files, images, manifest, paths, stage, text
from semireal.collect import gallery, made, takedowns
from semireal.collect.collector import Collector
from semireal.collect.gallery import Gallery
from semireal.collect.gallerydl import (
    CONTACT,
    DEMO,
    configuration,
    cookies_of,
    hosts_of,
    read_secrets,
    site_of,
    user_agent,
)
from semireal.collect.health import Patience
from semireal.collect.listing import rendition
from semireal.collect.orders import CLOCK, Clock, Order
from semireal.collect.source import AUTO, Source, load_sources
from semireal.collect.takedowns import Takedowns
from semireal.collect.turns import clock, collect
from semireal.errors import Unfinished, UserError
from semireal.files import sha256_of
from semireal.manifest import Row

FAILED, OPTED_OUT, FULL = "download failed", "opted out", "the collection is full"
NEEDS_CONTACT = ("wikimedia.org", "wikipedia.org")  # https://foundation.wikimedia.org/wiki/Policy:User-Agent_policy
ACCEPT_ALL = "all"
DEFAULT_PATIENCE = Patience()
JOURNAL = 2  # the form of what is kept of a source; another one begins anew


def make(collection: str) -> None:
    """Collect experiments/sources/<collection>.yaml into data/raw/<collection>, or go on with it.

    Two variables of the environment are for a single run, so they are no parameters: SEMIREAL_SCRAPE_MINUTES, its
    wall-clock limit (720; 0 = none), and SEMIREAL_SCRAPE_ACCEPT, names of sources (a,b) or `all` that may be
    incomplete.
    """
    definition = paths.SOURCES / f"{collection}.yaml"
    accept = tuple(filter(None, os.environ.get("SEMIREAL_SCRAPE_ACCEPT", "").split(",")))
    taken_down = takedowns.read(takedowns.FILE)
    with (
        stage.work("scrape", collection) as work,
        stage.output(paths.RAW / collection) as out,
    ):
        run(definition, out, work, Patience(minutes=_minutes()), accept, taken_down)


def _minutes() -> float | None:
    """The wall-clock limit that the environment asks for, None for none."""
    given = os.environ.get("SEMIREAL_SCRAPE_MINUTES")
    if not given:
        return Patience().minutes
    try:
        found = float(given)
    except ValueError:
        found = -1
    if not found >= 0:
        raise UserError(f"SEMIREAL_SCRAPE_MINUTES: found {given!r}, need a number of minutes, or 0 for no limit")
    return found or None


def run(
    definition: Path,
    out: Path,
    work: Path,
    patience: Patience = DEFAULT_PATIENCE,
    accept: tuple[str, ...] = (),
    taken_down: Takedowns = takedowns.NOTHING,
    time: Clock = CLOCK,
) -> None:
    """Collect all sources of a definition into `out`.

    Writes `images/<id>.<ext>`, manifest and report. Downloads go to `work` first, each source to a folder of its own
    with all that is known about it, so that the next run goes on where this one ended. accept: names of sources, or
    "all", that may be incomplete. Raises Unfinished if another one is.
    """
    (out / "images").mkdir()
    sources = load_sources(definition)
    unknown = set(accept) - set(sources) - {ACCEPT_ALL}
    if unknown:
        known = ", ".join([*sources, ACCEPT_ALL])
        raise UserError(f"scrape: found {sorted(unknown)[0]!r} as a source to accept, need one of {known}")
    collectors: dict[str, Collector] = {}
    try:
        _fetch(sources, work, patience, time, collectors)
        open_ones = [c for c in collectors.values() if not c.finished()]
        if {c.order.name for c in open_ones} - set(accept) and ACCEPT_ALL not in accept:
            raise Unfinished(_report(list(collectors.values()), definition))
        rows: list[Row] = []
        for name, source in sources.items():
            found = _from_folder(source) if source.folder else _rows(collectors[name], source)
            rows += [row | {"source": name, "domain": source.domain} for row in found]
        kept = {name for name, source in sources.items() if source.ai == "keep"}
        _copy_unique(rows, out, taken_down, kept)
    except (KeyboardInterrupt, SystemExit):
        stage.say(_report(list(collectors.values()), definition))
        raise
    except OSError as error:
        if error.errno not in stage.NO_SPACE and error.filename is None:
            raise
        if error.errno not in stage.NO_SPACE:
            raise UserError(f"scrape: {os.fsdecode(error.filename)}: {error.strerror}. Mend or remove it") from None
        where = error.filename or work
        raise Unfinished(
            f"scrape: the disk is full ({where}). Nothing is lost: make room, and the same command goes on"
        ) from None
    for row in rows:
        del row["path"]
    accepted = {"unfinished": {c.order.name: len(c.missing()) for c in open_ones}} if open_ones else {}
    manifest.save(out, rows, "scrape", f"Look at the sources in {definition}{_advice(rows)}", **accepted)
    _say_what_gave_nothing(sources, rows)
    for collector in collectors.values():
        if collector not in open_ones:
            collector.journal.add("anew")


def _say_what_gave_nothing(sources: Mapping[str, Source], rows: list[Row]) -> None:
    """Name the sources of which no image is here, and why: the others may hide that."""
    for name in sources:
        found = [row for row in rows if row["source"] == name]
        if not any(row["status"] == manifest.KEPT for row in found):
            reasons = manifest.count(row["reason"] for row in found)
            why = ", ".join(f"{reason} {n}" for reason, n in reasons.items()) or "it has none"
            stage.say(f"scrape: source {name} gave no image ({why}){_advice(found)}")


def _advice(rows: Iterable[Row]) -> str:
    """What to do about files of formats that are not read, to end a message with."""
    unread = any(row["reason"].startswith(images.UNSUPPORTED) for row in rows)
    return ". Convert the files of formats that are not supported to JPEG or PNG" if unread else ""


def _copy_unique(rows: list[Row], out: Path, taken_down: Takedowns, may_be_made: Collection[str]) -> None:
    """Name each file by its content and copy it; not what is taken down, nor a second copy of the same bytes.

    Nor what a machine made, but for the sources that may have it.
    """
    there = [row for row in rows if row["path"] is not None]
    for row in there:
        digest = sha256_of(row["path"])
        row.update(id=digest[:16], sha256=digest, raw_bytes=row["path"].stat().st_size)
        row["ai"] = row["ai"] or made.of_file(row["path"])
    for row in rows:
        if row["path"] is None:
            row.update(manifest.rejected(row, row["reason"], id=""))
    contested = _agree_on_domains(there)
    seen = set()
    for row in there:
        digest, path = row["sha256"], row["path"]
        if taken_down.matches(row):
            row.update(manifest.rejected(row, takedowns.REASON))
        elif row["ai"] and row["source"] not in may_be_made:
            row.update(manifest.rejected(row, made.REASON))
        elif digest in seen:
            other = manifest.OTHER_DOMAIN if digest in contested else ""
            row.update(manifest.rejected(row, manifest.SAME_FILE + other))
        else:
            seen.add(digest)
            suffix = path.suffix.lower() if re.fullmatch(r"\.\w{1,5}", path.suffix) else ".bin"
            file = f"images/{digest[:16]}{suffix}"
            shutil.copyfile(path, out / file)
            row.update(manifest.kept(row, file=file))


def _agree_on_domains(rows: Iterable[Row]) -> set[str]:
    """Give copies of a file one domain; returns the SHA-256 of those that are declared to be both photo and portrait.

    These become `auto`: stage filter measures what they are, and the order of the sources decides nothing.
    """
    declared: dict[str, set[str]] = {}
    for row in rows:
        declared.setdefault(row["sha256"], set()).update({row["domain"]} - {AUTO})
    for row in rows:
        domains = declared[row["sha256"]]
        row["domain"] = next(iter(domains)) if len(domains) == 1 else AUTO
    return {digest for digest, domains in declared.items() if len(domains) > 1}


def _from_folder(source: Source) -> list[Row]:
    folder = Path(source.folder or "")
    if not folder.is_dir():
        raise UserError(f"scrape: folder {folder} not found. Put images there, or change the source")
    rows: list[Row] = []
    left = source.limit
    # in an order that does not depend on how a system writes its letters
    for file in sorted(files_below(folder), key=lambda path: (text.name(path.relative_to(folder)), path)):
        row = {"path": file, "title": text.name(PurePath(file.stem)), "file_url": text.name(file.relative_to(folder))}
        row["ai"] = ""  # no list says it
        problem = images.problem(file)
        if problem:
            rows.append(row | {"path": None, "reason": problem})
        elif left != 0:
            rows.append(row)
            left = None if left is None else left - 1
    return rows


def files_below(folder: Path) -> Iterator[Path]:
    """What is in a folder and in those below it; raises UserError for a link that leads nowhere.

    All other links are followed, also to outside: many keep their pictures that way, and so does the cache of DVC.
    """

    def closed(error: OSError) -> None:
        raise UserError(f"scrape: {error.filename}: {error.strerror}. Open it for reading, or move it away")

    walked = set()
    for place, folders, names in os.walk(folder, onerror=closed, followlinks=True):
        real = os.path.realpath(place)
        if real in walked:  # a link to a folder above, or a second one to the same
            folders.clear()
            continue
        walked.add(real)
        folders.sort()  # of two links to one folder the first counts
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            if path.is_symlink() and not path.exists():
                raise UserError(f"scrape: {path} is a link that leads nowhere. Remove it, or let it lead to a picture")
            yield path


def _fetch(
    sources: dict[str, Source], work: Path, patience: Patience, time: Clock, collectors: dict[str, Collector]
) -> None:
    """Fetch what the sources with a URL have; `collectors` has what became of them, by name, also after an error."""
    file = stage.work_root().parent / "secrets.yaml"
    secrets = read_secrets(file)
    contact = secrets.pop(CONTACT, "")
    for name, source in sources.items():
        host = site_of(source.url or "")
        if not contact and any(host == site or host.endswith(f".{site}") for site in NEEDS_CONTACT):
            raise UserError(
                f"scrape: source {name}: {host} asks who collects. Write `{CONTACT}: you@example.org` (a mail address "
                f"or a page) into {file}, and run `chmod 600 {file}`"
            )
    with ExitStack() as stack:
        drawn = any((source.url or "").startswith(DEMO) for source in sources.values())
        server = stack.enter_context(Gallery()) if drawn else None
        named = [(name, source) for name, source in sources.items() if source.url]
        orders = [_order(name, source, work, secrets, contact, server) for name, source in named]
        if orders:
            collect(orders, patience, secrets, time, collectors)


def _order(
    name: str, source: Source, work: Path, secrets: dict[str, Any], contact: str, server: Gallery | None
) -> Order:
    url = source.url or ""
    folder = work / f"{name}-{source_key(source)}" / "files"
    sites, local = secrets, ""
    site, hosts = site_of(url), hosts_of(url, source.hosts)
    if url.startswith(DEMO) and server:
        # a named instance keeps the random port out of what is stored; our own gallery needs no taking turns
        local = server.url
        instance = {"root": local, "pattern": re.escape(local.removeprefix("http://"))}
        url = f"{local}/post?tags={url.removeprefix(DEMO)}"
        sites, site, hosts = {"moebooru": {"demo": instance}}, f"{DEMO}{name}", ["127.0.0.1"]
    return Order(
        name=name,
        url=url,
        config=configuration(source, contact, sites),
        folder=folder,
        site=site,
        hosts=hosts,
        limit=source.limit,
        per_hour=source.per_hour,
        per_day=source.per_day,
        pause=_pause(source),
        respect=source.noai == "respect",
        spare=source.ai == "reject",
        file_bytes=source.file_mb * 1_000_000,
        total_bytes=int(source.total_gb * 1e9),
        local=local,
        cookies=cookies_of(source, sites),
        agent=user_agent(contact),
    )


def _pause(source: Source) -> tuple[float, float]:
    least, _, most = (source.pause or "0").partition("-")
    return float(least), float(most or least)


def source_key(source: Source) -> str:
    """Key of what a source fetched: what decides it, not how much of it or how fast."""
    drawn = (source.url or "").startswith(DEMO)
    drawing = code.key_of_modules(gallery.__name__) if drawn else None
    return files.key_of(JOURNAL, source.url, source.options, drawing)


def _rows(collector: Collector, source: Source) -> list[Row]:
    """Rows of the listed images; `path` is None, and `reason` says why, where there is no file."""
    journal = collector.journal
    rows = []
    for name in sorted(journal.wanted(source.limit)):
        item, known = journal.item(name), journal.entries[name]
        row = {"ai": ""} | item["row"] | {"gallery_dl": known.version, "path": collector.path(name)}
        if row["path"] is None:
            failed = f"{FAILED}: {collector.failure(name) or 'not tried'}"
            left = OPTED_OUT if known.refused else made.REASON if known.spared else ""
            row["reason"] = left or (FULL if collector.full() else failed)
        else:
            row |= {"file_url": known.address, "rendition": rendition(known.address, item)}
        row["licence"] = row["licence"] or source.licence or ""
        rows.append(row)
    return rows


def _report(collectors: list[Collector], definition: Path) -> str:
    """What each source has, what is missing and when to go on; one line per source."""
    now = max((c.clock.now() for c in collectors), default=0.0)
    lines = [f"scrape: {definition}: not complete, nothing is lost"]
    moments = []
    for c in collectors:
        have = f"{c.order.name}: {c.here} images"
        if c.finished():
            lines.append(f"  {have}, complete")
            continue
        moment = c.opens(now)
        moments.append(moment)
        kinds = manifest.count(kind or "not tried yet" for kind in c.missing().values())
        missing = [f"{count} {kind}" for kind, count in kinds.items()]
        missing += [] if c.through() else ["the list was not read to its end"]
        why = f" ({c.why(now)})" if c.why(now) else ""
        lines.append(f"  {have}; missing: {', '.join(missing)}{why}; go on after {clock(moment)}")
    begin = clock(min(moments, default=now))
    lines.append(
        f"The same command goes on, from {begin}; SEMIREAL_SCRAPE_ACCEPT={ACCEPT_ALL} (or names of sources) takes what "
        "is here"
    )
    return "\n".join(lines)
