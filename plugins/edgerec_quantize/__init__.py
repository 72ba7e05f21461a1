r"""quantize: encode item tables with fewer bits per number.

For int4, a model that adds up rows is rotated first, so that the rows are even (``turning.py``).
``range=scores`` chooses ranges and codes for the training users (``rounding.py``). With ``epochs``,
the numbers are trained while the model sees them rounded (quantization-aware training; Jacob et
al., CVPR 2018), for the ranking and to preserve the original ranking.
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
    FineTuningCompressor,
    Fp16,
    Int4,
    Int8,
    OptionError,
    Table,
    hookimpl,
)
from edgerec_quantize.grouped import Int4Group

#: The plugin API version that this plugin was written for.
edgerec_api = 2


@dataclass(frozen=True)
class Quantize(FineTuningCompressor):
    """Quantize per row or per group, after training or, with ``epochs``, with training.

    Tables with one number per item (LightGCN's scales) become fp16 with any codec, because a scale
    per number would cost more than the number.
    """

    name: ClassVar[str] = "quantize"

    codec: Literal["int8", "int4", "fp16"] = field(default="int8", metadata={"help": "the codec"})
    symmetric: bool | None = field(
        default=None,
        metadata={
            "help": "range [-max, max] instead of [min, max]; the default except for int4 per row"
        },
    )
    range: Literal["minmax", "mse", "scores"] | None = field(
        default=None,
        metadata={
            "help": "a row's whole range (minmax), the part with the least squared error (mse), or "
            "ranges and codes that preserve the scores of training histories (scores)"
        },
    )
    group: int | None = field(
        default=None,
        metadata={"help": "int4: how many numbers share a range; by default, a whole row"},
    )
    rotate: bool | None = field(
        default=None,
        metadata={
            "help": "rotate linear models to suit the codec, at no cost; the default for int4"
        },
    )
    learning_rate: float = field(
        default=0.001, kw_only=True, metadata={"help": "learning rate of fine-tuning"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.codec == "fp16":
            if self.symmetric is not None or self.range is not None:
                raise OptionError("quantize: fp16 has no range; leave out symmetric and range")
            if self.rotate:
                raise OptionError("quantize.rotate: fp16 gains nothing from it; leave it out")
            if self.epochs:
                raise OptionError(
                    "quantize.epochs: fp16 loses nothing that training could restore; leave it out"
                )
        if self.group is not None and (self.codec != "int4" or self.group < 2 or self.group % 2):
            raise OptionError(
                f"quantize.group: expected an even number, for int4; got {self.group} for "
                f"{self.codec}"
            )
        if self.range == "scores" and (self.group is not None or self.epochs):
            raise OptionError(
                "quantize.range: scores is for whole rows, and training chooses its own codes; "
                "leave out group and epochs, or use minmax or mse"
            )

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Encode every table that becomes smaller, and fine-tune for ``epochs``."""
        model = self._turned(model)
        rounded = self._rounded(model)
        if self.range == "scores":
            from edgerec_quantize.rounding import spare_scores

            return spare_scores(model, rounded, context)
        if not self.epochs:
            return rounded
        context.require_dataset("quantize")
        from edgerec.learn import EncodedTorchModel, fine_tune_result

        return fine_tune_result(self, EncodedTorchModel(rounded, start=model), context, model)

    @classmethod
    def search_space(cls) -> Mapping[str, tuple[Any, ...]]:
        """Offer integers, rounded plainly or for the scores; training is left to the user."""
        return {"codec": ("int8", "int4"), "range": (None, "scores")}

    def outline(self, model: DeviceModel) -> DeviceModel:
        """Round, which is quick enough to serve as the outline; training changes no size."""
        self._turns(model)
        return self._rounded(model)

    def _turns(self, model: DeviceModel) -> bool:
        """Whether to rotate a model.

        Raises:
            CompressError: it should be, and cannot be.
        """
        codec = self._codec()
        wide = [table.codec for table in model.tables.values() if table.shape[1] > 1]
        if self.rotate is False or (self.rotate is None and self.codec != "int4"):
            return False
        if not model.is_linear or any(given.leaves_zeros_out for given in wide):
            if self.rotate:
                raise CompressError(
                    "quantize.rotate: only models that add up dense rows can be rotated; "
                    "leave it out"
                )
            return False
        # Tables that have the codec already were rotated for it, or the step has no effect.
        return any(given != codec for given in wide)

    def _turned(self, model: DeviceModel) -> DeviceModel:
        """Return the model in a basis that suits the codec, if that changes no score."""
        if not self._turns(model):
            return model
        from edgerec_quantize.turning import turned

        return turned(model, self._codec())

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
    """Whether a table shrinks in a codec; one whose codec can hold the other shrinks as well."""
    if table.codec.holding(codec) != codec:
        return True
    return table.codec == codec or codec.nbytes(*table.shape) < table.nbytes


@hookimpl
def edgerec_compressors() -> list[type[Compressor]]:
    """Provide quantize."""
    return [Quantize]


@hookimpl
def edgerec_codecs() -> list[type[Codec]]:
    """Provide grouped int4."""
    return [Int4Group]
