"""Face detectors: an RGB image in, faces out."""

import ctypes
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from semireal import images
from semireal.errors import UserError
from semireal.images import Pixels
from semireal.vision import efficientnet, weights

Box = tuple[float, float, float, float]
SAME = 0.3  # boxes with at least this overlap are one face
VERIFIER = Path(__file__).with_name("verifier.json")  # semireal.classifiers.verifier makes it


@dataclass(frozen=True)
class Face:
    """One face in pixels of the image given.

    box: x0, y0, x1, y1, about eyebrows to chin; may reach past the image.
    score: confidence in [0, 1]; 1 where the detector has none.
    landmarks: [5, 2] of x, y: right eye, left eye (of the person), nose tip, right and left corner of the mouth;
    None where the detector has none.
    """

    box: Box
    score: float
    landmarks: NDArray[np.float32] | None

    @property
    def side(self) -> float:
        """Longer side of the box in px."""
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, y1 - y0)

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box, x and y in px."""
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2


class Detector(Protocol):
    """Finds the faces of an [H, W, 3] uint8 RGB image, the largest first. A detector belongs to one thread.

    size: px, longer side of what it looks at; None = as it was made for.
    """

    def __call__(self, img: Pixels, size: int | None = None) -> list[Face]:  # noqa: D102
        ...


def make(name: str, score: float, size: int, least: int = 48, every: bool = False, largest: bool = False) -> Detector:
    """Build the detector of a parameter: a name, or several joined by "+" (see Union).

    score: least confidence, for those that have one in YuNet's terms. size: px, longer side of what they look at. In
    pictures in which faces of `least` px are too small for that they look closer, if they find none, or for `every`.
    largest: no more than the largest face is wanted, so that nobody has to look twice at those behind it.
    """
    parts = name.split("+")
    alone = largest and len(parts) == 1  # which of several is the largest is known only when all have looked
    kinds: dict[str, Callable[[], Detector]] = {
        "verified": lambda: Verified(YuNet(score, size), alone),
        "yunet": lambda: YuNet(score, size),
        "animeface": lambda: AnimeFace(size),
        "haar": lambda: Haar(size),
    }
    detectors = [kinds[part]() for part in parts]
    return Closer(detectors[0] if len(detectors) == 1 else Union(detectors), size, least, every)


def check(name: str) -> None:
    """Raise UserError, saying what to install, if a detector needs a package that is not there. name: as for `make`."""
    if "animeface" not in name.split("+"):
        return
    try:
        found = metadata.version("animeface")
    except metadata.PackageNotFoundError:
        found = None
    if found != AnimeFace.VERSION:
        raise UserError(
            f"the detector animeface needs the package animeface {AnimeFace.VERSION}, which is not installed: "
            "pip install --require-hashes -r requirements-animeface.txt (there is none for Python 3.14 and for arm64)"
        )


class YuNet:
    """YuNet (Wu, Peng and Yu 2023) through OpenCV: fast, and at home with photos and paintings.

    score: faces below this confidence are dropped. size: the longer side of the image is scaled to this many px.
    """

    NMS_IOU = 0.3
    LEAST = 33  # px; with less its last map is one cell wide, and OpenCV 4.14 reads memory that nobody has written
    TOP_K = 5000

    def __init__(self, score: float, size: int) -> None:
        self.size = size
        path = weights.find(weights.YUNET)
        self._net = cv2.FaceDetectorYN.create(str(path), "", (size, size), score, self.NMS_IOU, self.TOP_K)

    def __call__(self, img: Pixels, size: int | None = None) -> list[Face]:
        """See Detector."""
        small, sx, sy = scaled(img, size or self.size)
        below, right = (max(self.LEAST - length, 0) for length in small.shape[:2])
        wide = cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_CONSTANT)
        self._net.setInputSize((wide.shape[1], wide.shape[0]))
        _, rows = self._net.detect(cv2.cvtColor(wide, cv2.COLOR_RGB2BGR))
        return largest_first([self._face(row, sx, sy) for row in ([] if rows is None else rows)])

    @staticmethod
    def _face(row: NDArray[np.float32], sx: float, sy: float) -> Face:
        x, y, w, h = row[:4]
        landmarks = (row[4:14].reshape(5, 2) * np.array([sx, sy])).astype(np.float32)
        return Face(_box(x, y, w, h, sx, sy), float(row[14]), landmarks)


class Verified:
    """A detector, and a second look at the faces that it is not sure of.

    What YuNet takes for a face with a confidence below SURE is often one of a dog or a monkey. So two numbers, the
    confidence and how much the face and its surroundings look like an animal to a network that knows ImageNet, go
    into a logistic regression (semireal.classifiers.verifier teaches it). largest: after the first face only those are
    given that are sure; most doubtful ones are small ones behind it, and a look takes longer than all else.
    """

    SURE = 0.9
    VIEWS = (1.3, 1.6, 2.0)  # squares around the face, in sides of its box
    SIZE = 160  # px of a view; less than the network was made for, and as good here
    # of the pixels: the usual ones of ImageNet, not the network's own: they tell faces from animals better
    MEAN, SCALE = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)
    EPS = 0.01  # probabilities are taken from EPS to 1 - EPS

    def __init__(self, detector: Detector, largest: bool = False) -> None:
        self.detector, self.largest = detector, largest
        self._net = efficientnet.load()
        given = json.loads(VERIFIER.read_text())
        self._weights, self._bias = np.array(given["weights"]), float(given["bias"])

    def __call__(self, img: Pixels, size: int | None = None) -> list[Face]:
        """See Detector."""
        given: list[Face] = []
        for face in self.detector(img, size):
            looks = not (self.largest and given)
            if face.score >= self.SURE or (looks and self.accepts(img, face)):
                given.append(face)
        return given

    def accepts(self, img: Pixels, face: Face) -> bool:
        """Whether a face is one, at equal odds; no view is looked at that can change nothing any more."""
        most = self._log_odds(1)
        seen: list[float] = []
        views = self._views(img, face)
        while True:
            left = (len(self.VIEWS) - len(seen)) * most  # the others say it is an animal, or that it is none
            least, best = (self._odds(face, (sum(seen) + more) / len(self.VIEWS)) for more in (left, -left))
            if least > 0 or best <= 0:
                return least > 0
            seen.append(self._animal(next(views)[None])[0])

    def _odds(self, face: Face, animal: float) -> float:
        """Log odds that a face is one, by those of its showing an animal."""
        return float(np.array([self._log_odds(face.score), animal]) @ self._weights + self._bias)

    def features(self, img: Pixels, face: Face) -> NDArray[np.float64]:
        """[2]: log odds of the detector's confidence, and of showing an animal, the mean over VIEWS."""
        animal = self._animal(np.stack(list(self._views(img, face))))
        return np.array([self._log_odds(face.score), np.mean(animal)])

    def _views(self, img: Pixels, face: Face) -> Iterator[Pixels]:
        """The face and more and more of its surroundings, as squares of SIZE."""
        # a face larger than a view loses nothing here, and its views cost no more than those of a small one
        zoom = min(1, self.SIZE / face.side)
        small, sx, sy = scaled(img, max(round(max(img.shape[:2]) * zoom), 1))
        centre, side = (face.centre[0] / sx, face.centre[1] / sy), face.side * zoom
        for view in self.VIEWS:
            cut = images.cut(small, centre, max(round(side * view), 1), 0, cv2.BORDER_REPLICATE)
            scale = cv2.INTER_AREA if cut.shape[0] > self.SIZE else cv2.INTER_LINEAR
            yield np.asarray(cv2.resize(cut, (self.SIZE, self.SIZE), interpolation=scale), np.uint8)

    def _animal(self, views: Pixels) -> list[float]:
        """Log odds of showing an animal, of NHWC views."""
        pixels = (views - np.array(self.MEAN)) / np.array(self.SCALE)
        with torch.inference_mode():
            logits = self._net(torch.from_numpy(pixels).float().permute(0, 3, 1, 2))
            animal = logits.softmax(1)[:, : efficientnet.ANIMALS].sum(1).tolist()
        return [self._log_odds(value) for value in animal]

    def _log_odds(self, probability: float) -> float:
        inside = min(max(probability, self.EPS), 1 - self.EPS)
        return math.log(inside / (1 - inside))


