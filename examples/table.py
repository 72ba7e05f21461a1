"""Rows of figures, and their table."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Row", "kept_share", "table"]

#: What one method reached with one seed: ``method``, figures by name, and ``bytes``.
Row = dict[str, Any]


def kept_share(small: Row, whole: Row, figure: str) -> float:
    """The share of a figure that a compressed model keeps."""
    return float(small[figure] / whole[figure])


def table(runs: list[list[Row]]) -> str:
    """Markdown: the mean over seeds ± half the range of each figure, one line per method."""
    names = [name for name in dict.fromkeys(n for row in runs[0] for n in row) if name != "method"]
    lines = [
        f"| method | {' | '.join(names)} |",
        "|---|" + "---|" * len(names),
    ]
    for place, first in enumerate(runs[0]):
        cells = []
        for name in names:
            values = [run[place][name] for run in runs if run[place].get(name) is not None]
            if not values:
                cells.append("–")
            elif name == "bytes":
                cells.append(f"{values[0]:,}")
            elif name == "CPU s":
                cells.append(f"{np.mean(values):.0f}")
            else:
                form = ".1%" if name == "kept" else ".4f"
                cell = f"{np.mean(values):{form}}"
                half = (max(values) - min(values)) / 2
                cells.append(cell + (f" ± {half:{form}}" if len(values) > 1 else ""))
        lines.append(f"| {first['method']} | {' | '.join(cells)} |")
    return "\n".join(lines)
