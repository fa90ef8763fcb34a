"""The command line as a person types it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from semireal import cli
from semireal.errors import UserError
from tiny import ROOT, environment


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "semireal", *arguments]
    env = environment() | {"PYTHONPATH": str(ROOT / "src")} | more
    return subprocess.run(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def test_help_of_every_command_has_an_example() -> None:
    done = run(ROOT, "--help")
    assert done.returncode == 0
    assert set(cli.cli.commands) >= {"new", "scrape", "review", "sweep", "compare", "report", "verify", "export"}
    for name, command in cli.cli.commands.items():
        assert f"  {name} " in done.stdout
        # the list is not cut off
        assert command.get_short_help_str(200).rstrip(".") + "." in done.stdout
        context = click.Context(command, info_name=f"semireal {name}")
        assert f"semireal {name}" in command.get_help(context).partition("Examples:")[2]
    assert run(ROOT).stdout == done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "No such command 'nope'. See semireal --help"),
        (["sweep"], "Missing argument 'KEY=VALUE[,VALUE]...'. See semireal sweep --help"),
        (["sweep", "--jobs", "0", "character=elf"], "Invalid value for '--jobs': 0 is not in the range x>=1. See"),
        (["export", "--format", "gif"], "Invalid value for '--format': 'gif' is not one of 'safetensors', 'onnx'"),
        (["review", "--stage", "data/nope"], "--stage data/nope: need one of data/crops, "),
        (["scrape", "nobody"], "scrape: web/nobody: there is no experiments/sources/web/nobody.yaml"),
        (["convert", "no.pkl", "no.safetensors"], "no.pkl: missing"),
        (["blend", "a", "b", "out.safetensors"], "a: missing or damaged (No such file or directory)"),
        (["blend", "a", "b", "c", "--amount", "half"], "Invalid value for '--amount': 'half' is not a valid float"),
        (
            ["new", "yennefer"],
            "missing: need --photos, --portraits, --mixed or --url. See semireal new --help",
        ),
        (["new"], "missing: need NAME. See semireal new --help"),
        (["new", "y", "--photos", ""], "Invalid value for '--photos': it is empty"),
        (["new", "y", "--photos", ".."], "this repository lies in it"),
        (
            ["new", "y", "--url", "https://a.org", "--url", "https://b.org"],
            "--domain: found 0, need one for all URLs, or",
        ),
    ],
)
def test_a_mistake_is_one_line_and_2(arguments: list[str], message: str) -> None:
    done = run(ROOT, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_it_works_from_any_folder_of_the_repository_and_says_so_elsewhere(tmp_path: Path) -> None:
    done = run(ROOT / "src/semireal", "check")
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("parameters: all good (geralt, demo/geralt)\n")
    done = run(tmp_path, "check")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"error: {tmp_path} is not in a repository of semireal" in done.stderr
    # a repository with code of its own, which DVC would run
    for name in ("dvc.yaml", "params.yaml", "experiments/config.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    done = run(tmp_path / "experiments", "check")
    assert f"this command is that of {ROOT}, but {tmp_path} has code of its own" in done.stderr


def test_paths_are_taken_from_where_they_were_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []

    @click.command(cls=cli.InRepository)
    @click.argument("files", nargs=-1, type=cli.Place())
    @click.option("--out", type=cli.Place())
    def show(files: tuple[Path, ...], out: Path) -> None:
        seen.extend([*files, out])

    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(ROOT / "docs")
    monkeypatch.setattr(cli.cli, "commands", {"show": show})
    cli.run("show", "params.md", "../dvc.yaml", str(tmp_path / "link/x"), "--out", "../results/../new")
    assert [str(path) for path in seen] == ["docs/params.md", "dvc.yaml", str(tmp_path / "link/x"), "new"]
    assert Path.cwd() == ROOT


def test_a_click_mistake_is_a_mistake_of_the_user() -> None:
    with pytest.raises(UserError, match=r"^No such option '--nope'\. See semireal check --help$"):
        cli.run("check", "--nope")


def test_ctrl_c_while_dvc_runs_is_130_too(tmp_path: Path) -> None:
    """It reaches dvc as well, which ends by itself."""
    script = (
        "from semireal import stage; from semireal.pipeline.commands import dvc; stage.run(lambda: dvc('gc', '-w'))"
    )
    env = environment() | {"PYTHONPATH": str(ROOT / "src")}
    shell_command = ["setsid", sys.executable, "-c", script]
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=tmp_path, check=True)
    with subprocess.Popen(
        shell_command, cwd=tmp_path, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as running:
        assert running.stdout is not None
        seen = b""
        while b"[y/n]" not in seen:  # dvc asks, and waits
            seen += os.read(running.stdout.fileno(), 4096)
        os.killpg(running.pid, signal.SIGINT)
        running.communicate(timeout=60)
    assert running.returncode == 130


def test_ctrl_c_is_130(tmp_path: Path) -> None:
    """While a network is fetched from a server that does not answer."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.pkl"
        command = [sys.executable, "-m", "semireal", "fetch", url, str(tmp_path / "x.pkl")]
        env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "SEMIREAL_CACHE": str(tmp_path)}
        with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as running:
            silent.accept()
            time.sleep(0.2)
            running.send_signal(signal.SIGINT)
            _, text = running.communicate(timeout=60)
    assert running.returncode == 130
    assert text.endswith("interrupted; the same command goes on from the last saved state\n")


@pytest.mark.parametrize("shell", cli.SHELLS)
def test_completion_of_each_shell(shell: str) -> None:
    done = run(ROOT, "completion", shell)
    assert done.returncode == 0
    assert "_SEMIREAL_COMPLETE" in done.stdout
    words = {"COMP_WORDS": "semireal scrape ", "COMP_CWORD": "2"} | ({"COMP_CWORD": ""} if shell == "fish" else {})
    done = run(ROOT / "docs", _SEMIREAL_COMPLETE=f"{shell}_complete", **words)
    assert {"elf", "geralt", "wonder_woman"} <= set(re.findall(r"\w+", done.stdout)), done
    done = run(Path("/"), _SEMIREAL_COMPLETE=f"{shell}_complete", **words)
    assert "elf" not in done.stdout
    assert done.stderr == ""  # it would stand in the middle of what is being typed


def test_bash_takes_the_completion(tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_text(run(ROOT, "completion", "bash").stdout)
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
