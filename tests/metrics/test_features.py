import numpy as np
import torch

from semireal.metrics import features


def test_small_details_are_averaged_and_not_skipped() -> None:
    """Lines that lie between the points of a plain bilinear scaling to 64 px."""
    lines = np.zeros((1, 256, 256, 3), np.uint8)
    lines[:, :, ::4] = lines[:, :, 3::4] = 255
    grey, black = np.full_like(lines, 128), np.zeros_like(lines)
    found, near, far = (features.extract(features.r64(), one, torch.device("cpu")) for one in (lines, grey, black))
    assert np.linalg.norm(found - near) < 0.1 * np.linalg.norm(found - far)
