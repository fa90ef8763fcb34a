import dataclasses
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT
from semireal import devices, machine
from semireal.errors import UserError
from semireal.machine import DEFAULT, Machine
from semireal.params.train import PRECISIONS


@pytest.fixture(autouse=True)
def _nothing_set(work_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for field in dataclasses.fields(Machine):
        monkeypatch.delenv(f"SEMIREAL_{field.name.upper()}", raising=False)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


def test_the_environment_wins_over_the_file_and_both_over_the_default(
    work_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.load() == DEFAULT
    (work_root / "machine.yaml").write_text("# nothing yet\n")
    assert machine.load() == DEFAULT
    (work_root / "machine.yaml").write_text("device: cpu\nmicro_batch: 4\n")
    assert machine.load() == dataclasses.replace(DEFAULT, device="cpu", micro_batch=4)
    monkeypatch.setenv("SEMIREAL_MICRO_BATCH", "null")
    monkeypatch.setenv("SEMIREAL_PROCESSES", "8")
    monkeypatch.setenv("SEMIREAL_COMPILE", "true")
    monkeypatch.setenv("SEMIREAL_RESUME", "any")
    monkeypatch.setenv("SEMIREAL_DEVICE", "")  # empty is not set
    assert machine.load() == dataclasses.replace(DEFAULT, device="cpu", processes=8, compile=True, resume="any")


def test_the_file_is_that_of_the_user_in_a_copy_of_the_repository(
    work_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC runs queued and temporary experiments in a copy, and says in DVC_ROOT of what."""
    (work_root / "machine.yaml").write_text("processes: 2\n")
    (work_root / "copy").mkdir()
    monkeypatch.chdir(work_root / "copy")
    assert machine.load().processes == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("device: gpu", r"^machine\.yaml: device: found 'gpu', need one of auto, cpu, cuda$"),
        ("proceses: 2", r"^machine\.yaml: proceses: unknown parameter; known here: device, processes"),
        ("processes: 0", r"^machine\.yaml: processes: found 0, need a whole number from 1 up$"),
        ("- device", r"^machine\.yaml: found \['device'\], need lines such as `device: cpu`$"),
        ("device: [", r"machine\.yaml: not valid YAML"),
    ],
)
def test_a_wrong_line_names_the_file(work_root: Path, content: str, message: str) -> None:
    (work_root / "machine.yaml").write_text(content)
    with pytest.raises(UserError, match=message):
        machine.load()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SEMIREAL_DEVICE", "gpu", r"^SEMIREAL_DEVICE: device: found 'gpu', need one of auto, cpu, cuda$"),
        ("SEMIREAL_PROCESSES", "many", r"^SEMIREAL_PROCESSES: processes: found 'many', need a whole number"),
        ("SEMIREAL_MICRO_BATCH", "[", r"^SEMIREAL_MICRO_BATCH: micro_batch: found '\[', need a whole number or null"),
        ("SEMIREAL_COMPILE", "1", r"^SEMIREAL_COMPILE: compile: found 1, need true or false$"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        machine.load()


def test_the_batch_must_be_shared_in_whole_groups() -> None:
    for fine in (DEFAULT, dataclasses.replace(DEFAULT, processes=4, micro_batch=8)):
        devices.check(fine, batch=16, group=4)
    with pytest.raises(
        UserError, match=r"SEMIREAL_PROCESSES .*machine\.yaml: found 5, need at most 4: train\.batch = 16"
    ):
        devices.check(dataclasses.replace(DEFAULT, processes=5), batch=16, group=4)
    with pytest.raises(UserError, match=r"SEMIREAL_MICRO_BATCH .*: found 6, need null or a multiple of 4"):
        devices.check(dataclasses.replace(DEFAULT, micro_batch=6), batch=16, group=4)


def test_kind_with_a_gpu(gpu: None) -> None:
    assert [devices.kind(dataclasses.replace(DEFAULT, device=device)) for device in ("auto", "cpu", "cuda")] == [
        "cuda",
        "cpu",
        "cuda",
    ]


def test_kind_without_a_gpu(no_gpu: None) -> None:
    assert [devices.kind(dataclasses.replace(DEFAULT, device=device)) for device in ("auto", "cpu")] == ["cpu", "cpu"]
    with pytest.raises(UserError, match=r"SEMIREAL_DEVICE or device in machine\.yaml: found cuda, but there is no"):
        devices.check(dataclasses.replace(DEFAULT, device="cuda"), batch=8, group=4)


def test_git_and_dvc_ignore_the_file() -> None:
    assert subprocess.run(["git", "check-ignore", "-q", "machine.yaml"], cwd=ROOT, check=False).returncode == 0
    assert "/machine.yaml" in (ROOT / ".dvcignore").read_text().splitlines()


@pytest.mark.parametrize(
    ("cpuinfo", "slow"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse2 avx2 avx512f avx512_bf16\n", {"float16"}),
        ("processor\t: 0\nflags\t\t: fpu avx2 amx_bf16 amx_fp16\n", set()),
        ("flags\t\t: fpu sse2 avx2 f16c avx512f\n\nprocessor\t: 1\nflags\t\t: avx2\n", {"bfloat16", "float16"}),
        ("processor\t: 0\nFeatures\t: fp asimd asimdhp bf16\n", set()),
        ("processor\t: 0\nFeatures\t: fp asimd asimdhp\n", {"bfloat16"}),
        ("model name\t: without any flags, bf16\n", set()),
        (None, set()),
    ],
)
def test_a_cpu_says_what_it_can_compute_with(tmp_path: Path, cpuinfo: str | None, slow: set[str]) -> None:
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo)
    found = {name for name in PRECISIONS if devices.is_slow_with(name, path)}
    assert found == slow
