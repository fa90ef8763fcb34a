"""What keeps params.yaml and experiments/ together, and which stages each parameter makes run again."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import yaml
from dvc.repo import Repo

from conftest import ROOT
from semireal import schema
from semireal.errors import UserError
from semireal.params import whole
from semireal.pipeline import check, compose, parameters
from semireal.pipeline.graph import affected, outs_of, stages_of
from tiny import STAGES, clone, merge, shell

RUN = ["exp", "run"]
OWN = ["name=me", "collection=own/me", "drawn=[]"]
# the stages that run again where a parameter of the section, or this one, has another value
AGAIN = {
    "drawn": [],  # goes with the collection
    "profile": [],  # says where the others come from
    "name": ["filter", "dedupe", "funnel", "train", "blend", "sample", "evaluate", "report", "publish"],
    "collection": STAGES,
    "seed": ["train", "blend", "sample", "evaluate", "report", "publish"],
    "crop": STAGES,
    "resize": STAGES,  # stage crop finishes the large heads
    "filter": STAGES[2:],
    "dedupe": STAGES[3:],
    "train": ["train", "blend", "sample", "evaluate", "report", "publish"],
    "blend": ["blend", "sample", "evaluate", "report", "publish"],
    "sample.snapshot": ["blend", "sample", "evaluate", "report", "publish"],
    "sample": ["sample", "evaluate", "report", "publish"],
    "evaluate": ["evaluate", "report", "publish"],
    "report": ["report"],
}
KEYS = sorted(compose.flat(yaml.safe_load((ROOT / "params.yaml").read_text())))


def write(root: Path, *overrides: str) -> None:
    """Make params.yaml what `dvc exp run -S ...` writes."""
    (root / "params.yaml").write_text(yaml.safe_dump(compose.compose(root, *overrides), sort_keys=False))


def change(root: Path, key: str, value: Any) -> None:
    """Set one value of params.yaml, as by hand."""
    content: dict[str, Any] = yaml.safe_load((root / "params.yaml").read_text())
    for part in reversed(key.split(".")):
        value = {part: value}
    (root / "params.yaml").write_text(yaml.safe_dump(merge(content, value), sort_keys=False))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The parts of a repository that the checks read, with the default composition."""
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    write(tmp_path)
    return tmp_path


def test_default_composition_has_no_notes(root: Path) -> None:
    assert check.check(root) == []


def test_a_value_set_by_hand_is_a_note(root: Path) -> None:
    change(root, "sample.psi", 0.7)
    change(root, "train.tf32", True)
    assert check.check(root) == [
        f"{key} is {here} in params.yaml, but {there} in experiments/ (character=geralt profile=demo). `dvc repro` "
        f"takes it as it is; `dvc exp run` sets it back, unless you add -S {key}={here} or --no-hydra"
        for key, here, there in [("train.tf32", "true", "false"), ("sample.psi", "0.7", "0.5")]
    ]


@pytest.mark.parametrize("profile", ["demo", "full"])
def test_another_character_is_not_taken_for_changes(root: Path, profile: str) -> None:
    write(root, "character=elf", f"profile={profile}", "train.epochs=3")
    if profile == "full":
        with pytest.raises(UserError, match=r"collection: web/elf has not been made here: there is no data/raw/web"):
            check.check(root)
        (root / "data/raw/web").mkdir(parents=True)
        (root / "data/raw/web/elf.dvc").touch()
        (root / "start").mkdir()
        (root / "start/ffhq-512.pkl.dvc").touch()
    *changed, last = check.check(root)
    assert [note.split()[0] for note in changed] == ["train.epochs"]
    needs = "-S character=elf" + (" -S profile=full" if profile == "full" else "")
    assert last == (
        "the workspace is not the default (-S character=geralt -S profile=demo): "
        f"`dvc exp run` needs {needs}, or --no-hydra"
    )


