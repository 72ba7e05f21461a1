"""The ids of a model's items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgerec.learn import read_ids
from edgerec.plugin import Context, OptionError

__all__ = ["numbered"]


def numbered(options: Any, lookups: Sequence[Any], context: Context) -> tuple[int, list[str]]:
    """The id of the first item in the model, 1 if 0 is padding; and the token of each item.

    Args:
        options: those of ``Keras``.
        lookups: the Embeddings of past items.
        context: the data that the model was trained on, whose items are taken if no file is given.

    Raises:
        ModelError: a file cannot be read.
        OptionError: there are no tokens, or not one for each item.
    """
    if options.ids:
        given, source = read_ids(options.ids), options.ids
    elif context.dataset is not None:
        given, source = list(context.dataset.items.ids), context.dataset.name
    else:
        raise OptionError("keras.ids: expected a file with an id per row, or --data for its items")
    name, count = lookups[0].name, int(lookups[0].input_dim)
    masks = any(one.mask_zero for one in lookups)
    if len(given) == count - 1:
        return 1, given
    if len(given) == count:
        return int(masks), given[masks:]
    raise OptionError(
        f"keras.ids: expected {count - 1:,} ids, one for each row of {name} but that of padding, "
        f"or {count:,} with {'it' if masks else 'row 0'}; {source} has {len(given):,}"
    )
