"""The catalogue of faults fits the code, so that no fault is skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.catalogue import CATALOGUE
from tests.mutants.mutant import Mutant

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("fault", CATALOGUE, ids=lambda fault: fault.name)
def test_each_fault_can_be_introduced(fault: Mutant) -> None:
    assert (ROOT / fault.path).read_text("utf-8").count(fault.old) == 1
    assert fault.old != fault.new
    assert all((ROOT / tests).exists() for tests in fault.tests)


def test_there_are_about_forty() -> None:
    assert len({fault.name for fault in CATALOGUE}) == len(CATALOGUE) >= 40
