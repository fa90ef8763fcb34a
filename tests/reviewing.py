"""The review page for tests: the data of all stages, and the server in a process of its own."""

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from conftest import ROOT
from semireal import manifest
from semireal.collect.gallery.faces import draw, face_box
from semireal.faces.crop import square
from semireal.images import Pixels, encode_jpeg, resize

POORER, TWIN = 10, 25  # every tenth image is blurred, of the others every 25th is a near-duplicate
TOKENS: dict[int, str] = {}  # by port


def make_data(folder: Path, count: int) -> None:
    """The data of all stages, with `count` crops named 00000-0 up, and a raw image "faceless" without a face."""
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    rows: dict[str, list[manifest.Row]] = {name: [] for name in ("raw", "crops", "resized", "filtered", "dataset")}
    for name in rows:
        (path_of(folder, name) / "images").mkdir(parents=True)

    pictures = {suffix: [picture(n, suffix) for n in range(16)] for suffix in ("png", "jpg")}

    def put(name: str, file: str, n: int) -> str:
        (path_of(folder, name) / "images" / file).write_bytes(pictures[file[-3:]][n % 16])
        return f"images/{file}"

    for n in range(count):
        key = f"{n:05}"
        row: manifest.Row = {
            "id": key,
            "source": "one" if n % 2 else "two",
            "domain": "photo" if n % 4 else "portrait",
            "title": "<b>x</b>",
        }
        rows["raw"].append(manifest.kept(row, file=put("raw", f"{key}.png", n)))
        row |= {"id": f"{key}-0", "image_id": key, "score": round(0.5 + n / count / 2, 4), "crop_side": 100 + n}
        rows["crops"].append(manifest.kept(row, file=put("crops", f"{key}-0.png", n)))
        row |= {"file": put("resized", f"{key}-0.jpg", n), "bytes": 1000}
        rows["resized"].append(manifest.kept(row))
        row |= {"sharpness": 5.0, "note": "", "rule": "" if n % POORER else "blurred"}
        if row["rule"]:
            rows["filtered"].append(manifest.rejected(row, "blurred"))
            continue
        rows["filtered"].append(manifest.kept(row, file=put("filtered", f"{key}-0.jpg", n)))
        row |= {"phash": "", "cluster": "", "survivor": ""}
        if n % TWIN:
            rows["dataset"].append(manifest.kept(row, file=put("dataset", f"{key}-0.jpg", n)))
        else:
            marks = {"cluster": "00001-0", "survivor": "00001-0"}
            rows["dataset"].append(manifest.rejected(row, "near-duplicate", **marks))
    row = {"id": "faceless", "source": "one", "domain": "photo"}
    rows["raw"].append(manifest.kept(row, file=put("raw", "faceless.png", 77)))
    rows["crops"].append(manifest.rejected(row, "no face", image_id="faceless", raw_width=24))
    for name, made in rows.items():
        manifest.save(path_of(folder, name), made, "test", "")


def make_heads(folder: Path, own: int, strangers: int) -> dict[str, bool]:
    """A dataset of drawn heads: photos of geralt, and of elves; by id, whether it is geralt."""
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    images = path_of(folder, "dataset") / "images"
    images.mkdir(parents=True)
    truth, rows = {}, []
    for n, who in enumerate(["geralt"] * own + ["elf"] * strangers):
        key = f"{n * 7919 % 10007:05}-0"  # in no order
        (images / f"{key}.jpg").write_bytes(encode_jpeg(head(who, "photo", n, 128), 90))
        rows.append(manifest.kept({"id": key, "domain": "photo", "source": "one"}, file=f"images/{key}.jpg"))
        truth[key] = who == "geralt"
    manifest.save(path_of(folder, "dataset"), rows, "test", "")
    return truth


def head(who: str, style: str, seed: int, side: int) -> Pixels:
    """A head as stage crop cuts it, by the box that the drawing knows."""
    picture = draw(who, style, np.random.default_rng(seed))
    box = face_box(who, style, np.random.default_rng(seed))
    left, top, width = square(box, 0.35, 0.1, (picture.shape[1], picture.shape[0]))
    return resize(picture[top : top + width, left : left + width], side)


def picture(n: int, suffix: str) -> bytes:
    """A small picture of one of 16 colours."""
    buffer = io.BytesIO()
    Image.new("RGB", (24, 24), (n * 16, 255 - n * 16, 90)).save(buffer, {"png": "PNG", "jpg": "JPEG"}[suffix])
    return buffer.getvalue()


def path_of(folder: Path, name: str) -> Path:
    return folder / "data" / ("raw/demo/geralt" if name == "raw" else name)


@contextmanager
def process(folder: Path, before: str = "", browser: bool = False) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The server in a process of its own, as the command runs it; its port and itself.

    before: Python to run there first. browser: whether it opens one.
    """
    script = "from semireal.review import clients, server\nfrom semireal import stage"
    script += f"\n{before}\nstage.run(lambda: server.run(None, 0, browser={browser}))"
    command = [sys.executable, "-c", script]
    env = os.environ | {"DVC_ROOT": str(folder), "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        line = running.stderr.readline()
        found = re.match(r"http://127\.0\.0\.1:(\d+)/\?token=(\S{43}) shows data/dataset", line)
        assert found, line + running.stderr.read()
        TOKENS[int(found[1])] = found[2]
        try:
            yield int(found[1]), running
        finally:
            running.kill()
