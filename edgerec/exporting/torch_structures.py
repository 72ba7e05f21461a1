"""Tables whose codec declares a structure, as torch modules."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from edgerec.exporting.torch_rows import Floats, Integers, SparseRows, tensor_of
from edgerec.model.structure import (
    Affine,
    Dense,
    Lookup,
    Partition,
    RunLines,
    Sparse,
    Structure,
)

__all__ = ["Codewords", "Lines", "Parts", "Structured", "structured"]

#: Rows whose products are looked up at a time; each block adds a few lines to traced code.
_BLOCK = 65536


#: The module of a structure: it reads rows, and scores all of them for float[1, d].
Structured: TypeAlias = "Codewords | Floats | Integers | Lines | Parts | SparseRows"


def structured(structure: Structure, rows: int) -> Structured:
    """The module of a structure."""
    match structure:
        case Dense() as dense:
            return Floats(dense)
        case Affine() as affine:
            return Integers(affine)
        case Lookup() as lookup:
            return Codewords(lookup)
        case RunLines() as lines:
            return Lines(lines, rows)
        case Sparse() as sparse:
            return SparseRows(sparse)
        case Partition() as partition:
            return Parts(partition)


class Parts(nn.Module):
    """Consecutive rows of different structures."""

    def __init__(self, partition: Partition) -> None:
        super().__init__()
        self.starts, self.heights = partition.starts, partition.heights
        self.parts = [
            structured(*part) for part in zip(partition.parts, partition.heights, strict=True)
        ]
        for place, part in enumerate(self.parts):
            self.add_module(f"part_{place}", part)

    def rows(self, rows: Tensor) -> Tensor:
        """Rows int64[k] as float[k, d]: read in every part, and chosen by where a row is."""
        whole = zip(self.parts, self.starts, self.heights, strict=True)
        found = [part.rows((rows - start).clamp(0, high - 1)) for part, start, high in whole]
        values = found[0]
        for own, start in zip(found[1:], self.starts[1:], strict=True):
            values = torch.where((rows >= start)[:, None], own, values)
        return values

    def scan(self, user: Tensor) -> Tensor:
        """Score all rows for float[1, d]: float[n]."""
        return torch.cat([part.scan(user) for part in self.parts])


class Lines(nn.Module):
    """The numbers of all rows, read off lines over runs of rows."""

    starts: Tensor
    levels: Tensor

    def __init__(self, lines: RunLines, rows: int) -> None:
        super().__init__()
        held = np.flatnonzero(lines.ends > lines.starts)
        self.count, self.even = rows, lines.even
        self.register_buffer("starts", tensor_of(lines.starts[held].astype(np.int32)))
        self.register_buffer("levels", tensor_of(lines.levels[held]))

    def rows(self, rows: Tensor) -> Tensor:
        """The numbers of rows int64[k], float[k, 1]."""
        if self.even:
            return self._along(torch.div(rows, self.even, rounding_mode="floor"), rows)[:, None]
        # A row is in the last run that starts at or before it.
        run = (self.starts[None, :] <= rows[:, None]).long().sum(1) - 1
        return self._along(run, rows)[:, None]

    def all(self) -> Tensor:
        """The numbers of all rows, float[n]."""
        starts = self.starts.long()
        marks = torch.zeros(self.count, dtype=torch.int64)
        marks = marks.scatter_add(0, starts, torch.ones_like(starts))
        return self._along(marks.cumsum(0) - 1, torch.arange(self.count))

    def scan(self, user: Tensor) -> Tensor:
        """The products of all rows with float[1, 1], float[n]."""
        return self.all() * user.reshape(1)

    def _along(self, run: Tensor, rows: Tensor) -> Tensor:
        levels, starts = self.levels.float(), self.starts.long()
        ends = torch.cat([starts[1:], torch.full((1,), self.count)])
        steps = (ends - starts - 1).float().clamp(min=1)
        slope = (levels[:, 1] - levels[:, 0]) / steps
        along = (rows - starts.index_select(0, run)).float()
        return along * slope.index_select(0, run) + levels[:, 0].index_select(0, run)


class Codewords(nn.Module):
    """Rows as sums of codewords, scored by looking up products with all of them."""

    codes: Tensor
    columns: Tensor

    def __init__(self, lookup: Lookup) -> None:
        super().__init__()
        self.stages, self.count, self.width = lookup.words.shape
        self.groups, self.bits = int(lookup.subspace.max()) + 1, lookup.bits
        self.register_buffer("codes", tensor_of(lookup.codes.T))
        inside = np.arange(self.groups)[:, None] == lookup.subspace
        self.register_buffer("columns", tensor_of(inside.astype(np.float32)))
        self.packed = [part.bits == 4 for part in lookup.stored]
        for number, part in enumerate(lookup.stored or (_plain(lookup),)):
            self.register_buffer(f"words_{number}", tensor_of(part.codes))
            self.register_buffer(f"scale_{number}", tensor_of(part.scale))
        self.length = None if lookup.factor is None else Lines(lookup.factor, len(lookup.codes))

    def rows(self, rows: Tensor) -> Tensor:
        """Rows int64[k] as float[k, d]."""
        codes = self.codes.index_select(1, rows).int()
        if self.bits == 4:
            codes = torch.stack([codes % 16, codes // 16], 1).flatten(0, 1)
        codes = codes[: self.stages * self.groups].reshape(self.stages, self.groups, -1).long()
        first = torch.arange(self.stages)[:, None, None] * self.count
        found = self._words().index_select(0, (codes + first).flatten())
        found = found.reshape(self.stages, self.groups, -1, self.width)
        values = (found * self.columns[None, :, None]).sum((0, 1))
        return values if self.length is None else values * self.length.rows(rows)

    def scan(self, user: Tensor) -> Tensor:
        """Score all rows for float[1, d]: float[n]."""
        products = self._products(user)
        parts = torch.split(self.codes, _BLOCK, 1)
        scores = torch.cat([products.gather(1, part.long()).sum(0) for part in parts])
        return scores if self.length is None else scores * self.length.all()

    def _products(self, user: Tensor) -> Tensor:
        """The contribution of each byte to a score, float[W, 256] or, of single codes, [W, k]."""
        found = self._words() @ (self.columns * user).T
        found = found.reshape(self.stages, self.count, self.groups).permute(0, 2, 1)
        found = found.reshape(-1, self.count)
        if self.bits == 8:
            return found
        if self.stages * self.groups % 2:
            found = torch.cat([found, torch.zeros(1, self.count)])
        # The low half of a byte varies fastest.
        found = found.reshape(-1, 2, self.count)
        return (found[:, 1, :, None] + found[:, 0, None, :]).flatten(1)

    def _words(self) -> Tensor:
        """All codewords, float[S k, d]."""
        found = []
        for number in range(max(1, len(self.packed))):
            words = self.get_buffer(f"words_{number}")
            if self.packed and self.packed[number]:
                both = torch.stack([words.int() % 16, words.int() // 16], 2).flatten(1)
                words = both - 16 * (both // 8)  # 8 to 15 stand for -8 to -1
            found.append(words.float() * self.get_buffer(f"scale_{number}").float()[:, None])
        return torch.cat(found)


def _plain(lookup: Lookup) -> Affine:
    """Codewords that are stored as floats, with scales of 1."""
    words = lookup.words.reshape(-1, lookup.words.shape[-1])
    return Affine(words, 8, np.ones(len(words), np.float16))
