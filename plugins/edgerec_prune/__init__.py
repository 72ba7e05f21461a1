"""prune: drop the weights, or the items, that matter least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from edgerec.plugin import (
    F32,
    Codec,
    CompressError,
    Compressor,
    Context,
    DeviceModel,
    OptionError,
    hookimpl,
)
from edgerec_prune.sparse import Sparse

Importance = Literal["magnitude", "gradient", "abs_gradient", "taylor", "fisher"]


@dataclass(frozen=True)
class Prune(Compressor):
    """Remove the share of a model that matters least.

    ``weights`` sets single numbers of the wide tables to zero and writes the rest in the
    ``sparse`` codec. The structured ways sum the importance over a substructure:
    ``dimensions`` drops columns of all tables alike, ``items`` takes rows out of the
    catalogue, so that those items can no longer be recommended.
    """

    name: ClassVar[str] = "prune"

    share: float = field(default=0.7, metadata={"help": "share to remove, between 0 and 1"})
    structure: Literal["weights", "dimensions", "items"] = field(
        default="weights", metadata={"help": "single numbers, whole columns, or whole items"}
    )
    importance: Importance = field(
        default="magnitude",
        metadata={"help": "what counts: |w|, Σg, Σ|g|, |Σ w·g| or Σg² over training histories"},
    )

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise OptionError(f"prune.share: expected a number between 0 and 1, got {self.share}")

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Score every number of the tables and drop the lowest share."""
        from edgerec_prune.importance import (
            importance_of,
            keep_largest,
            sum_columns,
            sum_rows,
        )

        scores = importance_of(model, self.importance, context)
        if self.structure == "items":
            return model.take(keep_largest(sum_rows(scores), self.share).nonzero()[0])
        if self.structure == "dimensions":
            return self._drop_dimensions(model, sum_columns(scores))
        pruned = {}
        for name, table in model.tables.items():
            if table.shape[1] == 1:
                pruned[name] = table
                continue
            keep = keep_largest(scores[name], self.share)
            values = getattr(table.codec, "values", table.codec.name)
            codec = Sparse("int8" if values == "int8" else "fp16")
            sparse = type(table).encode(table.decode() * keep, codec)
            if sparse.nbytes >= table.nbytes:
                raise CompressError(
                    f"prune: table {name!r} would grow: {sparse.nbytes:,} bytes sparse at share "
                    f"{self.share:g}, {table.nbytes:,} now; prune a larger share or quantize"
                )
            pruned[name] = sparse
        return model.replace(tables=pruned)

    @classmethod
    def search_space(cls) -> Mapping[str, tuple[Any, ...]]:
        """Shares of each structure, by what needs no gradients and by what does."""
        return {
            "share": (0.1, 0.2, 0.3, 0.5, 0.8),
            "structure": ("items", "dimensions", "weights"),
            "importance": ("magnitude", "fisher"),
        }

    def outline(self, model: DeviceModel) -> DeviceModel | None:
        """Rows or columns fewer; how many numbers a sparse table keeps only a run tells."""
        if self.structure == "items":
            return model.take(np.arange(len(model.items) - round(self.share * len(model.items))))
        if self.structure == "dimensions" and model.is_linear:
            return self._drop_dimensions(model, np.arange(model.width, dtype=np.float32))
        return None

    def _drop_dimensions(self, model: DeviceModel, importance: F32) -> DeviceModel:
        from edgerec_prune.importance import keep_largest

        if not model.is_linear:
            raise CompressError(
                "prune: the encoder has dense layers, which tie dimensions together; prune "
                "weights or items instead"
            )
        kept = keep_largest(importance, self.share)
        tables = {
            name: table if table.shape[1] == 1 else table.replace(table.decode()[:, kept])
            for name, table in model.tables.items()
        }
        return model.replace(tables=tables)


@hookimpl
def edgerec_compressors() -> list[type[Compressor]]:
    """Provide prune."""
    return [Prune]


@hookimpl
def edgerec_codecs() -> list[type[Codec]]:
    """Provide the sparse codec."""
    return [Sparse]
