"""Compressors for tests of the planner: they remember when and on what they were run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from edgerec.contracts.compressor import Compressor, Context
from edgerec.model.codecs import Codec, Fp16, Int4, Int8
from edgerec.model.device_model import DeviceModel

CODECS: Mapping[str, Codec] = {"fp16": Fp16(), "int8": Int8(), "int4": Int4()}


@dataclass(frozen=True)
class Narrow(Compressor):
    """Writes wide tables with a codec, and remembers when and on what it was run."""

    name: ClassVar[str] = "narrow"
    runs: ClassVar[list[tuple[str, Context]]] = []

    codec: str = "int8"

    @classmethod
    def search_space(cls) -> dict[str, tuple[Any, ...]]:
        """Options to try."""
        return {"codec": tuple(CODECS)}

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Do it, and note it."""
        self.runs.append((self.codec, context))
        return self.outline(model)

    def outline(self, model: DeviceModel) -> DeviceModel:
        """Tables as they will be."""
        wide = [name for name, table in model.tables.items() if table.shape[1] > 1]
        return model.with_codec(CODECS[self.codec], wide)


@dataclass(frozen=True)
class Slow(Narrow):
    """Narrows tables after a training that takes long."""

    name: ClassVar[str] = "slow"

    @property
    def trains(self) -> bool:
        """Always."""
        return True

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Wait, reporting progress before and after."""
        context.progress(1, 2, "slow")
        time.sleep(0.2)
        context.progress(2, 2, "slow")
        return super().compress(model, context)


@dataclass(frozen=True)
class Drop(Compressor):
    """Takes items out of the catalogue; it cannot tell a size ahead."""

    name: ClassVar[str] = "drop"
    runs: ClassVar[list[Context]] = []

    share: float = 0.2

    @classmethod
    def search_space(cls) -> dict[str, tuple[Any, ...]]:
        """Options to try."""
        return {"share": (0.2, 0.5)}

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Do it, and note it."""
        self.runs.append(context)
        return model.take(np.arange(round(len(model.items) * (1 - self.share))))


@dataclass(frozen=True)
class Broken(Compressor):
    """Has a bug, or no effect."""

    name: ClassVar[str] = "broken"

    silent: bool = field(default=False)

    @classmethod
    def search_space(cls) -> dict[str, tuple[Any, ...]]:
        """Options to try."""
        return {"silent": (True, False)}

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Do it, and note it."""
        if self.silent:
            return model
        raise ZeroDivisionError("a bug")
