"""The command line: what a person types is here, what it does in the module that each command names.

A command imports that module when it runs, so that help and completion come at once. All but a few belong to a
repository: they work from any folder of it, with its own code.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from semireal import code, paths, stage
from semireal.errors import UserError
from semireal.params import FILE
from semireal.watch import PIPELINE

NAME = "semireal"
COMPLETE = "_SEMIREAL_COMPLETE"  # the variable in which a shell asks for completion
SHELLS = ("bash", "zsh", "fish")
DOMAIN = click.Choice(("photo", "portrait", "auto"))
PSI = 0.7  # of single pictures and videos, where nothing else is said


def main() -> None:
    """Run the command line; a mistake becomes one line and exit code 2, Ctrl-C 130, work to go on with 75."""
    stage.run(run)


def run(*arguments: str) -> None:
    """Run the command line of these arguments (none: of this process); raises UserError."""
    try:
        cli.main(list(arguments) or None, NAME, standalone_mode=False, complete_var=COMPLETE)
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else NAME
        raise UserError(f"{' '.join(error.format_message().split())} See {path} --help") from None


def enter() -> None:
    """Go to the top of the repository that this folder lies in; raises UserError outside of one."""
    here = Path.cwd()
    root = next((folder for folder in (here, *here.parents) if _is_top(folder)), None)
    if root is None:
        raise UserError(
            f"{here} is not in a repository of semireal (no {PIPELINE} and {paths.EXPERIMENTS}/ up from here)"
        )
    if root / "src" != code.SRC:
        raise UserError(
            f"this command is that of {code.SRC.parent}, but {root} has code of its own, and DVC runs that. Activate "
            f"the environment there (. {root}/.venv/bin/activate), or: cd {root} && PYTHONPATH=src python -m semireal"
        )
    os.chdir(root)


def _is_top(folder: Path) -> bool:
    wanted = (folder / PIPELINE, folder / FILE, folder / paths.EXPERIMENTS / "config.yaml")
    return all(file.is_file() for file in wanted)


class InRepository(click.Command):
    """A command of the repository. Paths of the command line are taken from the folder in which it was typed."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command from the top of the repository."""
        ctx.obj = Path.cwd()  # where the command was typed
        enter()
        for name, value in ctx.params.items():
            if isinstance(value, (Path, tuple)):
                ctx.params[name] = _short(value)
        return super().invoke(ctx)


def _short(value: Any) -> Any:
    """Paths below this folder as one reads them from here."""
    if isinstance(value, tuple):
        return tuple(map(_short, value))
    if isinstance(value, Path) and value.is_relative_to(Path.cwd()):
        return value.relative_to(Path.cwd())
    return value


