"""Copy the tables that benchmarks wrote into the docs, between their markers.

    python -m benchmarks.quote

A page quotes a table with a line ``<!-- benchmarks/results/NAME.md -->`` before it and
``<!-- end -->`` after it. Everything between the two markers is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edgerec.files.atomic import write_text

ROOT = Path(__file__).parent.parent
QUOTE = re.compile(r"(<!-- (benchmarks/results/\w+\.md) -->\n).*?(<!-- end -->)", re.DOTALL)


def quoted(page: str) -> str:
    """Return the page with the current tables in place of the quoted ones."""
    return QUOTE.sub(
        lambda m: m[1] + "\n" + (ROOT / m[2]).read_text("utf-8").strip() + "\n\n" + m[3], page
    )


def pages() -> Iterator[Path]:
    """Yield the pages that quote a table."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        if QUOTE.search(path.read_text("utf-8")):
            yield path


def main() -> None:
    """Update the pages that quote a table, and print their paths."""
    for path in pages():
        write_text(path, quoted(path.read_text("utf-8")))
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
