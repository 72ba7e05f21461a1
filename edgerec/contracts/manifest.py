"""The manifest of a bundle: everything that a bundle says about itself, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgerec.contracts.signature import SIGNATURES
from edgerec.errors import BundleError
from edgerec.files.fields import Fields
from edgerec.model.blocks import Blocks
from edgerec.model.context import read_context
from edgerec.model.history import read_event_weights
from edgerec.model.model_checks import MAX_EXPONENT, MAX_HISTORY

__all__ = ["Provider", "check_manifest", "read_inputs", "read_providers"]

#: Entries of the manifest that have one of two values; the first one by default.
_CHOICES: Mapping[str, tuple[Any, Any]] = {
    "repeats": ("merge", "keep"),
    "drop_seen": (True, False),
    "fallback": ("popular", "longest"),
}


#: The inputs that a model may declare, in the order of the call, and the most values of one.
_INPUTS, _MOST_VALUES = ("weights", "user_vector", "context"), 2**16


@dataclass(frozen=True)
class Provider:
    """The plugin that provided a target or a codec.

    Args:
        distribution: the name of the distribution that brings it.
        entry_point: the name of its entry point.
    """

    distribution: str
    entry_point: str

    def __str__(self) -> str:
        return f"the plugin {self.entry_point!r} of {self.distribution!r}; pip install it"


def check_manifest(manifest: Fields) -> None:
    """Check every entry.

    Raises:
        BundleError: one is missing, of another type, or out of range.
    """
    manifest.text("target")
    manifest.integer("history_length", 1, MAX_HISTORY)
    manifest.integer("top_k", 1, 2**31)
    for name in ("normalization", "recency"):
        manifest.number(name, -MAX_EXPONENT, MAX_EXPONENT)
    head = manifest.fields("head")
    table = manifest.fields("tables").fields(head.text("table"))
    Blocks.read_from(head.values.get("blocks"))
    table.text("codec")
    table.integer("bytes", 0, 2**63)
    metadata = manifest.fields("metadata")
    read_event_weights(metadata)
    for name, values in _CHOICES.items():
        given = manifest.values.get(name, values[0])
        if type(given) is not type(values[0]) or given not in values:
            shown = " or ".join(map(repr, values))
            raise BundleError(f"{name}: expected {shown}, got {given!r:.40}")
    manifest.fields("provenance")
    if "signature" in manifest:
        manifest.integer("signature", SIGNATURES[0], SIGNATURES[-1])
    read_context(metadata, read_inputs(manifest).get("context", 0))
    read_providers(manifest)


def read_inputs(manifest: Fields) -> dict[str, int]:
    """The length of each input that the model declares besides the history, by name, in order.

    Raises:
        BundleError: an input is unknown, out of order, or of an impossible length.
    """
    if "inputs" not in manifest:
        return {}
    inputs = manifest.fields("inputs")
    found = {name: inputs.integer(name, 1, _MOST_VALUES) for name in inputs}
    if list(found) != [name for name in _INPUTS if name in found]:
        raise BundleError(f"inputs: expected some of {', '.join(_INPUTS)}, got {list(found)!r:.80}")
    if found.get("weights", manifest.values["history_length"]) != manifest.values["history_length"]:
        raise BundleError("inputs.weights: expected one value per place of the history")
    return found


def read_providers(manifest: Fields) -> dict[tuple[str, str], Provider]:
    """The plugins that provided the target and the codecs, by kind (target, codec) and name.

    Raises:
        BundleError: an entry is malformed.
    """
    if "providers" not in manifest:
        return {}
    found = {}
    for kind in ("target", "codec"):
        entries = manifest.fields("providers").fields(kind)
        for name in entries:
            entry = entries.fields(name)
            names = entry.text("distribution"), entry.text("entry_point")
            if not all(re.fullmatch(r"[\w.-]+", one) for one in names):
                raise BundleError(f"providers.{kind}.{name}: expected plain names, got {names}")
            found[kind, name] = Provider(*names)
    return found
