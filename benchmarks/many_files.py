"""What do many small images cost: the stages from crop to dedupe, the tables, DVC, and the review page?

    python benchmarks/many_files.py --images 1000 [--rows 20000 100000] [--work DIR] [--json OUT]

Stages: --images JPEG files of 60 to 200 drawn heads, each under a shade and cut of its own, so that no two files and
few hashes are the same, in a raw collection as stage scrape leaves it. Each step is a process: its CPU time, its
wall-clock time and its largest resident memory (Linux). DVC: add, status, checkout and push to a folder, of the raw
collection and of what the stages made, with the links `copy` and `hardlink`.

Page: for each of --rows, manifests of all stages with so many images, whose files are hard links to 64 pictures of
512 px (a thumbnail is drawn as ever, only the disk has less to read). Start: the process until it says its address.
Open: from the address in Chromium to the first window of thumbnails. Key: from an arrow key to the laid out page, in
the page's own time, median and 95th centile of 40. End: from the key End to the thumbnails there.
"""

import argparse
import hashlib
import importlib
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from semireal import manifest, params, paths, stage
from semireal.collect import attributions, takedowns
from semireal.curate import decisions, funnel
from semireal.curate.decisions import Decision
from semireal.images import Pixels
from semireal.params import whole
from semireal.review import collection

ROOT = Path(__file__).resolve().parents[1]
RAW = paths.RAW / "demo/geralt"
FEW = 64  # pictures behind all rows of a page
KEYS = 40
BLUR = 8  # the shade of an image has so many px in each direction, enlarged
Figures = dict[str, float]


# --- a raw collection


