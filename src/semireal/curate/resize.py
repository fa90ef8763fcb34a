"""resize: bring every crop to one size, as RGB JPEG, that is not of it yet."""

from functools import partial
from pathlib import Path
from typing import Any

from semireal import files, images, manifest, measured
from semireal.manifest import Row
from semireal.measured import Found, Image, Job
from semireal.params.resize import Resize


def run(crops: Path, out: Path, params: Resize) -> None:
    """Read `crops`, write `images/<id>.jpg` of params.size x params.size px, manifest and report to `out`."""
    write(out, look(crops, params))


def look(crops: Path, params: Resize) -> list[tuple[Row, Found | None]]:
    """The rows of the crops, and what they become: the size of a file in bytes, and that file."""
    rows = manifest.read_kept(crops, "domain", "source")
    job = Job("resize", __name__, params, partial(resized, params))
    return list(zip(rows, measured.each(job, [Image(crops / row["file"]) for row in rows]), strict=True))


def resized(params: Resize, path: Path, _: Any, stem: Path) -> tuple[int, list[Path]]:
    """Write <stem>.jpg; see semireal.measured.Job.work."""
    data = finished(path, params)
    file = stem.with_suffix(".jpg")
    files.write_new(file, data)
    return len(data), [file]


def write(out: Path, looked: list[tuple[Row, Found | None]]) -> None:
    """Write the images, manifest and report."""
    (out / "images").mkdir()

    def one(row: Row, found: Found | None) -> Row:
        if found is None:
            return manifest.rejected(row, measured.DIED)
        file = f"images/{row['id']}.jpg"
        (path,) = found.paths().values()
        files.link(path, out / file)
        return manifest.kept(row, file=file, bytes=found.value)

    manifest.save(out, [one(*both) for both in looked], "resize", "Look at the manifest of the crops")


def finished(crop: Path, params: Resize) -> bytes:
    """A crop as a JPEG of the dataset; stage crop has finished those that are large enough already."""
    if images.is_jpeg(crop, params.size):
        return crop.read_bytes()
    with images.unpacked(crop) as img:
        return images.encode_jpeg(images.resize(img, params.size), params.quality)
