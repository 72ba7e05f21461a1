"""Figures: what the bench measured of a bundle, as one typed record with units."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgerec.errors import DataError

__all__ = ["Figures", "Retention"]


@dataclass(frozen=True)
class Retention:
    """The quality of a bundle's lists, over test users.

    Args:
        recall: Recall@k.
        ndcg: NDCG@k.
        quality: retention, NDCG@k as a share of the uncompressed model's.
        overlap: the share of the uncompressed model's top k that the lists have, too.
        long_tail: the share of recommendations outside the most popular fifth of the catalogue.
        quality_half: half of the 95 % interval of ``quality``, paired over the test users; none if
            there is one user only.
    """

    recall: float
    ndcg: float
    quality: float
    overlap: float
    long_tail: float
    quality_half: float | None = None


@dataclass(frozen=True)
class Figures:
    """What was measured of one bundle on one machine.

    Args:
        bundle: the name of the file.
        target: the name of the target.
        runtime: the runtime that ran it.
        runtime_version: the version of that runtime's distribution.
        python: the version of Python.
        numpy: the version of numpy.
        model: the machine.
        cpu: its processor.
        cores: the number of processor cores.
        memory_bytes: its memory.
        os: its operating system.
        machine: its architecture, such as ``x86_64``.
        system: the platform, as Python reports it.
        emulated: whether the machine was emulated, in which case times and memory mean nothing.
        bundle_bytes: the size of the file.
        items: the size of the catalogue.
        k: the length of the lists.
        histories: the number of histories run.
        fallbacks: how many of them hold no known item; these are not timed.
        import_ms: milliseconds to import the runtime.
        open_ms: milliseconds to open the bundle.
        first_ms: milliseconds of the first recommendation.
        p50_ms: the median latency of a recommendation, in milliseconds, over histories; of each
            history, the quickest of three runs.
        p95_ms: its 95th percentile.
        baseline_rss_bytes: resident memory before the bundle is opened, runtime imported.
        peak_rss_bytes: the peak of resident memory.
        floor_ms: milliseconds to read the bytes of the candidate table from memory (median).
        from_memory_ms: milliseconds to recommend with cold caches (median).
        times_floor: the ratio of the two.
        on: the address of the device, where the bench ran through one.
        measured_on: the device's processor, where its recorded figures replaced those of this
            machine.
        lists: the ids recommended for each history, or none if they were not kept.
        retention: the quality of the lists, where a dataset and a model were given.
    """

    bundle: str
    target: str
    runtime: str
    runtime_version: str
    python: str
    numpy: str
    model: str
    cpu: str
    cores: int
    memory_bytes: int
    os: str
    machine: str
    system: str
    emulated: bool
    bundle_bytes: int
    items: int
    k: int
    histories: int
    fallbacks: int
    import_ms: float
    open_ms: float
    first_ms: float
    p50_ms: float
    p95_ms: float
    baseline_rss_bytes: int
    peak_rss_bytes: int
    floor_ms: float
    from_memory_ms: float
    times_floor: float
    on: str | None = None
    measured_on: str | None = None
    lists: Sequence[Sequence[str]] | None = dataclasses.field(default=None, repr=False)
    retention: Retention | None = None

    def replace(self, **changes: Any) -> Figures:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """The record as one flat JSON object, without what was not measured and without lists."""
        values = dict(vars(self))
        retention = values.pop("retention")
        del values["lists"]
        places = {name: values.pop(name) for name in ("on", "measured_on")}
        first = {name: place for name, place in places.items() if place is not None}
        return first | values | ({} if retention is None else vars(retention))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Figures:
        """Read what ``to_json`` wrote, and ``lists`` if they are there.

        Raises:
            DataError: a figure is missing.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        kept = {field.name for field in dataclasses.fields(Retention)}
        needed = kept - {"quality_half"}
        given = {name: value for name, value in values.items() if name in names}
        if needed <= values.keys():
            found: dict[str, Any] = {name: values.get(name) for name in kept}
            given["retention"] = Retention(**found)
        try:
            return cls(**given)
        except TypeError as error:
            raise DataError(f"figures: {error}") from None
