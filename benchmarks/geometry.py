"""How far do eyes and mouth wander from picture to picture, in square crops and in aligned ones?

    python benchmarks/geometry.py --faces DIR --json OUT [--sheets FOLDER]

DIR holds faces.csv (columns path, class, has_face) and its images. For each geometry of the stage crop: the standard
deviations of the eyes' and the mouth's place over all faces that the default detector finds, x and y in percent of the
crop's side, of the line through the eyes in degrees, and of the distance between the eyes in percent of its mean.
The places are those that the detector gives when it looks at the finished crop again, not those that made the crop.
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from semireal import images, manifest
from semireal.faces import crop, detect
from semireal.manifest import Row
from semireal.params import whole
from semireal.params.crop import Crop
from semireal.params.resize import Resize

ROOT = Path(__file__).resolve().parents[1]
SIZE = 512  # px; all crops are looked at in one size
TILE, COLUMNS = 128, 16  # px and pictures in a row of a contact sheet


def crops(faces: Path, out: Path, settings: Crop) -> list[Row]:
    """Run the stage crop on the labelled faces."""
    raw = out / "raw"
    (out / "crops").mkdir()
    raw.mkdir()
    table = pd.read_csv(faces / "faces.csv")
    chosen = table[table["class"].isin(["photo", "portrait"]) & (table["has_face"] == 1)]
    rows = [
        manifest.kept({"id": f"{n:04}", "domain": kind, "source": kind}, file=str(faces.resolve() / path))
        for n, (kind, path) in enumerate(zip(chosen["class"], chosen["path"], strict=True))
    ]
    manifest.save(raw, rows, "benchmark", "")
    crop.run(raw, out / "crops", settings, Resize(size=SIZE, quality=95))
    return manifest.read_kept(out / "crops")


def landmarks(img: images.Pixels, detector: detect.Detector) -> np.ndarray | None:
    """[5, 2] in sides of the crop, or None if no face is seen in it."""
    found = detector(img)
    points = found[0].landmarks if found else None
    return None if points is None else points / SIZE


def spread(points: np.ndarray) -> dict[str, float]:
    """The figures of faces [N, 5, 2]."""
    eyes, mouth = points[:, :2], points[:, 3:].mean(1)
    line = eyes[:, 1] - eyes[:, 0]
    distance = np.hypot(*line.T)
    found = {
        "eyes_x": 100 * eyes[:, :, 0].std(0).mean(),
        "eyes_y": 100 * eyes[:, :, 1].std(0).mean(),
        "mouth_x": 100 * mouth[:, 0].std(),
        "mouth_y": 100 * mouth[:, 1].std(),
        "tilt_degrees": np.degrees(np.arctan2(line[:, 1], line[:, 0])).std(),
        "eye_distance": 100 * distance.std() / distance.mean(),
    }
    return {name: round(float(value), 2) for name, value in found.items()} | {"faces": len(points)}


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets of the crops")
    given = parser.parse_args()
    settings = whole.load(ROOT / "params.yaml").crop.__dict__
    result = {}
    for name, change in (("box", {"margin": 0.45, "lift": 0.12}), ("aligned", {"scale": 1.3})):
        one = Crop(**{**settings, "geometry": name, **change})
        detector = detect.make("yunet", one.score, one.detect_size)
        with TemporaryDirectory() as folder:
            out = Path(folder)
            rows = crops(given.faces, out, one)
            pictures = [images.resize(images.load_rgb(out / "crops" / row["file"]), SIZE) for row in rows]
        found = [landmarks(img, detector) for img in pictures]
        result[name] = spread(np.stack([points for points in found if points is not None]))
        if given.sheets:
            given.sheets.mkdir(parents=True, exist_ok=True)
            tiles = np.stack([images.resize(img, TILE) for img in pictures[::3]])
            images.save_png(given.sheets / f"{name}.png", images.grid(tiles, COLUMNS))
    given.json.write_text(json.dumps(result, indent=2) + "\n")
    print(pd.DataFrame(result).T.to_string())


if __name__ == "__main__":
    main()
