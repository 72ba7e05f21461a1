"""Target: lowers a DeviceModel to the files of one runtime."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

from numpy.typing import NDArray

from edgerec.contracts.runner import Runner
from edgerec.contracts.signature import Signature
from edgerec.model.device_model import DeviceModel

__all__ = ["Payload", "Target"]

#: What a target writes: named files or arrays, stored as sections of the bundle.
Payload = Mapping[str, bytes | NDArray[Any]]


class Target(Runner):
    """An export target. Subclasses are frozen dataclasses; their fields are options.

    A target's package keeps heavy imports inside ``lower`` (workstation) and ``load`` (device),
    so that listing plugins stays fast and a device needs only its runtime.
    """

    #: Names of the codecs that it reads as they are stored; none means any.
    codecs: ClassVar[tuple[str, ...] | None] = None

    #: Structures that it lowers, of any codec that declares one of them.
    structures: ClassVar[tuple[type, ...]] = ()

    #: Kinds of the ops that it lowers; none means any.
    ops: ClassVar[tuple[str, ...] | None] = None

    def refuse(self, model: DeviceModel) -> list[str]:
        """Return the reasons why this target cannot take the model; an empty list if it can.

        A target with reasons of its own adds them to these.
        """
        codecs = self.codecs
        reasons = [
            f"table {name!r}: {self.name} reads {', '.join(codecs)}"
            f"{self._known_structures()}, not codec {table.codec.name!r}"
            for name, table in model.tables.items()
            if codecs is not None
            and table.codec.name not in codecs
            and not isinstance(table.codec.structure(table.arrays), self.structures)
        ]
        reasons += [
            f"encoder: {self.name} has no {kind}; it has {', '.join(self.ops)}"
            for kind in sorted({op.kind for op in model.encoder})
            if self.ops is not None and kind not in self.ops
        ]
        if self.signature == 1:
            reasons += [
                f"the model reads {name}, which is not an input of the artefacts of {self.name}"
                for name in model.inputs
                if name != "weights"
            ]
            if model.past is not None:
                reasons.append(
                    "past items are others than candidates, which signature 1 cannot express"
                )
        return reasons

    def _known_structures(self) -> str:
        others, _, last = ", ".join(kind.__name__ for kind in self.structures).rpartition(", ")
        names = f"{others} or {last}" if others else last
        return f" and codecs that declare the structure {names}" if names else ""

    def exact(self) -> Target | None:
        """A variant of this target that scans in float, if this one scans in integers.

        ``export`` uses it for a table on which rounding the user vector misplaces items, such as
        one with a column that dwarfs all others. By default there is none.
        """
        return None

    @abc.abstractmethod
    def lower(self, model: DeviceModel, signature: Signature) -> Payload:
        """Write the model for this target's runtime.

        Raises:
            TargetError: the export failed; the message says why.
        """
