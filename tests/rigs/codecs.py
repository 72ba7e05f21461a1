"""Codecs of every structure, and models in them."""

from __future__ import annotations

import numpy as np

from edgerec.model.codecs import Codec, Fp16, Fp32, Int4, Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.mixed import Mixed
from edgerec.model.table import Table
from edgerec_pq.codec import PQ
from edgerec_prune.sparse import Sparse
from edgerec_quantize.grouped import Int4Group

__all__ = ["CODECS", "coded", "thinned"]

CODECS: list[Codec] = [
    Int4Group(16),
    Int4Group(32, symmetric=False),
    Int4Group(8),
    Int4Group(2, symmetric=False),
    Sparse(),
    Sparse("int8"),
    Mixed(),
    Mixed(Fp32(), Fp16(), 0.5),
    Mixed(Int8(symmetric=False), PQ(4, 2, 4, runs=5), 0.2),
    Mixed(Sparse(), Int4Group(16), 0.3),
    Mixed(Int4(), Mixed(Fp16(), Sparse("int8"), 0.01), 0.9),
]


def thinned(model: DeviceModel, share: float = 0.8) -> DeviceModel:
    """The same model with most numbers of its wide tables set to zero, and whole rows."""
    rng, tables = np.random.default_rng(3), dict(model.tables)
    for name, table in model.tables.items():
        rows = table.decode().copy()
        if rows.shape[1] > 1:
            rows[rng.random(rows.shape) < share] = 0
            rows[[0, 5, 6, -1]] = 0
            tables[name] = Table.encode(rows, Fp32())
    return model.replace(tables=tables)


def coded(model: DeviceModel, codec: Codec) -> DeviceModel:
    """A model with its wide tables in a codec."""
    if isinstance(codec, Sparse) or any(isinstance(part, Sparse) for part in codec.parts):
        model = thinned(model)
    return model.with_codec(codec, [n for n, t in model.tables.items() if t.shape[1] > 1])
