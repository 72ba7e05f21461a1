"""Export: lower a model for a target, write the bundle, and prove it before it is put in place."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.contracts.bundle import Bundle, write_bundle
from edgerec.contracts.device import Device
from edgerec.contracts.host import Host
from edgerec.contracts.signature import Signature
from edgerec.contracts.target import Target
from edgerec.errors import OptionError, RuntimeMissingError, TargetError
from edgerec.exporting.proof import Proof
from edgerec.exporting.worker import LoadError
from edgerec.files.staging import staging
from edgerec.model.attribution import attribute_errors
from edgerec.model.codecs import Codec
from edgerec.model.device_model import DeviceModel

__all__ = ["check_takes", "export", "reasons_against"]


def export(
    model: DeviceModel,
    target: str | Target,
    path: str | Path,
    *,
    top_k: int = 50,
    device: Device | None = None,
    provenance: Mapping[str, Any] | None = None,
    runtimes: Sequence[str] | None = None,
    host: Host | None = None,
) -> Bundle:
    """Lower a model for a target, write the bundle, and prove it in its real runtimes.

    The artefact is loaded, run on sample histories and compared with the oracle before the file is
    moved to ``path``, so every bundle that exists has been proven to work.

    Args:
        model: the model.
        target: a target, or the name of an installed one.
        path: the file to write.
        top_k: K, the maximum number of recommendations that can be requested.
        device: the device whose runtimes must include the target; None allows any target.
        provenance: JSON values for the manifest that describe how the model was made.
        runtimes: the runtimes to prove the artefact in; by default all that are installed. A
            runtime that cannot load the artefact only causes a warning, unless it is named here or
            no other runtime can load it.
        host: the plugins to choose from; the installed ones by default.

    Raises:
        UnknownNameError: no plugin provides the target.
        RuntimeMissingError: no runtime of the target is installed to prove the artefact in.
        TargetError: the target refuses the model, the export failed, or the artefact does not
            compute what the model computes.
    """
    chosen = target
    if isinstance(chosen, str):
        chosen = (host or Host.installed()).target(chosen)
    if top_k < 1:
        raise OptionError(f"top_k: expected at least 1, got {top_k}")
    check_takes(chosen, model, device)
    signature = Signature(len(model.items), model.history_length, top_k)
    with attribute_errors(f"target {chosen.name}", TargetError):
        payload: Any = chosen.lower(model, signature)
    _check_payload(payload, chosen.name)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    codecs = {table.codec.name: type(table.codec) for table in model.tables.values()}
    with staging(path.parent, ".export-") as drafts:
        draft = drafts.folder / path.name
        write_bundle(draft, model, chosen.name, signature, payload, provenance or {})
        del payload  # frees a copy of the tables before runtimes make their own
        _prove(draft, codecs, model, signature, chosen, runtimes)
        drafts.move({draft: path})
    return Bundle.open(path, verify=False, codecs=codecs)


def _prove(
    draft: Path,
    codecs: Mapping[str, type[Codec]],
    model: DeviceModel,
    signature: Signature,
    target: Target,
    runtimes: Sequence[str] | None,
) -> None:
    """Prove a bundle in the given runtimes, or in all installed ones.

    Raises:
        RuntimeMissingError: a runtime that was named is not installed.
        TargetError: the artefact computes something else, or cannot be loaded.
    """
    installed = target.runtimes()
    for runtime in runtimes or ():
        target.choose_runtime(runtime, f"installed: {', '.join(installed)}")
    proof, failed = Proof(model, signature), []
    names = list(runtimes or installed)
    for runtime in names:
        who = f"target {target.name} on {runtime}"
        try:
            with attribute_errors(who, TargetError):
                proof.check(Bundle.open(draft, codecs=codecs), target, runtime)
        except LoadError as error:
            if runtimes:
                raise TargetError(f"{who}: {error}") from error
            failed.append(f"{who}: {error}")
        except TargetError as error:
            text = str(error)
            raise TargetError(text if text.startswith("target ") else f"{who}: {text}") from error
    if len(failed) == len(names):
        raise TargetError("; ".join(failed))
    for reason in failed:
        warnings.warn(f"not proven in this runtime: {reason}", RuntimeWarning, stacklevel=3)


def reasons_against(target: Target, model: DeviceModel, device: Device | None) -> list[str]:
    """The reasons why a model cannot be exported to a target here; an empty list if it can.

    The device may lack the runtime, the target may refuse the model, or no runtime may be
    installed to prove the artefact in.
    """
    refusals = _refusals(target, model, device)
    return refusals or ([] if target.runtimes() else [_no_runtime(target)])


def check_takes(target: Target, model: DeviceModel, device: Device | None) -> None:
    """Check that a model can be exported to a target here.

    Raises:
        RuntimeMissingError: none of the target's runtimes is installed.
        TargetError: the target or the device cannot take the model; the message gives reasons.
    """
    if refusals := _refusals(target, model, device):
        raise TargetError(f"target {target.name} cannot take this model: {'; '.join(refusals)}")
    if not target.runtimes():
        raise RuntimeMissingError(f"{target.name}: {_no_runtime(target)}")


def _refusals(target: Target, model: DeviceModel, device: Device | None) -> list[str]:
    """The reasons of the device or of the target itself for not taking a model."""
    if device is not None and device.targets and target.name not in device.targets:
        return [f"device {device.name} runs only {', '.join(device.targets)}"]
    try:
        with attribute_errors("it failed", TargetError):
            return target.refuse(model)
    except TargetError as error:
        return [str(error)]


def _no_runtime(target: Target) -> str:
    return (
        "none of its runtimes is installed, so the artefact could not be proven; "
        f"pip install 'edgerec[{target.name}]'"
    )


def _check_payload(payload: object, target: str) -> None:
    """Check that ``lower`` returned a Payload.

    Raises:
        TargetError: it returned something else.
    """
    if not isinstance(payload, Mapping):
        raise TargetError(
            f"target {target}: lower: expected a Payload, which maps names to parts, got "
            f"{type(payload).__name__}"
        )
    for part, content in payload.items():
        if not isinstance(content, bytes | np.ndarray):
            raise TargetError(
                f"target {target}: lower: expected bytes or an array for {part!r}, got "
                f"{type(content).__name__}"
            )
