"""DeviceModel: the one value that flows from training to the device.

It is plain numpy. Compressors map a DeviceModel to a DeviceModel; targets lower one.

The user encoder is a list of ops over the *star* around one user, the rows of the items in
that user's own history::

    history int32[H]    rows of past items, most recent last, -1 for padding
    weights float32[H]  one weight per past item, 0 for padding
    ──► encoder ──► user float32[1, d] ──► head ──► score float32[n]

Every value of an encoder has two axes. ``history`` values are [H, width]; after a ReduceSum
over axis 0 they are [1, width].
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import BundleError, ModelError
from edgerec.files.fields import Fields
from edgerec.model.blocks import Blocks
from edgerec.model.codecs import F32, Codec
from edgerec.model.context import Context, read_context
from edgerec.model.frozen import frozen_array, frozen_mapping
from edgerec.model.head import Head
from edgerec.model.items import Items
from edgerec.model.model_checks import MAX_EXPONENT, MAX_HISTORY, check_parts, check_types
from edgerec.model.ops import Op, Shape, counts_padding, infer_shapes
from edgerec.model.table import Table

__all__ = ["MAX_EXPONENT", "MAX_HISTORY", "DeviceModel", "Head"]


@dataclass(frozen=True, eq=False)
class DeviceModel:
    """A recommender that a device can hold. Its arrays and mappings are read-only.

    Args:
        items: the catalogue; row r of every table belongs to item r.
        tables: named matrices of item rows.
        encoder: ops from ``history`` and ``weights`` to the value ``user``.
        head: how ``user`` scores the candidate table.
        history_length: H, the maximum number of past items that the encoder reads.
        constants: named float32 matrices that ops use (dense layers).
        normalization: p; each of n past items weighs ``n ** -p`` (see ``history_weights``): 0 is
            a sum, 0.5 is LightGCN's 1/√|N(u)|, 1 is a mean.
        recency: r; the j-th most recent past item weighs ``j ** -r`` times that, 0 meaning that
            all weigh the same.
        repeats: what an item counts that occurs several times in a history: ``merge`` counts its
            most recent place, ``keep`` counts every one.
        drop_seen: whether items of the history are left out of recommendations; not where people
            buy the same again.
        weighted: whether each past item comes with a weight of its own, such as a rating, which
            multiplies the one that follows from its place; it is the input ``weights``.
        context_width: c, the number of values about the situation, such as the hour, that the
            encoder reads as ``context`` float32[1, c]; 0 if it reads none.
        past: the items of histories, if they are others than those that are recommended: symptoms
            and herbs, or views and purchases. Row r of every table that the encoder gathers from
            belongs to past item r. None if histories are of the catalogue's own items.
        popular: int32, rows by falling popularity, recommended for an empty history.
        metadata: JSON values that travel with the model (family, steps applied, ...).

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
    repeats: Literal["merge", "keep"] = "merge"
    drop_seen: bool = True
    weighted: bool = False
    context_width: int = 0
    past: Items | None = None
    popular: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)
        check_parts(self)
        user = self.shapes().get("user")
        if user != (1, self.width):
            raise ModelError(
                f"encoder: the value 'user' should be [1, {self.width}], the width of the "
                f"candidate table; got {list(user) if user else 'no such value'}"
            )
        constants = {name: frozen_array(value) for name, value in self.constants.items()}
        for name, value in (
            ("tables", frozen_mapping(self.tables)),
            ("encoder", tuple(self.encoder)),
            ("constants", frozen_mapping(constants)),
            ("popular", frozen_array(self.popular)),
            ("metadata", frozen_mapping(self.metadata)),
        ):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        tables = ", ".join(
            f"{name}: {table.codec.name}{list(table.shape)}" for name, table in self.tables.items()
        )
        return (
            f"DeviceModel({len(self.items):,} items; {tables}; {len(self.encoder)} ops; "
            f"{self.head.kind} head; {self.table_bytes:,} table bytes)"
        )

    @property
    def width(self) -> int:
        """Width d of the candidate table and of the user vector."""
        return self.tables[self.head.table].shape[1]

    @property
    def codecs(self) -> set[type[Codec]]:
        """The classes of the tables' codecs, and of the codecs that those consist of."""
        return {kind for table in self.tables.values() for kind in table.codec.kinds()}

    @property
    def table_bytes(self) -> int:
        """Exact size of all item tables together, in bytes."""
        return sum(table.nbytes for table in self.tables.values())

    @property
    def used_tables(self) -> list[str]:
        """Sorted names of the tables that the encoder gathers from, and of the candidate table."""
        return sorted(self.gathered | {self.head.table})

    @property
    def gathered(self) -> set[str]:
        """Names of the tables that the encoder gathers from."""
        return {op.inputs[0] for op in self.encoder if op.kind == "Gather"}

    @property
    def history_items(self) -> Items:
        """The items of histories."""
        return self.items if self.past is None else self.past

    @functools.cached_property
    def seen_rows(self) -> NDArray[np.int32] | None:
        """For each past item the row of the catalogue with the same id, -1 if there is none.

        None if past items are the catalogue's own.
        """
        if self.past is None:
            return None
        rows = self.items.rows
        return np.array([rows.get(name, -1) for name in self.past.ids], np.int32)

    @property
    def leaves_out_seen(self) -> bool:
        """Whether a past item can be one that must not be recommended."""
        return self.drop_seen and (self.seen_rows is None or bool((self.seen_rows >= 0).any()))

    @property
    def needs_user_vector(self) -> bool:
        """Whether the encoder reads the user's own trained vector."""
        return any("user_vector" in op.inputs for op in self.encoder)

    @property
    def inputs(self) -> dict[str, int]:
        """The inputs that the model declares besides the history, by name, and their lengths.

        ``weights`` float32[H] has the weight of each past item, 1 being neutral; ``user_vector``
        float32[d] is the user's own vector, 0 being neutral; ``context`` float32[c] describes the
        situation.
        """
        declared = {"weights": self.history_length} if self.weighted else {}
        if self.needs_user_vector:
            declared["user_vector"] = self.width
        return declared | ({"context": self.context_width} if self.context_width else {})

    @property
    def context(self) -> Context | None:
        """What the input ``context`` consists of, by name; none if it has no names.

        Raises:
            ModelError: the metadata's ``context`` is something else.
        """
        try:
            return read_context(Fields(self.metadata, "metadata"), self.context_width)
        except BundleError as error:
            raise ModelError(str(error)) from None

    @property
    def own_inputs(self) -> list[str]:
        """The names of the inputs that histories do not have: all but their weights."""
        return [name for name in self.inputs if name != "weights"]

    @property
    def is_linear(self) -> bool:
        """Whether the encoder only gathers, weighs and sums rows as wide as the user vector.

        In that case, an orthogonal change of basis applied to all wide tables changes no score,
        and any set of columns can be dropped.
        """
        if self.needs_user_vector or self.context_width:
            return False
        if any(c.shape[1] > 1 for c in self.constants.values()):
            return False
        if not {table.shape[1] for table in self.tables.values()} <= {1, self.width}:
            return False
        shapes = self.shapes()
        for op in self.encoder:
            widths = {shapes[name][1] for name in op.inputs if name in shapes}
            if op.kind not in ("Gather", "Mul", "Add", "ReduceSum") or op.given.get("axis"):
                return False
            # A product of two rows is not linear, nor is a number added to every column.
            if (op.kind == "Mul" and 1 not in widths) or (op.kind == "Add" and len(widths) > 1):
                return False
        return True

    @property
    def reads_order(self) -> bool:
        """Whether the order of a history may change the user vector."""
        return self.recency != 0 or not self.takes_any_length

    @functools.cached_property
    def takes_any_length(self) -> bool:
        """Whether a shorter history can be run without padding.

        It can if no constant has one row per history position and no sum includes padding.
        """
        if counts_padding(self.encoder):
            return False
        try:
            self.replace(history_length=self.history_length + 1)
        except ModelError:
            return False
        return True

    def shapes(self) -> dict[str, Shape]:
        """Shapes of all values of the encoder, by name."""
        return infer_shapes(
            self.encoder,
            {name: table.shape for name, table in self.tables.items()},
            {name: (c.shape[0], c.shape[1]) for name, c in self.constants.items()},
            self.history_length,
            {"user_vector": self.width, "context": self.context_width},
        )

    def replace(self, **changes: Any) -> DeviceModel:
        """Return a copy with some fields changed; it is checked again."""
        return dataclasses.replace(self, **changes)

    def with_codec(self, codec: Codec, tables: Iterable[str] | None = None) -> DeviceModel:
        """Return a copy whose named tables (all by default) are encoded with a codec."""
        chosen = set(self.tables if tables is None else tables)
        written = dict(self.tables)
        for name, table in self.tables.items():
            if name in chosen:
                written[name] = Table.encode(table.decode(), table.codec.holding(codec))
                table.release()
        return self.replace(tables=written)

    def with_blocks(self, blocks: Blocks | None) -> DeviceModel:
        """Return a copy that reads some blocks of candidates, or all of them."""
        return self.replace(head=dataclasses.replace(self.head, blocks=blocks))

    def take(self, rows: NDArray[np.integer[Any]]) -> DeviceModel:
        """Keep the given rows of the catalogue, in the given order.

        Raises:
            ModelError: a row is outside the catalogue or given twice, or rows are in blocks.
        """
        if self.head.blocks is not None:
            raise ModelError(
                "take: the rows are in blocks of similar ones, which this would mix; use the step "
                "cluster after all steps that leave out rows or put them in another order"
            )
        rows = np.asarray(rows)
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            raise ModelError(f"take: expected integer rows, got {rows.dtype}{list(rows.shape)}")
        inside = not rows.size or (rows.min() >= 0 and rows.max() < len(self.items))
        if not inside or len(np.unique(rows)) < len(rows):
            raise ModelError(f"take: expected distinct rows from 0 to {len(self.items) - 1}")
        new_row = np.full(len(self.items), -1, np.int32)
        new_row[rows] = np.arange(len(rows), dtype=np.int32)
        popular = new_row[self.popular]
        return self.replace(
            items=self.items.take(rows),
            tables={
                name: table if self.past is not None and name in self.gathered else table.take(rows)
                for name, table in self.tables.items()
            },
            popular=popular[popular >= 0],
        )
