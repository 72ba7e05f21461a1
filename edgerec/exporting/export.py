"""Export: lower a model for a target, write the bundle, and prove it before it is put in place."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.bundle_writer import bundle_content, popular_rows, write_bundle
from edgerec.contracts.device import Device
from edgerec.contracts.host import Host
from edgerec.contracts.signature import Signature
from edgerec.contracts.target import Payload, Target
from edgerec.device.vectors import empty_vectors
from edgerec.errors import OptionError, RuntimeMissingError, TargetError
from edgerec.exporting.proof import InexactError, Proof
from edgerec.exporting.vectors import make_vectors
from edgerec.exporting.worker import LoadError
from edgerec.files.container_writer import container_size
from edgerec.files.staging import staging
from edgerec.model.attribution import attribute_errors
from edgerec.model.device_model import DeviceModel

__all__ = ["check_takes", "export", "foreseen_bytes", "reasons_against", "signature_of"]


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
    for runtime in runtimes or ():
        chosen.choose_runtime(runtime, f"installed: {', '.join(chosen.runtimes())}")
    signature = signature_of(model, chosen, top_k)
    proof = Proof(model, signature)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with staging(path.parent, ".export-") as drafts:
        draft = drafts.folder / path.name
        try:
            _write(draft, model, chosen, signature, provenance or {}, host)
            _prove(draft, proof, chosen, runtimes)
        except InexactError:
            if (exact := chosen.exact()) is None:
                raise
            _write(draft, model, exact, signature, provenance or {}, host)
            _prove(draft, proof, exact, runtimes)
            warnings.warn(
                f"target {chosen.name}: rounding the user vector misplaces items of this table, so "
                "it is scanned in float, which takes longer",
                RuntimeWarning,
                stacklevel=2,
            )
        drafts.move({draft: path})
    return Bundle.open(path, verify=False, codecs=proof.codecs)


def foreseen_bytes(
    model: DeviceModel,
    target: Target,
    top_k: int,
    provenance: Mapping[str, Any],
    host: Host | None = None,
) -> int:
    """The size of the bundle that ``export`` would write, without writing or proving it.

    The numbers in the tables do not matter, so an outline will do.

    Raises:
        TargetError: the target failed.
    """
    signature = signature_of(model, target, top_k)
    payload = _payload(model, target, signature)
    content = bundle_content(
        model, target.name, signature, payload, provenance, host, {**empty_vectors()}
    )
    return container_size("bundle", *content)


def signature_of(model: DeviceModel, target: Target, top_k: int) -> Signature:
    """The shape of the call of an artefact that a target writes for a model.

    Raises:
        OptionError: the blocks of candidates that are read may have fewer rows than it returns.
    """
    inputs, n = model.inputs if target.signature > 1 else {}, len(model.items)
    signature = Signature(n, model.history_length, top_k, target.signature, inputs)
    blocks = model.head.blocks
    if blocks is not None and (least := blocks.least_rows(n)) < signature.returned:
        share = math.ceil(1000 * blocks.enough_for(signature.returned, n) / blocks.count(n)) / 1000
        advice = [f"read more of them, from cluster:read={share:g}"] if share < 1 else []
        if least > model.history_length:
            advice.append(f"ask for at most {least - model.history_length}")
        raise OptionError(
            f"top_k: a list of {top_k} after {model.history_length} past items takes "
            f"{signature.returned:,} rows, but the {blocks.read:,} blocks that are read may have "
            f"only {least:,}; {', '.join([*advice, 'or leave out the step cluster'])}"
        )
    return signature


def _write(
    draft: Path,
    model: DeviceModel,
    target: Target,
    signature: Signature,
    provenance: Mapping[str, Any],
    host: Host | None,
) -> None:
    """Lower a model and write the bundle.

    Raises:
        TargetError: the target failed, or returned something that is not a payload.
    """
    payload = _payload(model, target, signature)
    vectors = make_vectors(model, popular_rows(model), signature)
    write_bundle(draft, model, target.name, signature, payload, provenance, host, vectors)


def _payload(model: DeviceModel, target: Target, signature: Signature) -> Payload:
    with attribute_errors(f"target {target.name}", TargetError):
        payload: Any = target.lower(model, signature)
    _check_payload(payload, target.name)
    checked: Payload = payload
    return checked


def _prove(draft: Path, proof: Proof, target: Target, runtimes: Sequence[str] | None) -> None:
    """Prove a bundle in the given runtimes, or in all installed ones.

    Raises:
        InexactError: the artefact computes something else.
        TargetError: it cannot be loaded, or returns something that is not a list.
    """
    failed, names = [], list(runtimes or target.runtimes())
    for runtime in names:
        who = f"target {target.name} on {runtime}"
        try:
            with attribute_errors(who, TargetError):
                proof.check(Bundle.open(draft, codecs=proof.codecs), target, runtime)
        except LoadError as error:
            if runtimes:
                raise TargetError(f"{who}: {error}") from error
            failed.append(f"{who}: {error}")
        except TargetError as error:
            kind = InexactError if isinstance(error, InexactError) else TargetError
            text = str(error)
            raise kind(text if text.startswith("target ") else f"{who}: {text}") from error
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
