"""Tables in the docs are the ones that the benchmarks wrote, and recipes run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.quote import pages, quoted

ROOT = Path(__file__).parents[1]


def test_quoted_tables_are_the_written_ones() -> None:
    found = list(pages())
    assert found
    for path in found:
        page = path.read_text("utf-8")
        assert quoted(page) == page, f"{path.name}: run python -m benchmarks.quote"


BLOCKS = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "import.md").read_text("utf-8"), re.DOTALL
)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_recipes_of_importing_run(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[number], f"import.md, block {number}", "exec"), {"__name__": "recipe"})  # noqa: S102  # our own docs


def test_there_are_recipes() -> None:
    assert len(BLOCKS) >= 4
