from pathlib import Path

import numpy as np
import pandas as pd

from conftest import texture
from semireal import detect, images


def iou(a: detect.Box, b: detect.Box) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(area) - width * height)


def test_labelled_faces_are_found(shared: Path) -> None:
    labels = pd.read_csv(shared / "faces" / "faces.csv")
    labels = labels[(labels["has_face"] == 1) & labels["class"].isin(["photo", "portrait"])].iloc[::12]
    detector = detect.YuNet(score=0.8, size=640)
    hits = []
    for label in labels.itertuples():
        x, y, w, h = (float(getattr(label, name)) for name in "xywh")
        found = detector(images.load_rgb(shared / "faces" / str(label.path)))
        hits.append(any(iou(face.box, (x, y, x + w, y + h)) >= 0.4 for face in found))
    assert len(hits) > 30
    assert np.mean(hits) >= 0.95


def test_coordinates_are_those_of_the_image_given(shared: Path) -> None:
    path = sorted((shared / "faces" / "photo").iterdir())[0]
    img = images.load_rgb(path)
    detector = detect.YuNet(score=0.8, size=640)
    (first, *_), (padded, *_) = detector(img), detector(np.pad(img, ((0, 0), (img.shape[1], 0), (0, 0))))
    assert first.landmarks.shape == (5, 2)
    assert (
        iou(
            first.box,
            (padded.box[0] - img.shape[1], *padded.box[1:2], padded.box[2] - img.shape[1], padded.box[3]),
        )
        > 0.7
    )
    # the nose lies between the eyes and the mouth
    assert first.landmarks[:2, 1].max() < first.landmarks[2, 1] < first.landmarks[3:, 1].min()


def test_odd_shapes_are_no_error() -> None:
    detector = detect.YuNet(score=0.8, size=640)
    for shape in ((1, 1), (1, 3000), (3000, 1), (3000, 160), (7, 5)):
        assert detector(texture(0, *shape)) == []
