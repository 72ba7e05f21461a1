"""Targets: a DeviceModel goes in, the files of one runtime come out, in a Bundle."""

from __future__ import annotations

import abc
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgerec.blame import blame
from edgerec.codecs import F32
from edgerec.device_model import DeviceModel
from edgerec.errors import OptionError, RuntimeMissingError, TargetError

if TYPE_CHECKING:
    from edgerec.bundle import Bundle
    from edgerec.device import Device

__all__ = [
    "Payload",
    "Runner",
    "Signature",
    "Target",
    "check_takes",
    "export",
    "reasons_against",
]

#: What a target writes: named files or arrays, kept as sections of the bundle.
Payload = Mapping[str, bytes | NDArray[Any]]

#: A loaded artefact: (history int32[H], weights float32[H]) -> (rows int32[R], scores
#: float32[R]), highest score first. R is Signature.returned; a runner that leaves the padding
#: out may return fewer, Signature.returned_for as many past items as there are.
Runner = Callable[[NDArray[np.int32], F32], tuple[NDArray[np.int32], F32]]


@dataclass(frozen=True)
class Signature:
    """The shape of an artefact's call, the same for every target.

    in: ``history`` int32[H] (rows, most recent last, padded with -1) and ``weights``
    float32[H] (0 for padding); out: ``ids`` int32[R] and ``scores`` float32[R].

    R = min(n, K + H): at most H items were seen, so dropping the seen ones leaves the
    exact best K without a mask in the graph.

    Args:
        items: n, rows of the candidate table.
        history_length: H.
        top_k: K, the most recommendations that can be asked for.
    """

    items: int
    history_length: int
    top_k: int

    @property
    def returned(self) -> int:
        """R, how many candidates the artefact returns."""
        return self.returned_for(self.history_length)

    def returned_for(self, past: int) -> int:
        """How many are enough for so many past items."""
        return min(self.items, self.top_k + past)

    @property
    def proposed(self) -> int:
        """How many candidates an inexact scan proposes to the float re-scoring.

        Integer kernels round the user vector; a margin over R makes up for the order
        that this upsets around the cut.
        """
        return min(self.items, self.returned + max(64, self.returned // 4))


class Target(abc.ABC):
    """An export target. Subclasses are frozen dataclasses; their fields are options.

    A target's package keeps heavy imports inside ``lower`` (workstation) and ``load``
    (device), so that listing plugins stays fast and a device needs only its runtime.
    """

    #: What a user calls the target, unique among installed ones.
    name: ClassVar[str]

    #: Names of the codecs that it reads as they are stored; none for any.
    codecs: ClassVar[tuple[str, ...] | None] = None

    def refuse(self, model: DeviceModel, device: Device | None) -> list[str]:
        """Reasons why this target cannot take the model; none if it can.

        A target that has reasons of its own adds them to these.
        """
        codecs = self.codecs
        reasons = [
            f"table {name!r}: {self.name} reads {', '.join(codecs)}, not codec {table.codec.name!r}"
            for name, table in model.tables.items()
            if codecs is not None and table.codec.name not in codecs
        ]
        if model.needs_user_vector:
            reasons.append("the encoder reads user_vector, which a call does not give")
        return reasons

    @abc.abstractmethod
    def lower(self, model: DeviceModel, signature: Signature) -> Payload:
        """Write the model for this target's runtime.

        Raises:
            TargetError: the export failed; the message says why.
        """

    @abc.abstractmethod
    def runtimes(self) -> list[str]:
        """Names of the installed runtimes that can run this target, best first."""

    def choose_runtime(self, runtime: str | None, hint: str) -> str:
        """Return the runtime to load in: the one asked for, or the best that is installed.

        Args:
            runtime: a name of ``runtimes()``, or none.
            hint: what to do where there is none: ``pip install onnxruntime``.

        Raises:
            RuntimeMissingError: it is not installed, or none is.
        """
        installed = self.runtimes()
        if not installed or runtime not in (None, *installed):
            here = f", only {', '.join(installed)}" if installed else ""
            asked = f"runtime {runtime!r}" if runtime else "runtime"
            raise RuntimeMissingError(f"{self.name}: no {asked} here{here}; {hint}")
        return runtime or installed[0]

    @abc.abstractmethod
    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Runner:
        """Open a bundle of this target in a runtime, the best one by default.

        Raises:
            RuntimeMissingError: the runtime is not installed.
        """

    def operators(self, bundle: Bundle) -> str:
        """The operators that a bundle of this target runs, as a reduced build takes them.

        Raises:
            TargetError: the target has no such list.
        """
        raise TargetError(f"target {self.name}: it has no list of operators to build for")


def reasons_against(target: Target, model: DeviceModel, device: Device | None) -> list[str]:
    """Why a target can't be exported to here.

    The device has no such runtime, the target has reasons, or there is no runtime to prove it in.
    """
    if device is not None and device.targets and target.name not in device.targets:
        return [f"device {device.name} has no such runtime, only {', '.join(device.targets)}"]
    try:
        with blame("it failed", TargetError):
            reasons = target.refuse(model, device)
            return reasons or ([] if target.runtimes() else [_no_runtime(target)])
    except TargetError as error:
        return [str(error)]


def _check_payload(payload: object, target: str) -> None:
    """See that what ``lower`` returned is a Payload.

    Raises:
        TargetError: it is not.
    """
    if not isinstance(payload, Mapping):
        raise TargetError(
            f"target {target}: lower returned {type(payload).__name__}, not a Payload: parts by "
            "their names"
        )
    for part, content in payload.items():
        if not isinstance(content, bytes | np.ndarray):
            raise TargetError(
                f"target {target}: lower returned {type(content).__name__} for {part!r}, not bytes "
                "or an array"
            )


def check_takes(target: Target, model: DeviceModel, device: Device | None) -> None:
    """See that a target can be exported to here.

    Raises:
        RuntimeMissingError: none of its runtimes is installed.
        TargetError: it cannot; the message gives its reasons.
    """
    if not (reasons := reasons_against(target, model, device)):
        return
    if reasons == [_no_runtime(target)]:
        raise RuntimeMissingError(f"{target.name}: {reasons[0]}")
    raise TargetError(f"target {target.name} cannot take this model: {'; '.join(reasons)}")


def _no_runtime(target: Target) -> str:
    return (
        "none of its runtimes is installed, so what it writes could not be proven; "
        f"pip install 'edgerec[{target.name}]'"
    )


def export(
    model: DeviceModel,
    target: str | Target,
    path: str | Path,
    *,
    top_k: int = 50,
    device: Device | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Bundle:
    """Lower a model for a target, write the bundle, and prove it in its real runtime.

    The artefact is loaded and run on sample histories and compared with the numpy oracle
    before the file takes its place at ``path``, so a bundle that exists is one that works.

    Raises:
        UnknownNameError: no such target.
        RuntimeMissingError: no runtime of the target is installed to prove the artefact.
        TargetError: the target refuses the model, the export failed, or what was written
            does not compute what the model does.
    """
    from edgerec.bundle import Bundle, write_bundle
    from edgerec.host import host
    from edgerec.parity import check_parity

    chosen = host().target(target) if isinstance(target, str) else target
    if top_k < 1:
        raise OptionError(f"top_k: expected at least 1, got {top_k}")
    check_takes(chosen, model, device)
    signature = Signature(len(model.items), model.history_length, top_k)
    with blame(f"target {chosen.name}", TargetError):
        payload: Any = chosen.lower(model, signature)
    _check_payload(payload, chosen.name)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        write_bundle(draft, model, chosen.name, signature, payload, provenance or {})
        del payload  # a second copy of the tables, while runtimes make their own
        for runtime in chosen.runtimes():
            with blame(f"target {chosen.name} on {runtime}", TargetError):
                check_parity(Bundle.open(draft), chosen, model, runtime)
        draft.replace(path)
    return Bundle.open(path, verify=False)