def make(count: int) -> None:
    """Write the raw collection of `count` images, and the parameters."""
    from semireal.collect.gallery.faces import draw

    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    (RAW / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    styles = ["photo" if n % 2 else "portrait" for n in range(min(max(count // 20, 60), 200))]
    heads = [draw("geralt", style, rng) for style in styles]
    rows = []
    for n in range(count):
        buffer = io.BytesIO()
        Image.fromarray(_varied(heads[n % len(heads)], rng)).save(buffer, "JPEG", quality=90)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        file = f"images/{digest[:16]}.jpg"
        (RAW / file).write_bytes(buffer.getvalue())
        row = _described(n, digest) | {"domain": styles[n % len(heads)], "raw_bytes": len(buffer.getvalue())}
        rows.append(manifest.kept(row, file=file))
    manifest.save(RAW, rows, "benchmark", "")


def _varied(head: Pixels, rng: np.random.Generator) -> Pixels:
    """A head cut at another place under another shade."""
    top, left = rng.integers(0, 12, 2)
    img = head[top:, left:].astype(np.float32)
    small = Image.fromarray(rng.uniform(-50, 50, (BLUR, BLUR)).astype(np.float32))
    shade = np.asarray(small.resize((img.shape[1], img.shape[0]), Image.Resampling.BICUBIC))
    varied: Pixels = np.clip(img + shade[..., None], 0, 255).astype(np.uint8)
    return varied


def _described(n: int, digest: str) -> manifest.Row:
    """What a collector notes of an image."""
    artist = f"artist-{n // 20}"
    texts = {
        "id": digest[:16],
        "sha256": digest,
        "source": f"source_{n % 6}",
        "page_url": f"https://www.deviantart.com/{artist}/art/a-title-{n}",
        "file_url": f"https://images.example.org/f/{digest}.jpg?token={n}",
        "artist": artist,
        "title": f"A title of picture {n}",
        "licence": "CC BY-SA 4.0",
        "licence_url": "https://creativecommons.org/licenses/by-sa/4.0",
        "tags": "one two three four five six",
        "posted": "2020-01-01 10:00:00",
    }
    return texts | {"restrictions": "", "rendition": "original", "gallery_dl": "1.32.18", "raw_bytes": 200_000 + n}


# --- the stages and the tables: each a process, by its name


def _stage(module: str, given: Path, out: Path, *names: str) -> None:
    """Run a stage with parameters of those names; imported here, so that the memory of the others is theirs."""
    work = importlib.import_module(f"semireal.{module}").run
    out.mkdir(parents=True)
    known = whole.load(Path("params.yaml"))
    work(given, out, *(getattr(known, name) for name in names))


def _funnel() -> None:
    paths.FUNNEL.mkdir(parents=True)
    funnel.run(RAW, paths.CROPS, paths.FILTERED, paths.DATASET, paths.FUNNEL, "geralt")


def _report() -> None:
    from semireal.report import experiment as known
    from semireal.report import pictures, tables

    experiment = known.Experiment(known.Workspace(Path()), "", params.load(known.Given), {})
    tables.funnel(experiment)
    pictures.training(experiment)


def _credits() -> None:
    attributions.write(paths.DATASET, Path("results/attributions"), "geralt")


def _takedowns() -> None:
    listed = takedowns.read(ROOT / paths.TAKEDOWNS)
    for row in manifest.read_kept(RAW):
        listed.matches(row)


def _decide() -> None:
    """The last decision of as many as there are images."""
    ids = [row["id"] for row in manifest.read_kept(paths.RESIZED)]
    decisions.change(Path("all.csv"), ids, lambda *_: Decision("keep"))
    started = time.process_time()
    decisions.change(Path("all.csv"), ids[:1], lambda *_: Decision("reject"))
    print(json.dumps({"one of all": time.process_time() - started}))


STEPS: dict[str, Callable[[], Any]] = {
    "crop": lambda: _stage("faces.crop", RAW, paths.CROPS, "crop", "resize"),
    "resize": lambda: _stage("curate.resize", paths.CROPS, paths.RESIZED, "resize"),
    "filter": lambda: _stage("curate.filter", paths.RESIZED, paths.FILTERED, "filter"),
    "dedupe": lambda: _stage("curate.dedupe", paths.FILTERED, paths.DATASET, "dedupe"),
    "funnel": _funnel,
    "report": _report,
    "credits": _credits,
    "takedowns": _takedowns,
    "decide": _decide,
    "read": lambda: manifest.read(paths.RESIZED),
    "read_kept": lambda: manifest.read_kept(paths.RESIZED, "domain", "source"),
    "write": lambda: manifest.save(Path("copied"), manifest.read_kept(paths.RESIZED), "benchmark", ""),
    "review": lambda: collection.load(paths.DATASET),
    "nothing": lambda: None,  # what Python and the imports cost each of them
}


def measured(*command: str) -> Figures:
    """Run a command here; its CPU and wall-clock seconds and its largest memory in MB."""
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "DVC_NO_ANALYTICS": "1", "DVC_ROOT": str(Path.cwd())}
    started = time.monotonic()
    with Path("out.txt").open("w") as output:
        running = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise SystemExit(f"{' '.join(command)}: {Path('out.txt').read_text()}")
    seconds = time.monotonic() - started
    cpu = used.ru_utime + used.ru_stime
    return {"cpu_s": round(cpu, 2), "wall_s": round(seconds, 2), "memory_mb": round(used.ru_maxrss / 1024)}


def stages() -> dict[str, Figures]:
    """Every step, with what it took."""
    Path("copied").mkdir()
    found = {}
    for name in STEPS:
        found[name] = measured(sys.executable, str(Path(__file__).resolve()), "--step", name)
        show(name, found[name])
        last = Path("out.txt").read_text().rstrip().rpartition("\n")[2]
        found[name] |= json.loads(last) if last.startswith("{") else {}
    return found


def dvc(link: str) -> dict[str, Figures]:
    """What DVC itself takes for all images of all stages."""
    found = {}
    for folder in (".dvc", ".git"):
        shutil.rmtree(folder, ignore_errors=True)
    for line in ("git init -q", "dvc init -q", f"dvc config cache.type {link}", "dvc remote add -q -d here remote"):
        measured(*line.split())
    folders = [str(RAW), *map(str, collection.CHAIN)]
    for name, command in {
        "add": ["add", "-q", *folders],
        "status": ["status", "-q"],
        "status again": ["status", "-q"],
        "checkout": ["checkout", "-q"],
        "push": ["push", "-q"],
    }.items():
        if name == "checkout":
            for folder in folders:
                shutil.rmtree(folder)
        found[name] = measured("dvc", *command)
        show(f"dvc {name}, {link}", found[name])
    shutil.rmtree("remote")
    return found


# --- the page


def make_rows(count: int) -> None:
    """Write manifests of all stages with `count` images, whose files are links to FEW."""
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    rng = np.random.default_rng(0)
    Path("pictures").mkdir()
    for n in range(FEW):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        small.resize((512, 512), Image.Resampling.BICUBIC).save(f"pictures/{n}.jpg", quality=92)
    rows: dict[Path, list[manifest.Row]] = {folder: [] for folder in (RAW, *collection.CHAIN)}
    for folder in rows:
        (folder / "images").mkdir(parents=True)
    for n in range(count):
        _add_rows(rows, n)
    for folder, made in rows.items():
        manifest.save(folder, made, "benchmark", "")


def _add_rows(rows: dict[Path, list[manifest.Row]], n: int) -> None:
    """The rows of one image in each stage: some have no face, some are blurred, some are copies of others."""

    def keep(folder: Path, row: manifest.Row) -> None:
        file = f"images/{row['id']}.jpg"
        os.link(f"pictures/{n % FEW}.jpg", folder / file)
        rows[folder].append(manifest.kept(row, file=file))

    some = n % 97
    row = _described(n, hashlib.sha256(str(n).encode()).hexdigest()) | {"domain": "photo" if n % 3 else "portrait"}
    keep(RAW, row)
    row |= {"image_id": row["id"], "raw_width": 1200, "raw_height": 900 + some, "detector": "yunet"}
    if n % 8 == 0:
        rows[paths.CROPS].append(manifest.rejected(row, "no face"))
        return
    row |= {"id": f"{row['id']}-0", "score": round(0.6 + n * 7919 % 4000 / 10_000, 4), "crop_side": 350 + some}
    row |= {"box": f"{some}.5 90.25 300.5 310.75", "landmarks": " ".join(f"{some + k}.{k}" for k in range(10))}
    row |= {"crop_box": f"{some} 40 400 390", "turned": 0, "angle": some / 7, "edge": 0.5, "outside": 0.01}
    row |= {"blocks": some / 100, "bytes": 100_000 + n}
    keep(paths.CROPS, row)
    keep(paths.RESIZED, row)
    row |= {"declared": row["domain"], "style": "photo", "p_photo": some / 100, "p_portrait": 1 - some / 100}
    row |= {"p_line_art": 0.01, "p_anime": 0.02, "sharpness": 4 + some / 9, "detail": 100 + some, "turn": 0.1}
    row |= {"tilt": 3.5, "rule": "blurred" if n % 10 == 1 else "", "note": ""}
    if row["rule"]:
        rows[paths.FILTERED].append(manifest.rejected(row, "blurred"))
        return
    keep(paths.FILTERED, row)
    row |= {"phash": row["sha256"], "fine": 200 + some, "cluster": "", "survivor": ""}
    if n % 25 == 3:
        other = rows[paths.DATASET][-1]["id"] if rows[paths.DATASET] else row["id"]
        rows[paths.DATASET].append(manifest.rejected(row, manifest.NEAR_DUPLICATE, cluster=other, survivor=other))
    else:
        keep(paths.DATASET, row)


SERVE = "from semireal import stage; from semireal.review import server; stage.run(lambda: server.run(None, 0, False))"
THERE = """
const all = [...document.querySelectorAll('.card')].filter((card) => {
  const at = card.getBoundingClientRect();
  return at.bottom > 0 && at.top < innerHeight;
});
return all.length > 5 && all.every((card) => {
  const img = card.querySelector('img');
  return img ? img.complete && img.naturalWidth > 0 : card.querySelector('.missing');
});
"""
PRESS = """
const found = [];
for (let n = 0; n < arguments[0]; n++) {
  const begun = performance.now();
  document.getElementById('grid').dispatchEvent(new KeyboardEvent('keydown', {key: arguments[1], bubbles: true}));
  document.body.getBoundingClientRect();
  found.push(performance.now() - begun);
}
return found;
"""


def page() -> Figures:
    """Start the server and a browser; see the heading of this file for what is measured."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    env = os.environ | {"DVC_ROOT": str(Path.cwd()), "PYTHONPATH": str(ROOT / "src")}
    begun = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", SERVE], env=env, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        address = re.match(r"http\S+", line)
        assert address, line + server.stderr.read()
        found = {"start_s": time.monotonic() - begun}
        driver = chromium()
        wait = WebDriverWait(driver, 120, 0.02)
        try:
            driver.get("about:blank")
            begun = time.monotonic()
            driver.get(address[0])
            wait.until(lambda _: driver.execute_script(THERE))
            found["open_s"] = time.monotonic() - begun
            for key in ("ArrowRight", "ArrowDown"):
                times = sorted(driver.execute_script(PRESS, KEYS, key))
                found[f"{key}_ms"] = statistics.median(times)
                found[f"{key}_95_ms"] = times[KEYS * 95 // 100]
            begun = time.monotonic()
            ActionChains(driver).send_keys(Keys.END).perform()
            wait.until(lambda _: driver.execute_script(THERE))
            found["end_s"] = time.monotonic() - begun
            found["elements"] = driver.execute_script("return document.querySelectorAll('*').length")
        finally:
            driver.quit()
            status = Path(f"/proc/{server.pid}/status").read_text()
            server.terminate()
    peak = re.search(r"VmHWM:\s+(\d+)", status)
    assert peak
    return {name: round(value, 3) for name, value in found.items()} | {"server_mb": round(int(peak[1]) / 1024)}


def chromium() -> Any:
    """A headless browser, with a profile of its own."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for name in ("headless=new", "disable-gpu", "no-first-run", "disable-background-networking", "no-sandbox"):
        options.add_argument(f"--{name}")
    options.add_argument("--window-size=1280,900")
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


def show(name: str, found: Figures) -> None:
    """Print a line of the table."""
    print(f"{name:26}" + "  ".join(f"{key} {value:g}" for key, value in found.items()), flush=True)


def versions() -> dict[str, str]:
    """Of what is measured."""
    dvc_version = subprocess.run(["dvc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"python": sys.version.split()[0], "pandas": pd.__version__, "dvc": dvc_version}


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="0: no stages")
    parser.add_argument("--rows", type=int, nargs="*", default=[20_000])
    parser.add_argument("--work", type=Path, help="a folder to work below, on the disk that is meant")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/many_files.json")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        stage.run(partial(make, given.images) if given.step == "make" else STEPS[given.step])
        return
    out = given.json.resolve()
    result: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    result["versions"] = versions()
    if given.images:
        with TemporaryDirectory(dir=given.work) as folder:
            os.chdir(folder)
            # in a process of its own: what this one has held counts for each that it starts
            measured(sys.executable, str(Path(__file__).resolve()), "--step", "make", "--images", str(given.images))
            result.setdefault("stages", {})[str(given.images)] = stages()
            result.setdefault("dvc", {})[str(given.images)] = {link: dvc(link) for link in ("copy", "hardlink")}
            os.chdir(ROOT)
    for count in given.rows:
        with TemporaryDirectory(dir=given.work) as folder:
            os.chdir(folder)
            make_rows(count)
            result.setdefault("page", {})[str(count)] = found = page()
            show(f"page, {count} rows", found)
            os.chdir(ROOT)
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