class Haar:
    """OpenCV's cascade for frontal faces (Viola and Jones 2001), as in the report for photos; boxes alone."""

    FILE = "haarcascade_frontalface_alt2.xml"  # fewer false alarms than the default cascade

    def __init__(self, size: int) -> None:
        self.size = size
        folder = Path(cv2.__file__).parent / "data"
        self._cascade = cv2.CascadeClassifier(str(folder / self.FILE))

    def __call__(self, img: Pixels, size: int | None = None) -> list[Face]:
        """See Detector."""
        small, sx, sy = scaled(img, size or self.size)
        found = self._cascade.detectMultiScale(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        return largest_first([Face(_box(x, y, w, h, sx, sy), 1.0, None) for x, y, w, h in found])


class AnimeFace:
    """AnimeFace by nagadomi ("ultraist"), the report's detector for paintings; made for anime.

    The package animeface 2.0.3 was compiled for the images of Pillow 4 in memory. Those of today's Pillow differ: it
    would find nothing, and read where it must not. So its compiled part gets an image as it expects it.
    """

    LEAST = 64  # px; on strips narrower than its window it crashes
    VERSION = "2.0.3"  # of the package; another may lay out memory otherwise

    def __init__(self, size: int) -> None:
        check("animeface")
        self.size = size

    def __call__(self, img: Pixels, size: int | None = None) -> list[Face]:
        """See Detector."""
        import animeface  # here: the other detectors work without

        small, sx, sy = scaled(img, size or self.size)
        height, width = small.shape[:2]
        if min(height, width) < self.LEAST:
            return []
        rgbx = np.dstack([small, np.zeros_like(small[:, :, :1])])
        rows = rgbx.ctypes.data + np.arange(height, dtype=np.uintp) * rgbx.strides[0]
        img4 = _Pillow4(mode=b"RGB", xsize=width, ysize=height, image=rows.ctypes.data)
        found = animeface._nvxs.detect(img4)
        return largest_first([self._face(animeface.Face(one), sx, sy) for one in found])

    @staticmethod
    def _face(found: Any, sx: float, sy: float) -> Face:
        pos, mouth = found.face.pos, found.mouth.pos
        eyes = [(eye.x + eye.width / 2, eye.y + eye.height / 2) for eye in (found.right_eye.pos, found.left_eye.pos)]
        height = mouth.y + mouth.height / 2
        points = [*eyes, (found.nose.pos.x, found.nose.pos.y), (mouth.x, height), (mouth.x + mouth.width, height)]
        landmarks = (np.array(points) * np.array([sx, sy])).astype(np.float32)
        return Face(_box(pos.x, pos.y, pos.width, pos.height, sx, sy), float(found.likelihood), landmarks)


class _Pillow4(ctypes.Structure):
    """The beginning of an image of Pillow 4 in memory, as far as AnimeFace reads it; image: address of its rows.

    CPython puts the address of a structure where that of the image is in a Pillow object: behind the object's head.
    """

    _fields_ = (
        ("mode", ctypes.c_char * 7),
        ("type", ctypes.c_int),
        ("depth", ctypes.c_int),
        ("bands", ctypes.c_int),
        ("xsize", ctypes.c_int),
        ("ysize", ctypes.c_int),
        ("palette", ctypes.c_void_p),
        ("image8", ctypes.c_void_p),
        ("image32", ctypes.c_void_p),
        ("image", ctypes.c_void_p),
    )


class Closer:
    """A detector, and a closer look at large pictures, in which small faces would be too small for it.

    least: px, side of the smallest face that counts. every: look closer also where a face was found at once.
    """

    SEEN = 16  # px of a face that is still found, in the picture that the detector looks at
    MOST = 6_000_000  # px of that

    def __init__(self, detector: Detector, size: int, least: int, every: bool) -> None:
        self.detector, self.size, self.least, self.every = detector, size, least, every

    def __call__(self, img: Pixels, size: int | None = None) -> list[Face]:
        """See Detector."""
        size = size or self.size
        found = self.detector(img, size)
        height, width = img.shape[:2]
        closer = int(min(self.SEEN / self.least, (self.MOST / (height * width)) ** 0.5) * max(height, width))
        if closer <= size or (found and not self.every):
            return found
        more = self.detector(img, closer)
        return largest_first([*found, *(face for face in more if all(iou(face.box, old.box) < SAME for old in found))])


class Union:
    """Several detectors together: the faces of the first, and what only the later ones find."""

    def __init__(self, detectors: list[Detector]) -> None:
        self.detectors = detectors

    def __call__(self, img: Pixels, size: int | None = None) -> list[Face]:
        """See Detector."""
        faces: list[Face] = []
        for detector in self.detectors:
            faces += [face for face in detector(img, size) if all(iou(face.box, old.box) < SAME for old in faces)]
        return largest_first(faces)


def scaled(img: Pixels, size: int) -> tuple[Pixels, float, float]:
    """Scale the longer side to `size` px; also returns what x and y of the result are multiplied by to go back."""
    height, width = img.shape[:2]
    scale = size / max(height, width)
    shape = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(img, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.asarray(small, np.uint8), width / shape[0], height / shape[1]


def largest_first(faces: list[Face]) -> list[Face]:
    """Sort faces as a detector gives them."""
    return sorted(faces, key=lambda face: (-face.side, face.box))


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return both / (areas - both) if both else 0.0


def _box(x: float, y: float, width: float, height: float, sx: float, sy: float) -> Box:
    return float(x * sx), float(y * sy), float((x + width) * sx), float((y + height) * sy)
