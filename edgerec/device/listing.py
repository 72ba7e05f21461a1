"""Turn rows and scores into lists of items."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Set

import numpy as np

from edgerec.contracts.bundle import Bundle
from edgerec.device.arguments import check_history
from edgerec.device.call import Call, Found, Past
from edgerec.device.recommendations import Recommendation, Recommendations
from edgerec.errors import OptionError

__all__ = ["Lister"]


class Lister:
    """Makes lists of items out of what an artefact returns.

    Args:
        bundle: the bundle.
        call: calls its artefact.
    """

    def __init__(self, bundle: Bundle, call: Call) -> None:
        self.bundle, self.call = bundle, call

    def truncated(self, past: Past) -> int:
        """The number of past items that the model does not read."""
        return max(0, len(past.rows) - self.call.signature.history_length)

    def listed(
        self,
        past: Past,
        unknown: list[str],
        found: Found,
        left_out: Set[int],
        k: int,
    ) -> Recommendations:
        """The first k of what an artefact returned, without the rows that are left out."""
        pairs = zip(found.rows, found.scores, strict=True)
        fresh = (self._item(*pair) for pair in pairs if pair[0] not in left_out)
        items = list(itertools.islice(fresh, k))
        truncated = self.truncated(past)
        if len(items) < k and len(listed := {*left_out, *found.rows}) < len(self.bundle.items):
            # What is left out took some of the places.
            if self.call.scores_rows:
                others = set(range(len(self.bundle.items)))
                if self.bundle.manifest["head"].get("blocks"):
                    # Rows of blocks that were not read may score higher than those listed.
                    items = self.best(past, others - left_out, k)
                else:
                    items += self.best(past, others - listed, k - len(items))
            else:
                rest = (row for row in self.in_turn() if row not in listed)
                items += self.unscored(k - len(items), rest)
        return Recommendations(items, unknown, truncated, False)

    def best(self, past: Past, rows: Set[int], k: int) -> list[Recommendation]:
        """The best k of some rows, scored one by one; of equal scores, the lower row first."""
        self.check_scores("only")
        ordered = np.array(sorted(rows), np.int32)
        scores = self.call.score(past, ordered)
        best = np.argsort(-scores, kind="stable")[:k]
        return [self._item(int(ordered[place]), float(scores[place])) for place in best]

    def unscored(self, k: int, rows: Iterable[int]) -> list[Recommendation]:
        """The first k distinct ones of some rows, without scores."""
        return [self._item(row, math.nan) for row in itertools.islice(dict.fromkeys(rows), k)]

    def in_turn(self) -> Iterator[int]:
        """Popular rows, and then all others."""
        yield from self.bundle.popular.tolist()
        yield from range(len(self.bundle.items))

    def rows(self, ids: Collection[object], name: str) -> set[int]:
        """The rows of ids; those that the catalogue does not have need no row."""
        given = list(ids) if isinstance(ids, set | frozenset) else ids
        found = (self.bundle.items.find(item) for item in check_history(given, name))
        return {row for row in found if row is not None}

    def check_scores(self, what: str) -> None:
        """Check that the artefact can score given candidates.

        Raises:
            OptionError: it cannot; ``what`` names what needs it.
        """
        if not self.call.scores_rows:
            raise OptionError(
                f"{what}: the artefact of {self.bundle.path} has no function that scores given "
                "items; export the model again, with a target that writes one"
            )

    def _item(self, row: int, score: float) -> Recommendation:
        items = self.bundle.items
        name: str = items.ids[row]
        return Recommendation(name, name if items.titles is None else items.title(row), score)
