"""Lower a DeviceModel to an ExecuTorch program.

A table is stored once and read twice, by ``index_select`` and by the scan:

=====  =================  ===========================================================
codec  stored as          scan
=====  =================  ===========================================================
fp32   float[n, d]        ``mm``, with the table in place in the mapped file
fp16   half[n, d]         XNNPACK half-precision product of u / Σ|u|, without overflow
int8   int8[n, d]         XNNPACK product with u rounded to 8 bits, times row scales
int4   uint8[n, d / 2],   the same without scales, part by part: XNNPACK needs float
       the codes + 8      scales and the codec's are half, so ones serve all parts
=====  =================  ===========================================================

All codecs except fp32 only propose rows, which are then scored again in float. When the program is
loaded, XNNPACK packs what it scans into its own memory, and the mapped pages can be released.
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
from edgerec.plugin import (
    CANDIDATES,
    DeviceModel,
    Signature,
    Table,
    as_core,
    check_size,
    group_size,
)
from edgerec_executorch.pte import share

__all__ = ["lower"]

#: Codecs whose scan only proposes.
INEXACT = ("fp16", "int8", "int4")

#: Room for instructions, names and the delegate's scales, which are ones.
OVERHEAD = 128 * 1024

#: The fewest rows of an int4 table scanned at a time, and the most parts of it. The scales of ones
#: for a part are the only surplus in the file, but each part takes the exporter some time.
PART, PARTS = 2048, 24

#: The ops that mark what XNNPACK computes in integers.
Q = torch.ops.quantized_decomposed


def lower(model: DeviceModel, signature: Signature) -> bytes:
    """Return the bytes of a ``.pte`` file.

    Raises:
        TargetError: the file is larger than its tables account for.
    """
    model = _with_normal_scales(as_core(model))
    functions = (kind(model, signature, INEXACT).eval() for kind in (Program, Score))
    data = share(_export(*functions))
    gc.collect()  # the exporter leaves reference cycles with copies of the tables
    check_size("executorch", len(data), model, OVERHEAD)
    return data


def _with_normal_scales(model: DeviceModel) -> DeviceModel:
    """A model whose candidates have the scales that XNNPACK demands: neither 0 nor subnormal.

    A row of zeros has the scale 0. With the least normal number instead, it is as good as zero.
    """
    name = model.head.table
    table = model.tables[name]
    scale = table.arrays.get("scale")
    least = np.finfo(np.float32).tiny
    if table.codec.name != "int8" or scale is None or (scale.astype(np.float32) >= least).all():
        return model
    # No positive float16 is below the least normal float32.
    kind = np.finfo(scale.dtype)
    above = np.maximum(scale, kind.smallest_subnormal if kind.bits == 16 else kind.tiny)
    mended = Table(table.codec, table.shape, {**table.arrays, "scale": above})
    return model.replace(tables={**model.tables, name: mended})


def _export(module: Program, score: Program) -> bytes:
    """Export both functions, with their linear products handed to XNNPACK."""
    example, rows = module.examples(), torch.zeros(CANDIDATES, dtype=torch.int32)
    with _quiet():
        from executorch.backends.xnnpack.partition.config.gemm_configs import LinearConfig
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

        program = to_edge_transform_and_lower(
            {
                "forward": torch.export.export(module, example),
                "score": torch.export.export(score, (*example, rows)),
            },
            partitioner=[XnnpackPartitioner(configs=[LinearConfig])],
            compile_config=EdgeCompileConfig(_check_ir_validity=False),
        )
        # Written to a file, because its buffer would be two copies of the file.
        with tempfile.TemporaryFile() as file:
            program.to_executorch().write_to_file(file)
            file.seek(0)
            return file.read()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings of torch, torchao and executorch about each other's old or missing parts."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class Program(TorchArtefact):
    """The model in ops that ExecuTorch's exporter accepts, with products for XNNPACK."""

    def __init__(self, model: DeviceModel, signature: Signature, inexact: Collection[str]) -> None:
        super().__init__(model, signature, inexact)
        self._prepare_scan(model.tables[model.head.table])

    def stored(self, array: NDArray[Any]) -> Tensor:
        """The same numbers, with 8 added to 4-bit codes, as XNNPACK reads them."""
        return self.tensor(array ^ np.uint8(0x88) if array.dtype == np.uint8 else array)

    def _prepare_scan(self, table: Table) -> None:
        """Add what the delegate reads, in which ``share`` finds the table's own bytes."""
        if table.codec.name == "fp16":
            self.register_buffer("scan_values", self.tensor(table.arrays["values"]))
        elif table.codec.name == "int8":
            self.register_buffer("scan_codes_0", self.tensor(table.arrays["codes"]))
            self.register_buffer("scan_scale_0", self.tensor(table.arrays["scale"]))
            self._parts = 1
        elif table.codec.name == "int4":
            codes = table.arrays["codes"]
            # Parts start at multiples of 16 bytes.
            height = max(PART, 16 * -(-len(codes) // (16 * PARTS)))
            starts = range(0, len(codes), height)
            for i, start in enumerate(starts):
                part = self.tensor(codes[start : start + height].view(np.int8))
                halves = torch.stack([(part << 4) >> 4, part >> 4], 2).flatten(1)
                self.register_buffer(f"scan_codes_{i}", halves)
                self.register_buffer(f"scan_scale_{i}", torch.ones(len(part)))
            self._parts = len(starts)

    def halves(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """Separate the codes, which were stored with 8 added."""
        low, high = packed & 15, torch.bitwise_right_shift(packed, 4)
        return low.float() - 8, high.float() - 8

    def scan(self, name: str, table: Table, user: Tensor) -> Tensor:
        """Score all rows, by XNNPACK unless they are float32."""
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
        """Take the best of groups of adjacent rows.

        ``topk`` over all rows takes longer, and much longer on ascending scores.
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


class Score(Program):
    """The function that scores given rows, without what a scan of all rows needs."""

    def _prepare_scan(self, table: Table) -> None:
        """Add nothing."""

    def forward(self, history: Tensor, *inputs_and_rows: Tensor) -> Tensor:  # type: ignore[override]  # it is another function
        """Scores float[C]."""
        return self.score(history, *inputs_and_rows)
