"""prune: remove the weights, dimensions, items, units or layers that matter least."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import (
    F32,
    Codec,
    CompressError,
    Compressor,
    Context,
    DeviceModel,
    FineTuningCompressor,
    OptionError,
    Table,
    hookimpl,
)
from edgerec_prune.sparse import Sparse

#: The plugin API version that this plugin was written for.
edgerec_api = 2

#: The share that is removed if nothing else is said.
_SHARE = 0.7

Importance = Literal["magnitude", "gradient", "abs_gradient", "taylor", "fisher"]


@dataclass(frozen=True)
class Prune(FineTuningCompressor):
    """Remove what matters least in a model, and optionally fine-tune the rest.

    Either the given ``share`` goes, or all whose importance is below the ``threshold``.

    ``weights`` sets single numbers of the wide tables to zero and encodes the rest with the
    ``sparse`` codec. The structured variants sum the importance over a substructure: ``dimensions``
    removes the same columns from all tables; ``items`` removes rows from the catalogue, so that
    those items can no longer be recommended; ``units`` removes columns of an encoder's dense layers
    and of the tables that feed them; ``layers`` removes whole past tables with the layers that read
    them.
    """

    name: ClassVar[str] = "prune"

    share: float | None = field(
        default=None, metadata={"help": "share to remove, between 0 and 1; 0.7 by default"}
    )
    threshold: float | None = field(
        default=None,
        kw_only=True,
        metadata={
            "help": "importance below which numbers, columns or items are removed; instead of share"
        },
    )
    structure: Literal["weights", "dimensions", "items", "units", "layers"] = field(
        default="weights",
        metadata={
            "help": "what to remove: numbers, columns, items, or an encoder's units or layers"
        },
    )
    importance: Importance = field(
        default="magnitude",
        metadata={
            "help": "measure of importance: |w|, Σg, Σ|g|, |Σ w·g| or Σg² over training histories"
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.share is not None and self.threshold is not None:
            raise OptionError("prune.threshold: set share or threshold, not both")
        if self.share is not None and not 0 < self.share < 1:
            raise OptionError(f"prune.share: expected a number between 0 and 1, got {self.share}")
        if self.threshold is not None and not 0 < self.threshold < math.inf:
            raise OptionError(f"prune.threshold: expected more than 0, got {self.threshold}")
        if self.threshold is not None and self.structure in ("units", "layers"):
            raise OptionError(f"prune.threshold: {self.structure} are removed by share; set that")

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Score every number, remove the lowest share, and fine-tune the rest for ``epochs``."""
        if self.epochs:
            context.require_dataset("prune")
        pruned = self._pruned(model, context, self.importance)
        if not self.epochs:
            return pruned
        from edgerec.learn import EncodedTorchModel, fine_tune_result

        # Zeros that the sparse codec omits stay zero.
        teacher = pruned if self.structure == "items" else model
        return fine_tune_result(self, EncodedTorchModel(pruned), context, teacher)

    @classmethod
    def search_space(cls) -> Mapping[str, tuple[Any, ...]]:
        """Offer shares of each structure, with and without gradients and fine-tuning.

        Units and layers apply to encoders that few models have, so they are left to the user.
        """
        return {
            "share": (0.1, 0.2, 0.3, 0.5, 0.8),
            "structure": ("items", "dimensions", "weights"),
            "importance": ("magnitude", "fisher"),
            "epochs": (0, 4),
        }

    def outline(self, model: DeviceModel) -> DeviceModel | None:
        """Prune by magnitude for the sizes; return None if another importance may change them.

        The importance decides which layer is removed, and how many numbers of a table that already
        has zeros remain. A table of zeros is an outline, whose numbers are not known yet.
        """
        if self.structure == "layers" and self.importance != "magnitude":
            return None
        if self.structure == "weights":
            for table in model.tables.values():
                values = table.decode()
                if not values.any() or (self.importance != "magnitude" and not values.all()):
                    return None
        return self._pruned(model, Context(), "magnitude")

    def _pruned(self, model: DeviceModel, context: Context, importance: Importance) -> DeviceModel:
        from edgerec_prune.importance import importance_of
        from edgerec_prune.layers import drop_layers
        from edgerec_prune.units import drop_units

        if self.structure == "dimensions" and not model.is_linear:
            raise CompressError(
                "prune: the encoder has dense layers, which tie dimensions together; prune "
                "units, weights or items instead"
            )
        if self.structure == "items" and model.head.blocks is not None:
            raise CompressError(
                "prune: the items are in clusters of equal size; prune items first, then cluster"
            )
        if self.structure == "units" and model.is_linear:
            raise CompressError(
                "prune: the encoder has no dense layers to remove units from; prune dimensions"
            )
        scores = importance_of(model, importance, context)
        if self.structure == "items":
            if model.past is not None:
                # Tables of other past items keep their rows.
                own = {n: s for n, s in scores.tables.items() if n not in model.gathered}
                scores = dataclasses.replace(scores, tables=own)
            return model.take(self._keep(scores.rows()).nonzero()[0])
        if self.structure == "units":
            return drop_units(model, scores, self.share or _SHARE)
        if self.structure == "layers":
            return drop_layers(model, scores, self.share or _SHARE)
        if self.structure == "dimensions":
            kept = self._keep(scores.columns())
            narrow = {n: model.tables[n].decode()[:, kept] for n in scores.tables}
            replaced = {n: model.tables[n].replace(values) for n, values in narrow.items()}
            return model.replace(tables={**model.tables, **replaced})
        masks = {n: self._keep(s) for n, s in scores.tables.items()}
        return model.replace(
            tables={**model.tables, **{n: self._sparse(model, n, m) for n, m in masks.items()}}
        )

    def _keep(self, scores: F32) -> NDArray[np.bool_]:
        """A mask of what stays.

        Raises:
            CompressError: the threshold removes everything.
        """
        from edgerec_prune.importance import keep_largest

        if self.threshold is None:
            return keep_largest(scores, self.share or _SHARE)
        keep: NDArray[np.bool_] = scores >= self.threshold
        if not keep.any():
            raise CompressError(
                f"prune.threshold: {self.threshold:g} removes everything; the largest importance "
                f"is {float(scores.max()):g}"
            )
        return keep

    def _sparse(self, model: DeviceModel, name: str, keep: NDArray[np.bool_]) -> Table:
        table = model.tables[name]
        values = getattr(table.codec, "values", table.codec.name)
        codec = Sparse("int8" if values == "int8" else "fp16")
        sparse = Table.encode(table.decode() * keep, codec)
        if sparse.nbytes >= table.nbytes:
            raise CompressError(
                f"prune: table {name!r} would grow: {sparse.nbytes:,} bytes sparse with "
                f"{1 - keep.mean():.0%} removed, {table.nbytes:,} now; prune more, or quantize"
            )
        return sparse


@hookimpl
def edgerec_compressors() -> list[type[Compressor]]:
    """Provide prune."""
    return [Prune]


@hookimpl
def edgerec_codecs() -> list[type[Codec]]:
    """Provide the sparse codec."""
    return [Sparse]
