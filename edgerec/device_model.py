"""DeviceModel: the one value that flows from training to the device.

It is plain numpy. Compressors map a DeviceModel to a DeviceModel; targets write one out.

The user encoder is a list of ops over the *star* around one user, the rows of the items
in their own history::

    history int32[H]    rows of past items, most recent last, -1 for padding
    weights float32[H]  a weight each, 0 for padding
    ──► encoder ──► user float32[1, d] ──► head ──► score float32[n]

All values of an encoder have two axes. ``history`` values are [H, width]; after a
ReduceSum over axis 0 they are [1, width].
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.codecs import F32, Arrays, Codec
from edgerec.container import release
from edgerec.errors import CodecError, ModelError
from edgerec.items import Items
from edgerec.ops import Op, Shape, counts_padding, infer_shapes

__all__ = ["DeviceModel", "Head", "Table"]


@dataclass(frozen=True)
class Table:
    """A matrix of item rows, [n, d], written by a codec.

    Raises:
        CodecError: the arrays are not those of the codec.
    """

    codec: Codec
    shape: tuple[int, int]
    arrays: Arrays

    def __post_init__(self) -> None:
        self.codec.check(self.arrays, *self.shape)

    @classmethod
    def encode(cls, matrix: F32, codec: Codec) -> Table:
        """Write float32[n, d] with a codec.

        Raises:
            ModelError: the matrix is not two-dimensional or not finite.
            CodecError: the codec cannot hold it.
        """
        matrix = np.ascontiguousarray(matrix, np.float32)
        if matrix.ndim != 2:
            raise ModelError(f"table: expected a matrix [items, width], got shape {matrix.shape}")
        if not np.isfinite(matrix).all():
            raise ModelError("table: holds NaN or infinity; the training diverged?")
        n, d = matrix.shape
        codec = codec.fit(matrix)
        with np.errstate(over="ignore", invalid="ignore"):  # looked for below
            arrays: Any = codec.encode(matrix)
        if not isinstance(arrays, Mapping) or not all(
            isinstance(array, np.ndarray) for array in arrays.values()
        ):
            raise CodecError(
                f"codec {codec.name}: encode returned {type(arrays).__name__}, not arrays by name"
            )
        table = cls(codec, (n, d), arrays)
        for name, array in table.arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise CodecError(
                    f"codec {codec.name}: a number of {name!r} is beyond {array.dtype}; scale the "
                    "table down"
                )
        return table

    def decode(self, rows: NDArray[Any] | slice = slice(None)) -> F32:
        """Read rows as float32[len(rows), d]; all of them by default."""
        return self.codec.decode(self.arrays, rows)

    def take(self, rows: NDArray[Any]) -> Table:
        """Keep the given rows, in their order."""
        codec, arrays = self.codec.take(self.arrays, rows)
        return Table(codec, (len(rows), self.shape[1]), arrays)

    def replace(self, matrix: F32) -> Table:
        """Write another matrix with the same codec."""
        return Table.encode(matrix, self.codec)

    def release(self) -> None:
        """Give pages of a mapped file back, which are read again when they are needed."""
        for array in self.arrays.values():
            release(array)

    @property
    def nbytes(self) -> int:
        """Exact bytes of the encoded rows."""
        return sum(a.nbytes for a in self.arrays.values())


@dataclass(frozen=True)
class Head:
    """How a user vector scores a candidate row.

    ``dot``: u·x. ``cosine``: u·x / (|u| |x|). ``sigmoid``: 1 / (1 + exp(-u·x)), the
    probability of an edge.
    """

    table: str
    kind: Literal["dot", "cosine", "sigmoid"] = "dot"

    def __post_init__(self) -> None:
        if self.kind not in ("dot", "cosine", "sigmoid"):
            raise ModelError(f"head.kind: expected dot, cosine or sigmoid, got {self.kind!r}")


@dataclass(frozen=True)
class DeviceModel:
    """A recommender that a device can hold.

    Args:
        items: the catalogue; row r of every table is item r.
        tables: named matrices of item rows.
        encoder: ops from ``history`` and ``weights`` to the value ``user``.
        head: how ``user`` scores the candidate table.
        history_length: H, the most past items that the encoder reads.
        constants: named float32 matrices that ops use (dense layers).
        normalization: the weight of each of n past items is ``n ** -normalization``:
            0 sums, 0.5 is LightGCN's 1/√|N(u)|, 1 is a mean.
        recency: times ``j ** -recency`` for the j-th most recent; 0 for all alike.
        popular: int32, rows by falling popularity, recommended for an empty history.
        metadata: JSON values to travel along (model family, steps applied, ...).

    Raises:
        ModelError: the parts do not fit together; the message names the part.
    """

    items: Items
    tables: Mapping[str, Table]
    encoder: tuple[Op, ...]
    head: Head
    history_length: int
    constants: Mapping[str, F32] = field(default_factory=dict)
    normalization: float = 0.5
    recency: float = 0.0
    popular: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.history_length < 1:
            raise ModelError(f"history_length: expected at least 1, got {self.history_length}")
        for name in ("normalization", "recency"):
            if not math.isfinite(getattr(self, name)):
                raise ModelError(f"{name}: expected a finite number, got {getattr(self, name)}")
        for kind, names in (("tables", self.tables), ("constants", self.constants)):
            for name in names:
                # It becomes a part of files' names.
                if not re.fullmatch(r"[\w.-]+", name):
                    raise ModelError(
                        f"{kind}: expected a name of letters, digits and _ . -, got {name!r}"
                    )
        if self.head.table not in self.tables:
            raise ModelError(
                f"head.table: no table {self.head.table!r}; tables: {', '.join(self.tables)}"
            )
        for name, table in self.tables.items():
            if table.shape[0] != len(self.items):
                raise ModelError(
                    f"tables.{name}: {table.shape[0]} rows for {len(self.items)} items"
                )
        for name, constant in self.constants.items():
            if constant.ndim != 2 or constant.dtype != np.float32:
                raise ModelError(
                    f"constants.{name}: expected a float32 matrix, got "
                    f"{constant.dtype}{list(constant.shape)}"
                )
        if self.popular.size and not (
            int(self.popular.min()) >= 0 and int(self.popular.max()) < len(self.items)
        ):
            raise ModelError("popular: a row is outside the catalogue")
        user = self.shapes().get("user")
        if user != (1, self.width):
            raise ModelError(
                f"encoder: the value 'user' should be [1, {self.width}], the width of the "
                f"candidate table; got {list(user) if user else 'no such value'}"
            )

    @property
    def width(self) -> int:
        """Width d of the candidate table and of the user vector."""
        return self.tables[self.head.table].shape[1]

    @property
    def table_bytes(self) -> int:
        """Exact bytes of all item tables together."""
        return sum(table.nbytes for table in self.tables.values())

    @property
    def used_tables(self) -> list[str]:
        """Names, sorted, of the tables that the encoder gathers from, and the candidates' one."""
        gathered = {op.inputs[0] for op in self.encoder if op.kind == "Gather"}
        return sorted(gathered | {self.head.table})

    @property
    def needs_user_vector(self) -> bool:
        """Whether the encoder reads a user's own trained vector."""
        return any("user_vector" in op.inputs for op in self.encoder)

    @property
    def is_linear(self) -> bool:
        """Whether the encoder only gathers, weighs and adds up rows as wide as the user vector.

        Then any orthogonal change of basis, of all wide tables alike, changes no score, and
        any set of columns can be dropped.
        """
        if self.needs_user_vector or any(c.shape[1] > 1 for c in self.constants.values()):
            return False
        if not {table.shape[1] for table in self.tables.values()} <= {1, self.width}:
            return False
        shapes = self.shapes()
        for op in self.encoder:
            widths = {shapes[name][1] for name in op.inputs if name in shapes}
            if op.kind not in ("Gather", "Mul", "Add", "ReduceSum"):
                return False
            # Rows times rows is no weight, and a number added to all columns is no row.
            if (op.kind == "Mul" and 1 not in widths) or (op.kind == "Add" and len(widths) > 1):
                return False
        return True

    @property
    def takes_any_length(self) -> bool:
        """Whether shorter histories need no padding.

        No constant has a row for each place, and no sum takes padded ones in.
        """
        if counts_padding(self.encoder):
            return False
        try:
            self.replace(history_length=self.history_length + 1)
        except ModelError:
            return False
        return True

    def shapes(self) -> dict[str, Shape]:
        """Shape of every value of the encoder."""
        return infer_shapes(
            self.encoder,
            {name: table.shape for name, table in self.tables.items()},
            {name: (c.shape[0], c.shape[1]) for name, c in self.constants.items()},
            self.history_length,
            self.width,
        )

    def replace(self, **changes: Any) -> DeviceModel:
        """Return a copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def with_codec(self, codec: Codec, tables: Iterable[str] | None = None) -> DeviceModel:
        """Write the named tables (all by default) with a codec."""
        chosen = set(self.tables if tables is None else tables)
        written = dict(self.tables)
        for name, table in self.tables.items():
            if name in chosen:
                written[name] = Table.encode(table.decode(), table.codec.holding(codec))
                table.release()
        return self.replace(tables=written)

    def take(self, rows: NDArray[np.integer[Any]]) -> DeviceModel:
        """Keep the given rows of the catalogue, in the given order.

        Raises:
            ModelError: they are not rows of it, or one is given twice.
        """
        rows = np.asarray(rows)
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            raise ModelError(f"take: expected rows, integers; got {rows.dtype}{list(rows.shape)}")
        inside = not rows.size or (rows.min() >= 0 and rows.max() < len(self.items))
        if not inside or len(np.unique(rows)) < len(rows):
            raise ModelError(f"take: expected different rows from 0 to {len(self.items) - 1}")
        new_row = np.full(len(self.items), -1, np.int32)
        new_row[rows] = np.arange(len(rows), dtype=np.int32)
        popular = new_row[self.popular]
        return self.replace(
            items=self.items.take(rows),
            tables={n: t.take(np.asarray(rows)) for n, t in self.tables.items()},
            popular=popular[popular >= 0],
        )
