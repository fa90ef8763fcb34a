import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import texture
from semireal import images
from semireal.faces import frame

PICTURE = texture(4, 120, 160)


def bar_by_all_lines(grey: np.ndarray) -> int:
    """frame._bar, but for looking at every line of the picture."""
    height = grey.shape[0]
    same = (np.percentile(grey, 99, axis=1) - np.percentile(grey, 1, axis=1) <= frame.FLAT) & (
        np.abs(np.median(grey, axis=1) - np.median(grey[0])) <= frame.FLAT
    )
    bar = int(np.argmin(same)) if not same.all() else height
    if bar < frame.LEAST * height or bar > frame.MOST * height:
        return 0
    begins = np.abs(grey[bar : bar + frame.SOFT] - np.median(grey[:bar])).max(axis=0)
    return bar if (begins > frame.EDGE).mean() >= frame.ACROSS else 0


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 40), st.integers(0, 25)), min_size=1), st.integers(1, 150))
def test_a_bar_ends_where_all_lines_together_say(stripes: list[tuple[int, int, int]], width: int) -> None:
    rng = np.random.default_rng(0)
    lines = [rng.integers(level, level + noise + 1, (n, width)) for n, level, noise in stripes]
    grey = np.concatenate(lines).astype(np.uint8)
    for one in (grey, grey[::-1]):
        assert frame._bar(one) == bar_by_all_lines(one.astype(np.int16))


def test_steps_whose_bars_would_leave_nothing_are_left() -> None:
    steps = np.repeat(np.array([0, 10, 20], np.uint8), (40, 20, 40))[:, None, None] + np.zeros((100, 120, 3), np.uint8)
    assert frame.inside(steps) == (0, 0, 120, 100)
    assert frame.inside(np.ascontiguousarray(steps.transpose(1, 0, 2))) == (0, 0, 100, 120)


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
