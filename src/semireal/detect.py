"""Face detectors: an RGB image in, faces out."""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from semireal import weights
from semireal.images import Pixels

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Face:
    """One face in pixels of the image given.

    box: x0, y0, x1, y1, about eyebrows to chin; may reach past the image.
    score: confidence in [0, 1].
    landmarks: [5, 2] of x, y: right eye, left eye (of the person), nose tip, right and left corner of the mouth.
    """

    box: Box
    score: float
    landmarks: NDArray[np.float32]

    @property
    def side(self) -> float:
        """Longer side of the box in px."""
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, y1 - y0)


class Detector(Protocol):
    """Finds the faces of an [H, W, 3] uint8 RGB image, the largest first."""

    def __call__(self, img: Pixels) -> list[Face]:  # noqa: D102
        ...


class YuNet:
    """YuNet (Wu, Peng and Yu 2023) through OpenCV: fast, and at home with photos and paintings.

    score: faces below this confidence are dropped. size: the longer side of the image is scaled to this many px.
    A detector belongs to one thread.
    """

    NMS_IOU = 0.3
    LEAST = 32  # px; on narrower strips the network returns infinities
    TOP_K = 5000

    def __init__(self, score: float, size: int) -> None:
        self.size = size
        path = weights.find(weights.YUNET)
        self._net = cv2.FaceDetectorYN.create(str(path), "", (size, size), score, self.NMS_IOU, self.TOP_K)

    def __call__(self, img: Pixels) -> list[Face]:
        """See Detector."""
        height, width = img.shape[:2]
        scale = self.size / max(height, width)
        scaled = (round(width * scale), round(height * scale))
        if min(scaled) < self.LEAST:
            return []
        small = cv2.resize(img, scaled, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        self._net.setInputSize(scaled)
        _, found = self._net.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        faces = [] if found is None else [self._face(row, width / scaled[0], height / scaled[1]) for row in found]
        return sorted(faces, key=lambda face: (-face.side, face.box))

    @staticmethod
    def _face(row: NDArray[np.float32], sx: float, sy: float) -> Face:
        x, y, w, h = row[:4]
        box = (float(x * sx), float(y * sy), float((x + w) * sx), float((y + h) * sy))
        landmarks = (row[4:14].reshape(5, 2) * np.array([sx, sy])).astype(np.float32)
        return Face(box, float(row[14]), landmarks)
