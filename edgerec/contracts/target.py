"""Target: lowers a DeviceModel to the files of one runtime."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

from numpy.typing import NDArray

from edgerec.contracts.runner import Runner
from edgerec.contracts.signature import Signature
from edgerec.model.device_model import DeviceModel
from edgerec.model.structure import Affine, Dense, Lookup, RunLines, leaves
from edgerec.model.table import Table

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

    #: Whether it lowers candidates in blocks, of which only some are read.
    blocks: ClassVar[bool] = False

    def refuse(self, model: DeviceModel) -> list[str]:
        """Return the reasons why this target cannot take the model; an empty list if it can.

        A target with reasons of its own adds them to these.
        """
        reasons = [
            f"table {name!r}: {reason}"
            for name, table in model.tables.items()
            if (reason := self._reason_against(table))
        ]
        reasons += [
            f"encoder: {self.name} has no {kind}; it has {', '.join(self.ops)}"
            for kind in sorted({op.kind for op in model.encoder})
            if self.ops is not None and kind not in self.ops
        ]
        if model.head.blocks is not None and not self.blocks:
            reasons.append(
                f"{self.name} scores every row, but this model reads only some blocks of them; "
                "leave out the step cluster, or choose another target"
            )
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

    def is_native(self, table: Table) -> bool:
        """Whether it scans a table as it is stored, and not in the generic form.

        The generic form decodes rows block by block and multiplies them in float. By default,
        floats, integers of 8 or 4 bits with a scale per row, codewords and lines are native.
        """
        match table.codec.structure(table.arrays):
            case Affine(bits=bits, groups=groups):
                return bits > 1 and groups == 1
            case Dense() | Lookup() | RunLines():
                return True
        return False

    def _reason_against(self, table: Table) -> str:
        """Why it cannot read a table; empty if it can."""
        codec = table.codec
        if self.codecs is None or codec.name in self.codecs:
            return ""
        structure = codec.structure(table.arrays)
        if structure is None:
            return (
                f"codec {codec.name!r} declares no structure, and {self.name} runs codecs other "
                f"than {', '.join(self.codecs)} by their structure"
            )
        unknown = {type(part).__name__ for part in leaves(structure)} - {
            kind.__name__ for kind in self.structures
        }
        if not unknown:
            return ""
        known = ", ".join(kind.__name__ for kind in self.structures) or "none"
        return (
            f"codec {codec.name!r} has the structure {', '.join(sorted(unknown))}, which "
            f"{self.name} does not lower; it lowers {known}"
        )

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
