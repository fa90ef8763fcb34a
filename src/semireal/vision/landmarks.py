"""Where the landmarks of a face are in the finished picture of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def of(row: Mapping[str, Any]) -> NDArray[np.float64]:
    """The landmarks of a picture of the dataset, [5, 2]: x and y in shares of its side, in the order of detect.Face.

    row: of its manifest. Stage crop wrote the landmarks in px of the raw image, and the square that it cut out, which
    may be turned around its centre (semireal.faces.crop).
    """
    points = np.array(str(row["landmarks"]).split(), np.float64).reshape(-1, 2)
    corners = np.array(str(row["crop_box"]).split(), np.float64).reshape(2, 2)
    angle = np.deg2rad(float(row["angle"]))
    across, down = (np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))
    side = corners[1, 0] - corners[0, 0]
    return np.asarray((points - corners.mean(axis=0)) @ np.array([across, down]).T / side + 0.5)
