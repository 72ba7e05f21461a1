r"""pq: product quantization, rotated and trained for the ranking.

For a model that adds up item rows and scores by a dot product, every wide table may be
turned by the same orthogonal R and no score changes,

    (Σ w_j p_j R) · x_i R = (Σ w_j p_j) · x_i,

so R is chosen to suit the codebooks (Ge et al., "Optimized Product Quantization") and not
stored. Then the codebooks, lengths and assignments are trained through the codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from edgerec.plugin import (
    Codec,
    CodecError,
    CompressError,
    Compressor,
    Context,
    DeviceModel,
    Fp32,
    OptionError,
    Table,
    hookimpl,
    normalize,
)
from edgerec_pq.codec import PQ


@dataclass(frozen=True)
class ProductQuantize(Compressor):
    """Write wide tables as codewords, a few bytes an item, and one-column tables as a byte."""

    name: ClassVar[str] = "pq"

    bytes: float | None = field(
        default=None, metadata={"help": "bytes an item of all tables together, 16 by default"}
    )
    subspaces: int | None = field(
        default=None, metadata={"help": "codewords an item and table instead"}
    )
    norm: bool = field(default=True, metadata={"help": "a byte for the length of each row"})
    bits: Literal[4, 8] = field(default=8, metadata={"help": "bits a codeword"})
    rotate: bool = field(default=True, metadata={"help": "turn linear models to suit"})
    epochs: int = field(default=8, metadata={"help": "training through the codec; 0: none"})
    distill: float = field(default=1.0, metadata={"help": "weight of the given model's order"})
    learning_rate: float = field(default=0.003, metadata={"help": "of that training"})

    def __post_init__(self) -> None:
        if self.bytes is not None and self.subspaces is not None:
            raise OptionError("pq.subspaces: give bytes or subspaces, not both")
        if self.bytes is not None and not self.bytes > 0:
            raise OptionError(f"pq.bytes: expected more than 0, got {self.bytes:g}")
        if self.subspaces is not None and self.subspaces < 1:
            raise OptionError(f"pq.subspaces: expected at least 1, got {self.subspaces}")
        if not self.learning_rate > 0:
            raise OptionError(f"pq.learning_rate: expected more than 0, got {self.learning_rate:g}")
        for name in ("epochs", "distill"):
            if getattr(self, name) < 0:
                raise OptionError(f"pq.{name}: expected 0 or more, got {getattr(self, name)}")

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Rotate, learn codebooks, train."""
        codecs = self._codecs(model)
        if self.rotate and model.is_linear:
            model = self._turned(model, codecs)
        if self.epochs:
            context.require_dataset("pq")
            from edgerec_pq.tuning import tune

            return tune(model, codecs, self, context)
        return model.replace(
            tables={n: Table.encode(t.decode(), codecs[n]) for n, t in model.tables.items()}
        )

    @classmethod
    def search_space(cls) -> Mapping[str, tuple[Any, ...]]:
        """Bytes an item."""
        return {"bytes": (8, 12, 16, 24, 32)}

    def outline(self, model: DeviceModel) -> DeviceModel | None:
        """Tables of the same codecs, all zeros."""
        try:
            codecs = self._codecs(model)
        except CompressError:
            return None
        tables = {}
        for name, table in model.tables.items():
            layout = codecs[name].layout(*table.shape)
            empty = {key: np.zeros(shape, dtype) for key, (dtype, shape) in layout.items()}
            tables[name] = Table(codecs[name], table.shape, empty)
        return model.replace(tables=tables)

    def _turned(self, model: DeviceModel, codecs: Mapping[str, PQ]) -> DeviceModel:
        """The model in the basis that suits the codebooks."""
        from edgerec_pq.kmeans import rotation

        wide = {name: t.decode() for name, t in model.tables.items() if t.shape[1] > 1}
        rows = np.concatenate(list(wide.values()))
        subspaces = codecs[next(iter(wide))].subspaces
        turn = rotation(normalize(rows) if self.norm else rows, subspaces, 2**self.bits)
        turned = {name: Table.encode(rows @ turn, Fp32()) for name, rows in wide.items()}
        return model.replace(tables={**model.tables, **turned})

    def _codecs(self, model: DeviceModel) -> dict[str, PQ]:
        """The codec of each table: as many subspaces as are asked for, or as fit the bytes.

        Raises:
            CompressError: none fits, or the tables would not shrink.
        """
        narrowest = min((t.shape[1] for t in model.tables.values() if t.shape[1] > 1), default=0)
        if not narrowest:
            raise CompressError("pq: the model has no table of two or more columns")
        n, before = len(model.items), model.table_bytes
        counts = [self.subspaces] if self.subspaces else range(narrowest, 0, -1)
        room = (self.bytes or 16) * n if self.subspaces is None else before
        for count in counts:
            codecs = {
                name: PQ(count, self.norm, self.bits) if table.shape[1] > 1 else PQ(1, False)
                for name, table in model.tables.items()
            }
            try:
                after = sum(c.nbytes(*model.tables[name].shape) for name, c in codecs.items())
            except CodecError as error:
                raise CompressError(f"pq: {error}") from error
            if after <= room and after < before:
                return codecs
        raise CompressError(
            f"pq: does not fit: at least {after / n:.1f} bytes an item with codebooks, of "
            f"{min(room, before) / n:.1f}; ask for more bytes, or fewer subspaces"
        )


@hookimpl
def edgerec_compressors() -> list[type[Compressor]]:
    """Provide pq."""
    return [ProductQuantize]


@hookimpl
def edgerec_codecs() -> list[type[Codec]]:
    """Provide the pq codec."""
    return [PQ]
