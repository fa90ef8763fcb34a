import contextlib
import dataclasses
import re
import subprocess
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import compose_and_dump
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT
from semireal import params, schema
from semireal.errors import UserError
from semireal.params import whole
from semireal.params.train import Train
from semireal.published import REPORT
from semireal.schema import param
from semireal.stylegan2.networks import Config, build_discriminator

COMMITTED: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
CHARACTERS = sorted(path.stem for path in (ROOT / "experiments" / "character").glob("*.yaml"))
DRAWN = ("base", "full")  # nobody collects what only the demo needs


def compose(target: Path, *overrides: str) -> whole.Params:
    """What `dvc exp run -S ...` writes to params.yaml, checked."""
    compose_and_dump(str(target), str(ROOT / "experiments"), None, "config", "", list(overrides))
    return whole.load(target)


def changed(tmp_path: Path, key: str, value: Any) -> Path:
    """The committed parameters with one value changed; `key` is dotted."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    *sections, last = key.split(".")
    part = content
    for section in sections:
        part = part[section]
    part[last] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_committed_params_are_the_default_composition(tmp_path: Path) -> None:
    here = (ROOT / "params.yaml").read_text()
    found = subprocess.run(["git", "show", "HEAD:./params.yaml"], cwd=ROOT, capture_output=True, text=True, check=False)
    # the workspace may hold an experiment, and a change that is not committed yet differs from HEAD
    known = [whole.check(yaml.safe_load(text)) for text in (here, found.stdout) if text]
    assert compose(tmp_path / "params.yaml") in known


@pytest.mark.parametrize(
    ("character", "profile"),
    [(character, profile) for character in CHARACTERS for profile in ("demo", "full") if (character, profile) != DRAWN],
)
def test_every_character_and_profile_is_valid(tmp_path: Path, character: str, profile: str) -> None:
    found = compose(tmp_path / "params.yaml", f"character={character}", f"profile={profile}")
    assert found.collection == f"{'demo' if profile == 'demo' else 'web'}/{character}"
    assert (ROOT / "experiments" / "sources" / f"{found.collection}.yaml").is_file()


@pytest.mark.parametrize("character", REPORT)
def test_full_profile_carries_the_settings_of_the_report(tmp_path: Path, character: str) -> None:
    found = compose(tmp_path / "params.yaml", f"character={character}", "profile=full")
    published = REPORT[character]
    assert (found.train.epochs, found.train.photo_ratio) == (published.epochs, published.photo_share)
    assert (found.train.resolution, found.resize.size, found.sample.psi) == (512, 512, 0.5)
    assert found.filter.min_bytes == 40_000
    assert found.train.mirror == (character != "geralt")  # mirrored, as in the report, he has his scar on both cheeks
    assert found.train.init


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", "../elf", "name: found '../elf', need letters"),
        ("name", "", "name: found '', need letters"),
        ("collection", "../../home/me", "collection: found '../../home/me', need KIND/NAME"),
        ("collection", "web/..", "collection: found 'web/..', need KIND/NAME"),
        ("collection", "/etc/x", "collection: found '/etc/x', need KIND/NAME"),
        ("train.epochz", 3, r"train\.epochz: unknown parameter; known here: epochs"),
        ("trian", {}, r"trian: unknown parameter"),
        ("train.epochs", 0, r"train\.epochs: found 0, need a whole number from 1 up"),
        ("train.epochs", 1.5, r"train\.epochs: found 1\.5, need a whole number"),
        ("train.epochs", True, r"train\.epochs: found True, need a whole number"),
        ("train.epochs", None, r"train\.epochs: found None"),
        ("train.mirror", 1, r"train\.mirror: found 1, need true or false"),
        ("train.photo_ratio", 1.2, r"train\.photo_ratio: found 1\.2, need a number or null from 0 to 1"),
        ("train.photo_ratio", float("nan"), r"train\.photo_ratio: found nan"),
        ("train.resolution", 96, r"train\.resolution: found 96, need a power of two"),
        ("train.resolution", 1024, r"train\.resolution: found 1024, need at most resize\.size = 512"),
        ("train.batch", 6, r"train\.batch: found 6, need a multiple of 4"),
        ("train.processes", 3, r"train\.processes: unknown parameter"),
        ("train.channel_base", 32, r"train\.channel_base: found 32, need at least train\.resolution = 128"),
        ("train.precision", "float16", r"train\.conv_clamp: found None, need a number \(256\)"),
        ("train.init", None, r"train\.init: found None, need a text"),
        ("train.init", "", r"train\.init: found '', need the path of a file"),
        (
            "train.init",
            "https://x.org/a.pkl",
            r"train\.init: found 'https://.*', need the path of a file; `semireal fetch",
        ),
        ("blend.from", 12, r"blend\.from: found 12, need 0 or a power of two from 4 up"),
        ("blend.from", 256, r"blend\.from: found 256, need 0 or a power of two from 4 to train\.resolution = 128"),
        ("blend.from", None, r"blend\.from: found None, need a whole number from 0 to 1024"),
        ("blend.from_", 4, r"blend\.from_: unknown parameter; known here: base, from, amount"),
        ("blend.amount", 1.5, r"blend\.amount: found 1\.5, need a number from 0 to 1"),
        ("evaluate.images", 3, r"evaluate\.neighbours: found 3, need less than evaluate\.images = 3"),
        ("evaluate.psi_images", 3, r"evaluate\.neighbours: found 3, need less than evaluate\.psi_images = 3"),
        (
            "train.freeze_d",
            17,
            r"train\.freeze_d: found 17, need at most 16, the layers of the discriminator at 128 px",
        ),
        ("crop.faces", "some", r"crop\.faces: found 'some', need one of largest, all"),
        ("crop", 3, r"crop: found 3, need a section with keys"),
        ("filter.max_line_art", 2, r"filter\.max_line_art: found 2, need a number or null from 0 to 1"),
        ("evaluate.psis", 0.5, r"evaluate\.psis: found 0\.5, need a list, such as"),
        ("evaluate.psis", [], r"evaluate\.psis: found \[\], need a list, such as"),
        ("evaluate.psis", [0.5, 3], r"evaluate\.psis: found 3, need a number from -2 to 2"),
        ("sample.psi", "half", r"sample\.psi: found 'half', need a number from -2 to 2"),
    ],
)
def test_bad_values_are_named(tmp_path: Path, key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        whole.load(changed(tmp_path, key, value))


def test_missing_key_is_named(tmp_path: Path) -> None:
    content = {key: value for key, value in COMMITTED.items() if key != "dedupe"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=r"dedupe: missing parameter"):
        whole.load(tmp_path / "params.yaml")


def test_whole_numbers_pass_as_numbers(tmp_path: Path) -> None:
    found = whole.load(changed(tmp_path, "sample.psi", 1))
    assert found.sample.psi == 1.0
    assert isinstance(found.sample.psi, float)


def test_inception_score_needs_images_for_its_splits() -> None:
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["evaluate"] |= {"inception": "download", "images": 9, "psi_images": 9}
    with pytest.raises(UserError, match=r"evaluate\.images: found 9, need 10"):
        whole.check(content)
    assert whole.check(content | {"evaluate": content["evaluate"] | {"images": 10}}).evaluate.images == 10


@pytest.mark.parametrize("resolution", [8, 64, 256])
def test_as_many_layers_can_be_frozen_as_there_are(resolution: int) -> None:
    content = yaml.safe_load((ROOT / "params.yaml").read_text())["train"]
    D = build_discriminator(Config(resolution, z_dim=4, w_dim=4, channel_base=256, channel_max=4), 0)
    layers = sum(len(block.layers()) for block in D.blocks())
    for count in (layers, layers + 1):
        given = content | {"freeze_d": count, "resolution": resolution, "channel_base": 2048}
        if count > layers:
            with pytest.raises(UserError, match=f"at most {layers}"):
                schema.parse(Train, given, "train")
        else:
            assert schema.parse(Train, given, "train").freeze_d == layers


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "", "a: b: c"])
def test_broken_file_is_one_clear_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        whole.load(tmp_path / "params.yaml")
    assert "params.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(["crop.score", "train.batch", "train.init", "sample.psi", "train.mirror", "crop", "evaluate.psis"]),
    ANYTHING,
)
def test_no_value_escapes_the_check(key: str, value: Any) -> None:
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    *sections, last = key.split(".")
    part = content
    for section in sections:
        part = part[section]
    part[last] = value
    with contextlib.suppress(UserError):
        found = schema.parse(whole.Params, content, "")
        assert 0.1 <= found.crop.score <= 1
        assert found.train.batch >= 1
        assert isinstance(found.train.mirror, bool)
        assert all(-2 <= psi <= 2 for psi in found.evaluate.psis)


@dataclass(frozen=True)
class Given:
    """What a stage takes."""

    seed: int = param(low=0)
    side: int = param(low=8, key="train.resolution")
    psi: float = param(key="sample.psi")


def test_a_stage_takes_its_own_keys_and_no_others() -> None:
    content = {"seed": 1, "train": {"resolution": 64, "other": None}, "sample": {"psi": 1}, "more": None}
    assert params.keys(Given) == ["seed", "train.resolution", "sample.psi"]
    assert params.taken(Given, content, "x.yaml") == Given(1, 64, 1.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "x.yaml: found None, need a section with keys"),
        ({}, "seed: missing parameter"),
        ({"seed": 1}, "train.resolution: missing parameter"),
        ({"seed": 1, "train": 3}, "train.resolution: missing parameter"),
        ({"seed": 1, "train": {}}, "train.resolution: missing parameter"),
        (
            {"seed": -1, "train": {"resolution": 64}, "sample": {"psi": 1}},
            "seed: found -1, need a whole number from 0 up",
        ),
    ],
)
def test_what_a_stage_lacks_is_named(content: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        params.taken(Given, content, "x.yaml")
    assert str(caught.value) == message


def numbers(kind: type = whole.Params, prefix: str = "") -> Iterator[tuple[str, float | None]]:
    """The least value of every parameter that is a number."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from numbers(hints[field.name], f"{field.name}.")
        elif re.search(r"\b(int|float)\b", str(hints[field.name])):
            yield prefix + field.name, field.metadata["low"]


def test_every_number_has_a_least_value() -> None:
    found = dict(numbers())
    assert len(found) > 40
    assert [key for key, low in found.items() if low is None] == []


def test_drawn_collections_fit_the_character(tmp_path: Path) -> None:
    assert whole.check(COMMITTED).drawn == (COMMITTED["name"],)
    assert whole.check(COMMITTED | {"collection": "web/x", "drawn": []}).drawn == ()
    changes: list[dict[str, Any]] = [{"drawn": []}, {"collection": "web/x"}, {"collection": "demo/x"}]
    for change in changes:
        with pytest.raises(UserError, match=r"drawn: found \["):
            whole.check(COMMITTED | change)


def test_detectors_may_be_joined(tmp_path: Path) -> None:
    found = whole.load(changed(tmp_path, "crop.detector_photo", "yunet+haar"))
    assert found.crop.detector_photo == "yunet+haar"
    for key in ("crop.detector_photo", "crop.detector_portrait"):
        for value in ("yunet+cat", "", "yunet haar"):
            with pytest.raises(UserError, match=rf"{key}: found '.*', need one of verified, yunet, animeface, haar"):
                whole.load(changed(tmp_path, key, value))
