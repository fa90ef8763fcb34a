"""scrape: collect the raw images of a character from web pages (gallery-dl), the demo gallery, or local folders.

gallery-dl is run as a program with a configuration made here: its options are global to a process, and its licence
(GPL-2.0) is not ours.
"""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from semireal import gallery, manifest, stage
from semireal.errors import UserError
from semireal.gallery import Gallery
from semireal.images import write_atomic
from semireal.manifest import Row
from semireal.params import load_yaml, parse
from semireal.params import param as p
from semireal.weights import sha256_of

DEMO = "demo:"  # demo:TAG+TAG stands for a list of the embedded gallery
CONNECTION = {"retries": 4, "timeout": 60, "retry-codes": [429]}
# exit codes of gallery-dl that no second try mends (they are OR-ed): bad input, unknown site
HOPELESS = {32: "gallery-dl cannot use this URL", 64: "no site that gallery-dl knows"}


@dataclass(frozen=True)
class Source:
    """Where images come from: a URL or a folder, one of the two."""

    domain: str = p(
        "what it shows; auto = both, the stage filter tells them apart", choices=("photo", "portrait", "auto")
    )
    url: str | None = p("page that gallery-dl knows, or demo:TAG+TAG for the embedded gallery")
    folder: str | None = p("local folder with images, relative to the repository")
    limit: int | None = p("at most so many images; null = all", low=1)


def load_sources(definition: Path) -> dict[str, Source]:
    """Read a source definition, `sources: {name: {...}}`; raises UserError naming the file and the key."""
    content = load_yaml(definition)
    named = content.get("sources") if isinstance(content, dict) else None
    if not isinstance(named, dict) or not named:
        raise UserError(f"{definition}: need `sources:` with at least one named source")
    sources = {}
    for name, given in named.items():
        key = f"{definition}: sources.{name}"
        if not re.fullmatch(r"[A-Za-z0-9_-]+", str(name)):
            raise UserError(f"{key}: use letters, digits, _ and - in the name of a source")
        empty = {"url": None, "folder": None, "limit": None}
        sources[name] = parse(Source, empty | given if isinstance(given, dict) else given, key)
        if (sources[name].url is None) == (sources[name].folder is None):
            raise UserError(f"{key}: need either url or folder")
    return sources


def run(definition: Path, out: Path, work: Path) -> None:
    """Collect all sources of a definition into `out`.

    Writes `images/<id>.<ext>`, manifest and report. Downloads go to `work` first, so that an interrupted run
    goes on where it was.
    """
    (out / "images").mkdir()
    rows = []
    for name, source in load_sources(definition).items():
        found = _from_folder(source) if source.folder else _from_url(name, source, work / name)
        rows += [row | {"source": name, "domain": source.domain} for row in found]
    _copy_unique(rows, out)
    for row in rows:
        del row["path"]
    manifest.save(out, rows, "scrape", f"Look at the sources in {definition}")


def _copy_unique(rows: list[Row], out: Path) -> None:
    """Name each file by its content and copy it; a second copy of the same bytes is rejected."""
    seen = set()
    for row in rows:
        path = row["path"]
        if path is None:
            row.update(manifest.rejected(row, "download failed", id=""))
            continue
        digest = sha256_of(path)
        suffix = path.suffix.lower() if re.fullmatch(r"\.\w{1,5}", path.suffix) else ".bin"
        row.update(id=digest[:16], sha256=digest, raw_bytes=path.stat().st_size)
        if digest in seen:
            row.update(manifest.rejected(row, "same file"))
            continue
        seen.add(digest)
        file = f"images/{digest[:16]}{suffix}"
        shutil.copyfile(path, out / file)
        row.update(manifest.kept(row, file=file))


def _from_folder(source: Source) -> list[Row]:
    folder = Path(source.folder or "")
    if not folder.is_dir():
        raise UserError(f"scrape: folder {folder} not found. Put images there, or change the source")
    files = sorted(f for f in folder.rglob("*") if f.is_file() and not f.name.startswith("."))
    return [{"path": f, "title": f.stem, "file_url": f.relative_to(folder).as_posix()} for f in files[: source.limit]]


