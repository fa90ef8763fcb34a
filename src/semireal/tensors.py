"""From pictures to the networks and back.

At the rim of the program an image is HWC uint8 RGB; inside the networks it is NCHW float32 in [-1, 1].
All conversions between the two are here.
"""

from collections.abc import Sequence

import numpy as np
import torch

from semireal.images import Pixels


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 NCHW in 0..255 to float32 NCHW in [-1, 1]."""
    return images.to(torch.float32) / 127.5 - 1


def to_uint8(images: torch.Tensor) -> Pixels:
    """Float NCHW around [-1, 1] (clipped) to uint8 NHWC."""
    scaled = (images.detach().float() * 127.5 + 127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def to_nchw(images: Sequence[Pixels]) -> torch.Tensor:
    """HWC uint8 images of one size to one uint8 NCHW tensor."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def carried(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the host on the device, in a copy that the host does not wait for; on the CPU the tensor itself.

    That takes memory that is not paged: from other memory CUDA waits for all that the device was given before.
    """
    if device == tensor.device:
        return tensor
    return (tensor.pin_memory() if tensor.device.type == "cpu" else tensor).to(device, non_blocking=True)
