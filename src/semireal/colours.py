"""Any picture that Pillow has read, to sRGB with 8 bits: first its profile, then what is transparent, then its depth.

The order decides: a profile is about the numbers of the picture's own mode. So alpha is taken off before and put back
after, and greys of more than 8 bits go through their profile as they are.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_SRGB = ImageCms.createProfile("sRGB")
_LEVELS = 256  # of the curve that a grey profile is turned into
_AT_ONCE = 1 << 20  # grey pixels
HIDDEN = 16  # an alpha that nowhere reaches this shows nothing: it was not meant as one

Pixels = NDArray[np.uint8]


def to_srgb(img: Image.Image) -> Pixels:
    """[H, W, 3] uint8; what is transparent becomes white.

    An alpha that is the same everywhere, or shows nothing anywhere, as in screenshots of some games, does not count.
    """
    colour, alpha = _parts(img)
    rgb = _greys(colour) if _is_grey(colour) else _colours(colour)
    if alpha is None or alpha.max() < HIDDEN or alpha.min() == alpha.max():
        return rgb
    share = alpha[:, :, None].astype(np.uint16)
    return np.asarray((rgb * share + 255 * (255 - share) + 127) // 255, np.uint8)


def _parts(img: Image.Image) -> tuple[Image.Image, NDArray[np.uint8] | None]:
    """The picture without its alpha, with its profile, and the alpha [H, W], if it has one."""
    profile = img.info.get("icc_profile")
    if img.mode in ("La", "RGBa"):  # colours that are multiplied with alpha already
        img = img.convert({"La": "LA", "RGBa": "RGBA"}[img.mode])
    elif "transparency" in img.info:
        img = img.convert("LA" if img.mode in ("1", "L") else "RGBA")
    elif img.mode in ("P", "PA"):
        img = img.convert("RGB" if img.mode == "P" else "RGBA")
    alpha = None
    if img.mode in ("LA", "RGBA"):
        alpha = np.asarray(img.getchannel("A"))
        img = img.convert(img.mode[:-1])
    img.info = {"icc_profile": profile}
    return img, alpha


def _is_grey(img: Image.Image) -> bool:
    return img.mode in ("1", "L") or img.mode.startswith(("I", "F"))


def _greys(img: Image.Image) -> Pixels:
    """A grey picture of any depth, through the curve of its profile."""
    levels = np.asarray(img.convert("L") if img.mode == "1" else img)
    white = _white(img.mode, levels)
    ramp = Image.fromarray(np.arange(_LEVELS, dtype=np.uint8)[None])
    converted = _converted(ramp, img.info["icc_profile"])
    curves = None if converted is None else np.asarray(converted)[0].T
    found = np.empty((*levels.shape, 3), np.uint8)
    for start in range(0, levels.size, _AT_ONCE):  # doubles of a whole picture would take more memory than all else
        part = slice(start, start + _AT_ONCE)
        found.reshape(-1, 3)[part] = _curved(
            levels.reshape(-1)[part].astype(np.float64) * ((_LEVELS - 1) / white), curves
        )
    return found


def _curved(levels: NDArray[np.float64], curves: Pixels | None) -> NDArray[np.float64]:
    """Levels [N] from 0 to 255 as colours [N, 3], by the curves [3, 256] of a profile."""
    if curves is None:
        return np.repeat(levels.clip(0, _LEVELS - 1).round()[:, None], 3, axis=1)
    return np.stack([np.interp(levels, np.arange(_LEVELS), curve) for curve in curves], axis=1).round()


def _white(mode: str, levels: NDArray[Any]) -> float:
    """The number that stands for white, as far as mode and numbers tell."""
    if mode == "F" and levels.max() <= 1:
        return 1.0
    return 65535.0 if levels.max() > 255 else 255.0


def _colours(img: Image.Image) -> Pixels:
    found = _converted(img, img.info["icc_profile"]) or img
    return np.asarray(found if found.mode == "RGB" else found.convert("RGB"))


def _converted(img: Image.Image, profile: bytes | None) -> Image.Image | None:
    """The picture as sRGB by its profile; None if there is none that fits: it is ignored then, as browsers do."""
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(img, source, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
