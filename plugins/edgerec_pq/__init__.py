r"""pq: rows as sums of codewords, rotated, ordered and trained for the ranking.

For a model that adds up item rows and scores by a dot product, every wide table may be
turned by the same orthogonal R and no score changes,

    (Σ w_j p_j R) · x_i R = (Σ w_j p_j) · x_i,

so R is chosen to suit the codebooks (Ge et al., "Optimized Product Quantization") and not
stored. Nor does a row's place matter: rows are put in the order of their lengths, which then
lie on a few lines and cost next to nothing. Then codewords and lengths are trained through the
codec.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
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
    TunedCompressor,
    hookimpl,
    normalize,
)
from edgerec_pq.codec import PQ
from edgerec_pq.runs import Runs, runs_for

#: Stages are refined together by a system of this many equations at most.
MOST_WORDS = 4096


@dataclass(frozen=True)
class ProductQuantize(TunedCompressor):
    """Write wide tables as codewords, a few bytes an item, and one-column tables as runs.

    The catalogue comes out in another order: items of like lengths side by side.
    """

    name: ClassVar[str] = "pq"

    bytes: float | None = field(
        default=None, metadata={"help": "bytes an item of all tables together, 16 by default"}
    )
    subspaces: int | None = field(
        default=None, metadata={"help": "parts of a row, each with codewords of its own, instead"}
    )
    stages: int | None = field(
        default=None, metadata={"help": "codewords that are added up in each; 1 by default"}
    )
    bits: Literal[4, 8] | None = field(
        default=None, metadata={"help": "bits a codeword; by default what suits the bytes"}
    )
    rotate: bool = field(default=True, metadata={"help": "turn linear models to suit"})
    epochs: int = field(
        default=24, kw_only=True, metadata={"help": "training through the codec; 0: none"}
    )
    distill: float = field(
        default=20.0, kw_only=True, metadata={"help": "weight of the given model's order"}
    )
    temperature: float = field(
        default=0.07, metadata={"help": "of that order; lower is about the top of the list"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bytes is not None and (self.subspaces or self.stages):
            raise OptionError("pq.subspaces: give bytes, or subspaces and stages, not both")
        if self.bytes is not None and not self.bytes > 0:
            raise OptionError(f"pq.bytes: expected more than 0, got {self.bytes:g}")
        for name in ("subspaces", "stages"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise OptionError(f"pq.{name}: expected at least 1, got {getattr(self, name)}")
        if not self.epochs and self.temperature != type(self).temperature:
            raise OptionError("pq.temperature: is of training; leave it out, or epochs=0")
        if not self.temperature > 0:
            raise OptionError(f"pq.temperature: expected more than 0, got {self.temperature:g}")

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Order, rotate, learn codewords, train."""
        codecs = self._codecs(model)
        if self.epochs:
            context.require_dataset("pq")
        from edgerec_pq.order import popularity
        from edgerec_pq.tuning import coded

        plain = {name: Table.encode(t.decode(), Fp32()) for name, t in model.tables.items()}
        model, weight = model.replace(tables=plain), popularity(model, context.dataset)
        wide = next(codec for codec in codecs.values() if isinstance(codec, PQ))
        if self.rotate and model.is_linear and wide.subspaces > 1:
            model = _turned(model, wide, weight)
        return coded(model, codecs, weight, self, context)

    @classmethod
    def search_space(cls) -> Mapping[str, tuple[Any, ...]]:
        """Bytes an item; half the epochs tell as well which are enough."""
        return {"bytes": (8, 12, 16, 24, 32), "epochs": (12,)}

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
            if "ends" in empty:
                empty["ends"][:] = len(model.items)
            tables[name] = Table(codecs[name], table.shape, empty)
        return model.replace(tables=tables)

    def _codecs(self, model: DeviceModel) -> dict[str, PQ | Runs]:
        """The codec of each table: as is asked for, or the best that fits the bytes.

        Raises:
            CompressError: none fits, or the tables would not shrink.
        """
        widths = [t.shape[1] for t in model.tables.values() if t.shape[1] > 1]
        if not widths:
            raise CompressError("pq: the model has no table of two or more columns")
        n, before = len(model.items), model.table_bytes
        asked = self.subspaces is not None or self.stages is not None
        room = min(before - 1, before if asked else (self.bytes or 16) * n)
        runs = runs_for(n)
        least = math.inf
        for shape in self._shapes(widths, room / n):
            wide = dataclasses.replace(shape, runs=runs)
            codecs = {
                name: wide if table.shape[1] > 1 else Runs(runs)
                for name, table in model.tables.items()
            }
            try:
                after = sum(c.nbytes(*model.tables[name].shape) for name, c in codecs.items())
            except CodecError as error:
                raise CompressError(f"pq: {error}") from error
            if after <= room:
                return codecs
            least = min(least, after)
        raise CompressError(
            f"pq: does not fit: at least {least / n:.1f} bytes an item with codebooks, of "
            f"{room / n:.1f}; ask for more bytes, or fewer subspaces"
        )

    def _shapes(self, widths: list[int], most: float) -> Iterator[PQ]:
        """Codecs to choose from, best first, of at most that many bytes a row."""
        if self.subspaces is not None or self.stages is not None:
            yield PQ(self.subspaces or 1, self.stages or 1, self.bits or 8)
            return
        odd = any(width % 2 for width in widths)
        of_words: tuple[Literal[4, 8], ...] = (8,) if odd else (4, 8)
        found = [
            PQ(subspaces, stages, bits, word_bits=word_bits)
            for word_bits in of_words
            for bits in ((self.bits,) if self.bits else (4, 8))
            for subspaces in range(1, min(widths) + 1)
            for stages in range(1, MOST_WORDS // 2**bits + 1)
            if stages > 1 or word_bits == 8
            if subspaces * stages == 1 or subspaces * stages * bits <= 8 * most
        ]
        yield from sorted(found, key=_worth, reverse=True)


def _worth(codec: PQ) -> float:
    """How many codewords of plain product quantization, of 8 bits, come to the same error.

    About, as measured on trained item tables of 12,000 and 41,000 rows: adding codewords up is
    worth more than laying them side by side, by up to five; int4 in later stages costs half of
    one.
    """
    share = 1 - 1 / codec.stages
    added, codes = share / math.sqrt(codec.subspaces), codec.subspaces * codec.stages
    found = codes + 5.5 * added if codec.bits == 8 else codes / 2 - 2.5 + 2.5 * added
    return found - (0.5 * share if codec.word_bits == 4 else 0)


def _turned(model: DeviceModel, codec: PQ, weight: Any) -> DeviceModel:
    """The model in the basis that suits the codebooks."""
    from edgerec_pq.kmeans import rotation

    wide = {name: t.decode() for name, t in model.tables.items() if t.shape[1] > 1}
    rows = normalize(np.concatenate(list(wide.values())))
    turn = rotation(rows, codec.subspaces, 2**codec.bits, np.tile(weight, len(wide)))
    turned = {name: Table.encode(rows @ turn, Fp32()) for name, rows in wide.items()}
    return model.replace(tables={**model.tables, **turned})


@hookimpl
def edgerec_compressors() -> list[type[Compressor]]:
    """Provide pq."""
    return [ProductQuantize]


@hookimpl
def edgerec_codecs() -> list[type[Codec]]:
    """Provide the codecs pq and runs."""
    return [PQ, Runs]
