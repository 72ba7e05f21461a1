"""Test vectors: histories in a bundle with the lists that its model gives, to replay on a device.

    python -m edgerec.device.vectors BUNDLE [--runtime NAME] [--trust]

prints what differs as one line of JSON. The vectors are three sections, 576 bytes together:

=====================  ============  ===========================================================
section                array         what
=====================  ============  ===========================================================
``vectors/history``    int32[8, 8]   rows, most recent last, then -1; -2 is an unknown id; -3 and
                                     a number n stand for the rows 0, 1, … of n past items
``vectors/ids``        int32[8, 5]   the rows recommended, best first; then -1
``vectors/scores``     float32[8, 5] their scores; 0 for what is recommended without one
=====================  ============  ===========================================================
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.contracts.bundle import Bundle
from edgerec.device.recommendations import Recommendation
from edgerec.device.scorer import Scorer
from edgerec.errors import BundleError, EdgerecError
from edgerec.model.device_model import MAX_HISTORY

__all__ = ["COUNT", "EXPECTED", "LONG", "UNKNOWN", "WIDTH", "empty_vectors", "main", "replay"]

#: The number of histories, of past items in each, and of recommendations.
COUNT, WIDTH, EXPECTED = 8, 8, 5

#: What stands for an id that the catalogue does not have, and for a history of many items.
UNKNOWN, LONG = -2, -3

#: The greatest difference of a score, relative to the highest in the list.
_TOLERANCE = 2e-3

#: No catalogue has an id with a null character.
_NO_ID = "\0"


def empty_vectors() -> dict[str, NDArray[Any]]:
    """Sections of the right size without any numbers."""
    return {
        "vectors/history": np.full((COUNT, WIDTH), -1, np.int32),
        "vectors/ids": np.full((COUNT, EXPECTED), -1, np.int32),
        "vectors/scores": np.zeros((COUNT, EXPECTED), np.float32),
    }


def replay(scorer: Scorer) -> list[str]:
    """Recommend for the test vectors of a bundle, and compare.

    Returns:
        What differs; an empty list if nothing does.

    Raises:
        BundleError: the bundle has no test vectors, or they are malformed.
    """
    bundle = scorer.bundle
    history, ids, scores = (_read(bundle, name) for name in ("history", "ids", "scores"))
    wrong = []
    for number in range(COUNT):
        past = _ids(bundle, history[number].tolist())
        k = min(EXPECTED, bundle.signature.top_k)
        found = scorer.recommend(past, k, **bundle.signature.example_inputs())  # type: ignore[arg-type]  # arrays are sequences of numbers
        expected = [row for row in ids[number].tolist() if row >= 0]
        if difference := _compare(bundle, found, expected, scores[number].tolist()):
            wrong.append(f"vector {number} ({len(past)} past items): {difference}")
    return wrong


def _compare(
    bundle: Bundle, found: Sequence[Recommendation], rows: Sequence[int], scores: Sequence[float]
) -> str:
    """How a list differs from the expected one; empty if it does not."""
    if len(found) != len(rows):
        return f"expected {len(rows)} items, got {len(found)}"
    most = max((abs(score) for score in scores), default=0.0) * _TOLERANCE
    for place, (one, row, score) in enumerate(zip(found, rows, scores, strict=False)):
        expected = bundle.items.ids[row]
        if math.isnan(one.score):
            if one.id != expected:
                return f"place {place}: expected {expected!r}, got {one.id!r}"
        elif abs(one.score - score) > most:
            # Items whose scores are equal may change places.
            return (
                f"place {place}: expected {expected!r} with {score:g}, got {one.id!r} with "
                f"{one.score:g}"
            )
    return ""


def _ids(bundle: Bundle, rows: Sequence[int]) -> list[str]:
    """The ids of a history."""
    if rows[0] == LONG:
        return [bundle.past.ids[place % len(bundle.past)] for place in range(max(0, rows[1]))]
    past = [row for row in rows if row != -1]
    return [_NO_ID if row == UNKNOWN else bundle.past.ids[row] for row in past]


def _read(bundle: Bundle, name: str) -> NDArray[Any]:
    """A section of the test vectors.

    Raises:
        BundleError: it is missing or malformed.
    """
    section, n = f"vectors/{name}", len(bundle.past if name == "history" else bundle.items)
    if section not in bundle.container:
        raise BundleError(f"{bundle.path}: has no test vectors; export it again")
    array = bundle.container.array(section)
    width = WIDTH if name == "history" else EXPECTED
    dtype = np.float32 if name == "scores" else np.int32
    right = array.shape == (COUNT, width) and array.dtype == dtype
    if right and name == "scores":
        right = bool(np.isfinite(array).all())
    elif right:
        # After a -3 comes a number of items.
        rows = array[array[:, 0] != LONG]
        right = bool(
            (rows >= UNKNOWN).all() and (rows < n).all() and (array < MAX_HISTORY * 2).all()
        )
    if not right:
        raise BundleError(f"{bundle.path}: {section}: is malformed; the file is damaged")
    return array


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: print what differs, as a JSON list."""
    parser = argparse.ArgumentParser(
        prog="python -m edgerec.device.vectors", description="Replay a bundle's test vectors."
    )
    parser.add_argument("bundle")
    parser.add_argument("--runtime")
    parser.add_argument("--trust", action="store_true")
    given = parser.parse_args(arguments)
    try:
        with Scorer.open(given.bundle, given.runtime, trust=given.trust) as scorer:
            wrong = replay(scorer)
    except EdgerecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(wrong))
    return 0


if __name__ == "__main__":
    sys.exit(main())
