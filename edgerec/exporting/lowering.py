"""Helpers that targets share when they lower a model."""

from __future__ import annotations

import numpy as np

from edgerec.errors import TargetError
from edgerec.model.blocks import Centroids, centroids_of
from edgerec.model.codecs import F32, Arrays, Fp16, Fp32, Int4, Int8
from edgerec.model.core_codecs import CODECS
from edgerec.model.device_model import DeviceModel
from edgerec.model.oracle import normalize
from edgerec.model.structure import Affine, Dense, leaves
from edgerec.model.table import Table

__all__ = ["as_core", "candidate_centroids", "candidate_factor", "check_size", "group_size"]

#: Rows decoded at a time.
_BLOCK = 65536

#: The largest number of rows in a group.
_GROUP = 64


class _AsInt4(Int4):
    """Int4 whose scales may be of any floats."""

    def check(self, arrays: Arrays, n: int, d: int) -> None:
        """Leave the check to the codec that wrote the arrays."""


def as_core(model: DeviceModel) -> DeviceModel:
    """Return the model with codecs of core in place of others that mean the same.

    Those are floats, and integers of 8 or 4 bits with a scale per row, which a target's own kernels
    then scan. Codes stay as they are stored, and so do scales, except that those of 8-bit codes
    become float32.
    """
    tables = dict(model.tables)
    for name, table in model.tables.items():
        structure = None if table.codec.name in CODECS else table.codec.structure(table.arrays)
        if isinstance(structure, Dense):
            floats = Fp16() if structure.values.dtype == np.float16 else Fp32()
            tables[name] = Table(floats, table.shape, {"values": structure.values})
        elif isinstance(structure, Affine) and structure.groups == 1 and structure.bits > 1:
            plain, wide = structure.offset is None, structure.bits == 8
            arrays = {"scale": structure.scale, "offset": structure.offset}
            ranges = {
                key: (array.astype(np.float32) if wide else array).reshape(-1)
                for key, array in arrays.items()
                if array is not None
            }
            codec = Int8(symmetric=plain) if wide else _AsInt4(symmetric=plain)
            tables[name] = Table(codec, table.shape, {"codes": structure.codes, **ranges})
    return model.replace(tables=tables)


def candidate_factor(model: DeviceModel) -> F32 | None:
    """The factor of each candidate's score, 1/|x| for a cosine head; None for other heads."""
    if model.head.kind != "cosine":
        return None
    table = model.tables[model.head.table]
    # Block by block, because a device has no room for a float copy of the whole table.
    norms = [
        np.linalg.norm(table.decode(slice(start, start + _BLOCK)), axis=1)
        for start in range(0, table.shape[0], _BLOCK)
    ]
    return np.asarray(1 / np.maximum(np.concatenate(norms), 1e-12), np.float32)


def candidate_centroids(model: DeviceModel) -> Centroids | None:
    """The centroids of the candidates' blocks; None if all candidates are scored."""
    blocks, table = model.head.blocks, model.tables[model.head.table]
    if blocks is None:
        return None
    unit = normalize if model.head.kind == "cosine" else np.asarray
    return centroids_of(lambda rows: unit(table.decode(rows)), table.shape[0], blocks.height)


#: The most bytes that an op of the encoder takes, and the graph of a part of a table.
_PER_OP, _PER_PART = 300, 10_000


def group_size(n: int, k: int) -> int:
    """The number of rows per group in a search for the k highest of n by group maxima.

    The k highest are in the k groups with the highest maxima. A result below 2 means that
    grouping gains nothing.
    """
    return min(_GROUP, n // (4 * k))


def check_size(target: str, written: int, model: DeviceModel, room: int) -> None:
    """Check that no table is stored twice, or in more bytes than its codec uses.

    Args:
        target: the name of the target.
        written: the size of what was written, in bytes.
        model: the model that was lowered.
        room: bytes allowed for everything but tables, their parts, constants and the ops of the
            encoder.

    Raises:
        TargetError: the size exceeds 1.02 times the tables, plus constants, ops and room.
    """
    # The constants, the factors of a cosine head's scores, the rows of other past items, and the
    # centroids of blocks, a number per column and another for the radius.
    factors = 4 * len(model.items) if model.head.kind == "cosine" else 0
    seen = 0 if model.seen_rows is None else model.seen_rows.nbytes
    small = sum(constant.nbytes for constant in model.constants.values()) + factors + seen
    if model.head.blocks is not None:
        height, n = model.head.blocks.height, len(model.items)
        small += (model.head.blocks.count(n) + 4) * (model.width + 1)
        # The last block may be filled up.
        small += height * model.tables[model.head.table].nbytes // n
    structures = [table.codec.structure(table.arrays) for table in model.tables.values()]
    parts = sum(len(leaves(structure)) - 1 for structure in structures if structure is not None)
    room += _PER_OP * len(model.encoder) + _PER_PART * parts
    limit = 1.02 * model.table_bytes + small + room
    if written > limit:
        raise TargetError(
            f"{target}: expected at most {limit:,.0f} bytes, got {written:,}; store each table "
            "once, in the bytes of its codec"
        )
