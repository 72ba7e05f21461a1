"""Scorer: recommends from a bundle, on the device, with numpy and the bundle's runtime."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.host import Host
from edgerec.contracts.opening import find_runner, open_bundle
from edgerec.contracts.runner import Artefact
from edgerec.device.arguments import check_history, check_weight, check_weights
from edgerec.device.threads import check_threads
from edgerec.errors import DataError, OptionError, TargetError, UnknownNameError
from edgerec.model.attribution import attribute_errors
from edgerec.model.codecs import F32
from edgerec.model.history import pad_history

__all__ = ["Recommendation", "Recommendations", "Scorer"]


#: By how much a score may exceed the one before it, relative to the highest.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Recommendation:
    """One recommended item."""

    id: str
    title: str
    score: float


class Recommendations(list[Recommendation]):
    """Recommended items, best first, and how the history was read.

    Attributes:
        unknown: ids in the history that are not in the catalogue; they were skipped.
        truncated: the number of oldest past items beyond the model's limit, which it did not
            read. They are not recommended either. If that leaves fewer than k items, the most
            popular ones and then any others follow, with NaN as their score.
        fallback: whether no id in the history was known, so that these are the most popular
            items, or those with the longest rows if the model does not say which are popular
            (``Bundle.fallback``), with NaN as their score.
    """

    def __init__(
        self, items: Iterable[Recommendation], unknown: list[str], truncated: int, fallback: bool
    ) -> None:
        super().__init__(items)
        self.unknown = unknown
        self.truncated = truncated
        self.fallback = fallback


class Scorer:
    """Recommends from an open bundle. Threads may share it.

    It is a context manager, which closes it at the end of the block.

    Args:
        bundle: an open bundle.
        runtime: the installed runtime to use; the target's best one by default.
        threads: the number of threads of the runtime.
        host: the plugins, one of which runs the bundle; the installed ones by default.
        trust: whether to run a payload that can do whatever this process can (torchscript,
            executorch), because it comes from someone you trust.

    Raises:
        UnknownNameError: the bundle's target is not installed.
        RuntimeMissingError: the requested runtime is not installed, or none is.
        OptionError: the number of threads is out of range, or the payload needs trust and
            ``trust`` is false.
        TargetError: the runtime does not accept the payload.
    """

    def __init__(
        self,
        bundle: Bundle,
        runtime: str | None = None,
        threads: int = 1,
        host: Host | None = None,
        *,
        trust: bool = False,
    ) -> None:
        self.bundle = bundle
        check_threads(threads)
        self.signature = bundle.signature
        try:
            runner = find_runner(bundle, host)
        except UnknownNameError as error:
            error.args = (f"{bundle.path}: {error}",)
            raise
        if runner.needs_trust and not trust:
            raise OptionError(
                f"{bundle.path}: a {bundle.target} payload can do whatever this process can; pass "
                "trust=True (--trust) if you trust its author"
            )
        self._who = f"{bundle.path}: target {bundle.target}"
        with attribute_errors(self._who, TargetError):
            self._artefact: Artefact | None = runner.load(bundle, runtime, threads)

    @classmethod
    def open(
        cls,
        path: str | Path,
        runtime: str | None = None,
        threads: int = 1,
        host: Host | None = None,
        *,
        trust: bool = False,
    ) -> Scorer:
        """Open a bundle file and its runtime."""
        return cls(open_bundle(path, host=host), runtime, threads, host, trust=trust)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the runtime and the file; recommending is an error from now on."""
        self._artefact = None
        self.bundle.close()

    def recommend(
        self,
        history: Sequence[object],
        k: int = 10,
        *,
        weights: Sequence[float | str] | None = None,
        strict: bool = False,
    ) -> Recommendations:
        """Recommend k items that are not in the history, unless the model recommends these, too.

        Args:
            history: ids of past items, most recent last; an id that occurs twice counts once, at
                its most recent position, unless the model counts every one.
            k: the number of items, at most the bundle's ``top_k``.
            weights: a number per past item (such as a rating) from 1e-6 to 1e6, 1 by default; it
                is read as float32. A model that was trained on kinds of events also takes their
                names, such as "buy". Those of unknown ids are ignored.
            strict: whether an unknown id is an error instead of being skipped and counted.

        Raises:
            OptionError: an argument has the wrong type or is out of range, or the scorer is
                closed.
            DataError: ``strict``, and an id is not in the catalogue.
            TargetError: the runtime failed, or returned something that is not a list.
        """
        if self._artefact is None:
            raise OptionError(f"{self.bundle.path}: the scorer is closed")
        past = check_history(history)
        if isinstance(k, bool) or not isinstance(k, int | np.integer):
            raise OptionError(f"k: expected an integer, got {k!r}")
        if not 1 <= k <= self.signature.top_k:
            raise OptionError(
                f"k: this bundle recommends 1 to {self.signature.top_k} items, got {k}; "
                "build with a larger top_k"
            )
        given = None if weights is None else check_weights(weights, len(past))
        kinds = self.bundle.event_weights
        rows: list[int] = []
        counts: list[float] = []
        unknown: list[str] = []
        for place, item in enumerate(past):
            row = self.bundle.items.find(item)
            if row is None:
                unknown.append(str(item))
                continue
            rows.append(row)
            counts.append(1.0 if given is None else check_weight(given[place], place, kinds))
        if self.bundle.merges:
            rows, counts = _merged(rows, counts)
        seen = set(rows) if self.bundle.drops_seen else set()
        if unknown and strict:
            raise DataError(
                f"history: unknown items {', '.join(unknown[:10])}; {len(unknown)} in total"
            )
        if not rows:
            popular = self.bundle.popular.tolist()
            return Recommendations(self._first(k, popular), unknown, 0, True)
        ids, scores = self._run(self._artefact, rows, counts if given is not None else None)
        found = zip(ids.tolist(), scores.tolist(), strict=True)
        fresh = (self._item(row, score) for row, score in found if row not in seen)
        items = list(itertools.islice(fresh, k))
        truncated = max(0, len(rows) - self.signature.history_length)
        if len(items) < k and truncated:
            # Past items that the model did not read took some of the places.
            rest = itertools.chain(self.bundle.popular.tolist(), range(self.signature.items))
            listed = {*seen, *ids.tolist()}
            items += self._first(k - len(items), (row for row in rest if row not in listed))
        return Recommendations(items, unknown, truncated, False)

    def _run(
        self, artefact: Artefact, rows: list[int], given: list[float] | None
    ) -> tuple[NDArray[np.int32], F32]:
        """Run the artefact on rows and their weights, oldest first, and check what it returns."""
        padded, weights = pad_history(
            np.array(rows, np.int32),
            self.signature.history_length,
            self.bundle.normalization,
            None if given is None else np.array(given, np.float32),
            recency=self.bundle.recency,
        )
        with attribute_errors(self._who, TargetError):
            ids, scores = artefact(padded, weights)
            right = ids.ndim == 1 and ids.shape == scores.shape and ids.dtype == np.int32
        if not right or not np.isfinite(scores).all():
            raise TargetError(
                f"{self._who}: returned something other than rows with finite scores; the file is "
                "damaged"
            )
        inside = not ids.size or 0 <= ids.min() <= ids.max() < self.signature.items
        if not inside or len(set(ids.tolist())) < len(ids):
            raise TargetError(
                f"{self._who}: returned a row outside the catalogue, or a row twice; the file is "
                "damaged"
            )
        # Neighbors may swap places by rounding.
        if ids.size and np.any(np.diff(scores) > _ROUNDING * np.abs(scores).max()):
            raise TargetError(f"{self._who}: returned scores out of order; the file is damaged")
        return ids, scores

    def _first(self, k: int, rows: Iterable[int]) -> list[Recommendation]:
        """The first k distinct ones of some rows, without scores."""
        return [self._item(row, math.nan) for row in itertools.islice(dict.fromkeys(rows), k)]

    def _item(self, row: int, score: float) -> Recommendation:
        items = self.bundle.items
        return Recommendation(str(items.ids[row]), items.title(row), score)


def _merged(rows: list[int], weights: list[float]) -> tuple[list[int], list[float]]:
    """Different rows with their weights, each at its last place."""
    latest: dict[int, float] = {}
    for row, weight in zip(rows, weights, strict=True):
        latest.pop(row, None)
        latest[row] = weight
    return list(latest), list(latest.values())
