"""Every structure runs on every target: what it scores and reads equals the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgerec.contracts.host import Host
from edgerec.exporting.answers import Answers, measure_parity
from edgerec.exporting.export import export
from edgerec.model.codecs import Codec, Fp16, Fp32, Int4, Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.mixed import Mixed
from edgerec.model.table import Table
from edgerec.testing import example_models
from edgerec_pq.codec import PQ
from edgerec_prune.sparse import Sparse
from edgerec_quantize.grouped import Int4Group

#: Those whose runtime is installed; executorch needs an environment of its own.
TARGETS = [name for name, kind in Host.installed().targets.items() if kind().runtimes()]

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

each_target = pytest.mark.parametrize("target", TARGETS)


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


def check(model: DeviceModel, target: str, folder: Path) -> None:
    """Export, and compare every runtime with the oracle on histories of all kinds."""
    found = Host.installed().target(target)
    bundle = export(model, target, folder / "x.edgerec", top_k=20)
    rng, n = np.random.default_rng(0), len(model.history_items)
    histories = [rng.integers(0, n, size) for size in (1, 2, 17, model.history_length)]
    histories += [np.array([0, n - 1], np.int64), np.array([n // 2], np.int64)]
    for runtime in found.runtimes():
        parity = measure_parity(found.load(bundle, runtime), Answers(model, histories, 20))
        assert parity.overlap >= 0.999, (runtime, parity)
        assert parity.score_error <= 1e-4, (runtime, parity)


def coded(model: DeviceModel, codec: Codec) -> DeviceModel:
    """A model with its wide tables in a codec."""
    if isinstance(codec, Sparse) or any(isinstance(part, Sparse) for part in codec.parts):
        model = thinned(model)
    return model.with_codec(codec, [n for n, t in model.tables.items() if t.shape[1] > 1])


@each_target
@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_codecs(target: str, codec: Codec, tmp_path: Path) -> None:
    check(coded(example_models(700, 32)["sum"], codec), target, tmp_path)
