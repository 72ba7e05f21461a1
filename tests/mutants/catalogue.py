"""About forty faults, and why some that survive are none."""

from __future__ import annotations

from tests.mutants import device_faults, model_faults, training_faults

__all__ = ["CATALOGUE", "REASONS"]

#: Each fault is introduced alone.
CATALOGUE = (*model_faults.FAULTS, *device_faults.FAULTS, *training_faults.FAULTS)

#: Why a fault that survives is no fault, by the file and what is changed there.
REASONS: dict[str, str] = {
    "edgerec/model/ops/inference.py: _MOST_OPS": "a limit of 2^25 refuses what would fill the "
    "memory, too",
    "targets/edgerec_numpy/lookup.py: self.paired": "tables that are not read in pairs are read "
    "one by one, which is slower",
    "edgerec/model/structure.py: values = (unpack4": "no codec has codes of fewer than 4 bits",
    "targets/edgerec_numpy/scan.py: if len(rows) > 4 * k": "rows are cut to k more or less often, "
    "which changes the time and the memory",
    "edgerec/exporting/proof.py: longer = rng.choice": "a history of 8 h items is longer than h, "
    "too",
    "edgerec/model/oracle.py: groups = max(": "the number of groups changes how many rows are "
    "sorted, and not which are found",
}
