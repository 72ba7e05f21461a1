"""Lower a DeviceModel to a lite interpreter module, by tracing.

A table's buffers are the codec's own arrays, read by Gather and by the scan:

=====  ====================================================================
codec  scan
=====  ====================================================================
fp32   a float product, exact
fp16   a half float product of u / Σ|u|, whose scores can't overflow
int8   ``_int_mm`` with u rounded to 127 steps
int4   the same with 16 times the low halves and 16 times the high halves of
       the bytes, which one shift and one mask give, block by block
=====  ====================================================================

All but fp32 only propose; the proposed rows are scored again in float.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgerec.learn import Artefact
from edgerec.plugin import DeviceModel, Signature, Table, TargetError

__all__ = ["lower"]

#: Codecs whose scan only proposes.
INEXACT = ("fp16", "int8", "int4")

#: Room for the code and the names.
OVERHEAD = 64 * 1024

#: Rows of an integer table that are scanned at a time: their products, and the halves of int4,
#: stay in the cache. Each block is a few lines of the traced code.
BLOCK = 65536

#: Most rows of a group of which only the maximum takes part in the first topk.
GROUP = 64


def lower(model: DeviceModel, signature: Signature) -> bytes:
    """Return the bytes of a ``.ptl`` file.

    Raises:
        TargetError: the file is larger than its tables account for.
    """
    module = Lite(model, signature, INEXACT).eval()
    example = (
        torch.zeros(model.history_length, dtype=torch.int32),
        torch.ones(model.history_length),
    )
    with warnings.catch_warnings():
        # PyTorch says on every call that TorchScript is deprecated; so do our docs, once.
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]  # as torch leaves it
        with tempfile.TemporaryDirectory() as folder:
            # Through a file: a buffer in memory grows by doubling.
            path = Path(folder) / "model.ptl"
            traced._save_for_lite_interpreter(str(path))
            data = path.read_bytes()
    limit = 1.02 * model.table_bytes + module.small_bytes + OVERHEAD
    if len(data) > limit:
        raise TargetError(f"torchscript: {len(data):,} bytes, at most {limit:,.0f} expected")
    return data


class Lite(Artefact):
    """The model in ops that the lite interpreter runs."""

    def stored(self, array: NDArray[Any]) -> Tensor:
        """The same bytes; shifts of int8 keep the sign of a code, those of uint8 don't."""
        return self.tensor(array.view(np.int8) if array.dtype == np.uint8 else array)

    def rows(self, name: str, table: Table, rows: Tensor) -> Tensor:
        """Read rows of a table as float[rows, d]."""
        first = "codes" if "codes" in table.arrays else "values"
        values = self.get_buffer(f"table_{name}_{first}").index_select(0, rows)
        if table.codec.name == "int4":
            values = torch.stack([(values << 4) >> 4, values >> 4], 2).flatten(1)
        values = values.float()
        if "scale" in table.arrays:
            values = values * self.get_buffer(f"table_{name}_scale")[rows][:, None]
        if "offset" in table.arrays:
            values = values + self.get_buffer(f"table_{name}_offset")[rows][:, None]
        return values

    def scan(self, name: str, table: Table, user: Tensor) -> Tensor:
        """Score all rows: in float32 and half floats by one product, in integers block by block."""
        if table.codec.name == "fp32":
            return self.get_buffer(f"table_{name}_values") @ user[0]
        if table.codec.name == "fp16":
            small = user[0] / user.abs().sum().clamp(min=1e-30)
            return (self.get_buffer(f"table_{name}_values") @ small.half()).float()
        step = user.abs().max().clamp(min=1e-30) / 127
        rounded = (user[0] / step).round().to(torch.int8)[:, None]
        codes = self.get_buffer(f"table_{name}_codes")
        product: Callable[[Tensor, Tensor], Tensor] = torch._int_mm
        if table.codec.name == "int4":
            step, product = step / 16, _halves
        # Block by block: each number a row that is held at once is memory.
        logits = torch.empty(table.shape[0])
        for start in range(0, table.shape[0], BLOCK):
            block = slice(start, start + BLOCK)
            products = product(codes[block], rounded)[:, 0].float()
            part = products * self.get_buffer(f"table_{name}_scale")[block].float()
            if "offset" in table.arrays:
                offset = self.get_buffer(f"table_{name}_offset")[block].float()
                part = part * step + offset * user.sum()
            logits[block] = part
        return logits

    def best(self, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Take the best of groups: topk makes pairs of 16 bytes of all it is given.

        Rows r, r + m, r + 2 m, … are group r of m; the k highest are in the k groups with the
        highest maxima, or among the rows of no group.
        """
        n = self.signature.items
        size = min(GROUP, n // (4 * k))
        if size < 2:
            scores, rows = torch.topk(logits, k)
            return scores, rows
        m = n // size
        groups = torch.topk(logits[: m * size].view(size, m).amax(0), k).indices
        rows = (groups[:, None] + torch.arange(0, m * size, m)).flatten()
        rows = torch.cat([rows, torch.arange(m * size, n)])
        scores, places = torch.topk(logits[rows], k)
        return scores, rows[places]


def _halves(codes: Tensor, user: Tensor) -> Tensor:
    """16 times the product of packed 4-bit rows and int8[d, 1]: int32[n, 1]."""
    even, odd = user[0::2].contiguous(), user[1::2].contiguous()
    return torch._int_mm(codes << 4, even) + torch._int_mm(codes & -16, odd)
