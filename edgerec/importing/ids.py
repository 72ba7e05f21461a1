"""Read the ids of a model's rows from a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from edgerec.errors import ModelError

__all__ = ["read_ids"]


def read_ids(path: str | Path, called: str = "ids") -> list[str]:
    """The ids of a file, one per row: lines of text, a JSON list, or a .npy array.

    ``called`` is what a library calls them, for messages.

    Raises:
        ModelError: it cannot be read, or an id occurs twice.
    """
    path = Path(path)
    try:
        if path.suffix == ".npy":
            found = [str(one) for one in np.load(path, allow_pickle=False).tolist()]
        elif path.suffix == ".json":
            listed = json.loads(path.read_text("utf-8"))
            if not isinstance(listed, list):
                raise ValueError(f"it has a {type(listed).__name__}, expected a list")
            found = [str(one) for one in listed]
        else:
            found = path.read_text("utf-8").splitlines()
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: expected {called}, one per row: {error}") from None
    place_of: dict[str, int] = {}
    for place, one in enumerate(found, 1):
        if place_of.setdefault(one, place) != place:
            raise ModelError(
                f"{path}: id {one!r} is at {place_of[one]} and at {place}; every row needs an id "
                "of its own"
            )
    return found