def _from_url(name: str, source: Source, work: Path) -> list[Row]:
    (work / "files").mkdir(parents=True, exist_ok=True)
    url = source.url or ""
    if not url.startswith(DEMO):
        return _described(work / "files", _download(name, url, source.limit, work))
    with Gallery() as server:
        # a named instance keeps the random port out of file names and of the archive of what is done
        site = {"root": server.url, "pattern": re.escape(server.url.removeprefix("http://"))}
        list_url = f"{server.url}/post?tags={url.removeprefix(DEMO)}"
        listed = _download(name, list_url, source.limit, work, {"moebooru": {"demo": site}})
        rows = _described(work / "files", listed)
    for row in rows:
        row.update({key: re.sub(r"http://127\.0\.0\.1:\d+/", DEMO, row[key]) for key in ("page_url", "file_url")})
    return rows


def _download(name: str, url: str, limit: int | None, work: Path, sites: dict[str, Any] | None = None) -> set[str]:
    """Run gallery-dl until the source is through; what is there already is not fetched again.

    Returns the file names, without suffix, of the images that the source lists up to the limit, fetched or not;
    the folder may hold more from a run with a higher limit.
    """
    config = work / "gallery-dl.json"
    write_atomic(config, json.dumps(_config(work, sites or {}), indent=2).encode())
    command = [sys.executable, "-m", "gallery_dl", "--config-ignore", "--config", str(config)]
    command += ["--range", f"1-{limit}"] if limit else []
    log = work / "gallery-dl.log"
    listed = set()
    with (
        log.open("w") as messages,
        subprocess.Popen(
            [*command, url], stdout=subprocess.PIPE, stderr=messages, text=True, errors="replace"
        ) as process,
        tqdm(desc=f"scrape {name}", total=limit, unit="img", mininterval=1) as bar,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:  # the path of a file, after "# " if it was fetched before
                listed.add(Path(line.strip().removeprefix("# ")).stem)
                bar.update()
        except BaseException:
            process.terminate()
            raise
    for code, text in HOPELESS.items():
        if process.returncode & code:
            raise UserError(f"scrape: source {name}: {text}: {url}. {_last_line(log)}")
    failed = re.findall(r"Failed to download (.+)", log.read_text(errors="replace"))
    listed |= {Path(file).stem for file in failed}
    # any other code: some files may have failed, the rest is here; the manifest counts both
    if process.returncode and not listed:
        raise UserError(f"scrape: source {name}: nothing could be fetched from {url}. {_last_line(log)}")
    return listed


def _config(work: Path, sites: dict[str, Any]) -> dict[str, Any]:
    """The configuration of gallery-dl: flat file names, and a sidecar for each listed image, fetched or not."""
    name = "{category}_{id|index|filename}{num:?_//}"
    sidecar = {"name": "metadata", "mode": "json", "event": "prepare", "filename": f"{name}.json"}
    extractor = {
        "base-directory": str(work / "files"),
        "directory": [],
        "filename": f"{name}.{{extension}}",
        "archive": str(work / "archive.sqlite3"),
        "postprocessors": [sidecar],
        **CONNECTION,
    }
    return {"extractor": extractor | sites, "downloader": CONNECTION}


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _described(files: Path, listed: set[str]) -> list[Row]:
    """Rows from the metadata of the listed images; `path` is None where the file could not be fetched."""
    fetched = {file.stem: file for file in files.iterdir() if file.suffix not in (".json", ".part")}
    return [_describe(files / f"{stem}.json", fetched.get(stem)) for stem in sorted(listed)]


def _describe(sidecar: Path, path: Path | None) -> Row:
    meta = json.loads(sidecar.read_text())
    return {
        "path": path,
        "page_url": _first(meta, "page_url", "permalink", "post_url", "source", "url"),
        "file_url": _first(meta, "file_url", "src", "url"),
        "artist": _first(meta, "artist", "author", "username"),
        "title": _first(meta, "title", "description"),
        "licence": _first(meta, "license", "licence"),
        "tags": _first(meta, "tags"),
    }


def _first(meta: dict[str, Any], *keys: str) -> str:
    """First of the keys that holds something, as one line of text."""
    for key in keys:
        value = meta.get(key)
        if isinstance(value, dict):
            value = value.get("username") or value.get("name") or value.get("url")
        if value:
            return " ".join(str(v) for v in value) if isinstance(value, list) else " ".join(str(value).split())
    return ""


def work_key(definition: Path) -> str:
    """Key of the work directory: the sources without their limits, and the code that draws the demo."""
    sources = {name: asdict(source) | {"limit": None} for name, source in load_sources(definition).items()}
    drawn = any((source["url"] or "").startswith(DEMO) for source in sources.values())
    return stage.key_of(sources, stage.key_of_code(Path(gallery.__file__).parent) if drawn else None)
