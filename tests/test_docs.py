"""Tables in the docs are the ones that the benchmarks wrote."""

from __future__ import annotations

from benchmarks.quote import pages, quoted


def test_quoted_tables_are_the_written_ones() -> None:
    found = list(pages())
    assert found
    for path in found:
        page = path.read_text("utf-8")
        assert quoted(page) == page, f"{path.name}: run python -m benchmarks.quote"