def test_a_change_in_experiments_is_noticed(root: Path) -> None:
    """`dvc repro` would not: it takes params.yaml as it is."""
    path = root / "experiments/config.yaml"
    path.write_text(path.read_text().replace("max_distance: 36", "max_distance: 30"))
    (note,) = check.check(root)
    assert note.startswith("dedupe.max_distance is 36 in params.yaml, but 30 in experiments/")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("profile/full.yaml", "batch: 16", "batch: 17", r"experiments/ .*full\): train\.batch: found 17"),
        ("config.yaml", "margin:", "margins:", r"crop\.margins: unknown parameter"),
        ("config.yaml", "  quality: 95\n", "", r"resize\.quality: missing parameter"),
        (
            "config.yaml",
            "  - profile: demo\n",
            "",
            r"experiments/config\.yaml: need `- profile: \.\.\.` in its `defaults:`",
        ),
        ("character/elf.yaml", "name: elf", "", r"experiments/ \(character=elf profile=demo\): .*name"),
        ("config.yaml", "seed: 0", "seed: ${no}", r"Interpolation key 'no' not found"),
        (
            "character/elf.yaml",
            "name: elf",
            "name: [",
            r"experiments/character/elf\.yaml: not valid YAML: while parsing",
        ),
    ],
)
def test_a_mistake_in_experiments_is_named(root: Path, file: str, old: str, new: str, message: str) -> None:
    path = root / "experiments" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=message) as caught:
        check.check(root)
    assert "\n" not in str(caught.value)


def test_a_name_without_decisions_is_named(root: Path) -> None:
    change(root, "name", "me")
    with pytest.raises(
        UserError, match=r"^name: me: there is no experiments/decisions/me\.csv.*id,decision,domain,reason"
    ):
        check.check(root)


def test_a_collection_without_sources_is_named(root: Path) -> None:
    change(root, "collection", "demo/elv")
    with pytest.raises(UserError, match=r"drawn: found \['geralt'\], need \['elv'\] for the collection demo/elv"):
        check.check(root)
    change(root, "drawn", ["elv"])
    with pytest.raises(UserError, match=r"collection: found 'demo/elv', but there is no experiments/sources/demo/elv"):
        check.check(root)


@pytest.mark.parametrize(
    ("workspace", "arguments", "needs"),
    [
        ([], RUN, None),
        ([], [*RUN, "-S", "sample.psi=0.7"], None),
        (["character=elf"], RUN, "-S character=elf"),
        (["character=elf"], ["-v", "experiments", "run", "-S", "train.epochs=9"], "-S character=elf"),
        (["character=elf"], [*RUN, "-S", "character=elf"], None),
        (["character=elf"], [*RUN, "-Scharacter=geralt"], None),
        (["character=elf"], [*RUN, "--set-param=params.yaml:character=geralt,elf", "--queue"], None),
        (["character=elf"], [*RUN, "-S", "train.epochs=3", "-S", "sample.name=elf"], "-S character=elf"),
        (["character=elf"], [*RUN, "--no-hydra"], None),
        (["character=elf"], ["exp", "show"], None),
        (["character=elf"], ["repro"], None),
        (["profile=full"], [*RUN, "-S", "character=geralt"], "-S profile=full"),
        (["character=elf", "profile=full"], [*RUN, "-S", "character=elf"], "-S profile=full"),
        (["character=elf", "profile=full"], RUN, "-S character=elf -S profile=full"),
        (OWN, [*RUN, "-S", "sample.psi=1"], "-S name=me -S collection=own/me -S drawn=[]"),
        (OWN, [*RUN, "-S", "name=me"], "-S collection=own/me -S drawn=[]"),
        (["collection=open/geralt", "drawn=[]"], RUN, "-S collection=open/geralt -S drawn=[]"),
        (
            ["character=elf", "collection=open/elf", "drawn=[]"],
            RUN,
            "-S character=elf -S collection=open/elf -S drawn=[]",
        ),
    ],
)
def test_leaving_the_character_silently(
    root: Path, workspace: list[str], arguments: list[str], needs: str | None
) -> None:
    write(root, *workspace)
    why = compose.leaving(root, arguments)
    assert (why is None) == (needs is None)
    if why:
        assert f"Add {needs} to stay, -S " in why
        # either advice is a whole one: it composes, and what it names is of one character
        named = [word for word in arguments if "=" in word and word.startswith(("character", "profile", "name"))]
        for advice in re.search(r"Add (.*) to stay, (.*) to go back", why).groups():  # type: ignore[union-attr]
            there = compose.compose(root, *named, *re.findall(r"-S (\S+)", advice))
            assert there["collection"].endswith(f"/{there['name']}")
            assert compose.leaving(root, [*RUN, *advice.split(), *(w for n in named for w in ("-S", n))]) is None


