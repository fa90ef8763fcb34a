"""resize: bring every crop to one size, as RGB JPEG."""

from pathlib import Path

from semireal import images, manifest, workers
from semireal.manifest import Row
from semireal.params.resize import Resize


def run(crops: Path, out: Path, params: Resize) -> None:
    """Read `crops`, write `images/<id>.jpg` of params.size x params.size px, manifest and report to `out`."""
    (out / "images").mkdir()

    def one(row: Row) -> Row:
        with images.unpacked(crops / row["file"]) as img:
            small = images.resize(img, params.size)
        file = f"images/{row['id']}.jpg"
        data = images.encode_jpeg(small, params.quality)
        (out / file).write_bytes(data)
        return manifest.kept(row, file=file, bytes=len(data))

    rows = list(workers.each(one, manifest.read_kept(crops, "domain", "source"), "resize"))
    manifest.save(out, rows, "resize", "Look at the manifest of the crops")
