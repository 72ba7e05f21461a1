r"""quantize: encode item tables with fewer bits per number, in any installed codec.

For int4, a model that adds up rows is rotated first, so that the rows are even (``turning.py``).
With ``popular``, the most popular items are int8, because they are in most histories and lists.
``range=scores`` chooses ranges and codes for the training users (``rounding.py``). With ``epochs``,
the numbers are trained while the model sees them rounded (quantization-aware training; Jacob et
al., CVPR 2018), for the ranking and to preserve the original ranking.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from edgerec.plugin import (
    Codec,
    CompressError,
    Compressor,
    Context,
    DeviceModel,
    FineTuningCompressor,
    Fp16,
    Fp32,
    Int4,
    Int8,
    Mixed,
    OptionError,
    Table,
    hookimpl,
    popularity,
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

    codec: Codec = field(
        default=Int8(),
        metadata={
            "help": "any installed codec, such as int8, int4, fp16, or one with options of its "
            "own: int4_group/group=8"
        },
    )
    symmetric: bool | None = field(
        default=None,
        metadata={
            "help": "int8, int4: range [-max, max] instead of [min, max]; the default except for "
            "int4 per row"
        },
    )
    range: Literal["minmax", "mse", "scores"] | None = field(
        default=None,
        metadata={
            "help": "int8, int4: a row's whole range (minmax), the part with the least squared "
            "error (mse), or ranges and codes that preserve the scores of training histories "
            "(scores)"
        },
    )
    group: int | None = field(
        default=None,
        metadata={"help": "int4: how many numbers share a range; by default, a whole row"},
    )
    popular: float | None = field(
        default=None,
        metadata={"help": "the share of items, the most popular ones, that are int8 instead"},
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
        if isinstance(self.codec, str):  # in Python, core's codecs can be given by name
            object.__setattr__(self, "codec", _of_core(self.codec))
        name, has_range = self.codec.name, isinstance(self.codec, Int8 | Int4)
        if isinstance(self.codec, Fp16 | Fp32):
            if self.symmetric is not None or self.range is not None:
                raise OptionError(f"quantize: {name} has no range; leave out symmetric and range")
            if self.rotate:
                raise OptionError(f"quantize.rotate: {name} gains nothing from it; leave it out")
            if self.epochs:
                raise OptionError(
                    f"quantize.epochs: {name} loses nothing that training could restore; leave it "
                    "out"
                )
        for option in ("symmetric", "range"):
            if getattr(self, option) is not None and not has_range:
                raise OptionError(
                    f"quantize.{option}: is for int8 and int4; an option of {name} itself is given "
                    f"as codec={name}/option=value"
                )
        if self.epochs and self.codec.learns:
            raise OptionError(
                f"quantize.epochs: {name} learns what it stores, which would start anew in each "
                "step; leave it out, or use a compressor that trains this codec"
            )
        is_int4 = isinstance(self.codec, Int4)
        if self.group is not None and (not is_int4 or self.group < 2 or self.group % 2):
            raise OptionError(
                f"quantize.group: expected an even number, for int4; got {self.group} for {name}"
            )
        if self.range == "scores" and (
            self.group is not None or self.epochs or self.popular is not None
        ):
            raise OptionError(
                "quantize.range: scores is for whole rows of one codec, and training chooses its "
                "own codes; leave out group, popular and epochs, or use minmax or mse"
            )
        if self.popular is not None and not 0 < self.popular < 1:
            raise OptionError(f"quantize.popular: expected between 0 and 1, got {self.popular:g}")

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Encode every table that becomes smaller, and fine-tune for ``epochs``."""
        if self.popular is not None:
            if model.head.blocks is not None:
                raise CompressError(
                    "quantize.popular: puts the most popular items first, but they are in "
                    "clusters; leave out this option or the step cluster"
                )
            weight = popularity(model, context.require_dataset("quantize"))
            model = model.take(np.argsort(-weight, kind="stable"))
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
        if self.rotate is False or (
            self.rotate is None and not isinstance(codec, Int4 | Int4Group)
        ):
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
        """Encode the tables that become smaller.

        Raises:
            CompressError: ``popular`` is set, and rows are not those of one catalogue.
        """
        codec = self._codec()
        if self.popular is not None:
            if model.past is not None:
                raise CompressError(
                    "quantize.popular: it orders the rows of one catalogue, but past items are "
                    "others than candidates; leave it out"
                )
            codec = Mixed(Int8(), codec, self.popular)
        wide = [name for name, table in model.tables.items() if table.shape[1] > 1]
        for chosen, names in (
            (codec, wide),
            (Fp16(), [name for name in model.tables if name not in wide]),
        ):
            tables = {name: model.tables[name] for name in names}
            model = model.with_codec(chosen, [n for n, t in tables.items() if _shrinks(t, chosen)])
        return model

    def _codec(self) -> Codec:
        given: dict[str, Any] = {"symmetric": self.symmetric}
        given["range"] = "minmax" if self.range == "scores" else self.range
        given = {name: value for name, value in given.items() if value is not None}
        if self.group is not None:
            return Int4Group(self.group, **given)
        return dataclasses.replace(self.codec, **given)  # type: ignore[type-var]  # every codec is a dataclass


def _of_core(name: str) -> Codec:
    known = {kind.name: kind for kind in (Fp32, Fp16, Int8, Int4, Mixed)}
    if name not in known:
        raise OptionError(f"quantize.codec: expected a codec or one of {', '.join(known)}")
    return known[name]()


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