def test_an_experiment_is_no_surprise_but_must_be_valid(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(root, "sample.psi", 0.7)
    monkeypatch.delenv("DVC_EXP_BASELINE_REV", raising=False)
    assert [note.split()[0] for note in check.before_run(root)] == ["sample.psi"]
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "0" * 40)
    assert check.before_run(root) == []
    change(root, "crop.score", 7)
    with pytest.raises(UserError, match=r"crop\.score: found 7"):
        check.before_run(root)


def test_the_start_of_the_training_is_looked_for_before_anything_runs(root: Path) -> None:
    change(root, "train.init", "start/x.pkl")
    with pytest.raises(UserError, match=r"^train\.init: start/x\.pkl not found\. .*semireal fetch URL start/x"):
        check.before_run(root)
    (root / "start").mkdir()
    (root / "start/x.pkl.dvc").touch()  # it will come out of the cache of DVC
    check.before_run(root)
    (root / "start/x.pkl.dvc").rename(root / "start/x.pkl")
    check.before_run(root)


def test_a_blend_with_nothing_is_refused_before_anything_runs(root: Path) -> None:
    """The base is that of the training, unless it is named."""
    write(root, "train.init=experiments/noise.init")
    assert check.before_run(root)[0].startswith("train.init is experiments/noise.init")
    change(root, "blend.amount", 0.5)
    with pytest.raises(UserError, match=r"^blend\.base: experiments/noise\.init stands for random networks"):
        check.before_run(root)
    change(root, "blend.base", "start/x.pkl")
    with pytest.raises(UserError, match=r"^blend\.base: start/x\.pkl not found"):
        check.before_run(root)
    (root / "start").mkdir()
    (root / "start/x.pkl.dvc").touch()  # it will come out of the cache of DVC
    check.before_run(root)
    change(root, "blend.from", 256)
    with pytest.raises(
        UserError, match=r"^blend\.from: found 256, need 0 or a power of two from 4 to train\.res.* 128$"
    ):
        check.before_run(root)


def test_a_blend_with_a_network_of_another_shape_is_refused_before_anything_runs(root: Path) -> None:
    change(root, "blend.amount", 0.5)
    check.before_run(root)
    change(root, "train.channel_max", 32)
    shapes = r"^experiments/base\.safetensors and what is trained by train\.\*: found channel_max 64 and 32\. "
    with pytest.raises(UserError, match=shapes):
        check.before_run(root)
    change(root, "blend.amount", 1)  # nothing is blended
    check.before_run(root)


def test_the_machine_is_checked_before_anything_runs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMIREAL_PROCESSES", "3")
    with pytest.raises(UserError, match=r"^SEMIREAL_PROCESSES .*: found 3, need at most 2: train\.batch = 8"):
        check.before_run(root)


def test_command_line(root: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        # not by `semireal`: that refuses a repository whose code is elsewhere
        script = (
            "import pathlib, semireal.pipeline.check as c, semireal.stage as s; s.run(lambda: c.run(pathlib.Path()))"
        )
        command = [sys.executable, "-c", script, *arguments]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)

    change(root, "sample.psi", 0.7)
    done = run()
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(r"note: sample\.psi is 0\.7 .*\nparameters: all good \(geralt, demo/geralt\)\n", done.stderr)
    change(root, "sample.psi", 7)
    done = run()
    assert (done.returncode, done.stderr) == (2, "error: sample.psi: found 7, need a number from -2 to 2\n")


