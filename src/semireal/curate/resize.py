"""resize: bring every crop to one size, as RGB JPEG, that is not of it yet."""

from pathlib import Path

from semireal import images, manifest, workers
from semireal.manifest import Row
from semireal.params.resize import Resize


def run(crops: Path, out: Path, params: Resize) -> None:
    """Read `crops`, write `images/<id>.jpg` of params.size x params.size px, manifest and report to `out`."""
    (out / "images").mkdir()

    def one(row: Row) -> Row:
        data = finished(crops / row["file"], params)
        file = f"images/{row['id']}.jpg"
        (out / file).write_bytes(data)
        return manifest.kept(row, file=file, bytes=len(data))

    rows = list(workers.each(one, manifest.read_kept(crops, "domain", "source"), "resize"))
    manifest.save(out, rows, "resize", "Look at the manifest of the crops")


def finished(crop: Path, params: Resize) -> bytes:
    """A crop as a JPEG of the dataset; stage crop has finished those that are large enough already."""
    if images.is_jpeg(crop, params.size):
        return crop.read_bytes()
    with images.unpacked(crop) as img:
        return images.encode_jpeg(images.resize(img, params.size), params.quality)
