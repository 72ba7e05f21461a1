"""What targets share when they lower a model."""

from __future__ import annotations

import numpy as np

from edgerec.codecs import F32
from edgerec.device_model import DeviceModel
from edgerec.errors import TargetError

__all__ = ["candidate_factor", "check_size", "group_size"]

#: Rows decoded at a time.
BLOCK = 65536

#: Most rows of a group.
GROUP = 64


def candidate_factor(model: DeviceModel) -> F32 | None:
    """What each candidate's score is multiplied by: 1/|x| for a cosine head, else none."""
    if model.head.kind != "cosine":
        return None
    table = model.tables[model.head.table]
    # Block by block: a float copy of the whole table is more than a device has room for.
    norms = [
        np.linalg.norm(table.decode(slice(start, start + BLOCK)), axis=1)
        for start in range(0, table.shape[0], BLOCK)
    ]
    return np.asarray(1 / np.maximum(np.concatenate(norms), 1e-12), np.float32)


def group_size(n: int, k: int) -> int:
    """Rows of a group of which only the maximum takes part in a search for the k highest of n.

    The k highest are in the k groups with the highest maxima. Below 2 there is nothing to gain.
    """
    return min(GROUP, n // (4 * k))


def check_size(target: str, written: int, model: DeviceModel, room: int) -> None:
    """See that a table is not stored twice, nor wider than its codec has it.

    Args:
        target: its name.
        written: bytes.
        model: what was lowered.
        room: bytes that all but tables and constants may take.

    Raises:
        TargetError: there are more than 1.02 times the tables, and the room.
    """
    # The constants, and what a cosine head's scores are multiplied by.
    factors = 4 * len(model.items) if model.head.kind == "cosine" else 0
    small = sum(constant.nbytes for constant in model.constants.values()) + factors
    limit = 1.02 * model.table_bytes + small + room
    if written > limit:
        raise TargetError(f"{target}: {written:,} bytes, at most {limit:,.0f} expected")
