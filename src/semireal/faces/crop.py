"""crop: find the faces of the raw images and cut out square heads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from semireal import files, images, manifest, measured, milder, workers
from semireal.collect import takedowns
from semireal.collect.takedowns import Takedowns
from semireal.faces import blocks, detect, frame, upright
from semireal.images import Pixels
from semireal.manifest import Row
from semireal.measured import Found, Image, Job
from semireal.params.crop import Crop
from semireal.params.resize import Resize

BLUR = 0.02  # standard deviation of the blur outside of the image, in sides of the square
FADE = 0.3  # so far outside of the image only one colour is left, in sides of the square
LARGEST = 1024  # px; a larger square that reaches past its image is scaled down: the largest that is trained on
MILDER = {"min_face": 0.75, "min_edge": 0.67, "max_outside": 1.2}  # see semireal.milder
COMPANY = 0.4  # of the side of a face; smaller ones beside it are behind it
PLACES = 32  # points on each axis that say how much of a square lies outside


def run(raw: Path, out: Path, params: Crop, final: Resize, taken_down: Takedowns = takedowns.NOTHING) -> None:
    """Read the raw collection `raw`, write `images/<image id>-<n>`, manifest and report to `out`.

    A head that is at least as large as the images of the dataset is finished here, as a JPEG of their `final` format:
    writing all of its pixels for stage resize to read took longer than all else. A smaller one is a PNG with the pixels
    that it has. An image that is taken down is rejected unseen, so that the list also counts for collections made
    before.
    """
    write(out, look(raw, params, final, taken_down), params)


def look(raw: Path, params: Crop, final: Resize, taken_down: Takedowns = takedowns.NOTHING) -> list[list[Row]]:
    """Of each raw image a row per face, kept, or one that says why there is none.

    `file` is where the cut head lies, which stage crop then gives its name.
    """
    rows = manifest.read_kept(raw, "domain", "source")
    seen = [row for row in rows if not taken_down.matches(row)]
    # the rest of the parameters decides about what has been found
    deciding = replace(params, min_edge=None, max_outside=None)
    job = Job("crop", __name__, (deciding, final), partial(heads, deciding, final))
    names = [params.detector_photo if row["domain"] == "photo" else params.detector_portrait for row in seen]
    asked = [Image(raw / row["file"], name) for row, name in zip(seen, names, strict=True)]
    found = {row["id"]: one for row, one in zip(seen, measured.each(job, asked), strict=True)}
    looked = []
    for row in rows:
        if row["id"] not in found:
            looked.append([manifest.rejected(row, takedowns.REASON, image_id=row["id"])])
        else:
            looked.append(_rows(row, found[row["id"]]))
    return looked


def _rows(row: Row, found: Found | None) -> list[Row]:
    if found is None:
        return [manifest.rejected(row, measured.DIED, image_id=row["id"])]
    paths = {"": ""} | found.paths()
    return [
        row | head | {"id": row["id"] + head["id"], "image_id": row["id"], "file": paths[head["file"]]}
        for head in found.value
    ]


def heads(params: Crop, final: Resize, path: Path, detector: str, stem: Path) -> tuple[list[Row], list[Path]]:
    """Write <stem>-<n>.* for each face; gives the columns that stage crop adds. See semireal.measured.Job.work."""
    with _detectors(detector, params).borrowed() as found, _ups.borrowed() as up:
        rows = crop_image(path, {"id": "", "detector": detector}, found, up, params, final, stem)
    return rows, [stem.with_name(row["file"]) for row in rows if row["file"]]


def write(out: Path, looked: Sequence[Sequence[Row]], params: Crop) -> None:
    """Write the heads that pass, manifest and report."""
    (out / "images").mkdir()
    rows = [_decided(row, params, out) for found in looked for row in found]
    hint = "Lower crop.score or crop.min_face, or look at the source. Formats that are not supported: convert them"
    back = milder.brings_back(rows, params, MILDER, verdict)
    milder.say("crop", back, params)
    manifest.save(out, rows, "crop", hint, milder=back)


@cache
def _detectors(name: str, params: Crop) -> workers.Pool[detect.Detector]:
    """One for each thread, and never one for more: they are not made for that."""
    every = params.faces == "all"
    rest = (params.score, params.detect_size, params.min_face, every, not every)
    return workers.Pool(partial(detect.make, name, *rest))


_ups = workers.Pool(upright.Upright)


def _decided(row: Row, params: Crop, out: Path) -> Row:
    """The row of a face that passes, which is written to `out`, or why it does not."""
    reason = row["reason"] or verdict(row, params)
    if reason:
        return manifest.rejected(row, reason)
    file = f"images/{row['id']}{row['file'].suffix}"
    files.link(row["file"], out / file)
    return row | {"file": file}


def crop_image(
    path: Path, row: Row, detector: detect.Detector, up: upright.Upright, params: Crop, final: Resize, stem: Path
) -> list[Row]:
    """Crop one image; returns a row per face, or one row that says why there is none.

    The heads are written to <stem>-<n>, with their ending; `file` is the name.
    """
    try:
        with images.unpacked(path) as img:
            return _crop_faces(img, row, detector, up, params, final, stem)
    except images.ImageError as error:
        return [manifest.rejected(row, str(error), image_id=row["id"])]


def _crop_faces(
    img: Pixels, row: Row, detector: detect.Detector, up: upright.Upright, params: Crop, final: Resize, stem: Path
) -> list[Row]:
    row = row | {"image_id": row["id"], "raw_width": img.shape[1], "raw_height": img.shape[0]}
    left, top, right, bottom = frame.inside(img)
    part = img[top:bottom, left:right]
    faces = detector(part)
    if not faces:
        return [manifest.rejected(row, "no face")]
    rows = []
    for n, face in enumerate(faces[:1] if params.faces == "largest" else faces):
        turned = up(part, face)
        about = row | {"id": f"{row['image_id']}-{n}", "score": round(face.score, 4)}
        about |= {"others": others(face, faces, params, (part.shape[1], part.shape[0]))}
        if turned is None:
            rows.append(manifest.rejected(about, "not clear which way up"))
        else:
            view = _View(part, (left, top), turned.quarters)
            rows.append(_crop_face(view, turned.face, about, params, final, stem.with_name(f"{stem.name}-{n}")))
    return rows


def others(face: detect.Face, faces: Sequence[detect.Face], params: Crop, size: tuple[int, int]) -> int:
    """How many of the faces are in the square around one of them, and not much smaller (COMPANY).

    size: of the picture, width and height.
    """
    left, top, side = square(face.box, params.margin, params.lift, size)
    large = [one for one in faces if one is not face and one.side >= COMPANY * face.side]
    return sum(left <= one.centre[0] < left + side and top <= one.centre[1] < top + side for one in large)


@dataclass(frozen=True)
class _View:
    """A picture, or the part of it within its bars, and how it has to be turned for a face in it to be upright.

    part: as it lies in the raw picture, with its left upper corner at `offset`. quarters: see upright.Turned.
    """

    part: Pixels
    offset: tuple[int, int]
    quarters: int

    @property
    def img(self) -> Pixels:
        """The part, turned."""
        return np.rot90(self.part, self.quarters)

    @property
    def size(self) -> tuple[int, int]:
        """Its width and height, turned."""
        return self.img.shape[1], self.img.shape[0]

    def raw(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points [N, 2] of the turned picture, in px of the raw one."""
        return np.asarray(upright.turned_points(points, self.size, -self.quarters) + np.array(self.offset))


