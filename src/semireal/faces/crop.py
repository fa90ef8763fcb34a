"""crop: find the faces of the raw images and cut out square heads."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from semireal import images, manifest, workers
from semireal.collect import takedowns
from semireal.collect.takedowns import Takedowns
from semireal.faces import detect
from semireal.images import Pixels
from semireal.manifest import Row
from semireal.params.crop import Crop

BLUR = 0.02  # standard deviation of the blur outside of the image, in sides of the square
FADE = 0.3  # so far outside of the image only one colour is left, in sides of the square


def run(raw: Path, out: Path, params: Crop, taken_down: Takedowns = takedowns.NOTHING) -> None:
    """Read the raw collection `raw`, write `images/<image id>-<n>.png`, manifest and report to `out`.

    An image that is taken down is rejected unseen, so that the list also counts for collections made before.
    """
    (out / "images").mkdir()
    names = {params.detector_photo, params.detector_portrait}
    detectors = {name: workers.Pool(partial(detect.make, name, params.score, params.detect_size)) for name in names}

    def one(row: Row) -> list[Row]:
        if taken_down.matches(row):
            return [manifest.rejected(row, takedowns.REASON, image_id=row["id"])]
        name = params.detector_photo if row["domain"] == "photo" else params.detector_portrait
        with detectors[name].borrowed() as detector:
            return crop_image(raw / row["file"], row | {"detector": name}, detector, params, out)

    rows = [row for found in workers.each(one, manifest.read_kept(raw), "crop") for row in found]
    manifest.save(out, rows, "crop", "Lower crop.score or crop.min_face, or look at the source")


def crop_image(path: Path, row: Row, detector: detect.Detector, params: Crop, out: Path) -> list[Row]:
    """Crop one image; returns a row per face, or one row that says why there is none."""
    try:
        img = images.load_rgb(path)
    except images.ImageError as error:
        return [manifest.rejected(row, str(error), image_id=row["id"])]
    seen = {"image_id": row["id"], "raw_width": img.shape[1], "raw_height": img.shape[0]}
    faces = detector(img)
    if params.faces == "largest":
        faces = faces[:1]
    if not faces:
        return [manifest.rejected(row, "no face", **seen)]
    return [_crop_face(img, n, face, row | seen, params, out) for n, face in enumerate(faces)]


def _crop_face(img: Pixels, n: int, face: detect.Face, row: Row, params: Crop, out: Path) -> Row:
    turned = aligned(face, params.scale) if params.geometry == "aligned" else None
    if turned:
        centre, side, angle = turned.centre, turned.side, turned.angle
        left, top = centre[0] - side / 2, centre[1] - side / 2
    else:
        left, top, side = square(face.box, params.margin, params.lift, (img.shape[1], img.shape[0]))
        angle = 0.0
    row = row | {
        "id": f"{row['image_id']}-{n}",
        "score": round(face.score, 4),
        "box": _numbers(face.box),
        "landmarks": "" if face.landmarks is None else _numbers(face.landmarks.ravel().tolist()),
        "geometry": "aligned" if turned else "box",
        "crop_box": _numbers((left, top, left + side, top + side)),
        "crop_side": side,
        "angle": round(angle, 2),
    }
    if face.side < params.min_face:
        return manifest.rejected(row, "face too small")
    file = f"images/{row['id']}.png"
    x0, y0 = int(left), int(top)
    pixels = cut_padded(img, turned) if turned else img[y0 : y0 + side, x0 : x0 + side]
    images.save_png(out / file, pixels)
    return manifest.kept(row, file=file)


@dataclass(frozen=True)
class Square:
    """A turned square: centre in px of the image, side in whole px, angle in degrees, see images.cut."""

    centre: tuple[float, float]
    side: int
    angle: float


def aligned(face: detect.Face, scale: float) -> Square | None:
    """Square with eyes and mouth at fixed places, as FFHQ has them (Karras et al. 2019, appendix); None without.

    Its horizontal is the mean of the line between the eyes and of the normal to the line from the eyes to the mouth;
    its centre lies a tenth of the way from the eyes to the mouth; its side is four times the distance of the eyes or
    3.6 times that from eyes to mouth, whichever is more. scale: factor of the side, 1 is FFHQ's.
    """
    if face.landmarks is None:
        return None
    points = face.landmarks.astype(np.float64)
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    across, down = points[1] - points[0], mouth - eyes
    direction = across + np.array([down[1], -down[0]])
    side = round(2 * scale * max(2 * np.hypot(*across), 1.8 * np.hypot(*down)))
    if side < 1 or not direction.any():  # all points in one place
        return None
    centre = eyes + 0.1 * down
    angle = float(np.rad2deg(np.arctan2(direction[1], direction[0])))
    return Square((float(centre[0]), float(centre[1])), side, angle)


def cut_padded(img: Pixels, at: Square) -> Pixels:
    """Cut out a square that may reach past the image, [side, side, 3].

    As in FFHQ, the image is mirrored at its edge, blurred from a little before it on, and fades to its median colour.
    """
    sharp = images.cut(img, at.centre, at.side, at.angle, cv2.BORDER_REFLECT)
    outside = _outside(at, img.shape[1], img.shape[0]) / (FADE * at.side)
    if outside.max() <= 0:
        return sharp
    blurred = cv2.GaussianBlur(sharp, (0, 0), BLUR * at.side).astype(np.float32)
    median = np.median(sharp, axis=(0, 1)).astype(np.float32)
    near, far = (np.clip(share, 0, 1)[:, :, None] for share in (3 * outside + 1, outside))
    mixed = sharp + (blurred - sharp) * near
    return np.asarray((mixed + (median - mixed) * far).round(), np.uint8)


def _outside(at: Square, width: int, height: int) -> NDArray[np.float32]:
    """How far each pixel of the square lies outside of the image, in px; negative inside, from the nearest edge.

    Edges that the square does not reach past do not count.
    """
    turn = images.square_to_image(at.centre, at.side, at.angle).astype(np.float32)
    v, u = np.mgrid[: at.side, : at.side].astype(np.float32)
    x, y = (row[0] * u + row[1] * v + row[2] for row in turn)
    far: NDArray[np.float32] = np.full_like(x, -np.inf)
    for beyond in (-x, x - (width - 1), -y, y - (height - 1)):
        if beyond.max() > 0:
            far = np.maximum(far, beyond)
    return far


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
