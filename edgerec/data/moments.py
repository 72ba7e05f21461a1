"""Moments: the hour and the weekday of interactions, in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.data.dataset import Dataset
from edgerec.data.feature_columns import Categories
from edgerec.data.interactions import Interactions
from edgerec.errors import OptionError
from edgerec.model.context import Labels
from edgerec.model.items import Strings

__all__ = ["MOMENTS", "is_moment", "moments_held_out", "moments_of"]

#: What the time of an interaction says, with its labels.
MOMENTS: Mapping[str, tuple[str, ...]] = {
    "hour": tuple(map(str, range(24))),
    "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}

#: The least timestamp in each unit, and the unit's number per second: nano-, micro- and
#: milliseconds, and seconds.
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (1e8, 1.0))

#: The least number that is in none of them.
_BEYOND = 1e20


def is_moment(part: Any) -> bool:
    """Whether a part of a context is that of an interaction, and not of a user.

    Labels that a data set has of its users are in the order of their text, so that none of them
    can be mistaken for a moment.
    """
    return isinstance(part, Labels) and MOMENTS.get(part.name) == part.labels


def moments_of(dataset: Dataset, part: Interactions, name: str) -> NDArray[np.int64]:
    """The place in ``MOMENTS[name]`` of each interaction, int64[len(part)].

    Raises:
        OptionError: the time of interactions is not known, or its unit is not.
    """
    times = part.timestamps
    if times is None or not len(times):
        raise OptionError(
            f"context: {name}: {dataset.name} does not say when interactions were; read their time "
            "(--timestamp-column)"
        )
    typical = float(np.median(times))
    divisor = next((parts for least, parts in _UNITS if typical >= least), None)
    if divisor is None or typical >= _BEYOND:
        raise OptionError(
            f"context: {name}: the times of {dataset.name}, such as {typical:g}, are no seconds "
            "(or milliseconds, microseconds or nanoseconds) since 1970"
        )
    hours = np.floor(times / divisor / 3600).astype(np.int64)
    return hours % 24 if name == "hour" else (hours // 24 + 3) % 7  # 1970 began on a Thursday


def moments_held_out(dataset: Dataset, name: str) -> Categories:
    """The moment of each user's first interaction that is held out.

    Raises:
        OptionError: nothing is held out, or the time of interactions is not known.
    """
    held = dataset.test
    if held is None:
        raise OptionError(
            f"context: {name}: is that of an interaction to predict, and none is held out; steps "
            "that train cannot read it, so use them without training"
        )
    places, some = moments_of(dataset, held, name), np.diff(held.indptr) > 0
    offsets = np.concatenate([[0], np.cumsum(some)]).astype(np.int64)
    first = places[held.indptr[:-1][some]].astype(np.int32)
    return Categories(Strings.of(MOMENTS[name]), offsets, first)
