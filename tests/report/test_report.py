"""The report as a file, and in headless Chromium."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from selenium import webdriver

import payloads
from conftest import ROOT, log_of, texture
from semireal import images, manifest, report
from semireal.curate import variety
from semireal.errors import UserError
from semireal.pipeline import compare
from semireal.report import charts, compared, differences, tables
from semireal.report.experiment import Experiment, Workspace, load

NASTY = "<script>alert(1)</script>"


def measure(name: str, value: float, **more: Any) -> dict[str, Any]:
    row = {"measure": name, "value": value, "features": "F", "against": "dataset", "psi": 1.0, "low": None}
    return row | {"high": None, "interval": "", "spread": None, "settings": "", "warning": ""} | more


def save_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def save_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def make(folder: Path, name: str, training_images: int = 4, **metrics: float) -> Path:
    """The files of an experiment, as the stages leave them, with numbers that can be told apart."""
    given = yaml.safe_load((ROOT / "params.yaml").read_text())
    given |= {"name": name, "report": {"training_images": training_images}, "collection": "demo/x"}
    (folder / "data/dataset/images").mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(given))
    rows = []
    for n in range(6):
        images.save_png(folder / f"data/dataset/images/{n}.png", texture(n))
        domain = "photo" if n % 2 else "portrait"
        one = {"id": str(n), "domain": domain, "source": "s", "artist": NASTY if n < 4 else "b"}
        rows.append(manifest.kept(one, file=f"images/{n}.png"))
    manifest.save(folder / "data/dataset", rows, "test", "", variety=variety.summary(rows))
    counts = {"in": 9, "kept": 9, "rejected": {}}
    save_json(folder / "data/raw/demo/x/report.json", counts)
    save_json(folder / "data/crops/report.json", {"in": 9, "kept": 8, "rejected": {"no face": 1}})
    by_hand = {"brought_back": 1, "left_out": 1, "domain": 0, "unknown": 0}
    save_json(
        folder / "data/filtered/report.json",
        counts | {"in": 8, "kept": 6, "rules": {"line art": 2}, "by_hand": by_hand},
    )
    for path in ("samples/grid", "samples/style_mix", "evaluation/psi_row", "evaluation/closest_pairs"):
        file = folder / f"results/{path}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        images.save_png(file, texture(len(path), 64, 128))
    images.save_png(folder / "results/evaluation/closest_held_out.png", texture(1))
    save_json(folder / "results/evaluation/metrics.json", {"distance_whole": 0.0123, "yield": 0.66} | metrics)
    table = [measure(key, value) for key, value in ({"distance_whole": 0.0123} | metrics).items()]
    table.append(measure("blend", 0.4, psi=0.5, against="photo and portrait", low=0.31, high=0.52))
    save_json(
        folder / "results/evaluation/evaluation.json",
        {
            "warnings": [f"too few images {NASTY}"],
            "protocol": {"psi": [1.0, 0.5], "seed": 0, "features": {"F": []}},
            "counts": {"trained_photo": 3, "trained_portrait": 3},
            "measures": table,
        },
    )
    save_csv(
        folder / "results/evaluation/psi_sweep.csv",
        [{"psi": p, "precision_whole": 1 - p / 9, "recall_whole": p / 2, "diversity_whole": p} for p in (0.3, 0.7, 1)],
    )
    (folder / "results/train").mkdir()
    save_csv(
        folder / "results/train/history.csv",
        [{"epoch": n, "loss_g": 4 / n, "loss_d": 1, "snapshot_whole": 0.5 / n if n % 2 else ""} for n in range(1, 6)],
    )
    save_json(folder / "results/train/report.json", {"best_epoch": 5})
    return folder


def page_of(tmp_path: Path, *experiments: Experiment) -> str:
    report.write(tmp_path / "report.html", experiments)
    return (tmp_path / "report.html").read_text()


def workspace(folder: Path, label: str = "") -> Experiment:
    return load(Workspace(folder), label)


def test_the_page_shows_everything_and_needs_nothing(tmp_path: Path) -> None:
    text = page_of(tmp_path, workspace(make(tmp_path / "a", "geralt")))
    for part in (
        "Geralt",
        "0.0123",
        "0.31 to 0.52",
        "3 photos and 3 portraits",
        "line art&nbsp;2",
        "domain: 2, effective 2, largest 50%",
        "artist: 2, effective 1.89, largest 67%",
        "b&nbsp;33&nbsp;%",
        "1.604",
        "used: epoch 5",
    ):
        assert part in text, part
    # the grid, the psi row, style mixing, two pictures of pairs, two contact sheets
    assert text.count('src="data:image/webp;base64,') == text.count("<img") == 7
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert not re.search(r"url\(|@import|<script|<link rel=\"(?!icon)", text)


def test_a_folder_that_is_no_repository_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"this repository cannot be read: you are not inside of a DVC repository"):
        compared.everything()


def test_texts_of_the_data_are_texts_in_the_page(tmp_path: Path) -> None:
    text = page_of(tmp_path, workspace(make(tmp_path / "a", NASTY), NASTY))
    assert NASTY not in text
    assert "&lt;script&gt;" in text


def test_an_experiment_without_a_summary_of_its_dataset_is_shown_all_the_same(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", "elf")
    path = folder / "data/dataset/report.json"
    path.write_text(json.dumps({key: one for key, one in json.loads(path.read_text()).items() if key != "variety"}))
    text = page_of(tmp_path, workspace(folder))
    assert "Not in the report of the dataset" in text
    assert 'class="variety"' not in text


def test_the_same_files_make_the_same_page(tmp_path: Path) -> None:
    pages = [page_of(tmp_path, workspace(make(tmp_path / name, "elf"))) for name in ("one", "two")]
    assert pages[0] == pages[1]


def test_training_images_can_be_left_out(tmp_path: Path) -> None:
    text = page_of(tmp_path, workspace(make(tmp_path / "a", "elf", training_images=0)))
    assert text.count("<img") == 3
    assert text.count("not shown (report.training_images = 0)") == 2
    assert "photo: 3 images" in text


def test_experiments_stand_side_by_side(tmp_path: Path) -> None:
    one = workspace(make(tmp_path / "a", "geralt"))
    two = workspace(make(tmp_path / "b", "elf", inception_score=1.77, fid=81.5), "blue-moon")
    lines = {line.name: line.cells for line in tables.measures([one, two])}
    # each at psi = 1, then at that of its samples
    assert [cell and cell["value"] for cell in lines["FID"]] == [None, None, 81.5, None]
    assert [cell and cell["value"] for cell in lines["Distance: the whole"]] == [0.0123, None, 0.0123, None]
    assert [cell and cell["value"] for cell in lines["Blend"]] == [None, 0.4, None, 0.4]
    text = page_of(tmp_path, one, two)
    assert "blue-moon" in text
    assert "81.5" in text
    assert "<title>semireal: Geralt, Elf</title>" in text


def test_published_figures_are_comparable_only_with_the_same_features(tmp_path: Path) -> None:
    offline = workspace(make(tmp_path / "a", "geralt"))
    published = workspace(make(tmp_path / "b", "elf", inception_score=1.7))
    assert tables.comparable(offline).startswith("Not comparable")
    assert tables.comparable(published).startswith("Roughly comparable")
    other = workspace(make(tmp_path / "c", "my_dwarf"))
    text = page_of(tmp_path, other)
    assert "2022" not in text  # it has nothing to do with the report
    assert page_of(tmp_path, other, published).count("<h3>The 2022 report</h3>") == 2
    assert [name for name, _, _ in tables.headline(published)] == [*("Distance: the whole", "Inception Score", "Yield")]


def test_what_an_experiment_lacks_is_said(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((make(tmp_path / "a", "elf") / "params.yaml").read_text())
    with pytest.raises(UserError, match=r"the workspace: no results/evaluation/metrics\.json\. Run `dvc repro`"):
        workspace(tmp_path)
    save_json(tmp_path / "results/evaluation/metrics.json", {})
    text = page_of(tmp_path, workspace(tmp_path))
    for part in (
        "No results/samples/grid.png",
        "No results/evaluation",
        "No dataset",
        "The reports of the stages are not",
    ):
        assert part in text
    with pytest.raises(UserError, match=r"red-fox: no params\.yaml"):
        load(Workspace(tmp_path / "nowhere"), "red-fox")


def test_large_pictures_become_smaller(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", "elf")
    images.save_png(folder / "results/samples/grid.png", np.tile(texture(0, 512, 512), (8, 8, 1)))
    assert (folder / "results/samples/grid.png").stat().st_size > 2_000_000
    assert len(page_of(tmp_path, workspace(folder))) < 2_000_000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\N{EN DASH}"),
        (0, "0"),
        (0.0, "0"),
        (1212, "1212"),
        (0.012345, "0.0123"),
        (-0.5, "\N{MINUS SIGN}0.5"),
        (80.3809, "80.4"),
    ],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert tables.number(value) == text


def test_a_chart_of_one_point_or_of_none_is_no_error() -> None:
    assert charts.chart("y", "x", [charts.Curve("", [])]) == ""
    for point in ((0.0, 0.0), (3.0, -2.0), (1e-9, 1e9)):
        drawn = charts.chart("y", "x", [charts.Curve("a", [point], (point, "here"))])
        assert "nan" not in drawn
        assert "here" in drawn


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_in_the_browser(tmp_path: Path, chromium: webdriver.Chrome, width: int) -> None:
    """No error, no request, and nothing sticks out, on a screen and on a phone."""
    one, two = make(tmp_path / "a", "geralt"), make(tmp_path / "b", "wonder_woman", fid=80.0)
    page_of(tmp_path, workspace(one), workspace(two, "blue-moon"))
    override: Callable[..., Any] = chromium.execute_cdp_cmd
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    override("Emulation.setDeviceMetricsOverride", size)
    chromium.get_log("performance")  # type: ignore[no-untyped-call]
    chromium.get((tmp_path / "report.html").as_uri())
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
    broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert chromium.execute_script(broken) == 0
    assert chromium.execute_script("return document.images.length") == 14
    assert log_of(chromium) == []
    messages = [json.loads(e["message"])["message"] for e in chromium.get_log("performance")]  # type: ignore[no-untyped-call]
    address = (tmp_path / "report.html").as_uri()
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    asked = [p["request"]["url"] for p in sent if p["documentURL"] == address]  # not those of the browser's own pages
    assert [url for url in asked if not url.startswith("data:")] == [address]


def test_main_measures_are_those_of_the_training_mixture(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", "elf")
    rows = [
        measure("precision", 0.1),
        measure("precision", 0.9, psi=0.5),
        measure("density", 0.3, against="photo"),
        measure("coverage", 0.4, against="portrait"),
        measure("inception_score", 2.0, against="a perfect generator", psi=None),
        measure("blend", 0.6, against="photo and portrait"),
    ]
    save_json(folder / "results/evaluation/evaluation.json", {"measures": rows})
    experiment = workspace(folder)
    assert [column.psi for column in tables.columns([experiment])] == [1, 0.5]
    lines = tables.measures([experiment])
    assert [line.name for line in lines if line.main] == ["Precision", "Inception Score", "Blend"]
    assert [[cell and cell["value"] for cell in line.cells] for line in lines] == [
        *([0.1, 0.9], [0.3, None], [0.4, None], [2.0, None], [0.6, None])
    ]
    about = ["", "against the photos", "against the portraits"]
    about += ["of a perfect generator of as many images", "photo and portrait"]
    assert [line.about for line in lines] == about
    # no two rows of the page are called the same
    rows += [measure("precision", 0.2, against=against) for against in ("dataset, also mirrored", "real halves")]
    save_json(folder / "results/evaluation/evaluation.json", {"measures": rows})
    lines = tables.measures([workspace(folder)])
    assert len({(line.name, line.about) for line in lines}) == len(lines)


def test_pairs_say_what_was_found_between_them(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", "elf")
    row = {"kind": "generated", "psi": 1.0, "seed": 3, "score": 0.61, "form": "", "copy": 0}
    copied = row | {"seed": 7, "score": 0.93, "form": "mirrored, turned 10 degrees", "copy": 1}
    save_csv(folder / "results/evaluation/nearest.csv", [row, copied, row | {"psi": 0.5}, row | {"psi": ""}])
    found = tables.pairs(workspace(folder))
    assert found == ["seed 7: 0.93, mirrored, turned 10 degrees, copy", "seed 3: 0.61"]
    assert "mirrored, turned 10 degrees, copy" in page_of(tmp_path, workspace(folder))


def bounded(name: str, value: float, half: float, **more: Any) -> dict[str, Any]:
    return measure(name, value, low=value - half, high=value + half, **more)


def test_differences_are_named_only_where_they_are_seen(tmp_path: Path) -> None:
    folders = [make(tmp_path / name, "elf") for name in "abc"]
    for folder, eyes, whole in zip(folders, (0.5, 0.2, 0.21), (0.3, 0.1, 0.7), strict=True):
        rows = [bounded("distance_eyes", eyes, 0.05), bounded("distance_whole", whole, 0.05)]
        rows += [bounded("distance_eyes", eyes, 0.05, psi=0.5), bounded("distance_eyes", 9, 0.1, against="photo")]
        content = {"measures": rows, "protocol": {"training_images": "x"}}
        save_json(folder / "results/evaluation/evaluation.json", content)
    first, second, third = (workspace(folder, folder.name) for folder in folders)
    found = {one.measure: one for one in differences.between(second, third)}
    assert sorted(found) == ["distance_eyes", "distance_eyes_at_psi", "distance_whole"]
    assert not found["distance_eyes"].seen
    assert found["distance_whole"].seen
    assert found["distance_whole"].more.value == pytest.approx(0.6)
    assert found["distance_whole"].more.low == pytest.approx(0.6 - 0.05 * 2**0.5)

    best = {one.measure: (one.place, one.clear) for one in differences.best([first, second, third])}
    assert best == {"distance_whole": (1, True), "distance_eyes": (1, False), "distance_eyes_at_psi": (1, False)}
    lines = compare.winners([first, second, third])
    assert "Elf: distance_whole: least in b (0.1)" in lines
    assert "Elf: distance_eyes: no winner: b (0.2) is not seen to differ from the others" in lines
    assert compare.winners([first]) == []
    page = page_of(tmp_path, first, second)
    assert "compared with the first: 3 of 3 measures differ" in page
    assert "no difference seen" in page_of(tmp_path, second, third)


def test_what_had_other_training_images_is_not_compared_for_a_winner(tmp_path: Path) -> None:
    for name in "ab":
        content = {"measures": [bounded("distance_eyes", 1, 0.1)], "protocol": {"training_images": name}}
        save_json(make(tmp_path / name, "elf") / "results/evaluation/evaluation.json", content)
    one, other = (workspace(tmp_path / name, name) for name in "ab")
    assert not differences.same_images(one, other)
    assert compare.winners([one, other]) == []
    assert "They had other training images" in page_of(tmp_path, one, other)


def payload_page(folder: Path, texts: Callable[[str], str]) -> Path:
    """A report of two experiments in which each payload stands wherever a file may have it."""
    every = [texts(payload) for payload in payloads.PAYLOADS]
    found = []
    for n in range(2):
        top = make(folder / str(n), every[n])
        rows = [bounded(text, 1 + n / 9, 0.01, interval=text, settings=text, features=text) for text in every]
        rows += [measure("blend", 1, against=text, spread=0.1, settings=text) for text in every]
        protocol: dict[str, Any] = {"training_images": "x", "list": every, "mapping": dict.fromkeys(every, 0)}
        protocol |= {text: text for text in every}
        content = {"warnings": every, "protocol": protocol, "measures": rows}
        save_json(top / "results/evaluation/evaluation.json", content)
        counts = {"in": 900, "kept": 6, "by_hand": {"brought_back": 1, "left_out": 1, "domain": 0, "unknown": 0}}
        save_json(top / "data/filtered/report.json", counts | {"rules": dict.fromkeys(every, 9)})
        pair = {"kind": "generated", "psi": 1.0, "score": 0.61, "copy": 0}
        save_csv(top / "results/evaluation/nearest.csv", [pair | {"seed": t, "form": t} for t in every])
        table = manifest.read_kept(top / "data/dataset")
        places = zip(table, every * 2, strict=False)
        manifest.write(top / "data/dataset", [row | {"domain": f"{row['id']}{text}"} for row, text in places])
        found.append(workspace(top, every[n + 2]))
    report.write(folder / "report.html", found)
    return folder / "report.html"


def test_no_payload_becomes_an_element_or_an_address(tmp_path: Path) -> None:
    hostile, plain = (
        payloads.Page(payload_page(tmp_path / name, texts).read_text())
        for name, texts in (("hostile", str), ("plain", payloads.harmless))
    )
    assert hostile.elements == plain.elements
    assert all(
        address.startswith(("data:image/webp;base64,", "#")) or address == "data:," for address in hostile.addresses
    )
    for payload in payloads.PAYLOADS:
        assert payload in hostile.text, payload


@pytest.mark.slow
def test_no_payload_does_anything_in_the_browser(tmp_path: Path, chromium: webdriver.Chrome) -> None:
    found = []
    for name, texts in (("hostile", str), ("plain", payloads.harmless)):
        address = payload_page(tmp_path / name, texts).as_uri()
        found.append(payloads.untouched(chromium, address, lambda: payloads.dom(chromium)))
        assert log_of(chromium) == []
    assert found[0] == found[1]


def test_a_text_that_is_no_text_is_shown(tmp_path: Path) -> None:
    """JSON may have halves of surrogates, which no encoding has."""
    folder = make(tmp_path / "a", "elf")
    save_json(folder / "results/evaluation/evaluation.json", {"warnings": ["half \ud800 of one"]})
    assert "half ? of one" in page_of(tmp_path, workspace(folder))


@pytest.mark.parametrize("name", ["../../private.png", "{root}/private.png", "images/../../../private.png"])
def test_no_picture_from_outside_gets_into_the_page(tmp_path: Path, name: str) -> None:
    """A manifest may have come with a pull, and the page is sent to others."""
    folder = make(tmp_path / "a", "elf")
    images.save_png(folder / "private.png", texture(9))
    before = page_of(tmp_path, workspace(folder))
    assert before.count("<img") == 7
    rows = manifest.read_kept(folder / "data/dataset")
    manifest.write(folder / "data/dataset", [row | {"file": name.format(root=folder)} for row in rows])
    after = page_of(tmp_path, workspace(folder))
    assert after.count("<img") == 5


@pytest.mark.parametrize("name", ["results/samples/grid.png", "data/dataset/{file}"])
def test_a_program_in_the_place_of_a_picture_is_not_started(tmp_path: Path, name: str) -> None:
    """Pillow would start Ghostscript for PostScript."""
    folder = make(tmp_path / "a", "elf")
    path = folder / name.format(file=manifest.read_kept(folder / "data/dataset")[0]["file"])
    assert path.is_file()
    Image.fromarray(texture(9)).save(path, "EPS")
    with pytest.raises(UserError, match=rf"{path.relative_to(folder)}: format not supported: PostScript"):
        page_of(tmp_path, workspace(folder))


def test_the_page_may_load_nothing(tmp_path: Path) -> None:
    text = page_of(tmp_path, workspace(make(tmp_path / "a", "elf")))
    policy = text.index('http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:;')
    assert policy < text.index("<title") < text.index("<style")