def test_table_of_the_parameters_is_up_to_date() -> None:
    text = parameters.table(ROOT)
    assert (ROOT / "docs/params.md").read_text() == text, "semireal parameters > docs/params.md"
    assert re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE) != []
    assert sorted(re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE)) == KEYS
    columns = {line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("|")}
    assert len(columns) == 1


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which every stage counts as run, without any having run: outs of one word, committed to DVC."""
    folder = clone(tmp_path_factory.mktemp("graph"))
    declared = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"].values()
    stages = [stage.get("do", stage) for stage in declared]
    outs = ["data/raw/demo/geralt", *(out for stage in stages for out in outs_of(stage) if "$" not in out)]
    deps = [dep for stage in stages for dep in stage["deps"]]
    inside = [dep for dep in deps if any(dep.startswith(f"{out}/") for out in outs)]
    for out in outs + inside:
        path = folder / out
        path = path if path.suffix else path / "report.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{"made_by": "{out}"}}')
    shell(folder, "dvc", "commit", "--force", "code", "scrape@geralt", *STAGES)
    shell(folder, "git", "add", "-A")
    shell(folder, "git", "commit", "-q", "-m", "as if run")
    return folder


@pytest.fixture
def pipeline(graph: Path) -> Iterator[Path]:
    """The same, with params.yaml put back after the test."""
    before = (graph / "params.yaml").read_text()
    yield graph
    (graph / "params.yaml").write_text(before)


def other(key: str, value: Any) -> Any:
    """Some other value than this."""
    if key == "collection":
        return "demo/elf"
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return value[:-1]
    return 1 if value is None else value + ("x" if isinstance(value, str) else 1)


@pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # within DVC
def test_each_parameter_runs_exactly_these_stages(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `dvc status` on the real graph; what follows a changed stage is in DVC's own graph of stages."""
    monkeypatch.chdir(pipeline)
    before = (pipeline / "params.yaml").read_text()
    values = compose.flat(yaml.safe_load(before))
    assert sorted(values) == KEYS
    stages, follow, now = look(Repo())
    assert now == set()
    for key, value in values.items():
        change(pipeline, key, other(key, value))
        if key in ("collection", "name"):  # they stand in paths of dvc.yaml, which is read once
            now = look(Repo())[2]
        else:
            now = status(stages)
        expected = AGAIN.get(key, AGAIN[key.split(".")[0]])
        assert sorted(now.union(*(follow[name] for name in now))) == sorted(expected), key
        assert affected(stages_of(pipeline), key) == expected, key
        (pipeline / "params.yaml").write_text(before)


def look(repo: Repo) -> tuple[dict[str, Any], dict[str, set[str]], set[str]]:
    """The stages of dvc.yaml as DVC has them, those that follow each in its graph, and those that changed."""
    stages = {stage.addressing: stage for stage in repo.index.stages if stage.addressing in STAGES}
    follow = {name: {one.addressing for one in nx.ancestors(repo.index.graph, stages[name])} for name in stages}
    return stages, follow, status(stages)


def status(stages: dict[str, Any]) -> set[str]:
    """The stages of which `dvc status` has something to say; the command itself reads all files anew each time."""
    with next(iter(stages.values())).repo.lock:
        return {name for name, stage in stages.items() if stage.status()}


@pytest.mark.parametrize(
    ("key", "value", "first"),
    [
        ("sample.psi", 0.9, {"sample", "evaluate", "report"}),
        ("train.photo_ratio", 0.4, {"train", "evaluate"}),
        ("blend.amount", 0.4, {"blend", "evaluate", "report"}),
        ("train.epochs", 9, {"train", "report"}),
        ("crop.detector_portrait", "animeface", {"crop"}),
    ],
)
def test_the_command_agrees(pipeline: Path, key: str, value: Any, first: set[str]) -> None:
    change(pipeline, key, value)
    assert set(json.loads(shell(pipeline, "dvc", "status", "--json", *STAGES))) == first


def test_dvc_exp_run_does_not_leave_the_character(pipeline: Path) -> None:
    write(pipeline, "character=elf")
    elf = (pipeline / "params.yaml").read_text()
    text = shell(pipeline, "dvc", "exp", "run", "-S", "train.epochs=9", ok=False)
    assert "ERROR: params.yaml is about character=elf, but this would silently go back" in text
    assert "Traceback" not in text
    assert (pipeline / "params.yaml").read_text() == elf
    shell(pipeline, "dvc", "exp", "run", "--queue", "-S", "sample.psi=0.1,0.2", ok=False)
    assert "No experiment tasks" in shell(pipeline, "dvc", "queue", "status")
    shell(pipeline, "dvc", "exp", "run", "--queue", "-S", "character=elf,geralt")
    assert shell(pipeline, "dvc", "queue", "status").count("Queued") == 2
    shell(pipeline, "dvc", "queue", "remove", "--all")


def test_schema_and_section_docs_are_whole() -> None:
    """Each parameter says what it means."""
    for key in KEYS:
        kind: Any = whole.Params
        *sections, last = key.split(".")
        for section in sections:
            kind = kind.__dataclass_fields__[section].type
        (field,) = (field for field in dataclasses.fields(kind) if schema.name_of(field) == last)
        assert schema.docs(kind)[field.name], key
