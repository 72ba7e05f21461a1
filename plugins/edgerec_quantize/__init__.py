"""quantize: write item tables with fewer bits a number."""

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
    hookimpl,
)


@dataclass(frozen=True)
class Quantize(Compressor):
    """Post-training quantization, row by row.

    Tables of one number an item (LightGCN's scales) become fp16 whatever the codec: a
    scale of its own would cost more than the number.
    """

    name: ClassVar[str] = "quantize"

    codec: Literal["int8", "int4", "fp16"] = field(
        default="int8", metadata={"help": "bits a number"}
    )
    symmetric: bool | None = field(
        default=None,
        metadata={"help": "range [-max, max], or [min, max]; by default int8 is, int4 is not"},
    )

    range: Literal["minmax", "mse"] | None = field(
        default=None,
        metadata={"help": "a row's whole range (minmax), or the part of least squared error"},
    )

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Encode every table that is wider than the codec."""
        wide = [name for name, table in model.tables.items() if table.shape[1] > 1]
        narrow = [name for name in model.tables if name not in wide]
        return model.with_codec(self._codec(), wide).with_codec(Fp16(), narrow)

    @classmethod
    def search_space(cls) -> Mapping[str, tuple[Any, ...]]:
        """Every codec."""
        return {"codec": ("fp16", "int8", "int4")}

    def outline(self, model: DeviceModel) -> DeviceModel:
        """Quantizing is quick enough to be its own outline."""
        return self.compress(model, Context())

    def _codec(self) -> Codec:
        if self.codec == "fp16":
            if self.symmetric is not None or self.range is not None:
                raise CompressError("quantize: fp16 has no range; leave symmetric and range out")
            return Fp16()
        if self.codec == "int8":
            return Int8(self.symmetric is not False, self.range or "minmax")
        return Int4(self.symmetric is True, self.range or "minmax")


@hookimpl
def edgerec_compressors() -> list[type[Compressor]]:
    """Provide quantize."""
    return [Quantize]