class Place(click.Path):
    """A path as an absolute one; links are not followed."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """See click."""
        if not value:
            self.fail("it is empty", param, ctx)
        return _absolute(super().convert(value, param, ctx))


def _absolute(path: str | bytes | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - Path.resolve follows links


class Character(click.ParamType[str]):
    """The name of a character; the shell completes those that there are."""

    name = "character"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list["click.shell_completion.CompletionItem"]:
        """See click."""
        from click.shell_completion import CompletionItem

        try:
            enter()
        except UserError:
            return []
        found = sorted(file.stem for file in (paths.EXPERIMENTS / "character").glob("*.yaml"))
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]


class Numbers(click.ParamType[list[int]]):
    """Whole numbers with commas between them."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """See click."""
        try:
            return [int(one) for one in value.split(",")]
        except ValueError:
            self.fail(f"found {value[:100]!r}, need whole numbers, such as 1,5,9", param, ctx)


def command(*examples: str) -> Callable[[Callable[..., None]], click.Command]:
    """Declare a command of the repository, with examples for its help."""
    return cli.command(cls=InRepository, epilog=_examples(examples))


def _examples(examples: tuple[str, ...]) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {NAME} {example}" for example in examples)


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_examples(
        ("new yennefer --photos DIR --portraits DIR", "compare", "sweep character=elf sample.psi=0.5,0.7")
    ),
)
@click.version_option(package_name=NAME, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Semi-realistic portraits of fantasy characters, trained reproducibly.

    `dvc repro` and `dvc exp run` make the experiments; this is all around them. Completion for your shell:
    semireal completion bash >> ~/.bashrc
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@command(
    "new yennefer --photos ~/pictures/cosplay --portraits ~/pictures/paintings",
    "new yennefer --url https://www.deviantart.com/tag/yennefer --domain portrait --limit 300",
    "new yennefer --mixed ~/pictures/yennefer --dry-run",
)
@click.argument("name", required=False)
@click.option("--photos", multiple=True, type=Place(), help="folder of photos; may be given again")
@click.option("--portraits", multiple=True, type=Place(), help="folder of paintings and drawings; may be given again")
@click.option("--mixed", multiple=True, type=Place(), help="folder of both; may be given again")
@click.option("--url", "urls", multiple=True, help="page that gallery-dl knows; may be given again")
@click.option(
    "--domain",
    "domains",
    multiple=True,
    type=DOMAIN,
    help="what a URL shows: one for all, or one for each",
)
@click.option("--limit", type=click.IntRange(1), help="at most so many images of each URL")
@click.option("--licence", help="what the images are under, where no site says it")
@click.option("--commit", is_flag=True, help="commit the new files, instead of saying how")
@click.option("--dry-run", is_flag=True, help="only say what would be written")
@click.pass_obj
def new(
    typed: Path,
    name: str | None,
    photos: tuple[Path, ...],
    portraits: tuple[Path, ...],
    mixed: tuple[Path, ...],
    urls: tuple[str, ...],
    domains: tuple[str, ...],
    limit: int | None,
    licence: str | None,
    commit: bool,
    dry_run: bool,
) -> None:
    """Make a character of your own.

    Out of folders and URLs; without any it asks. The pictures are copied once, and DVC has them from then on; your
    folders stay as they are.
    """
    from semireal.pipeline import new

    if not name:
        name = _asked("Name of the character", "NAME")
    new.check(name)
    if not (photos or portraits or mixed or urls):
        photos, portraits, urls = _pictures(typed)
    folders = {"photo": photos, "portrait": portraits, "auto": mixed}
    named = [new.Source(str(place), domain) for domain, places in folders.items() for place in places]
    named += [new.Source(url, domain, is_url=True) for url, domain in zip(urls, _domains(urls, domains), strict=True)]
    new.run(name, named, limit, licence, dry_run=dry_run, commit=commit)


def _asked(question: str, missing: str) -> str:
    """An answer of the person at the terminal, if there is one."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"missing: need {missing}.")
    answer: str = click.prompt(question, default="", show_default=False)
    return answer


def _pictures(typed: Path) -> tuple[tuple[Path, ...], tuple[Path, ...], tuple[str, ...]]:
    """Folders of photos, of paintings, and a URL, asked for; relative ones are below the folder `typed`."""
    need = "--photos, --portraits, --mixed or --url"
    answers = [_asked(f"{what} (empty: none)", need) for what in ("Folder of photos", "Folder of paintings", "URL")]
    if not any(answers):
        raise click.UsageError(f"missing: need {need}.")
    photos, portraits, url = answers
    return _places(photos, typed), _places(portraits, typed), (url,) if url else ()


def _places(answer: str, typed: Path) -> tuple[Path, ...]:
    """The folder that an answer names, if it names one."""
    # not Path.expanduser, which fails where there is no such user; that folder is then not found, which is said
    return (_short(_absolute(typed / os.path.expanduser(answer))),) if answer else ()  # noqa: PTH111


