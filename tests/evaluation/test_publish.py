import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from conftest import ROOT, texture
from semireal import files, images, paths
from semireal.errors import UserError
from semireal.evaluation import publish

HISTORY = "epoch,loss_g,snapshot_distance\n1,0.12345678901,\n2,0.5,2.00000001\n3,0.25,\n4,0.125,1.5\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """All that the stage reads."""
    sources = [*publish.COPIED.values(), *publish.FIGURES]
    for folder in {path.parent for path in sources} | {paths.SAMPLES}:
        (tmp_path / folder).mkdir(parents=True)
    for path in publish.COPIED.values():
        (tmp_path / path).write_text(f"content of {path}")
    for n, path in enumerate(publish.FIGURES):
        images.save_png(tmp_path / path, texture(n))
    for n, name in enumerate(publish.PHOTOS):
        images.save_png(tmp_path / paths.SAMPLES / f"{name}.png", texture(n, 2000, 1000))
    training = tmp_path / paths.TRAINING
    files.write_json(training / "metrics.json", {"step": 4, "loss_g": 0.125})
    files.write_json(training / "report.json", {"epochs": 4, "best_epoch": 4})
    (training / "history.csv").write_text(HISTORY)
    return tmp_path


def published(root: Path, name: str = "out") -> dict[str, bytes]:
    out = root / name
    out.mkdir()
    publish.run(root, out)
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_equal_results_are_published_as_equal_bytes(results: Path) -> None:
    found = published(results)
    assert found == published(results, "again")
    assert publish.__doc__ is not None
    assert set(found) == set(re.findall(r"\w+\.(?:csv|json|png|jpg)", publish.__doc__.split("Equal")[0]))
    for name, source in publish.COPIED.items():
        assert found[name] == (results / source).read_bytes()
    assert json.loads(found["train.json"]) == {"step": 4, "loss_g": 0.125, "epochs": 4, "best_epoch": 4}


def test_numbers_are_short_and_snapshots_alone(results: Path) -> None:
    found = published(results)
    assert found["history.csv"].decode().splitlines()[1:3] == ["1,0.1234568,", "2,0.5,2"]
    assert found["snapshots.csv"].decode().splitlines()[1:] == ["2,0.5,2", "4,0.125,1.5"]
    (results / paths.TRAINING / "history.csv").write_text("epoch,loss_g\n1,0.5\n")
    assert "snapshots.csv" not in published(results, "without")


def test_pictures_are_small_and_what_they_were(results: Path) -> None:
    found = published(results)
    for name in publish.PHOTOS:
        (results / "small.jpg").write_bytes(found[f"{name}.jpg"])
        with Image.open(results / "small.jpg") as img:
            assert img.size == (publish.SIDE // 2, publish.SIDE)
    # a figure has few colours, and keeps them
    drawn = np.full((40, 60, 3), 255, np.uint8)
    drawn[10:20, 10:50] = (31, 119, 180)
    images.save_png(results / publish.FIGURES[0], drawn)
    again = published(results, "again")[publish.FIGURES[0].name]
    assert (images.decode(again) == drawn).all()


@pytest.mark.parametrize("path", [publish.COPIED["measures.csv"], publish.FIGURES[1], paths.TRAINING / "history.csv"])
def test_a_missing_result_is_named(results: Path, path: Path) -> None:
    (results / path).unlink()
    with pytest.raises(UserError, match=rf"{path}: not found\. Run `dvc repro`"):
        published(results)


def test_what_is_no_picture_is_named(results: Path) -> None:
    (results / publish.FIGURES[0]).write_bytes(b"text")
    with pytest.raises(UserError, match=rf"{publish.FIGURES[0]}: .*Make it anew"):
        published(results)


def test_metrics_and_plots_are_of_what_git_keeps() -> None:
    """A clone shows them, then: one picture that is nowhere to be had takes all plots with it."""
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    outs = declared["stages"]["publish"]["outs"]
    assert outs == [{str(path): {"cache": False}} for path in (paths.METRICS, paths.PUBLISHED)]
    named = set(declared["metrics"])
    for plot in declared["plots"]:
        if isinstance(plot, str):
            named.add(plot)
        else:
            (curve,) = plot.values()
            named |= {*curve["x"], *curve["y"]}
    kept = set(re.findall(r"\w+\.(?:csv|json|png|jpg)", str(publish.__doc__)))
    assert {Path(name).name for name in named} <= kept
    assert {str(Path(name).parent) for name in named - {str(paths.METRICS)}} == {str(paths.PUBLISHED)}
