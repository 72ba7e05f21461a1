"""Lower a DeviceModel to an ExecuTorch program.

A table is stored once and read twice, by ``index_select`` and by the scan:

=====  =================  ===========================================================
codec  stored as          scan
=====  =================  ===========================================================
fp32   float[n, d]        ``mm``, where the table lies in the mapped file
fp16   half[n, d]         XNNPACK half float product of u / Σ|u|, which can't overflow
int8   int8[n, d]         XNNPACK product with u rounded to 8 bits, times row scales
int4   uint8[n, d / 2],   the same without the scales, part by part: XNNPACK wants
       the codes + 8      float scales, the codec's are half; ones do for all parts
=====  =================  ===========================================================

All but fp32 only propose; the proposed rows are scored again in float. XNNPACK packs what
it scans into memory of its own when the program is loaded; the mapped pages can go then.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import tempfile
import warnings
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edgerec.learn import TorchArtefact
from edgerec.plugin import DeviceModel, Signature, Table, check_size, group_size
from edgerec_executorch.pte import share

__all__ = ["lower"]

#: Codecs whose scan only proposes.
INEXACT = ("fp16", "int8", "int4")

#: Room for instructions, names and the delegate's ones.
OVERHEAD = 128 * 1024

#: Rows of an int4 table that are scanned at a time, at least, and parts of it, at most:
#: the ones of a part are the file's only surplus, but each part takes the exporter a while.
PART, PARTS = 2048, 24

#: Q: ops that mark what XNNPACK is to do in integers.
Q = torch.ops.quantized_decomposed


def lower(model: DeviceModel, signature: Signature) -> bytes:
    """Return the bytes of a ``.pte`` file.

    Raises:
        TargetError: the file is larger than its tables account for.
    """
    module = Program(model, signature, INEXACT).eval()
    data = share(_export(module))
    gc.collect()  # the exporter leaves cycles that hold copies of the tables
    check_size("executorch", len(data), model, OVERHEAD)
    return data


def _export(module: Program) -> bytes:
    """Export the module, with its linear products handed to XNNPACK."""
    length = module.model.history_length
    example = (torch.zeros(length, dtype=torch.int32), torch.ones(length))
    with _quiet():
        from executorch.backends.xnnpack.partition.config.gemm_configs import LinearConfig
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

        program = to_edge_transform_and_lower(
            torch.export.export(module, example),
            partitioner=[XnnpackPartitioner(configs=[LinearConfig])],
            compile_config=EdgeCompileConfig(_check_ir_validity=False),
        )
        # Not as its buffer, which is two copies of the file.
        with tempfile.TemporaryFile() as file:
            program.to_executorch().write_to_file(file)
            file.seek(0)
            return file.read()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch, torchao and executorch say of one another's old and missing parts."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class Program(TorchArtefact):
    """The model in ops that ExecuTorch's exporter takes, its products in ones for XNNPACK."""

    def __init__(self, model: DeviceModel, signature: Signature, inexact: Collection[str]) -> None:
        super().__init__(model, signature, inexact)
        self._prepare_scan(model.tables[model.head.table])

    def stored(self, array: NDArray[Any]) -> Tensor:
        """The same numbers; with 8 added, a 4-bit code is what XNNPACK reads."""
        return self.tensor(array ^ np.uint8(0x88) if array.dtype == np.uint8 else array)

    def _prepare_scan(self, table: Table) -> None:
        """Add what the delegate reads; ``share`` finds the table's own bytes in it."""
        if table.codec.name == "fp16":
            self.register_buffer("scan_values", self.tensor(table.arrays["values"]))
        elif table.codec.name == "int8":
            self.register_buffer("scan_codes_0", self.tensor(table.arrays["codes"]))
            self.register_buffer("scan_scale_0", self.tensor(table.arrays["scale"]))
            self._parts = 1
        elif table.codec.name == "int4":
            codes = table.arrays["codes"]
            # Parts begin at multiples of 16 bytes.
            height = max(PART, 16 * -(-len(codes) // (16 * PARTS)))
            starts = range(0, len(codes), height)
            for i, start in enumerate(starts):
                part = self.tensor(codes[start : start + height].view(np.int8))
                halves = torch.stack([(part << 4) >> 4, part >> 4], 2).flatten(1)
                self.register_buffer(f"scan_codes_{i}", halves)
                self.register_buffer(f"scan_scale_{i}", torch.ones(len(part)))
            self._parts = len(starts)

    def halves(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """Each code was stored with 8 added."""
        low, high = packed & 15, torch.bitwise_right_shift(packed, 4)
        return low.float() - 8, high.float() - 8

    def scan(self, name: str, table: Table, user: Tensor) -> Tensor:
        """Score all rows; what is not float32 by XNNPACK."""
        codec = table.codec.name
        if codec == "fp32":
            return (self.array(name, "values") @ user.reshape(-1, 1)).reshape(-1)
        if codec == "fp16":
            return F.linear(self.shrunk(user), self.get_buffer("scan_values")).reshape(-1).float()
        parts = list(self._products(user, -128 if codec == "int8" else -8))
        logits = torch.cat(parts) if len(parts) > 1 else parts[0]
        if codec == "int4":
            logits = logits * self.array(name, "scale").float()
        if "offset" in table.arrays:
            logits = logits + self.array(name, "offset").float() * user.sum()
        return logits

    def _products(self, user: Tensor, lowest: int) -> Iterator[Tensor]:
        """Integer products with each part of the codes, float[part]."""
        byte = (-128, 127, torch.int8)
        scale, zero = Q.choose_qparams.tensor(user, -128, 127, 1e-30, torch.int8)
        rounded = Q.quantize_per_tensor.tensor(user, scale, zero, *byte)
        rounded = Q.dequantize_per_tensor.tensor(rounded, scale, zero, *byte)
        for i in range(self._parts):
            codes, scales = self.get_buffer(f"scan_codes_{i}"), self.get_buffer(f"scan_scale_{i}")
            zeros = torch.zeros(len(codes), dtype=torch.int64)
            highest = -1 - lowest
            row = (0, lowest, highest, torch.int8)
            weights = Q.dequantize_per_channel(codes, scales, zeros, *row)
            yield F.linear(rounded, weights).reshape(-1)

    def best(self, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Take the best of groups of neighbouring rows.

        ``topk`` over all takes longer, and much longer on rising scores.
        """
        n = self.signature.items
        size = group_size(n, k)
        if size < 2:
            scores, rows = torch.topk(logits, k)
            return scores, rows
        whole = n // size * size
        groups = torch.topk(logits[:whole].reshape(-1, size).amax(1), k)[1]
        rows = (groups[:, None] * size + torch.arange(size)).reshape(-1)
        if whole < n:
            rows = torch.cat([rows, torch.arange(whole, n)])
        scores, places = torch.topk(logits.index_select(0, rows), k)
        return scores, rows.index_select(0, places)
