"""Copies of pictures, also of those that were mirrored, shifted, zoomed, turned, mixed with others or in part replaced.

Two steps. First each picture, small and with its contrasts evened out, is compared with each reference in FORMS forms
and, where the two are shifted, in SHIFTS x SHIFTS places. Then the best few references are registered with it, and the
details of the two are correlated block by block. That two pictures show a face at the same place is not enough for
that, since the details of another face are others; and the median over the blocks does not mind a replaced quarter.

Nothing is looked at but the grey picture at SIDE px, so larger pictures may be scaled down before. The first step
reckons with whole numbers and the second one looks at each pair for itself, so that nothing depends on the number of
threads or on the order of the pictures. benchmarks/copies.py measures what is found and what is called so in error.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from semireal.images import Pixels

LIMIT = 0.55  # score from which on a picture is called a copy; see benchmarks/copies.py
SIDE = 64  # px
ZOOMS = (1 / 1.15, 1 / 1.07, 1.0, 1.07, 1.15)
TURNS = (-10.0, -5.0, 0.0, 5.0, 10.0)  # degrees
FORMS = 2 * len(ZOOMS) * len(TURNS)
GRID, WINDOW = 20, 16  # px of the smallest pictures, and of the part that is compared: borders come and go
SHIFTS = GRID - WINDOW + 1  # places of that part on each axis, a twentieth of the side apart
FEW = 8  # references that are looked at in detail
UNIT = 4000  # length of the descriptors: whole numbers, whose products are below 2^24 and so exact in float32
PARTS = 32  # pictures that are compared at a time; bounds the memory

# widths of the bands, in px: sigma of the Gaussians whose difference is taken
COARSE = (2.0, 6.0)
REGISTERED = ((1.2, 4.0), (0.8, 3.0))  # first the large, then the small
DETAILS = (0.5, 2.0)  # the finer, the less other faces are alike; finer still, and blurred copies are lost
EVEN = 8.0  # px, sigma of the surroundings in which contrasts are made equal
STRAYED = 0.15  # a registration that moves the middle or the edges by more of the side has lost its way

BLOCK = 16  # px
LEAST_BLOCKS = 6  # with structure; nothing can be said about pictures with fewer
STRUCTURE = 2.0  # squared grey levels; what is below is no structure but the noise of a flat area

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]  # [2, 3]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Form:
    """How a reference is transformed: mirrored left to right, zoomed, turned about its middle, then shifted.

    zoom: above 1 is larger. turn: degrees, clockwise. shift: x to the right and y down, in sides of the picture.
    """

    mirrored: bool = False
    zoom: float = 1.0
    turn: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)

    def __str__(self) -> str:
        """The form in words; what is too small to be seen is not mentioned, so it may be ""."""
        far = float(np.hypot(*self.shift))
        words = {
            "mirrored": self.mirrored,
            f"zoomed {self.zoom:.2f}": abs(self.zoom - 1) >= 0.02,
            f"turned {self.turn:.0f} degrees": abs(self.turn) >= 1,
            f"shifted {far:.0%}": far >= 0.02,
        }
        return ", ".join(word for word, said in words.items() if said)

    def matrix(self, side: int, to: int) -> Matrix:
        """[2, 3] from pixel indices x, y, 1 of a square picture to those of the transformed one of another size."""
        turn = np.deg2rad(self.turn)
        turned = self.zoom * to / side * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        if self.mirrored:
            turned = turned * [-1, 1]
        middle = np.full(2, (side - 1) / 2)  # indices are those of the middles of pixels
        return np.column_stack([turned, (to - 1) / 2 + np.array(self.shift) * to - turned @ middle])

    def apply(self, img: Pixels) -> Pixels:
        """A square picture [S, S, 3] in this form; what comes in from outside is its reflection."""
        side = img.shape[0]
        return np.asarray(_warp(img, self.matrix(side, side), side), np.uint8)


@dataclass(frozen=True)
class Match:
    """The reference that each of N pictures is most like.

    index [N] of the reference; score [N]: 0 to 1, how alike the details are; form [N]: what makes the reference like
    the picture.
    """

    index: Places
    score: NDArray[np.float64]
    form: list[Form]


def find(pictures: Pixels, references: Pixels, held_out: bool = False) -> Match:
    """Find what each picture may be a copy of; both are square RGB NHWC, of any sizes.

    held_out: the pictures are the references, and each is compared with the others only. How often these are called
    copies of each other says how alike the pictures of a set are anyway: nearly all are where one hand drew one face
    again and again, and then only what scores higher than they do is a copy. Pictures with hardly any structure have
    score 0. Raises ValueError where there is no reference to compare with.
    """
    if len(references) < 1 + held_out:
        raise ValueError(f"{len(references)} references are too few")
    small, known = _small(pictures), _small(references)
    index, forms = _candidates(small, known, held_out)
    best = [_best(grey, known[row], begin) for grey, row, begin in zip(small, index, forms, strict=True)]
    places = np.array([place for place, _, _ in best], dtype=np.int64)
    chosen = index[np.arange(len(small)), places] if len(small) else places
    return Match(chosen, np.array([score for _, score, _ in best], dtype=np.float64), [form for _, _, form in best])


def _small(pictures: Pixels) -> Pixels:
    """Grey pictures [N, SIDE, SIDE]."""
    size = (SIDE, SIDE)
    grey = [cv2.cvtColor(cv2.resize(img, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY) for img in pictures]
    return np.asarray(grey, np.uint8).reshape(-1, *size)


def _warp(img: Pixels | Floats, matrix: Matrix, side: int, border: int = cv2.BORDER_REFLECT_101) -> Pixels | Floats:
    found: Pixels | Floats = cv2.warpAffine(img, matrix, (side, side), borderMode=border)  # type: ignore[assignment]
    return found


def _band(img: Floats, widths: tuple[float, float]) -> Floats:
    """Structures between two widths: the difference of two Gaussian blurs."""
    fine, wide = (cv2.GaussianBlur(img, (0, 0), width) for width in widths)
    return np.asarray(fine - wide, np.float32)


def _even(grey: Pixels, widths: tuple[float, float]) -> Floats:
    """A band with equal contrast everywhere, so that light does not matter, nor what has the strongest edges."""
    band = _band(grey.astype(np.float32), widths)
    return np.asarray(band / np.sqrt(cv2.GaussianBlur(band * band, (0, 0), EVEN) + STRUCTURE), np.float32)


# --- first step: which references, in which form --------------------------------------------------


def _coarse_forms() -> list[Form]:
    return [Form(mirrored, zoom, turn) for mirrored in (False, True) for zoom in ZOOMS for turn in TURNS]


def _descriptors(windows: Floats) -> Floats:
    """Unit vectors [..., WINDOW^2], times UNIT and rounded; [..., WINDOW, WINDOW] are given."""
    flat = windows.reshape(*windows.shape[:-2], WINDOW**2)
    flat = flat - flat.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(flat, axis=-1, keepdims=True)
    return np.asarray(np.rint(UNIT * flat / np.maximum(length, 1e-6)), np.float32)


def _shifted(grids: Floats) -> Floats:
    """Descriptors [N, SHIFTS^2, WINDOW^2] of all places in grids [N, GRID, GRID]."""
    windows = np.lib.stride_tricks.sliding_window_view(grids, (WINDOW, WINDOW), axis=(1, 2))
    return _descriptors(windows.reshape(len(grids), SHIFTS**2, WINDOW, WINDOW))


def _formed(evened: list[Floats]) -> Floats:
    """Descriptors [N, FORMS, WINDOW^2] of N pictures in all forms."""
    matrices = [form.matrix(SIDE, GRID) for form in _coarse_forms()]
    edge = (GRID - WINDOW) // 2
    grids = np.array([[_warp(img, matrix, GRID) for matrix in matrices] for img in evened], np.float32)
    return _descriptors(grids[:, :, edge : GRID - edge, edge : GRID - edge])


def _candidates(small: Pixels, known: Pixels, held_out: bool) -> tuple[Places, list[list[Form]]]:
    """The references [N, FEW or fewer] that each picture is most like at first sight, and their forms."""
    smallest = Form().matrix(SIDE, GRID)
    grids = np.array([_warp(_even(grey, COARSE), smallest, GRID) for grey in small], np.float32)
    grids = grids.reshape(-1, GRID, GRID)
    # products, references, forms and places of the best so far; none yet
    best = [np.zeros((len(small), 0), dtype) for dtype in (np.float32, np.int64, np.int64, np.int64)]
    for start in range(0, len(known), PARTS):
        formed = _formed([_even(grey, COARSE) for grey in known[start : start + PARTS]])
        parts = [_compared(grids[at : at + PARTS], formed) for at in range(0, len(grids), PARTS)]
        products, forms, places = (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else best[:3]
        numbers = np.broadcast_to(np.arange(start, start + products.shape[1]), products.shape)
        if held_out:
            products[numbers == np.arange(len(small))[:, None]] = -np.inf
        pairs = zip(best, (products, numbers, forms, places), strict=True)
        best = [np.concatenate([old, new], axis=1) for old, new in pairs]
        order = np.argsort(-best[0], axis=1, kind="stable")[:, : min(FEW, start + products.shape[1] - held_out)]
        best = [np.take_along_axis(one, order, axis=1) for one in best]
    _, index, forms, places = best
    rows = zip(forms, places, strict=True)
    return index, [[_begin(int(f), int(p)) for f, p in zip(*row, strict=True)] for row in rows]


def _compared(grids: Floats, formed: Floats) -> tuple[Floats, Places, Places]:
    """Greatest products [N, R] of pictures and references, the form of the reference and the place in the picture."""
    count, references = len(grids), len(formed)
    product = _shifted(grids).reshape(-1, WINDOW**2) @ formed.reshape(-1, WINDOW**2).T
    product = product.reshape(count, SHIFTS**2, references, FORMS)
    by_form = product.max(axis=1)
    form = by_form.argmax(axis=2)
    rows, columns = np.ogrid[:count, :references]
    return by_form.max(axis=2), form, product[rows, :, columns, form].argmax(axis=2)


def _begin(form: int, place: int) -> Form:
    """The form that numbers of a form and of a place stand for."""
    coarse, (y, x) = _coarse_forms()[form], divmod(place, SHIFTS)
    middle = SHIFTS // 2
    return Form(coarse.mirrored, coarse.zoom, coarse.turn, ((x - middle) / GRID, (y - middle) / GRID))


# --- second step: register, and compare in detail -------------------------------------------------


def _best(grey: Pixels, known: Pixels, begin: list[Form]) -> tuple[int, float, Form]:
    """Number, score and form of the reference [of F, SIDE, SIDE] whose details are most like those of a picture."""
    forms = list(begin)
    for widths in REGISTERED:
        evened = _even(grey, widths)
        forms = [_registered(evened, _even(one, widths), form) for one, form in zip(known, forms, strict=True)]
    scores = [_alike(grey, one, form) for one, form in zip(known, forms, strict=True)]
    place = int(np.argmax(scores))
    return place, scores[place], forms[place]


def _registered(picture: Floats, reference: Floats, begin: Form) -> Form:
    """A better form, found by maximising the correlation coefficient (ECC) over affine maps.

    Evangelidis and Psarakis, Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization, PAMI 2008,
    section 3; as in OpenCV. Of the map the nearest similarity is taken: with more freedom, others look alike.
    """
    back = cv2.invertAffineTransform(begin.matrix(SIDE, SIDE)).astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    try:
        _, back = cv2.findTransformECC(picture, reference, back, cv2.MOTION_AFFINE, stop, None, 1)  # type: ignore[call-overload]
    except cv2.error:  # no convergence, as with flat pictures
        return begin
    found = _similarity(cv2.invertAffineTransform(back.astype(np.float64)), begin.mirrored)
    moved = np.abs(np.subtract(found.shift, begin.shift)).max()
    edges = max(abs(found.zoom - begin.zoom), np.deg2rad(abs(found.turn - begin.turn))) / 2
    return found if max(moved, edges) < STRAYED else begin


def _similarity(matrix: Matrix, mirrored: bool) -> Form:
    """The form whose matrix, of pictures of SIDE px, is nearest to a given one."""
    turned = matrix[:, :2] * ([-1, 1] if mirrored else [1, 1])
    cos, sin = (turned[0, 0] + turned[1, 1]) / 2, (turned[1, 0] - turned[0, 1]) / 2
    middle = (SIDE - 1) / 2
    x, y = (matrix @ [middle, middle, 1] - middle) / SIDE
    return Form(mirrored, float(np.hypot(cos, sin)), float(np.rad2deg(np.arctan2(sin, cos))), (float(x), float(y)))


def _alike(picture: Pixels, reference: Pixels, form: Form) -> float:
    """Median correlation of the details over the blocks that have any, 0 to 1."""
    matrix = form.matrix(SIDE, SIDE)
    seen = np.asarray(_warp(np.ones((SIDE, SIDE), np.float32), matrix, SIDE, cv2.BORDER_CONSTANT) > 0.99, np.float32)
    a = _band(picture.astype(np.float32), DETAILS)
    b = _band(np.asarray(_warp(reference.astype(np.float32), matrix, SIDE), np.float32), DETAILS)
    weight = _block_means(seen)
    share = np.maximum(weight, 1e-6)
    mean_a, mean_b = _block_means(a * seen) / share, _block_means(b * seen) / share
    var_a = _block_means(a * a * seen) / share - mean_a**2
    var_b = _block_means(b * b * seen) / share - mean_b**2
    both = _block_means(a * b * seen) / share - mean_a * mean_b
    counts = (weight > 0.5) & (np.maximum(var_a, var_b) > STRUCTURE)
    if counts.sum() < LEAST_BLOCKS:
        return 0.0
    # half of STRUCTURE: structure in one of the two only is no likeness
    correlation = both / (np.sqrt(np.maximum(var_a * var_b, 0)) + STRUCTURE / 2)
    return float(np.clip(np.median(correlation[counts]), 0, 1))


def _block_means(img: Floats) -> NDArray[np.float64]:
    """Means of the blocks of a picture [SIDE, SIDE]."""
    count = SIDE // BLOCK
    return np.asarray(img.reshape(count, BLOCK, count, BLOCK).mean(axis=(1, 3), dtype=np.float64))
