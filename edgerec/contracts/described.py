"""Described: what a bundle says about itself in its manifest."""

from __future__ import annotations

import abc
import functools
from collections.abc import Mapping
from typing import Any

from edgerec.contracts.manifest import Provider, read_inputs, read_providers
from edgerec.files.fields import Fields
from edgerec.model.context import Context, read_context
from edgerec.model.history import read_event_weights

__all__ = ["Described"]


class Described(abc.ABC):
    """Reads the entries of a manifest, which were checked when the bundle was opened."""

    @property
    @abc.abstractmethod
    def manifest(self) -> dict[str, Any]:
        """Everything that the bundle says about itself."""

    @property
    def target(self) -> str:
        """Name of the target that can run the payload."""
        return str(self.manifest["target"])

    @property
    def codec(self) -> str:
        """Name of the candidate table's codec."""
        name: str = self._candidates["codec"]
        return name

    @property
    def table_bytes(self) -> int:
        """Bytes of the candidate table."""
        size: int = self._candidates["bytes"]
        return size

    @property
    def _candidates(self) -> Mapping[str, Any]:
        """The manifest's entry for the candidate table."""
        table: Mapping[str, Any] = self.manifest["tables"][self.manifest["head"]["table"]]
        return table

    @property
    def normalization(self) -> float:
        """P of ``history_weights``: each of n past items weighs n^-p."""
        return float(self.manifest["normalization"])

    @property
    def recency(self) -> float:
        """R of ``history_weights``: the j-th most recent past item weighs j^-r times that."""
        return float(self.manifest["recency"])

    @property
    def merges(self) -> bool:
        """Whether an item that occurs several times in a history counts once."""
        return bool(self.manifest.get("repeats", "merge") == "merge")

    @property
    def drops_seen(self) -> bool:
        """Whether items of the history are left out of recommendations."""
        return bool(self.manifest.get("drop_seen", True))

    @property
    def fallback(self) -> str:
        """What is recommended for an empty history: ``popular`` items, or the ``longest`` rows."""
        return str(self.manifest.get("fallback", "popular"))

    @functools.cached_property
    def event_weights(self) -> Mapping[str, float]:
        """How much a past item of each kind of event counts, if the model was trained on these."""
        return read_event_weights(Fields(self.manifest["metadata"]))

    @functools.cached_property
    def context(self) -> Context | None:
        """What the input ``context`` consists of; none if the model has no names for it."""
        return read_context(
            Fields(self.manifest["metadata"], "metadata"),
            read_inputs(Fields(self.manifest)).get("context", 0),
        )

    @functools.cached_property
    def providers(self) -> Mapping[tuple[str, str], Provider]:
        """The plugins that provided its target and codecs, by kind (target, codec) and name."""
        return read_providers(Fields(self.manifest))