def _crop_face(view: _View, face: detect.Face, row: Row, params: Crop, final: Resize, stem: Path) -> Row:
    turned = aligned(face, params.scale) if params.geometry == "aligned" else None
    wanted = turned or _around(face.box, params.margin, params.lift)
    left, top, side = square(face.box, params.margin, params.lift, view.size)
    at = turned or Square((left + side / 2, top + side / 2), side, 0.0)
    ((x, y),) = view.raw(np.array([at.centre]))
    corners = view.raw(np.array(face.box).reshape(2, 2))
    row = row | {
        "box": _numbers([*corners.min(0), *corners.max(0)]),
        "landmarks": "" if face.landmarks is None else _numbers(view.raw(face.landmarks).ravel().tolist()),
        "geometry": "aligned" if turned else "box",
        "crop_box": _numbers((x - at.side / 2, y - at.side / 2, x + at.side / 2, y + at.side / 2)),
        "crop_side": at.side,
        "turned": 90 * view.quarters,
        "angle": round((at.angle + 90 * view.quarters + 180) % 360 - 180, 2),
        "edge": edge(face, view.size),
        "outside": round(share_outside(wanted, view.size), 3),
    }
    reason = verdict(row, params)
    if reason:
        return manifest.rejected(row, reason)
    upright_img = view.img
    plain = np.ascontiguousarray(upright_img[top : top + side, left : left + side])
    head = cut_padded(np.ascontiguousarray(upright_img), turned) if turned else plain
    return manifest.kept(row, file=_save(head, final, stem), blocks=round(blocks.share(plain), 3))


def _save(head: Pixels, final: Resize, stem: Path) -> str:
    """Write a square head to a file beginning with `stem`; returns its name."""
    if len(head) >= final.size:
        file = stem.with_name(f"{stem.name}.jpg")
        files.write_new(file, images.encode_jpeg(images.resize(head, final.size), final.quality))
    else:
        file = stem.with_name(f"{stem.name}.png")
        files.write_new(file, images.encode_png(head))
    return file.name


