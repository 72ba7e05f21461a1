r"""quantize: write item tables with fewer bits a number.

For int4, a model that adds up rows is turned first, so that they are even (``turning``).
``range=scores`` chooses ranges and codes for the users that there are (``rounding``). With
``epochs`` the numbers are trained while the model sees them rounded (quantization-aware
training; Jacob et al., CVPR 2018), for the ranking and for the order that the model gave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from edgerec.plugin import (
    Codec,
    CompressError,
    Compressor,
    Context,
    DeviceModel,
    Fp16,
    Int4,
    Int8,
    OptionError,
    Table,
    TunedCompressor,
    hookimpl,
)
from edgerec_quantize.grouped import Int4Group


@dataclass(frozen=True)
class Quantize(TunedCompressor):
    """Quantization row by row or by group, after training or, with ``epochs``, aware of it.

    Tables of one number an item (LightGCN's scales) become fp16 whatever the codec: a
    scale of its own would cost more than the number.
    """

    name: ClassVar[str] = "quantize"

    codec: Literal["int8", "int4", "fp16"] = field(
        default="int8", metadata={"help": "bits a number"}
    )
    symmetric: bool | None = field(
        default=None,
        metadata={
            "help": "range [-max, max], or [min, max]; the first by default, but for int4 by row"
        },
    )
    range: Literal["minmax", "mse", "scores"] | None = field(
        default=None,
        metadata={
            "help": "a row's whole range (minmax), the part of least squared error (mse), or "
            "ranges and codes that spare the scores of training histories (scores)"
        },
    )
    group: int | None = field(
        default=None, metadata={"help": "int4: numbers that share a range; a whole row by default"}
    )
    rotate: bool | None = field(
        default=None,
        metadata={"help": "turn linear models to suit the codec, at no cost; int4 does by default"},
    )
    learning_rate: float = field(default=0.001, kw_only=True, metadata={"help": "of that training"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.codec == "fp16":
            if self.symmetric is not None or self.range is not None:
                raise OptionError("quantize: fp16 has no range; leave symmetric and range out")
            if self.rotate:
                raise OptionError("quantize.rotate: fp16 suits rows as they are; leave it out")
            if self.epochs:
                raise OptionError("quantize.epochs: fp16 loses nothing to be trained for; leave it")
        if self.group is not None and (self.codec != "int4" or self.group < 2 or self.group % 2):
            raise OptionError(
                f"quantize.group: expected an even number, for int4; got {self.group} for "
                f"{self.codec}"
            )
        if self.range == "scores" and (self.group is not None or self.epochs):
            raise OptionError(
                "quantize.range: scores is for whole rows, and training chooses codes by itself; "
                "leave group and epochs out, or use minmax or mse"
            )

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Encode every table that is larger otherwise; train it so if asked to."""
        model = self._turned(model)
        rounded = self._rounded(model)
        if self.range == "scores":
            from edgerec_quantize.rounding import spare_scores

            return spare_scores(model, rounded, context)
        if not self.epochs:
            return rounded
        context.require_dataset("quantize")
        from edgerec.learn import CodecTwin, tune

        return tune(self, CodecTwin(rounded, start=model), context, model)

    @classmethod
    def search_space(cls) -> Mapping[str, tuple[Any, ...]]:
        """Integers, rounded as they come or to spare the scores; training is up to a person."""
        return {"codec": ("int8", "int4"), "range": (None, "scores")}

    def outline(self, model: DeviceModel) -> DeviceModel:
        """Rounding is quick enough to be its own outline; training changes no size."""
        return self._rounded(model)

    def _turned(self, model: DeviceModel) -> DeviceModel:
        """The model in a basis that suits the codec, where that changes no score."""
        codec = self._codec()
        wide = [table.codec for table in model.tables.values() if table.shape[1] > 1]
        if self.rotate is False or (self.rotate is None and self.codec != "int4"):
            return model
        if not model.is_linear or any(given.leaves_zeros_out for given in wide):
            if self.rotate:
                raise CompressError(
                    "quantize.rotate: only models that add up dense rows can be turned; leave it"
                )
            return model
        # What has the codec already was turned for it, or is about to have no effect.
        if all(given == codec for given in wide):
            return model
        from edgerec_quantize.turning import turned

        return turned(model, codec)

    def _rounded(self, model: DeviceModel) -> DeviceModel:
        wide = [name for name, table in model.tables.items() if table.shape[1] > 1]
        for codec, names in (
            (self._codec(), wide),
            (Fp16(), [name for name in model.tables if name not in wide]),
        ):
            tables = {name: model.tables[name] for name in names}
            model = model.with_codec(codec, [n for n, t in tables.items() if _shrinks(t, codec)])
        return model

    def _codec(self) -> Codec:
        part: Literal["minmax", "mse"] = "mse" if self.range == "mse" else "minmax"
        if self.codec == "fp16":
            return Fp16()
        if self.codec == "int8":
            return Int8(self.symmetric is not False, part)
        if self.group is not None:
            return Int4Group(self.group, self.symmetric is not False, part)
        return Int4(self.symmetric is True, part)


def _shrinks(table: Table, codec: Codec) -> bool:
    """Whether a table takes less in a codec; one that holds it inside its own is smaller yet."""
    if table.codec.holding(codec) != codec:
        return True
    return table.codec == codec or codec.nbytes(*table.shape) < table.nbytes


@hookimpl
def edgerec_compressors() -> list[type[Compressor]]:
    """Provide quantize."""
    return [Quantize]


@hookimpl
def edgerec_codecs() -> list[type[Codec]]:
    """Provide int4 by group."""
    return [Int4Group]
