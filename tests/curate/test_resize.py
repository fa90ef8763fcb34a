from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import texture
from semireal import images, manifest
from semireal.curate import resize
from semireal.params.resize import Resize


def test_every_crop_becomes_a_square_jpeg(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    crops = make_dataset("crops", [(texture(n, side, side), {}) for n, side in enumerate((40, 128, 300))])
    out = tmp_path / "out"
    out.mkdir()
    resize.run(crops, out, Resize(size=128, quality=95))
    rows = manifest.read_kept(out)
    assert [row["id"] for row in rows] == ["0000", "0001", "0002"]
    for row in rows:
        with Image.open(out / row["file"]) as img:
            assert (img.format, img.mode, img.size) == ("JPEG", "RGB", (128, 128))
        assert row["bytes"] == (out / row["file"]).stat().st_size
    same = images.load_rgb(out / rows[1]["file"])
    assert np.abs(same.astype(int) - texture(1, 128, 128)).mean() < 4  # JPEG's own loss only


def test_what_is_finished_already_stays_as_it_is(tmp_path: Path) -> None:
    done = images.encode_jpeg(texture(1, 64, 64), 80)
    path = tmp_path / "x.jpg"
    path.write_bytes(done)
    assert resize.finished(path, Resize(size=64, quality=95)) == done
    other = resize.finished(path, Resize(size=32, quality=95))  # of another size than the dataset's
    assert images.decode(other).shape == (32, 32, 3)
    Image.fromarray(texture(1, 64, 64)).save(path, "PNG")  # whatever its name
    assert resize.finished(path, Resize(size=64, quality=95)) == images.encode_jpeg(texture(1, 64, 64), 95)
    path.write_bytes(done[:50])
    with pytest.raises(images.ImageError, match="not an image"):
        resize.finished(path, Resize(size=64, quality=95))


def test_same_input_same_bytes(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    crops = make_dataset("crops", [(texture(5, 90, 90), {})])
    outs = [tmp_path / name for name in "ab"]
    for out in outs:
        out.mkdir()
        resize.run(crops, out, Resize(size=64, quality=90))
    a, b = ([f.read_bytes() for f in sorted(out.rglob("*")) if f.is_file()] for out in outs)
    assert a == b
