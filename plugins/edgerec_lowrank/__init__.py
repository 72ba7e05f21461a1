r"""lowrank: factorize the item tables and keep only the narrow factor.

By truncated SVD, X ≈ A B with A float[n, r], B float[r, d] and B Bᵀ = I. For a model that adds up
item rows and scores by a dot product, past rows P and candidates X share B, and

    score = (Σ w_j p_j) · x_i ≈ (Σ w_j P_j Bᵀ) B Bᵀ (X_i Bᵀ)ᵀ = (Σ w_j a_j) · a'_i

so B cancels, leaving the same model with narrower tables. A dense layer after the history absorbs B
in its weights, x W ≈ a (B W), and so does the layer before the score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from edgerec.plugin import (
    F32,
    CompressError,
    Compressor,
    Context,
    DeviceModel,
    FineTuningCompressor,
    OptionError,
    hookimpl,
    leading_basis,
    normalize,
    stack,
)
from edgerec_lowrank.rank import rank_for_energy
from edgerec_lowrank.rewrite import groups_of, narrow

#: The plugin API version that this plugin was written for.
edgerec_api = 2


@dataclass(frozen=True)
class LowRank(FineTuningCompressor):
    """Narrow every wide table to r columns, the best r for the table (Eckart & Young, 1936).

    Tables that are summed or scored together share one basis, that of the stacked tables. Codecs
    are kept, so the step may come before or after quantize. The r columns are the best ones for the
    numbers in the table; with ``epochs``, they are fine-tuned for the ranking.
    """

    name: ClassVar[str] = "lowrank"

    rank: int | None = field(
        default=None, metadata={"help": "columns to keep; by default, as many as energy requires"}
    )
    energy: float | None = field(
        default=None, metadata={"help": "share of Σσ² to keep, 0.9 by default; alternative to rank"}
    )

    learning_rate: float = field(
        default=0.01, kw_only=True, metadata={"help": "learning rate of fine-tuning"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank is not None and self.energy is not None:
            raise OptionError("lowrank.energy: set rank or energy, not both")
        if self.rank is not None and self.rank < 2:
            raise OptionError(f"lowrank.rank: expected at least 2, got {self.rank}")
        if self.energy is not None and not 0 < self.energy < 1:
            raise OptionError(
                f"lowrank.energy: expected a number between 0 and 1, got {self.energy}"
            )

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Find a basis for each group of tables, rewrite the encoder for it, and fine-tune."""
        if not self.epochs:
            return self._narrowed(model, context)
        context.require_dataset("lowrank")
        from edgerec.learn import EncodedTorchModel, fine_tune_result

        return fine_tune_result(
            self, EncodedTorchModel(self._narrowed(model, context)), context, model
        )

    def _narrowed(self, model: DeviceModel, context: Context) -> DeviceModel:
        if model.needs_user_vector:
            raise CompressError(
                "lowrank: the encoder reads a user_vector, which would have to be narrowed with "
                "the tables; train without user embeddings"
            )
        groups = groups_of(model)
        bases = {}
        for number, group in enumerate(sorted(set(groups.values())), 1):
            basis = self._basis(model, [t for t, g in groups.items() if g == group])
            if len(basis) < basis.shape[1]:
                bases[group] = basis
            context.progress(number, len(set(groups.values())), "singular vectors")
        after = narrow(model, groups, bases)
        before_bytes, after_bytes = _bytes(model), _bytes(after)
        if after_bytes >= before_bytes:
            asked = f"energy {self.energy or 0.9:g}" if self.rank is None else f"rank {self.rank}"
            raise CompressError(
                f"lowrank: would not shrink the model at {asked}: {after_bytes:,} bytes, "
                f"{before_bytes:,} now; the widest table has "
                f"{max(t.shape[1] for t in model.tables.values())} columns"
            )
        return after

    @classmethod
    def search_space(cls) -> Mapping[str, tuple[Any, ...]]:
        """Offer ranks, with and without fine-tuning."""
        return {"rank": (16, 32, 48), "epochs": (0, 4)}

    def outline(self, model: DeviceModel) -> DeviceModel | None:
        """Factorize, which is quick enough to serve as the outline."""
        return self._narrowed(model, Context())

    def _basis(self, model: DeviceModel, tables: list[str]) -> F32:
        """The right singular vectors of the stacked tables, float32[r, d]."""
        matrices = {name: model.tables[name].decode() for name in tables}
        if model.head.kind == "cosine" and model.head.table in matrices:
            # The head depends on directions only, so all candidates count the same.
            matrices[model.head.table] = normalize(matrices[model.head.table])
        vectors, values = leading_basis(stack(matrices.values()))
        rank = self.rank or rank_for_energy(values, self.energy or 0.9)
        return vectors[:rank]


def _bytes(model: DeviceModel) -> int:
    """The size of tables and dense layers, since a basis may end up in either."""
    return model.table_bytes + sum(c.nbytes for c in model.constants.values())


@hookimpl
def edgerec_compressors() -> list[type[Compressor]]:
    """Provide lowrank."""
    return [LowRank]
