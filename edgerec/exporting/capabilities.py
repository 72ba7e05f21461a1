"""Capabilities: what each target can do, as target × op × codec, found by trying it.

Every cell is a small model that is exported, loaded in the target's real runtimes, run, and
compared with the oracle. Nothing is declared by hand.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgerec.contracts.compressor import Progress, no_progress
from edgerec.contracts.host import Host
from edgerec.contracts.target import Target
from edgerec.errors import CodecError, EdgerecError
from edgerec.exporting.export import export
from edgerec.model.codecs import F32, Codec
from edgerec.model.device_model import DeviceModel, Head
from edgerec.model.items import Items
from edgerec.model.ops import OPS, Op
from edgerec.model.table import Table

__all__ = ["Capability", "capabilities", "lines", "markdown", "op_model"]

_ITEMS, _WIDTH, _HISTORY = 300, 32, 12

_POOLED = (
    Op("Gather", ("items", "history"), "rows"),
    Op("Mul", ("rows", "weights"), "weighted"),
    Op("ReduceSum", ("weighted",), "pooled"),
)

#: An encoder for each op; it ends in "user" and may read the constants of op_model.
_ENCODERS: dict[str, tuple[Op, ...]] = {
    **dict.fromkeys(
        ("Gather", "Mul", "ReduceSum"), (*_POOLED[:2], Op("ReduceSum", ("weighted",), "user"))
    ),
    "Add": (*_POOLED, Op("Add", ("pooled", "bias"), "user")),
    "MatMul": (*_POOLED, Op("MatMul", ("pooled", "square"), "user")),
    "Gemm": (*_POOLED, Op("Gemm", ("pooled", "square", "bias"), "user")),
    "Concat": (
        *_POOLED,
        Op("Concat", ("pooled", "bias"), "both"),
        Op("MatMul", ("both", "tall"), "user"),
    ),
    "Softmax": (
        _POOLED[0],
        Op("MatMul", ("rows", "query"), "logits"),
        Op("Add", ("logits", "mask"), "masked"),
        Op("Softmax", ("masked",), "share"),
        Op("Mul", ("rows", "share"), "weighted"),
        Op("ReduceSum", ("weighted",), "user"),
    ),
    **{
        kind: (*_POOLED, Op(kind, ("pooled",), "user"))
        for kind in ("Relu", "LeakyRelu", "Elu", "Gelu", "Sigmoid", "Tanh", "Exp")
    },
    "LpNormalization": (*_POOLED, Op("LpNormalization", ("pooled",), "user")),
    "LayerNormalization": (
        *_POOLED,
        Op("LayerNormalization", ("pooled", "bias", "bias"), "user"),
    ),
    "Sub": (*_POOLED, Op("Sub", ("pooled", "bias"), "user")),
    "Div": (
        _POOLED[0],
        Op("Mul", ("rows", "present"), "kept"),
        Op("ReduceSum", ("kept",), "total"),
        Op("Div", ("total", "count"), "user"),
    ),
    "Sqrt": (*_POOLED, Op("Relu", ("pooled",), "positive"), Op("Sqrt", ("positive",), "user")),
    "Equal": (
        *_POOLED,
        Op("Relu", ("pooled",), "positive"),
        Op("Equal", ("positive", "pooled"), "is_positive"),
        Op("Mul", ("is_positive", "bias"), "user"),
    ),
    "Where": (
        *_POOLED,
        Op("Relu", ("pooled",), "positive"),
        Op("Where", ("positive", "bias", "pooled"), "user"),
    ),
    "Slice": (
        *_POOLED,
        Op("Slice", ("pooled",), "half", {"start": 8, "end": 24}),
        Op("Concat", ("half", "half"), "user"),
    ),
    "Transpose": (
        Op("Gather", ("items", "history"), "rows"),
        Op("Transpose", ("weights",), "wide"),
        Op("MatMul", ("wide", "rows"), "user"),
    ),
    "ReduceMax": (
        _POOLED[0],
        Op("Add", ("rows", "mask"), "masked"),
        Op("ReduceMax", ("masked",), "user"),
    ),
    "ReduceMean": (
        *_POOLED,
        Op("ReduceMean", ("pooled",), "mean", {"axis": 1}),
        Op("Sub", ("pooled", "mean"), "user"),
    ),
}


@dataclass(frozen=True)
class Capability:
    """One cell: the outcome for a target, an op and a codec.

    Args:
        target: the name of the target.
        runtimes: the runtimes that the artefact was run in.
        op: an op of the encoder.
        codec: the codec of the item table.
        reason: why the combination does not work; empty if the artefact agreed with the oracle.
        native: whether the target scans the codec as it is stored, and not in the generic form.
    """

    target: str
    runtimes: tuple[str, ...]
    op: str
    codec: str
    reason: str
    native: bool

    @property
    def outcome(self) -> str:
        """``native``, ``generic``, or the reason."""
        return self.reason or ("native" if self.native else "generic")


def op_model(kind: str, codec: Codec) -> DeviceModel:
    """Return a small model whose encoder uses the op and whose table has the codec.

    Raises:
        CodecError: the codec cannot hold the table.
    """
    rng = np.random.default_rng(0)

    def matrix(*shape: int) -> F32:
        return (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)

    rows = matrix(_ITEMS, _WIDTH)
    # Most values are zero, because some codecs are for sparse tables only.
    rows[rng.random(rows.shape) < 0.9] = 0
    rows[:, 0] = rng.uniform(0.1, 1, _ITEMS)
    constants = {
        "bias": matrix(1, _WIDTH),
        "square": matrix(_WIDTH, _WIDTH),
        "tall": matrix(2 * _WIDTH, _WIDTH),
        "query": matrix(_WIDTH, 1),
    }
    encoder = _ENCODERS[kind]
    used = {name for op in encoder for name in op.inputs}
    return DeviceModel(
        items=Items.of(f"item {n}" for n in range(_ITEMS)),
        tables={"items": Table.encode(rows, codec.fit(rows))},
        encoder=encoder,
        head=Head("items"),
        history_length=_HISTORY,
        constants={name: c for name, c in constants.items() if name in used},
        popular=np.arange(10, dtype=np.int32),
    )


def capabilities(
    host: Host | None = None,
    targets: Iterable[str] | None = None,
    progress: Progress = no_progress,
) -> list[Capability]:
    """Try every op and codec on targets, except codecs that cannot hold a wide table.

    Args:
        host: the plugins to try; the installed ones by default.
        targets: names of targets; all by default.
        progress: called with (done, total, what).

    Raises:
        UnknownNameError: no plugin provides a target.
    """
    host = host or Host.installed()
    names = sorted(host.targets) if targets is None else list(targets)
    codecs = [codec for codec in map(host.codec, host.codecs) if _is_for_rows(codec)]
    cells = [(host.target(t), op, codec) for t in names for op in OPS for codec in codecs]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (target, op, codec) in enumerate(cells, 1):
            runtimes = tuple(target.runtimes())
            reason, native = _try(target, op, codec, Path(folder))
            found.append(Capability(target.name, runtimes, op, codec.name, reason, native))
            progress(number, len(cells), f"{target.name}, {op}, {codec.name}")
    return found


def _is_for_rows(codec: Codec) -> bool:
    try:
        op_model("Gather", codec)
    except CodecError:
        return False
    return True


def _try(target: Target, op: str, codec: Codec, folder: Path) -> tuple[str, bool]:
    """Export, load, run and compare: why this failed, if it did, and whether the scan is native."""
    try:
        model = op_model(op, codec)
        if reasons := target.refuse(model):
            return "; ".join(reasons), False
        export(model, target, folder / "cell.edgerec", top_k=20)
    except EdgerecError as error:
        return str(error), False
    return "", target.is_native(model.tables[model.head.table])


def lines(found: list[Capability]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield a target with its runtimes, ops, and their outcomes by codec, a line for each kind."""
    for target in dict.fromkeys(c.target for c in found):
        mine = [c for c in found if c.target == target]
        by_op: dict[str, dict[str, str]] = {}
        for cell in mine:
            by_op.setdefault(cell.op, {})[cell.codec] = cell.outcome
        label = f"{target} ({', '.join(mine[0].runtimes) or 'no runtime installed'})"
        every = [*by_op.values()]
        for outcomes in [one for n, one in enumerate(every) if one not in every[:n]]:
            ops = [op for op, others in by_op.items() if others == outcomes]
            yield label, "all" if len(ops) == len(by_op) else ", ".join(ops), outcomes


def markdown(found: list[Capability]) -> str:
    """Return the cells as a Markdown table, with a note per reason."""
    codecs = list(dict.fromkeys(c.codec for c in found))
    notes: list[str] = []
    text = [
        f"| target | ops | {' | '.join(codecs)} |",
        f"|---|---|{'---|' * len(codecs)}",
    ]
    for label, ops, outcomes in lines(found):
        cells = []
        for codec in codecs:
            outcome = outcomes[codec]
            if outcome in ("native", "generic"):
                cells.append(outcome)
                continue
            if outcome not in notes:
                notes.append(outcome)
            cells.append(f"no ({notes.index(outcome) + 1})")
        text.append(f"| {label} | {ops} | {' | '.join(cells)} |")
    return "\n".join(
        [*text, *([""] if notes else []), *(f"{n}. {r}" for n, r in enumerate(notes, 1))]
    )