def _domains(urls: tuple[str, ...], given: tuple[str, ...]) -> tuple[str, ...]:
    """What each URL shows: as given, or asked for."""
    if not given and sys.stdin.isatty():
        return tuple(click.prompt(f"What {url} shows", type=DOMAIN) for url in urls)
    if len(given) == 1:
        return given * len(urls)
    if len(given) != len(urls):
        raise click.UsageError(f"--domain: found {len(given)}, need one for all URLs, or one for each ({len(urls)}).")
    return given


@command("scrape elf", "scrape elf --kind open", "scrape yennefer")
@click.argument("character", type=Character())
@click.option("--kind", help="which of its collections: web, open, own (default: the first of these that it has)")
def scrape(character: str, kind: str | None) -> None:
    """Make a collection, or go on with it.

    From the sites or folders that experiments/sources/<kind>/<character>.yaml names. Collections of the kind `demo` are
    drawn by `dvc repro`.
    """
    from semireal.pipeline import collection

    collection.run(f"{kind or collection.kind_of(character)}/{character}")


@command("review", "review --stage data/filtered --port 0 --no-browser")
@click.option(
    "--stage",
    "folder",
    type=Place(),
    help="show what became of each image up to this folder (default: the last there is)",
)
@click.option("--port", type=int, help="0 = any free one (default: 8650)")
@click.option("--no-browser", is_flag=True, help="only print the address")
def review(folder: Path | None, port: int | None, no_browser: bool) -> None:
    """Pick images by hand, in the browser."""
    from semireal.review import server

    server.run(folder, server.PORT if port is None else port, not no_browser)


@command(
    "sweep character=wonder_woman,elf", "sweep --jobs 1 character=geralt train.photo_ratio=0.3,0.5 sample.psi=0.5,0.7"
)
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE[,VALUE]...")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="experiments at a time")
def sweep(settings: tuple[str, ...], jobs: int) -> None:
    """Run a grid of experiments through the queue.

    One of the settings is character=...
    """
    from semireal.pipeline import sweep

    sweep.run(list(settings), jobs)


@command("compare", "compare main geralt-a geralt-b")
@click.argument("experiments", nargs=-1)
def compare(experiments: tuple[str, ...]) -> None:
    """Show all experiments in a table, or how some of them differ.

    The table has the columns that people compare; `dvc exp show` has all. With EXPERIMENTS, which are names of
    experiments, branches or tags, or `workspace`: for each measure the difference of the first and each other one with
    a 95 % interval, and whether there is any to be seen.
    """
    from semireal.pipeline import compare

    compare.run(list(experiments))


@command("report", "report workspace main elf", "report --out both.html geralt-a geralt-b")
@click.argument("experiments", nargs=-1)
@click.option("--out", type=Place(dir_okay=False), help="the page to write (default: report.html)")
def report(experiments: tuple[str, ...], out: Path | None) -> None:
    """Show experiments side by side in one file.

    EXPERIMENTS are names of experiments, branches or tags, or `workspace`; without any, the workspace and all
    experiments of the current commit.
    """
    from semireal.report import compared

    compared.run(list(experiments), out or Path("report.html"))


@command("verify")
def verify() -> None:
    """Make the demo anew and compare all hashes.

    In a fresh clone, with an empty cache; the hashes are compared with those in dvc.lock.
    """
    from semireal.pipeline import verify

    verify.run(Path())


@command("compare-lock", "compare-lock --record")
@click.option("--record", is_flag=True, help=f"write to {paths.MADE_ON} that this machine made dvc.lock")
def compare_lock(record: bool) -> None:
    """Compare the results here with those that are committed.

    The hashes of dvc.lock, output by output, with those of HEAD; and the machine that made those.
    """
    from semireal.pipeline import compare_lock

    compare_lock.run(Path(), record=record)


@command("export --format onnx", "export --generator models/best.safetensors --out yennefer.safetensors")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["safetensors", "onnx", "torchscript"]),
    default="safetensors",
    show_default=True,
)
@click.option("--generator", type=Place(), help=f"what to export (default: {paths.NETWORK})")
@click.option(
    "--out", type=Place(dir_okay=False), help="file to write (default: exports/<name of the generator>.<suffix>)"
)
def export(kind: str, generator: Path | None, out: Path | None) -> None:
    """Write a generator for use elsewhere, with a card."""
    from semireal.pipeline import export

    export.run(generator or paths.NETWORK, out, kind, Path())


