"""What targets share when they lower a model: one view of the linear codecs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgerec.codecs import F32, unpack4
from edgerec.device_model import DeviceModel, Table

__all__ = ["Integers", "candidate_factor", "integers_of"]


@dataclass(frozen=True)
class Integers:
    """A table of the form ``x = scale · codes + offset``, row by row.

    A scan is then ``scores = scale · (codes @ u) + offset · sum(u)``.

    Args:
        codes: int8[n, d], the codec's own integers.
        scale: float32[n].
        offset: float32[n], or none where the codec is symmetric.
    """

    codes: NDArray[np.int8]
    scale: F32
    offset: F32 | None


def integers_of(table: Table) -> Integers | None:
    """Integers of an int8 or int4 table; none for any other codec."""
    if table.codec.name not in ("int8", "int4"):
        return None
    codes = table.arrays["codes"]
    offset = table.arrays.get("offset")
    return Integers(
        unpack4(codes) if table.codec.name == "int4" else codes,
        table.arrays["scale"].astype(np.float32),
        None if offset is None else offset.astype(np.float32),
    )


def candidate_factor(model: DeviceModel) -> F32 | None:
    """What each candidate's score is multiplied by: 1/|x| for a cosine head, else none."""
    if model.head.kind != "cosine":
        return None
    norms = np.linalg.norm(model.tables[model.head.table].decode(), axis=1)
    return np.asarray(1 / np.maximum(norms, 1e-12), np.float32)
