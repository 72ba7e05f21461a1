"""Read what is known about a user: past items as rows, their weights, and further inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from edgerec.contracts.bundle import Bundle
from edgerec.device.arguments import check_history, check_vector, check_weight, check_weights
from edgerec.device.call import Past
from edgerec.device.user_file import read_user_vector
from edgerec.errors import OptionError
from edgerec.model.history import merge_repeats

__all__ = ["Situation", "UserVector", "read_past"]

#: The user's own vector, or the file that it is in.
UserVector = Sequence[float] | str | os.PathLike[str]

#: What describes the situation: values by name, or the numbers that a model reads.
Situation = Mapping[str, object] | Sequence[float]


def read_past(
    bundle: Bundle,
    history: Sequence[object],
    weights: Sequence[float | str] | None,
    user_vector: UserVector | None,
    context: Situation | None,
) -> tuple[Past, list[str]]:
    """The past of a user, and the ids that the catalogue does not have.

    The arguments are those of ``Scorer.recommend``. Repeats are merged here already if the model
    merges them, so that they do not take places of a history that is longer than the model reads.

    Raises:
        OptionError: an argument has the wrong type, is out of range, or is not an input of the
            model.
    """
    past, signature = check_history(history), bundle.signature
    given = None if weights is None else check_weights(weights, len(past))
    if given is not None and signature.version > 1 and "weights" not in signature.inputs:
        raise OptionError(
            "weights: this model does not read any; train it on ratings or kinds of events, or set "
            "weighted=True in the model before exporting it"
        )
    own: object = user_vector
    if isinstance(user_vector, str | os.PathLike) and "user_vector" in signature.inputs:
        own = read_user_vector(user_vector, signature.inputs["user_vector"])
    situation = _coded(bundle, context)
    inputs = {
        name: check_vector(value, name, signature.inputs.get(name, 0))
        for name, value in (("user_vector", own), ("context", situation))
        if value is not None or name in signature.inputs
    }
    # In signature 1, a weight also said whether there is an item.
    signed = signature.version > 1
    rows: list[int] = []
    counts: list[float] = []
    unknown: list[str] = []
    for place, item in enumerate(past):
        row = bundle.past.find(item)
        if row is None:
            unknown.append(str(item))
            continue
        rows.append(row)
        if given is not None:
            counts.append(check_weight(given[place], place, bundle.event_weights, signed=signed))
    if bundle.merges and len(set(rows)) < len(rows):
        places = merge_repeats(np.array(rows, np.int32)).tolist()
        rows = [rows[place] for place in places]
        counts = [counts[place] for place in places] if counts else counts
    return Past(rows, _seen(bundle, past, rows), None if given is None else counts, inputs), unknown


def _coded(bundle: Bundle, context: Situation | None) -> object:
    """The numbers of a situation that is given by name.

    Raises:
        OptionError: a name or a value is not one that the model knows, or none is given.
    """
    named = bundle.context
    if context is None and named is not None:
        raise OptionError(
            f"context: this model reads {', '.join(named.names)}; pass what is known of them by "
            "name, or {} if nothing is"
        )
    if not isinstance(context, Mapping):
        numbers = np.iterable(context) and not isinstance(context, str)
        if named is not None and (not numbers or len(context) != named.width):  # type: ignore[arg-type]  # numbers have a length
            raise OptionError(
                f"context: expected what is known by name, such as {{{named.names[0]!r}: …}}, got "
                f"{context!r:.60}"
            )
        return context
    if named is None:
        raise OptionError("context: this model has no names for what it reads; pass numbers")
    return named.code(context)


def _seen(bundle: Bundle, past: Sequence[object], rows: Sequence[int]) -> frozenset[int]:
    """The rows of the catalogue that are left out because of past items."""
    if not bundle.drops_seen:
        return frozenset()
    if bundle.past is bundle.items:
        return frozenset(rows)
    found = (bundle.items.find(item) for item in past)
    return frozenset(row for row in found if row is not None)