@command(
    "sample --seed 7 --psi 0.6 --out face.png",
    "sample --seed 7 --mix-seed 9 --mix-from 32 --out mixed.png",
    "sample --recipe face.json --out again.png",
)
@click.option("--seed", type=int, help="of the face")
@click.option("--psi", type=float, help=f"truncation: 0 = the average face, 1 = as trained (default: {PSI})")
@click.option("--noise", type=click.Choice(["const", "none"]), help="none = without noise, smoother (default: const)")
@click.option("--mix-seed", type=int, help="another seed, which the fine layers come from")
@click.option("--mix-from", type=int, help="the resolution from which on they do")
@click.option("--recipe", type=Place(), help="instead of all these: what lies beside a picture")
@click.option("--network", type=Place(), help=f"what draws (default: {paths.NETWORK})")
@click.option("--out", type=Place(dir_okay=False), required=True, help="the PNG to write")
def sample(recipe: Path | None, network: Path | None, out: Path, **given: Any) -> None:
    """Draw a picture of a seed, or one from its recipe again.

    With --seed, the recipe is written beside the picture, as <name>.json; from it the same machine makes the same
    bytes. A recipe names its network by the hash of the file.
    """
    from semireal.training import recipe as recipes

    given = {name: value for name, value in given.items() if value is not None}
    network = network or paths.NETWORK
    if recipe is not None:
        if given:
            raise click.UsageError(f"--recipe says all of it: leave out --{min(given).replace('_', '-')}.")
        recipes.again(recipes.read(recipe), network, out)
        return
    if "seed" not in given:
        raise click.UsageError("missing: need --seed or --recipe.")
    settings: dict[str, Any] = {"psi": PSI, "noise": "const", "mix_seed": None, "mix_from": None} | given
    recipes.new(recipes.Recipe(recipes.hash_of(network), **settings), network, out)


@command("video --seeds 1,5,9 --loop --out walk.mp4", "video --seeds 1,5 --frames 25 --scale 4 --out walk.gif")
@click.option("--seeds", type=Numbers(), required=True, help="of the faces, in order")
@click.option("--frames", type=int, default=60, show_default=True, help="from one face to the next; 25 are a second")
@click.option("--loop", is_flag=True, help="go on from the last face to the first")
@click.option(
    "--in",
    "space",
    type=click.Choice(["w", "z"]),
    default="w",
    show_default=True,
    help="on lines between styles, or on arcs between latents",
)
@click.option("--psi", type=float, default=PSI, show_default=True, help="truncation")
@click.option("--noise", type=click.Choice(["const", "none"]), default="const", show_default=True)
@click.option("--scale", type=int, default=1, show_default=True, help="enlarge so many times")
@click.option("--network", type=Place(), help=f"what draws (default: {paths.NETWORK})")
@click.option("--out", type=Place(dir_okay=False), required=True, help="the .mp4 or .gif to write")
def video(network: Path | None, out: Path, **given: Any) -> None:
    """Let one face turn into the next.

    The same command makes the same bytes on the same machine.
    """
    from semireal import schema
    from semireal.training import video

    video.run(schema.parse(video.Walk, given, ""), network or paths.NETWORK, out)


@command("credits")
@click.option("--dataset", type=Place(), help=f"folder with a manifest (default: {paths.DATASET})")
@click.option("--out", type=Place(file_okay=False), help="folder to write to (default: results/attributions)")
def credits(dataset: Path | None, out: Path | None) -> None:
    """Write who made the images of the dataset.

    And where each is from, and under which licence: a page and a table.
    """
    from semireal.collect import attributions

    attributions.run(dataset, out)


