"""A table of all experiments with the columns that people compare: `semireal compare`."""

from semireal.pipeline.commands import dvc

# `dvc exp show` alone has a hundred
COLUMNS = (
    *("Experiment", "State", "name", "train.epochs", "train.photo_ratio", "sample.psi", "yield", "face_rate"),
    *("(kernel|precision|recall|blend)_r64", "fid", "kid", "inception_score", "precision", "recall", "blend"),
)


def run() -> None:
    """Print the table as Markdown."""
    dvc("exp", "show", "--md", "--drop", ".*", "--keep", f"^({'|'.join(COLUMNS)})$")
