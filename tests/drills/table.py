"""Write what the drills have found into docs/reliability.md, between two marks.

    python tests/drills/table.py

It is all in benchmarks/results/drills-*.json: by what was hurt, then by fault, the numbers `tried`, `survived`, `lost`.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks/results"
PAGE = ROOT / "docs/reliability.md"
BEGIN, END = "<!-- begin: python tests/drills/table.py -->\n", "<!-- end -->\n"
COUNTS = ("tried", "survived", "lost")


def results() -> list[dict[str, Any]]:
    """The content of all files of results."""
    return [json.loads(file.read_text()) for file in sorted(RESULTS.glob("drills-*.json"))]


def table(results: Iterable[dict[str, Any]]) -> str:
    """One line for each fault, with the sums over all that it was done to."""
    sums: dict[str, list[int]] = {}
    hurt: dict[str, list[str]] = {}
    for result in results:
        for name, faults in result.items():
            for fault, found in faults.items():
                before = sums.get(fault, [0, 0, 0])
                sums[fault] = [old + found[count] for old, count in zip(before, COUNTS, strict=True)]
                hurt.setdefault(fault, []).append(name)
    lines = ["| fault | done to | " + " | ".join(COUNTS) + " |", "|---|---|---|---|---|"]
    for fault, counts in sums.items():
        names = hurt[fault]
        where = names[0] if len(names) == 1 else f"{len(names)}: {', '.join(names)}"
        lines.append(f"| {fault} | {where} | " + " | ".join(map(str, counts)) + " |")
    return "".join(f"{line}\n" for line in lines)


def filled(page: str, content: str) -> str:
    """The page with other content between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"error: {PAGE}: found no {BEGIN.strip()} ... {END.strip()}. Put both lines back")
    return f"{before}{BEGIN}{content}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), table(results())))
    sys.stderr.write(f"wrote {PAGE.relative_to(ROOT)}\n")
