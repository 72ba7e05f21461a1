r"""pq: rows as sums of codewords, rotated, ordered and fine-tuned for the ranking.

For a model that adds up item rows and scores by a dot product, rotating every wide table by the
same orthogonal R changes no score,

    (Σ w_j p_j R) · x_i R = (Σ w_j p_j) · x_i,

so R is chosen to suit the codebooks (Ge et al., "Optimized Product Quantization") and is not
stored. The position of a row does not matter either: rows are sorted by length, and the lengths
then lie on a few lines and cost almost nothing. With ``popular``, the most popular rows come first
and are int8, and codewords are learned for the rest. Finally, codewords and lengths are trained
through the codec.
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
    FineTuningCompressor,
    Fp32,
    Mixed,
    OptionError,
    Table,
    hookimpl,
    normalize,
    popularity,
)
from edgerec_pq.codec import PQ
from edgerec_pq.popular import codec_of, joined
from edgerec_pq.runs import FEWEST_ROWS, Runs, block_ends, even_ends, runs_for

#: The plugin API version that this plugin was written for.
edgerec_api = 2

#: The largest number of equations in the system that refines stages together.
MOST_WORDS = 4096


@dataclass(frozen=True)
class ProductQuantize(FineTuningCompressor):
    """Encode wide tables as codewords, a few bytes per item, and one-column tables as runs.

    The catalogue is reordered so that items with similar lengths are next to each other.
    """

    name: ClassVar[str] = "pq"

    bytes: float | None = field(
        default=None, metadata={"help": "bytes per item of all tables together, 16 by default"}
    )
    subspaces: int | None = field(
        default=None,
        metadata={"help": "parts of a row with separate codewords; alternative to bytes"},
    )
    stages: int | None = field(
        default=None,
        metadata={"help": "codewords summed per subspace, 1 by default; alternative to bytes"},
    )
    bits: Literal[4, 8] | None = field(
        default=None, metadata={"help": "bits per code; by default, chosen to suit the bytes"}
    )
    rotate: bool = field(
        default=True, metadata={"help": "rotate linear models to suit the codebooks"}
    )
    popular: float | None = field(
        default=None,
        metadata={"help": "the share of items, the most popular ones, that are int8 instead"},
    )
    epochs: int = field(
        default=16,
        kw_only=True,
        metadata={"help": "epochs of training through the codec; 0 trains nothing"},
    )
    distill: float = field(
        default=20.0, kw_only=True, metadata={"help": "weight of preserving the original ranking"}
    )
    temperature: float = field(
        default=0.07,
        metadata={"help": "temperature of distill; a lower one emphasizes the top of the list"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bytes is not None and (self.subspaces or self.stages):
            raise OptionError("pq.subspaces: set bytes, or subspaces and stages, not both")
        if self.bytes is not None and not self.bytes > 0:
            raise OptionError(f"pq.bytes: expected more than 0, got {self.bytes:g}")
        for name in ("subspaces", "stages"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise OptionError(f"pq.{name}: expected at least 1, got {getattr(self, name)}")
        if self.popular is not None and not 0 < self.popular < 1:
            raise OptionError(f"pq.popular: expected between 0 and 1, got {self.popular:g}")
        if not self.epochs and self.temperature != type(self).temperature:
            raise OptionError(
                "pq.temperature: applies to training; leave out this option or epochs=0"
            )
        if not self.temperature > 0:
            raise OptionError(f"pq.temperature: expected more than 0, got {self.temperature:g}")

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Sort, rotate, learn codewords, and train."""
        codecs = self._codecs(model)
        if self.epochs or self.popular:
            context.require_dataset("pq")
        from edgerec_pq.tuning import coded

        plain = {name: Table.encode(t.decode(), Fp32()) for name, t in model.tables.items()}
        model, weight = model.replace(tables=plain), popularity(model, context.dataset)
        wide = next(codec for codec in codecs.values() if isinstance(codec, PQ))
        if self.rotate and model.is_linear and wide.subspaces > 1:
            model = _turned(model, wide, weight)
        high = self._popular(model)
        return coded(model, codecs, weight, self, self.temperature, context, high)

    @classmethod
    def search_space(cls) -> Mapping[str, tuple[Any, ...]]:
        """Offer bytes per item, and fewer epochs than the default, which is enough to compare."""
        return {"bytes": (2, 3, 4, 6, 8, 12, 16, 24, 32), "epochs": (12,)}

    def outline(self, model: DeviceModel) -> DeviceModel:
        """Return tables with the same codecs and all zeros, in another order."""
        codecs, high, tables = self._codecs(model), self._popular(model), {}
        for name, table in model.tables.items():
            shape = len(model.items) - high, table.shape[1]
            layout = codecs[name].layout(*shape)
            empty = {key: np.zeros(shape, dtype) for key, (dtype, shape) in layout.items()}
            if "ends" in empty:
                blocks, runs = model.head.blocks, len(empty["ends"])
                empty["ends"][:] = (
                    block_ends(shape[0], blocks.height) if blocks else even_ends(shape[0], runs)
                )
            tables[name] = Table(codecs[name], shape, empty)
            if high:
                nothing = np.zeros((high, shape[1]), np.float32)
                first = Table.encode(nothing, codec_of(shape[1]))
                tables[name] = joined(first, tables[name])
        # Rows are put into another order, and so the file has the order of the ids.
        items = model.items
        items = items.take(np.arange(len(items))[::-1]) if items.order is None else items
        return model.replace(tables=tables, items=items)

    def _popular(self, model: DeviceModel) -> int:
        """The number of popular rows."""
        if self.popular is None:
            return 0
        if model.head.blocks is not None:
            raise CompressError(
                "pq.popular: puts the most popular items first, but they are in clusters; leave "
                "out this option or the step cluster"
            )
        return Mixed(share=self.popular).heights_of(len(model.items))[0]

    def _codecs(self, model: DeviceModel) -> dict[str, PQ | Runs]:
        """The codec of each table's other rows: the requested one, or the best within the bytes.

        Raises:
            CompressError: no codec fits, or the tables would not shrink.
        """
        if model.past is not None:
            raise CompressError(
                "pq: it orders the rows of one catalogue, but past items are others than "
                "candidates; use quantize"
            )
        widths = [t.shape[1] for t in model.tables.values() if t.shape[1] > 1]
        if not widths:
            raise CompressError("pq: the model has no table of two or more columns")
        n, before, high = len(model.items), model.table_bytes, self._popular(model)
        asked = self.subspaces is not None or self.stages is not None
        room = min(before - 1, before if asked else (self.bytes or 16) * n)
        shapes = {name: table.shape for name, table in model.tables.items()}
        first = sum(codec_of(d).nbytes(high, d) for _, d in shapes.values())
        blocks = model.head.blocks
        if blocks and blocks.height < FEWEST_ROWS:
            raise CompressError(
                f"pq: a run of lengths takes at least {FEWEST_ROWS} items, and the clusters have "
                f"{blocks.height}; use cluster:height={FEWEST_ROWS} or more"
            )
        runs = blocks.count(n) if blocks else runs_for(n - high)
        least = math.inf
        for shape in self._shapes(widths, max(0, room - first) / (n - high)):
            wide = dataclasses.replace(shape, runs=runs)
            codecs = {
                name: wide if table.shape[1] > 1 else Runs(runs)
                for name, table in model.tables.items()
            }
            try:
                after = first + sum(
                    codec.nbytes(n - high, shapes[name][1]) for name, codec in codecs.items()
                )
            except CodecError as error:
                raise CompressError(f"pq: {error}") from error
            if after <= room:
                return codecs
            least = min(least, after)
        raise CompressError(
            f"pq: needs at least {least / n:.1f} bytes per item, codebooks included, but only "
            f"{room / n:.1f} are allowed; allow more bytes, or use fewer subspaces"
        )

    def _shapes(self, widths: list[int], most: float) -> Iterator[PQ]:
        """Codecs of at most ``most`` bytes per row to choose from, best first."""
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
    """The number of 8-bit codes of plain product quantization with about the same error.

    This was fitted to trained item tables of 12,000 and 41,000 rows. Summing codewords is worth up
    to five codes more than putting them side by side, and int4 in later stages costs half a code.
    """
    share = 1 - 1 / codec.stages
    added, codes = share / math.sqrt(codec.subspaces), codec.subspaces * codec.stages
    found = codes + 5.5 * added if codec.bits == 8 else codes / 2 - 2.5 + 2.5 * added
    return found - (0.5 * share if codec.word_bits == 4 else 0)


def _turned(model: DeviceModel, codec: PQ, weight: Any) -> DeviceModel:
    """Return the model in the basis that suits the codebooks."""
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
