"""Tables as torch modules that widen numbers block by block: floats, integers and sparse rows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgerec.model.structure import Affine, Dense, Sparse

__all__ = ["Floats", "Integers", "SparseRows", "tensor_of"]

#: Numbers that are widened at a time, in rows of 64 columns; each block adds lines to traced code.
_WIDENED = 2**20

#: Numbers of sparse rows that are multiplied at a time.
_NUMBERS = 2**18


class Floats(nn.Module):
    """Rows in single or half precision."""

    values: Tensor

    def __init__(self, dense: Dense) -> None:
        super().__init__()
        self.block = _WIDENED // min(64, dense.values.shape[1])
        self.register_buffer("values", tensor_of(dense.values))

    def rows(self, rows: Tensor) -> Tensor:
        """Rows int64[k] as float[k, d]."""
        return self.values.index_select(0, rows).float()

    def scan(self, user: Tensor) -> Tensor:
        """Score all rows for float[1, d]: float[n]."""
        column = user.reshape(-1, 1)
        parts = [part.float() @ column for part in torch.split(self.values, self.block)]
        return torch.cat(parts).reshape(-1)


class Integers(nn.Module):
    """Rows of integers with a scale, and perhaps an offset, per row or per group of columns."""

    shifts: Tensor
    places: Tensor
    is_own: Tensor

    def __init__(self, affine: Affine) -> None:
        super().__init__()
        self.bits, self.groups, self.width = affine.bits, affine.groups, affine.columns
        self.block = _WIDENED // min(64, self.width)
        arrays = {"codes": affine.codes, "scale": affine.scale, "offset": affine.offset}
        self.names = [name for name, array in arrays.items() if array is not None]
        for name in self.names:
            array = np.asarray(arrays[name])
            self.register_buffer(name, tensor_of(array.reshape(len(affine.codes), -1)))
        columns, group = affine.planes
        shifts = 2.0 ** -(affine.bits * np.arange(8 // affine.bits, dtype=np.float32))
        self.register_buffer("shifts", tensor_of(shifts[:, None]))
        self.register_buffer("places", tensor_of(columns))
        self.register_buffer("is_own", tensor_of(group[:, None] == np.arange(self.groups)))

    def rows(self, rows: Tensor) -> Tensor:
        """Rows int64[k] as float[k, d]."""
        codes, scale, *offset = (self.get_buffer(name).index_select(0, rows) for name in self.names)
        numbers = self._planes(codes).permute(0, 2, 1).flatten(1)[:, : self.width]
        values = numbers.reshape(-1, self.groups, self.width // self.groups)
        values = values * scale.float()[:, :, None]
        if offset:
            values = values + offset[0].float()[:, :, None]
        return values.flatten(1)

    def scan(self, user: Tensor) -> Tensor:
        """Score all rows for float[1, d]: float[n].

        u · x = Σ_g scale_g (u_g · codes_g) + offset_g Σ_j u_gj, with a column per group g.
        """
        factors = user[0].index_select(0, self.places)[:, None] * self.is_own.float()
        sums, found = factors.sum(0), []
        arrays = (torch.split(self.get_buffer(name), self.block) for name in self.names)
        for codes, scale, *offset in zip(*arrays, strict=True):
            scores = self._planes(codes).flatten(1) @ factors * scale.float()
            if offset:
                scores = scores + offset[0].float() * sums
            found.append(scores.sum(1))
        return torch.cat(found)

    def _planes(self, codes: Tensor) -> Tensor:
        """The first numbers of all bytes, the second ones, and so on, float[k, 8 / bits, w].

        A code is what is left of a byte without the higher ones. Codes of 4 bits are two's
        complement, and a single bit of 0 stands for -1.
        """
        byte = codes.float()[:, None]
        if self.bits == 8:
            return byte
        above = torch.floor(byte * (self.shifts * 2.0**-self.bits)) * 2.0**self.bits
        numbers = torch.floor(byte * self.shifts) - above
        if self.bits == 1:
            return 2 * numbers - 1
        return numbers - 16 * torch.floor(numbers / 8)


class SparseRows(nn.Module):
    """Rows that are zero but for a few numbers."""

    starts: Tensor
    columns: Tensor
    values: Tensor
    scale: Tensor

    def __init__(self, sparse: Sparse) -> None:
        super().__init__()
        self.most, self.width, self.blocks = sparse.most, sparse.width, sparse.blocks(_NUMBERS)
        self.has_scale = sparse.scale is not None
        columns, values = sparse.stored
        self.register_buffer("starts", tensor_of(sparse.starts.astype(np.int32)))
        self.register_buffer("columns", tensor_of(columns))
        self.register_buffer("values", tensor_of(values))
        if sparse.scale is not None:
            self.register_buffer("scale", tensor_of(sparse.scale))

    def rows(self, rows: Tensor) -> Tensor:
        """Rows int64[k] as float[k, d]."""
        first = self.starts.index_select(0, rows).long()[:, None]
        end = self.starts.index_select(0, rows + 1).long()[:, None]
        places = first + torch.arange(self.most)
        is_inside = (places < end).float()
        places = places.clamp(max=self.values.shape[0] - 1).flatten()
        values = self.values.index_select(0, places).float().reshape(-1, self.most) * is_inside
        columns = self.columns.index_select(0, places).long().reshape(-1, self.most)
        found = torch.zeros(rows.shape[0], self.width).scatter_add(1, columns, values)
        if self.has_scale:
            found = found * self.scale.index_select(0, rows).float()[:, None]
        return found

    def scan(self, user: Tensor) -> Tensor:
        """Score all rows for float[1, d]: float[n]."""
        scores = torch.cat([self._sums(user[0], *block) for block in self.blocks])
        return scores * self.scale.float() if self.has_scale else scores

    def _sums(self, user: Tensor, start: int, stop: int, first: int, end: int) -> Tensor:
        """The products of rows from start to stop, whose numbers are those from first to end."""
        sums = torch.zeros(stop - start)
        if first == end:
            return sums
        # Each row but the first begins with a mark, so their running sum is the row of a number.
        marks = self.starts[start + 1 : stop].long() - first
        row = torch.zeros(end - first + 1, dtype=torch.int64)
        row = row.scatter_add(0, marks, torch.ones_like(marks)).cumsum(0)[: end - first]
        factors = user.index_select(0, self.columns[first:end].long())
        return sums.scatter_add(0, row, self.values[first:end].float() * factors)


def tensor_of(array: NDArray[np.generic]) -> Tensor:
    """A tensor with a copy of an array."""
    return torch.from_numpy(np.array(array, order="C"))
