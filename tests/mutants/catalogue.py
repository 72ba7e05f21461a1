"""About forty faults, and why some that survive are none."""

from __future__ import annotations

from tests.mutants import device_faults, model_faults

__all__ = ["CATALOGUE", "REASONS"]

#: Each fault is introduced alone.
CATALOGUE = (*model_faults.FAULTS, *device_faults.FAULTS)

#: Why a fault that survives is no fault, by its name.
REASONS: dict[str, str] = {}
