import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT, texture
from semireal import params
from semireal.classifiers import verifier
from semireal.errors import UserError
from semireal.faces import detect
from semireal.faces.detect import Face


def table(confidence: np.ndarray, animal: np.ndarray, face: np.ndarray, group: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"confidence": confidence, "animal": animal, "face": face, "group": group, "score": 0.6})


def toy(seed: int, count: int = 400) -> pd.DataFrame:
    """Faces and others, of which a line in the plane of the features knows most."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (count, 2))
    face = rng.random(count) < 1 / (1 + np.exp(-(2 * x[:, 0] - 3 * x[:, 1] + 0.5)))
    return table(x[:, 0], x[:, 1], face.astype(float), [f"g{n}" for n in range(count)])


def test_regression_finds_the_weights_that_made_the_data() -> None:
    w = verifier.fit(toy(0, 20_000))
    assert w == pytest.approx([2, -3, 0.5], abs=0.15)
    assert w.tolist() == w.round(verifier.DIGITS).tolist()


def test_regression_ends_where_the_gradient_vanishes() -> None:
    data = toy(1)
    x, y = data[verifier.FEATURES].to_numpy(), data["face"].to_numpy()
    w = verifier.fit(data)
    wrong = 1 / (1 + np.exp(-(x @ w[:-1] + w[-1]))) - y
    ridge = verifier.RIDGE * w[:-1] * x.std(0) ** 2
    assert np.abs(x.T @ wrong + ridge).max() < 0.1  # of 400 rows
    assert abs(wrong.sum()) < 0.1


def test_who_is_sure_is_not_asked() -> None:
    data = toy(2, 3)
    data["score"] = [0.95, 0.6, 0.6]
    data[verifier.FEATURES] = [[-9, 9], [-9, 9], [9, -9]]
    assert verifier.accepted(data, np.array([1.0, -1.0, 0.0])).tolist() == [True, False, True]


def test_cross_validation_does_not_see_the_group() -> None:
    """One group lies far out among the faces and is none: only who has seen it knows."""
    data = toy(3, 200)
    data["group"] = [f"g{n // 20}" for n in range(200)]
    odd = data["group"] == "g7"
    data.loc[odd, verifier.FEATURES] = [50.0, -50.0]
    data.loc[odd, "face"] = 0.0
    assert not verifier.accepted(data, verifier.fit(data))[odd].any()
    assert verifier.cross_validated(data, 0)[odd].all()


def look(label: dict[str, Any], score: float = 0.6, box: detect.Box = (10, 10, 50, 50)) -> dict[str, Any]:
    verified = detect.Verified(detect.YuNet(0.5, 480))
    row = {"path": "p", "group": 3, "note": np.nan, "box": (10, 10, 50, 50)} | label
    return verifier.row_of(verified, texture(0, 96, 96), Face(box, score, None), row)


def test_what_is_a_face_and_what_is_none() -> None:
    elsewhere = (60.0, 60.0, 90.0, 90.0)
    assert look({"class": "photo"})["face"] == 1
    assert look({"class": "noface"})["face"] == 0
    assert look({"class": "portrait"}, box=elsewhere)["face"] == 0
    for unknown in ({"class": "photo"}, {"class": "portrait", "note": "two people"}):
        assert np.isnan(look(unknown, box=elsewhere)["face"])
    assert np.isnan(look({"class": "photo"}, score=0.95)["animal"])
    assert np.isfinite(look({"class": "photo"})["animal"])


def test_some_real_pictures_from_the_command_to_the_file(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights of a part of the pictures tell their faces from the others, and the detector can read them."""
    labels = pd.read_csv(shared / "faces" / "faces.csv")
    some = pd.concat([labels[labels["class"] == kind].iloc[::step] for kind, step in (("portrait", 24), ("noface", 3))])
    some["path"] = [str(shared / "faces" / path) for path in some["path"]]
    some.to_csv(tmp_path / "faces.csv", index=False)
    out = tmp_path / "verifier.json"
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["verifier", "--faces", str(tmp_path)])
    monkeypatch.setattr(verifier, "one_thread", lambda: None)
    monkeypatch.setattr(verifier, "SIZES", (320,))
    save = verifier.save
    monkeypatch.setattr(verifier, "save", lambda w: save(w, out))
    verifier.main()
    assert set(json.loads(out.read_text())) == {"weights", "bias"}
    assert "verifier.json" in capsys.readouterr().err
    monkeypatch.setattr(detect, "VERIFIER", out)
    detector = detect.Verified(detect.YuNet(0.5, 480))
    assert detector._weights[0] > 0 > detector._weights[1]  # confidence speaks for a face, an animal against it


def test_folder_without_labels_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"faces\.csv: not found"):
        verifier.candidates(tmp_path, params.load(verifier.Given, ROOT / "params.yaml").crop)
