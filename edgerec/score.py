"""Scorer: recommends from a bundle, on the device. Needs numpy and the bundle's runtime."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgerec.bundle import Bundle
from edgerec.codecs import F32
from edgerec.errors import DataError, OptionError
from edgerec.host import host
from edgerec.reference import pad_history
from edgerec.threads import check_threads

__all__ = ["Recommendation", "Recommendations", "Scorer"]


#: The largest and the smallest weight: what is made of them has to be a float32, too.
HEAVIEST, LIGHTEST = 1e30, 1e-30


@dataclass(frozen=True)
class Recommendation:
    """One recommended item."""

    id: str
    title: str
    score: float


class Recommendations(list[Recommendation]):
    """Recommended items, best first, and what became of the history.

    Attributes:
        unknown: ids of the history that the catalogue lacks; they were skipped.
        truncated: how many of the oldest past items were left out, past the model's limit.
            They are not recommended either; where that leaves too few, the most popular items
            follow, and their scores are NaN.
        fallback: whether nothing of the history was usable, so that these are simply the
            most popular items; their scores are NaN.
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
        bundle: what ``Bundle.open`` returned.
        runtime: which installed runtime to use; the target's best by default.
        threads: for the runtime.

    Raises:
        UnknownNameError: the bundle's target is not installed.
        RuntimeMissingError: none of its runtimes is installed, or not the one asked for.
        OptionError: the number of threads is not positive.
    """

    def __init__(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> None:
        self.bundle = bundle
        check_threads(threads)
        self.signature = bundle.signature
        self._run = host().target(bundle.target).load(bundle, runtime, threads)

    @classmethod
    def open(cls, path: str | Path, runtime: str | None = None, threads: int = 1) -> Scorer:
        """Open a bundle file and its runtime."""
        return cls(Bundle.open(path), runtime, threads)

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
                once, at its most recent place.
            k: how many, at most the bundle's ``top_k``.
            weights: a positive number for each past item (a rating, a recency), 1 by
                default; read as float32.
            strict: make an unknown id an error instead of skipping and counting it.

        Raises:
            OptionError: k or the weights are out of range, or the history is a text.
            DataError: ``strict``, and the catalogue lacks an id.
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
                f"weights: expected {len(history)}, one a past item, got {len(weights)}"
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
                f"history: unknown items {', '.join(unknown[:10])}; {len(unknown)} in all"
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
            # Past items that the model did not read took the places.
            items += self._popular(k - len(items), {*rows, *ids.tolist()})
        return Recommendations(items, unknown, truncated, False)

    def _popular(self, k: int, listed: Collection[int] = ()) -> list[Recommendation]:
        fresh = (row for row in self.bundle.popular.tolist() if row not in listed)
        return [self._item(row, float("nan")) for row in itertools.islice(fresh, k)]

    def _item(self, row: int, score: float) -> Recommendation:
        items = self.bundle.items
        return Recommendation(str(items.ids[row]), items.title(row), score)


def _checked(weights: Sequence[float]) -> F32:
    """Weights as the model reads them.

    Raises:
        OptionError: one is not positive, or of another order than float32 can compute with.
    """
    found = np.asarray(weights, np.float64)
    if not (found > 0).all() or not np.isfinite(found).all():
        raise OptionError("weights: expected positive finite numbers")
    if found.size and not LIGHTEST <= found.min() <= found.max() <= HEAVIEST:
        raise OptionError(f"weights: expected numbers from {LIGHTEST:g} to {HEAVIEST:g}")
    return found.astype(np.float32)
