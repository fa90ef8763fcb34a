import re
from pathlib import Path

from semireal.published import REPORT

ROWS = {"geralt": "1 Geralt", "wonder_woman": "2 Wonder Woman", "elf": "3 elves"}


def test_figures_are_those_of_the_report(shared: Path) -> None:
    """To the digit, by the table of its facts."""
    lines = (shared / "REPORT.md").read_text().splitlines()
    for name, one in REPORT.items():
        line = next(line for line in lines if line.startswith(f"| {ROWS[name]}"))
        raw, after, images, mixture, epochs, _, score, fid = (cell.strip() for cell in line.split("|")[2:-1])
        assert raw == f"{'~' * one.rough}{one.raw}", name
        assert after.split(" ")[0] == f"{'~' * one.rough}{one.faces}", name
        assert re.match(r"\d+", images)[0] == str(one.images), name  # type: ignore[index]
        photos, _, portraits = mixture.partition(" / ")
        share = int(photos) / (int(photos) + int(portraits)) if portraits else None
        assert share == one.photo_share, name
        assert epochs.split(" ")[0] == str(one.epochs), name
        assert score == repr(one.inception_score), name
        assert fid == repr(one.fid) if one.fid else fid.startswith("not evaluated"), name
