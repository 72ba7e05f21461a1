"""What each target can do: target × op × codec, found out by doing it.

Every cell is a small model that is exported, loaded into the target's real runtimes, run
and compared with the numpy oracle (``edgerec.parity``). Nothing is declared by hand.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgerec.codecs import F32, Codec
from edgerec.compressor import no_progress
from edgerec.device_model import DeviceModel, Head, Table
from edgerec.errors import CodecError, EdgerecError
from edgerec.host import Host, host
from edgerec.items import Items
from edgerec.ops import OPS, Op
from edgerec.target import Target, export

__all__ = ["Capability", "capabilities", "markdown", "op_model"]

ITEMS, WIDTH, HISTORY = 300, 16, 12

POOLED = (
    Op("Gather", ("items", "history"), "rows"),
    Op("Mul", ("rows", "weights"), "weighted"),
    Op("ReduceSum", ("weighted",), "pooled"),
)

#: The encoder that shows each op; it ends in "user" and may read the constants of op_model.
ENCODERS: dict[str, tuple[Op, ...]] = {
    **dict.fromkeys(
        ("Gather", "Mul", "ReduceSum"), (*POOLED[:2], Op("ReduceSum", ("weighted",), "user"))
    ),
    "Add": (*POOLED, Op("Add", ("pooled", "bias"), "user")),
    "MatMul": (*POOLED, Op("MatMul", ("pooled", "square"), "user")),
    "Gemm": (*POOLED, Op("Gemm", ("pooled", "square", "bias"), "user")),
    "Concat": (
        *POOLED,
        Op("Concat", ("pooled", "bias"), "both"),
        Op("MatMul", ("both", "tall"), "user"),
    ),
    "Softmax": (
        POOLED[0],
        Op("MatMul", ("rows", "query"), "logits"),
        Op("Add", ("logits", "mask"), "masked"),
        Op("Softmax", ("masked",), "share"),
        Op("Mul", ("rows", "share"), "weighted"),
        Op("ReduceSum", ("weighted",), "user"),
    ),
    **{
        kind: (*POOLED, Op(kind, ("pooled",), "user"))
        for kind in ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "LpNormalization")
    },
}


@dataclass(frozen=True)
class Capability:
    """One cell: what came of a target, an op and a codec together.

    Args:
        target: the target's name.
        runtimes: the runtimes that it was run in.
        op: an op of the encoder.
        codec: the codec of the item table.
        reason: why not; empty where it ran and gave what the oracle gives.
    """

    target: str
    runtimes: tuple[str, ...]
    op: str
    codec: str
    reason: str


def op_model(kind: str, codec: Codec) -> DeviceModel:
    """Return a small model whose encoder uses the op and whose table is in the codec.

    Raises:
        CodecError: the codec cannot hold the table.
    """
    rng = np.random.default_rng(0)

    def matrix(*shape: int) -> F32:
        return (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)

    rows = matrix(ITEMS, WIDTH)
    # Mostly zeros, so that codecs of sparse tables have what they are made for.
    rows[rng.random(rows.shape) < 0.9] = 0
    rows[:, 0] = rng.uniform(0.1, 1, ITEMS)
    constants = {
        "bias": matrix(1, WIDTH),
        "square": matrix(WIDTH, WIDTH),
        "tall": matrix(2 * WIDTH, WIDTH),
        "query": matrix(WIDTH, 1),
    }
    encoder = ENCODERS[kind]
    used = {name for op in encoder for name in op.inputs}
    return DeviceModel(
        items=Items.of(f"item {n}" for n in range(ITEMS)),
        tables={"items": Table.encode(rows, codec.fit(rows))},
        encoder=encoder,
        head=Head("items"),
        history_length=HISTORY,
        constants={name: c for name, c in constants.items() if name in used},
        popular=np.arange(10, dtype=np.int32),
    )


def capabilities(
    plugins: Host | None = None,
    targets: Iterable[str] | None = None,
    progress: Callable[[int, int, str], None] = no_progress,
) -> list[Capability]:
    """Try every op and codec on targets, all installed ones by default.

    Codecs that are not for wide tables are left out.

    Raises:
        UnknownNameError: no such target.
    """
    plugins = plugins or host()
    names = sorted(plugins.targets) if targets is None else list(targets)
    codecs = [codec for codec in map(plugins.codec, plugins.codecs) if _is_for_rows(codec)]
    cells = [(plugins.target(t), op, codec) for t in names for op in OPS for codec in codecs]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (target, op, codec) in enumerate(cells, 1):
            runtimes = tuple(target.runtimes())
            reason = _try(target, op, codec, Path(folder))
            found.append(Capability(target.name, runtimes, op, codec.name, reason))
            progress(number, len(cells), f"{target.name}, {op}, {codec.name}")
    return found


def _is_for_rows(codec: Codec) -> bool:
    try:
        op_model("Gather", codec)
    except CodecError:
        return False
    return True


def _try(target: Target, op: str, codec: Codec, folder: Path) -> str:
    """Export, load, run and compare; return why it cannot be, or nothing."""
    try:
        model = op_model(op, codec)
        if reasons := target.refuse(model, None):
            return "; ".join(reasons)
        export(model, target, folder / "cell.edgerec", top_k=20)
    except EdgerecError as error:
        return str(error)
    return ""


def lines(found: list[Capability]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Target with its runtimes, ops, and the reason for each codec; like ops in one line."""
    for target in dict.fromkeys(c.target for c in found):
        mine = [c for c in found if c.target == target]
        by_op: dict[str, dict[str, str]] = {}
        for cell in mine:
            by_op.setdefault(cell.op, {})[cell.codec] = cell.reason
        label = f"{target} ({', '.join(mine[0].runtimes) or 'no runtime installed'})"
        for reasons in [r for n, r in enumerate(by_op.values()) if r not in [*by_op.values()][:n]]:
            ops = [op for op, others in by_op.items() if others == reasons]
            yield label, "all" if len(ops) == len(by_op) else ", ".join(ops), reasons


def markdown(found: list[Capability]) -> str:
    """Return the matrix as a Markdown table, with a note for each reason."""
    codecs = list(dict.fromkeys(c.codec for c in found))
    notes: list[str] = []
    text = [
        f"| target | ops | {' | '.join(codecs)} |",
        f"|---|---|{'---|' * len(codecs)}",
    ]
    for label, ops, reasons in lines(found):
        cells = []
        for codec in codecs:
            reason = reasons[codec]
            if reason and reason not in notes:
                notes.append(reason)
            cells.append(f"no ({notes.index(reason) + 1})" if reason else "yes")
        text.append(f"| {label} | {ops} | {' | '.join(cells)} |")
    return "\n".join([*text, "", *(f"{n}. {note}" for n, note in enumerate(notes, 1))])
