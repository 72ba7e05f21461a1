"""Read tables and their ids from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.learn import fold_in, from_embeddings, read_ids
from edgerec.plugin import Context, DeviceModel, ModelError, OptionError

__all__ = ["read"]


def read(options: Any, path: Path, context: Context) -> DeviceModel:
    """Make a model of the arrays of a file, with the options of ``Tables``.

    Raises:
        ModelError: a file cannot be read, or the parts do not fit together.
        OptionError: an array is not in the file, or data is needed.
    """
    arrays = _arrays(path)
    if path.suffix == ".npy":
        arrays = {options.items: next(iter(arrays.values()))}
    items = _named(arrays, options.items, "items", path)
    if options.users:
        if context.dataset is None:
            raise OptionError(
                "tables.users: predicting user rows from histories needs the data that the model "
                "was trained on; pass --data"
            )
        if options.past:
            raise OptionError("tables.past: has no effect with users, which predict the past rows")
        found = fold_in(
            context.dataset,
            _named(arrays, options.users, "users", path),
            items,
            ids=read_ids(options.ids) if options.ids else None,
            head=options.head,
            history_length=options.history_length,
        )
        context.progress(1, 1, f"overlap {found.overlap:.3f} on {found.users} other users")
        share = {"overlap": round(found.overlap, 4), "users": found.users}
        return found.model.replace(metadata={"imported": path.name, "fold_in": share})
    if options.ids:
        ids = read_ids(options.ids)
    elif context.dataset is not None:
        ids = list(context.dataset.items.ids)
    else:
        raise OptionError("tables.ids: expected a file with an id per row, or --data for its items")
    return from_embeddings(
        ids,
        items,
        _named(arrays, options.past, "past", path) if options.past else None,
        pooling=options.pooling,
        head=options.head,
        history_length=options.history_length,
        metadata={"imported": path.name},
    )


def _arrays(path: Path) -> Mapping[str, Any]:
    """The arrays of a file, by name.

    Raises:
        ModelError: it is not such a file.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            tensors: dict[str, Any] = load_file(path)
            return tensors
        found = np.load(path, allow_pickle=False)
        return {"": found} if isinstance(found, np.ndarray) else dict(found)
    except ImportError:
        raise ModelError(f"{path}: reading it needs a package; pip install safetensors") from None
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except Exception as error:  # each reader raises its own
        raise ModelError(f"{path}: is no file of arrays: {error}") from error


def _named(arrays: Mapping[str, Any], name: str, option: str, path: Path) -> NDArray[Any]:
    if name not in arrays:
        raise OptionError(
            f"tables.{option}: {path} has no array {name!r}; it has {', '.join(sorted(arrays))}"
        )
    found: NDArray[Any] = arrays[name]
    return found
