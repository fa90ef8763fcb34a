import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import texture
from semireal import images
from semireal.faces import frame

PICTURE = texture(4, 120, 160)


@given(st.tuples(*[st.integers(0, 40)] * 4), st.integers(0, 255), st.integers(0, 3))
def test_what_is_inside_of_the_bars_is_found(widths: tuple[int, int, int, int], colour: int, noise: int) -> None:
    top, bottom, left, right = (0 if width < 4 else width for width in widths)
    canvas = np.full((120 + top + bottom, 160 + left + right, 3), colour, np.uint8)
    rough = np.random.default_rng(0).integers(-noise, noise + 1, canvas.shape)
    canvas = (canvas + rough).clip(0, 255).astype(np.uint8)
    canvas[top : top + 120, left : left + 160] = PICTURE
    x0, y0, x1, y1 = frame.inside(canvas)
    # a line of the picture that is all of the bar's colour may go with the bar
    assert np.abs(np.array([x0, y0, x1, y1]) - (left, top, left + 160, top + 120)).max() <= 3


def test_a_border_within_bars() -> None:
    bordered = np.pad(PICTURE, ((10, 10), (10, 10), (0, 0)), constant_values=255)
    canvas = np.pad(bordered, ((30, 30), (0, 0), (0, 0)))
    assert frame.inside(canvas) == (10, 40, 170, 160)


def test_a_plain_background_is_no_bar() -> None:
    studio = np.full((200, 200, 3), 250, np.uint8)
    v, u = np.mgrid[:200, :200]
    studio[np.hypot(u - 100, v - 120) < 60] = (90, 60, 50)  # a head before a white wall
    assert frame.inside(studio) == (0, 0, 200, 200)
    assert frame.inside(np.zeros((50, 50, 3), np.uint8)) == (0, 0, 50, 50)


@pytest.mark.parametrize("soft", [False, True])
def test_jpeg_does_not_hide_a_bar(soft: bool, tmp_path: object) -> None:
    canvas = np.pad(PICTURE, ((40, 40), (0, 0), (0, 0)))
    data = images.encode_jpeg(canvas, 60 if soft else 95)
    path = tmp_path / "x.jpg"  # type: ignore[operator]
    path.write_bytes(data)
    _, top, _, bottom = frame.inside(images.load_rgb(path))
    assert abs(top - 40) <= 2
    assert abs(bottom - 160) <= 2
