"""Lower a DeviceModel to a lite interpreter module, by tracing.

The buffers of a table are the codec's own arrays, read by Gather and by the scan:

=====  ====================================================================
codec  scan
=====  ====================================================================
fp32   a float product, exact
fp16   a half-precision product of u / Σ|u|, whose scores cannot overflow
int8   ``_int_mm`` with u rounded to 127 steps
int4   the same with 16 times the low halves and 16 times the high halves of
       the bytes, from one shift and one mask, block by block
=====  ====================================================================

All codecs except fp32 only propose rows, which are then scored again in float.
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

from edgerec.learn import TorchArtefact
from edgerec.plugin import (
    CANDIDATES,
    DeviceModel,
    Signature,
    Table,
    as_core,
    check_size,
    group_size,
)

__all__ = ["lower"]

#: Codecs whose scan only proposes.
INEXACT = ("fp16", "int8", "int4")

#: Room for the code and the names.
OVERHEAD = 64 * 1024

#: Rows of an integer table scanned at a time, so that products and the halves of int4 stay in the
#: cache. Each block adds a few lines to the traced code.
BLOCK = 65536


def lower(model: DeviceModel, signature: Signature, integers: bool = True) -> bytes:
    """Return the bytes of a ``.ptl`` file.

    Without ``integers``, the scan of an int8 or int4 table is a float product, which is exact.

    Raises:
        TargetError: the file is larger than its tables account for.
    """
    model = as_core(model)
    module = Lite(model, signature, INEXACT if integers else ("fp16",)).eval()
    example = module.examples()
    rows = torch.zeros(CANDIDATES, dtype=torch.int32)
    with warnings.catch_warnings():
        # PyTorch warns on every call that TorchScript is deprecated, which our docs state.
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace_module(  # type: ignore[no-untyped-call]  # as torch leaves it
            module, {"forward": example, "score": (*example, rows)}, check_trace=False
        )
        with tempfile.TemporaryDirectory() as folder:
            # Saved through a file, because a buffer in memory grows by doubling.
            path = Path(folder) / "model.ptl"
            traced._save_for_lite_interpreter(str(path))
            data = path.read_bytes()
    check_size("torchscript", len(data), model, OVERHEAD)
    return data


class Lite(TorchArtefact):
    """The model in ops that the lite interpreter runs."""

    def stored(self, array: NDArray[Any]) -> Tensor:
        """The same bytes as int8, whose shifts keep the sign of a code, unlike those of uint8."""
        return self.tensor(array.view(np.int8) if array.dtype == np.uint8 else array)

    def halves(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """Separate the codes by shifts, which keep the sign of int8."""
        return (packed << 4) >> 4, packed >> 4

    def scan(self, name: str, table: Table, user: Tensor) -> Tensor:
        """Score all rows, floats by a single product and integers block by block."""
        if table.codec.name == "fp32":
            return self.array(name, "values") @ user[0]
        if table.codec.name == "fp16":
            return (self.array(name, "values") @ self.shrunk(user[0])).float()
        if table.codec.name not in self.inexact:
            blocks = range(0, table.shape[0], BLOCK)
            return torch.cat([self._floats(name, table, start) @ user[0] for start in blocks])
        step = user.abs().max().clamp(min=1e-30) / 127
        rounded = (user[0] / step).round().to(torch.int8)[:, None]
        codes = self.array(name, "codes")
        product: Callable[[Tensor, Tensor], Tensor] = torch._int_mm
        if table.codec.name == "int4":
            step, product = step / 16, _halves
        # Block by block, because each number held per row takes memory.
        logits = torch.empty(table.shape[0])
        for start in range(0, table.shape[0], BLOCK):
            block = slice(start, start + BLOCK)
            products = product(codes[block], rounded)[:, 0].float()
            part = products * self.array(name, "scale")[block].float()
            if "offset" in table.arrays:
                offset = self.array(name, "offset")[block].float()
                part = part * step + offset * user.sum()
            logits[block] = part
        return logits

    def _floats(self, name: str, table: Table, start: int) -> Tensor:
        """A block of rows, decoded."""
        stop = min(start + BLOCK, table.shape[0])
        return self.rows(name, table, torch.arange(start, stop))

    def best(self, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Take the best of groups, because topk makes a pair of 16 bytes of each input.

        Rows r, r + m, r + 2 m, … form group r of m. The last few rows belong to no group.
        """
        n = self.signature.items
        size = group_size(n, k)
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
