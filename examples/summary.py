"""The table of all scenarios, from the tables in their READMEs.

    python -m examples.summary

It writes ``examples/README.md``. ``python -m examples.run`` does the same after each scenario.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["NAMES", "compared", "summarize"]

HERE = Path(__file__).parent

#: The scenarios, in the order of the table.
NAMES = ("risk", "health", "education", "content", "shop", "social")

#: The table of a README.
TABLE = re.compile(r"<!-- table -->\n(.*?)<!-- end -->", re.DOTALL)

#: Columns that are no figures of quality, and figures of which less is better.
OTHERS, LESS = ("method", "bytes", "kept", "CPU s"), ("Brier", "cost")

#: How lines begin that change one thing in our own model, and so are no baselines.
ABLATIONS = ("edgerec", "without", "with shuffled", "predicting")

#: The page up to its first line of figures.
HEAD = """# Six scenarios

Each has a page with its question, data, model, budget and result, and one script that reads
like a story. `python -m examples.run NAME --data FOLDER` runs one of them, and `--all` all six.
Figures are means over seeds ± half the range, of the int8 bundle in its runtime. The best
baseline of each figure is in brackets; where it wins, the page says why. Of Brier scores and
costs, less is better. *kept* is the share of the uncompressed model's quality.

| scenario | figure | edgerec | best baseline | better by | bytes | kept |
|---|---|---|---|--:|--:|---|
"""

#: What the lines of a second task begin with.
SECOND = "friends: "


def compared(text: str) -> Iterator[list[str]]:
    """Of each figure in a README's table: its name, ours, the best baseline, and their difference.

    After these, there are the bytes of the bundle, and what share of the figure it keeps.
    """
    found = TABLE.search(text)
    rows = (
        [_cells(line) for line in found[1].splitlines() if line.startswith("| ")] if found else []
    )
    names, *lines = rows or [[]]
    table = [dict(zip(names, cells, strict=True)) for cells in lines]
    for prefix in ("", SECOND):
        ours = next(
            (row for row in table if row["method"] == f"edgerec, {prefix}int8 bundle"), None
        )
        if ours is None:
            continue
        others = [
            row | {"method": row["method"].removeprefix(prefix)}
            for row in table
            if row["method"].startswith(SECOND) == bool(prefix)
            and not row["method"].startswith(ABLATIONS)
        ]
        for name in [name for name in names if name not in OTHERS and ours[name] != "–"]:
            sign = -1 if name in LESS else 1
            rivals = [row for row in others if row[name] != "–"]
            best = max(rivals, key=lambda row: sign * _number(row[name]))
            gain = sign * (_number(ours[name]) / _number(best[name]) - 1)
            yield [
                f"{prefix}{name}",
                ours[name],
                f"{best[name]} ({best['method']})",
                f"{gain:+.1%}",
                ours["bytes"],
                ours["kept"],
            ]


def summarize(names: Sequence[str], folder: Path = HERE) -> str:
    """The page with one line per figure of each scenario, whose READMEs are in the folder."""
    lines = HEAD.splitlines()
    for name in names:
        text = (folder / name / "README.md").read_text("utf-8")
        lines += [f"| [{name}]({name}/README.md) | {' | '.join(row)} |" for row in compared(text)]
    lines += ["", "This page is written by `python -m examples.summary`."]
    return "\n".join(lines) + "\n"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _number(cell: str) -> float:
    """The mean in a cell."""
    return float(cell.split(" ± ")[0].replace(",", "").rstrip("%"))


def main() -> None:
    """Write the page."""
    (HERE / "README.md").write_text(summarize(NAMES), "utf-8")


if __name__ == "__main__":
    main()