def verdict(row: Row, params: Crop) -> str:
    """Reason to leave a face out, or "" to keep it; "no face" and the like for rows without."""
    if "outside" not in row:
        return str(row["reason"])
    x0, y0, x1, y1 = (float(value) for value in row["box"].split())
    if max(x1 - x0, y1 - y0) < params.min_face:
        return "face too small"
    near = params.min_edge is not None and row["edge"] is not None and row["edge"] < params.min_edge
    return "cut off" if near or (params.max_outside is not None and row["outside"] > params.max_outside) else ""


def edge(face: detect.Face, size: tuple[int, int]) -> float | None:
    """How far eyes, nose and mouth are inside of a picture of width, height, in sides of the face; None without them.

    Of whole faces at least 0.2; below 0 the picture ends before one of them, wherever the detector believes it to be.
    """
    if face.landmarks is None:
        return None
    inside = np.minimum(face.landmarks, np.array(size) - face.landmarks)
    return round(float(inside.min()) / face.side, 3)


def share_outside(at: "Square", size: tuple[int, int]) -> float:
    """Share of a square that lies outside of a picture of width, height."""
    steps = (np.arange(PLACES) + 0.5) / PLACES * at.side - 0.5
    u, v = np.meshgrid(steps, steps)
    turn = images.square_to_image(at.centre, at.side, at.angle)
    x, y = (row[0] * u + row[1] * v + row[2] for row in turn)
    return float(((x < -0.5) | (y < -0.5) | (x > size[0] - 0.5) | (y > size[1] - 0.5)).mean())


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
    Then a square of more than LARGEST px is scaled down to that, before anything else: what it costs grows with it.
    """
    if at.side > LARGEST and share_outside(at, (img.shape[1], img.shape[0])):
        small, centre = images.shrunk(img, at.centre, at.side, LARGEST)
        return cut_padded(small, Square(centre, LARGEST, at.angle))
    sharp = images.cut(img, at.centre, at.side, at.angle, cv2.BORDER_REFLECT)
    corners = np.array([0, at.side - 1])
    if _outside(at, corners, img.shape[1], img.shape[0]).max() <= 0:
        return sharp
    outside = _outside(at, np.arange(at.side), img.shape[1], img.shape[0]) / (FADE * at.side)
    blurred = cv2.GaussianBlur(sharp, (0, 0), BLUR * at.side).astype(np.float32)
    median = np.median(sharp, axis=(0, 1)).astype(np.float32)
    near, far = (np.clip(share, 0, 1)[:, :, None] for share in (3 * outside + 1, outside))
    mixed = sharp + (blurred - sharp) * near
    return np.asarray((mixed + (median - mixed) * far).round(), np.uint8)


def _outside(at: Square, lines: NDArray[np.int64], width: int, height: int) -> NDArray[np.float32]:
    """How far pixels of the square lie outside of the image, in px; negative inside, from the nearest edge: [N, N] for
    those at N places on each axis.

    Edges that the square does not reach past do not count.
    """
    turn = images.square_to_image(at.centre, at.side, at.angle).astype(np.float32)
    u, v = np.meshgrid(*[lines.astype(np.float32)] * 2)
    x, y = (row[0] * u + row[1] * v + row[2] for row in turn)
    far: NDArray[np.float32] = np.full_like(x, -np.inf)
    for beyond in (-x, x - (width - 1), -y, y - (height - 1)):
        if beyond.max() > 0:
            far = np.maximum(far, beyond)
    return far


def _around(box: detect.Box, margin: float, lift: float) -> Square:
    """The square around a face box, see `square`, before it is moved into the image."""
    x0, y0, x1, y1 = box
    face = max(x1 - x0, y1 - y0)
    return Square(((x0 + x1) / 2, (y0 + y1) / 2 - lift * face), max(round(face * (1 + 2 * margin)), 1), 0.0)


def square(box: detect.Box, margin: float, lift: float, size: tuple[int, int]) -> tuple[int, int, int]:
    """Square around a face box: left, top and side in px, inside an image of `size` = width, height.

    The side is (1 + 2 * margin) times the longer side of the box; the centre is moved up by `lift` times that
    side of the box, for hair, ears and tiaras. Near an edge the square is moved inwards, and made smaller only
    where the image is smaller than the square.
    """
    wanted = _around(box, margin, lift)
    side = min(round(max(box[2] - box[0], box[3] - box[1]) * (1 + 2 * margin)), *size)
    left, top = (round(c - side / 2) for c in wanted.centre)
    return min(max(left, 0), size[0] - side), min(max(top, 0), size[1] - side), side


def _numbers(values: tuple[float, ...] | list[float]) -> str:
    return " ".join(f"{value:.6g}" for value in values)
