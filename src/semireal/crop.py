"""crop: find the faces of the raw images and cut out square heads."""

import threading
from pathlib import Path

from semireal import detect, images, manifest
from semireal.images import Pixels
from semireal.manifest import Row
from semireal.params import Crop


def run(raw: Path, out: Path, params: Crop) -> None:
    """Read the raw collection `raw`, write `images/<image id>-<n>.png`, manifest and report to `out`."""
    (out / "images").mkdir()
    own = threading.local()  # a detector belongs to one thread

    def one(row: Row) -> list[Row]:
        if not hasattr(own, "detector"):
            own.detector = detect.YuNet(params.score, params.detect_size)
        return crop_image(raw / row["file"], row, own.detector, params, out)

    rows = [row for found in images.each(one, manifest.read_kept(raw), "crop") for row in found]
    manifest.save(out, rows, "crop", "Lower crop.score or crop.min_face, or look at the source")


def crop_image(path: Path, row: Row, detector: detect.Detector, params: Crop, out: Path) -> list[Row]:
    """Crop one image; returns a row per face, or one row that says why there is none."""
    try:
        img = images.load_rgb(path)
    except images.ImageError as error:
        return [manifest.rejected(row, str(error), image_id=row["id"])]
    seen = {"image_id": row["id"], "raw_width": img.shape[1], "raw_height": img.shape[0], "detector": "yunet"}
    faces = detector(img)
    if params.faces == "largest":
        faces = faces[:1]
    if not faces:
        return [manifest.rejected(row, "no face", **seen)]
    return [_crop_face(img, n, face, row | seen, params, out) for n, face in enumerate(faces)]


def _crop_face(img: Pixels, n: int, face: detect.Face, row: Row, params: Crop, out: Path) -> Row:
    x0, y0, side = square(face.box, params.margin, params.lift, (img.shape[1], img.shape[0]))
    row = row | {
        "id": f"{row['image_id']}-{n}",
        "score": round(face.score, 4),
        "box": _numbers(face.box),
        "landmarks": _numbers(face.landmarks.ravel().tolist()),
        "crop_box": _numbers((x0, y0, x0 + side, y0 + side)),
        "crop_side": side,
    }
    if face.side < params.min_face:
        return manifest.rejected(row, "face too small")
    file = f"images/{row['id']}.png"
    images.save_png(out / file, img[y0 : y0 + side, x0 : x0 + side])
    return manifest.kept(row, file=file)


def square(box: detect.Box, margin: float, lift: float, size: tuple[int, int]) -> tuple[int, int, int]:
    """Square around a face box: left, top and side in px, inside an image of `size` = width, height.

    The side is (1 + 2 * margin) times the longer side of the box; the centre is moved up by `lift` times that
    side of the box, for hair, ears and tiaras. Near an edge the square is moved inwards, and made smaller only
    where the image is smaller than the square.
    """
    x0, y0, x1, y1 = box
    face = max(x1 - x0, y1 - y0)
    side = min(round(face * (1 + 2 * margin)), *size)
    left = round((x0 + x1) / 2 - side / 2)
    top = round((y0 + y1) / 2 - lift * face - side / 2)
    return min(max(left, 0), size[0] - side), min(max(top, 0), size[1] - side), side


def _numbers(values: tuple[float, ...] | list[float]) -> str:
    return " ".join(f"{value:.6g}" for value in values)
