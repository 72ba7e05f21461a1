"""Scorer: recommends from a bundle, on the device, with numpy and the bundle's runtime."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.host import Host, open_bundle
from edgerec.contracts.runner import Runner
from edgerec.device.threads import check_threads
from edgerec.errors import DataError, OptionError
from edgerec.model.codecs import F32
from edgerec.model.history import pad_history

__all__ = ["Recommendation", "Recommendations", "Scorer"]


#: The largest and the smallest weight. What is computed from them must fit float32, too.
_HEAVIEST, _LIGHTEST = 1e30, 1e-30


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
            popular ones follow, with NaN as their score.
        fallback: whether no id in the history was known, so that these are the most popular
            items, with NaN as their score.
    """

    def __init__(
        self, items: Iterable[Recommendation], unknown: list[str], truncated: int, fallback: bool
    ) -> None:
        super().__init__(items)
        self.unknown = unknown
        self.truncated = truncated
        self.fallback = fallback


class Scorer:
    """Recommends from an open bundle.

    Args:
        bundle: an open bundle.
        runtime: the installed runtime to use; the target's best one by default.
        threads: the number of threads of the runtime.
        host: the plugins, one of which runs the bundle; the installed ones by default.

    Raises:
        UnknownNameError: the bundle's target is not installed.
        RuntimeMissingError: the requested runtime is not installed, or none is.
        OptionError: the number of threads is not positive.
    """

    def __init__(
        self,
        bundle: Bundle,
        runtime: str | None = None,
        threads: int = 1,
        host: Host | None = None,
    ) -> None:
        self.bundle = bundle
        check_threads(threads)
        self.signature = bundle.signature
        runner: Runner = (host or Host.installed()).target(bundle.target)
        self._run = runner.load(bundle, runtime, threads)

    @classmethod
    def open(
        cls,
        path: str | Path,
        runtime: str | None = None,
        threads: int = 1,
        host: Host | None = None,
    ) -> Scorer:
        """Open a bundle file and its runtime."""
        return cls(open_bundle(path, host=host), runtime, threads, host)

    def recommend(
        self,
        history: Sequence[object],
        k: int = 10,
        *,
        weights: Sequence[float] | None = None,
        strict: bool = False,
    ) -> Recommendations:
        """Recommend k items that are not in the history.

        Args:
            history: ids of past items, most recent last; an id that occurs twice counts
                once, at its most recent position.
            k: the number of items, at most the bundle's ``top_k``.
            weights: a positive number per past item (such as a rating), 1 by default; it is
                read as float32.
            strict: whether an unknown id is an error instead of being skipped and counted.

        Raises:
            OptionError: k or the weights are out of range, or the history is a text.
            DataError: ``strict``, and an id is not in the catalogue.
        """
        if isinstance(history, str | bytes):
            raise OptionError(f"history: expected a list of ids, got the text {history!r}")
        if not isinstance(k, int | np.integer) or not 1 <= k <= self.signature.top_k:
            raise OptionError(
                f"k: this bundle recommends 1 to {self.signature.top_k} items, got {k}; "
                "build with a larger top_k"
            )
        if weights is not None and len(weights) != len(history):
            raise OptionError(
                f"weights: expected {len(history)}, one per past item, got {len(weights)}"
            )
        given = None if weights is None else _checked(weights)
        rows: dict[int, float] = {}
        unknown: list[str] = []
        for place, item in enumerate(history):
            row = self.bundle.items.find(item)
            if row is None:
                unknown.append(str(item))
                continue
            rows.pop(row, None)
            rows[row] = 1.0 if given is None else float(given[place])
        if unknown and strict:
            raise DataError(
                f"history: unknown items {', '.join(unknown[:10])}; {len(unknown)} in total"
            )
        if not rows:
            return Recommendations(self._popular(k), unknown, 0, True)
        padded, padded_weights = pad_history(
            np.array(list(rows), np.int32),
            self.signature.history_length,
            self.bundle.normalization,
            None if given is None else np.array(list(rows.values()), np.float32),
            recency=self.bundle.recency,
        )
        ids, scores = self._run(padded, padded_weights)
        found = zip(ids.tolist(), scores.tolist(), strict=True)
        fresh = (self._item(row, score) for row, score in found if row not in rows)
        items = list(itertools.islice(fresh, k))
        truncated = max(0, len(rows) - self.signature.history_length)
        if len(items) < k and truncated:
            # Past items that the model did not read took some of the places.
            items += self._popular(k - len(items), {*rows, *ids.tolist()})
        return Recommendations(items, unknown, truncated, False)

    def _popular(self, k: int, listed: Collection[int] = ()) -> list[Recommendation]:
        fresh = (row for row in self.bundle.popular.tolist() if row not in listed)
        return [self._item(row, float("nan")) for row in itertools.islice(fresh, k)]

    def _item(self, row: int, score: float) -> Recommendation:
        items = self.bundle.items
        return Recommendation(str(items.ids[row]), items.title(row), score)


def _checked(weights: Sequence[float]) -> F32:
    """Check weights and convert them to float32.

    Raises:
        OptionError: a weight is not positive, or too large or small to compute with in float32.
    """
    found = np.asarray(weights, np.float64)
    if not (found > 0).all() or not np.isfinite(found).all():
        raise OptionError("weights: expected positive finite numbers")
    if found.size and not _LIGHTEST <= found.min() <= found.max() <= _HEAVIEST:
        raise OptionError(f"weights: expected numbers from {_LIGHTEST:g} to {_HEAVIEST:g}")
    return found.astype(np.float32)
