"""The Pareto front of what was tried, and the names that chains have in it."""

from __future__ import annotations

from edgerec.building.search.chains import Chain, Tried, front, label


def test_the_front_has_no_chain_that_another_beats() -> None:
    points = [(10, 0.5), (20, 0.9), (30, 0.8), (20, 0.7), (40, 0.9), (50, 1.0)]
    tried = [Tried(n, (), size, quality=q) for n, (size, q) in enumerate(points)]
    tried.append(Tried(9, (), 5, reason="broken"))
    assert [t.number for t in front(tried)] == [0, 1, 5]


def test_a_label_is_what_the_command_line_takes() -> None:
    chain: Chain = (("drop", {"share": 0.5}), ("narrow", {"range": None}))
    assert label(chain) == "drop:share=0.5 → narrow"