@command("mend")
def mend() -> None:
    """Remove what DVC was killed while writing.

    That is dvc.lock or its rwlock. `dvc repro` then goes on: what has been made comes out of its cache.
    """
    from semireal.pipeline import mend

    for line in mend.run(Path()):
        click.echo(line)


@command("check")
def check() -> None:
    """Check all parameters, here and in experiments/.

    And say where the two differ.
    """
    from semireal.pipeline import check

    check.run(Path())


@command("parameters > docs/params.md")
def parameters() -> None:
    """Print all parameters and what they mean.

    And what each may be, its values, and what another value makes run again.
    """
    from semireal.pipeline import parameters

    click.echo(parameters.table(Path()), nl=False)


@command("clean-cache")
@click.option("--yes", is_flag=True, help="do not ask")
def clean_cache(yes: bool) -> None:
    """Free disk of data that nothing refers to.

    No commit, branch, tag or experiment. `dvc gc -w` would delete the data of all other experiments.
    """
    from semireal.pipeline import clean_cache

    clean_cache.run(yes)


@cli.command(epilog=_examples(("fetch https://example.org/ffhq-512.pkl start/ffhq-512.pkl",)))
@click.argument("url")
@click.argument("file", type=Place(dir_okay=False))
@click.option("--sha256", help="that the file must have; left out, it is printed")
def fetch(url: str, file: Path, sha256: str | None) -> None:
    """Get a network to start a training from.

    FILE is then what `train.init` names. A download that broke off goes on.
    """
    from semireal.training import fetch

    fetch.run(url, file, sha256)


@cli.command(
    epilog=_examples(
        (
            "convert network.pkl network.safetensors",
            "convert --half models/checkpoint.safetensors start/faces.safetensors",
        )
    )
)
@click.argument("source", type=Place(), metavar="IN")
@click.argument("target", type=Place(), metavar="OUT.safetensors")
@click.option("--half", is_flag=True, help="Write float16, which takes half the room.")
def convert(source: Path, target: Path, half: bool) -> None:
    """Write networks to a file to start from.

    IN is models/checkpoint.safetensors, of which the averaged generator and the discriminator are taken, or a network
    pickle of NVIDIA: stylegan2-ada-pytorch or stylegan3 (--cfg=stylegan2). Nothing that a pickle carries is run.
    """
    from semireal.stylegan2.convert import convert

    click.echo(convert(source, target, half))


@cli.command(
    epilog=_examples(
        (
            "blend photos.safetensors elf.safetensors between.safetensors --from 16 --amount 0.5",
            "blend elf.safetensors photos.safetensors between.safetensors --from 32 --amount 1 --sheet dial.png",
        )
    )
)
@click.argument("base", type=Place(), metavar="A.safetensors")
@click.argument("child", type=Place(), metavar="B.safetensors")
@click.argument("target", type=Place(), metavar="OUT.safetensors")
@click.option(
    "--from", "first", type=int, default=16, show_default=True, help="the lowest resolution that moves towards B"
)
@click.option("--amount", type=float, default=0.5, show_default=True, help="how far, from 0 (as in A) to 1 (as in B)")
@click.option("--sheet", type=Place(), metavar="FILE.png", help="also draw the same seeds at amounts from 0 to 1")
def blend(base: Path, child: Path, target: Path, first: int, amount: float, sheet: Path | None) -> None:
    """Make a network between a network and its child.

    B is fine-tuned from A, or A from B. A gives the mapping and what is below the resolution --from, which is the
    layout; from there on, in the rendering, OUT is A + amount * (B - A). docs/dial.md says how to choose both.
    """
    from semireal.training import dial

    click.echo(dial.run(base, child, target, first, amount, sheet))


@cli.command(epilog=_examples(("completion bash >> ~/.bashrc",)))
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes a shell complete commands."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    if shutil.which(NAME) is None:
        stage.say(f"note: {NAME} is not on the PATH here; completion works where it is")
    click.echo(kind(cli, {}, NAME, COMPLETE).source())
