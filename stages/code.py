"""Stage code: check all parameters, and write for each stage a key of the code that it reaches."""

from pathlib import Path

from semireal import code, stage
from semireal.pipeline import check


def main() -> None:
    """All parameters and modules -> code/<stage>.txt."""
    for note in check.before_run(Path()):
        stage.say(f"note: {note}")
    with stage.output(code.FOLDER) as out:
        for script in sorted(Path("stages").glob("*.py")):
            if script.stem != code.STAGE:
                (out / f"{script.stem}.txt").write_text(code.text_of(script.stem, Path()))


if __name__ == "__main__":
    stage.run(main)
