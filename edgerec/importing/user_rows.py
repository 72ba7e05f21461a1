"""Find the row of one user in what another library saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.errors import ModelError, OptionError
from edgerec.importing.state import read_state
from edgerec.model.integers import F32

__all__ = ["file_of", "user_row", "user_rows"]

#: The rows of all nodes in a state dict of torch-geometric's LightGCN, users first.
_NODES = "embedding.weight"


def file_of(rows: str) -> Path:
    """The file of rows that may be named after it, as in ``FILE:NAME``."""
    return _split(rows)[0]


def user_rows(rows: str, count: int, flag: str = "--user-vectors") -> F32:
    """The rows of all users, float32[count, d], in the order of a data set.

    Args:
        rows: as for ``user_row``.
        count: the number of users.
        flag: what to call them in messages.

    Raises:
        ModelError: the rows cannot be read, or one is not finite.
        OptionError: there is no such array, or another number of rows.
    """
    found, nodes = _floats(rows)
    if len(found) != count and not (nodes and len(found) > count):
        raise OptionError(
            f"{flag}: expected {count:,} rows in {rows}, one per user of the data, got "
            f"{len(found):,}"
        )
    every: F32 = np.asarray(found[:count], np.float32)
    if len(wrong := np.flatnonzero(~np.isfinite(every).all(axis=1))):
        raise ModelError(
            f"{rows}: row {wrong[0]} has a number that is NaN, infinite, or beyond float32"
        )
    return every


def user_row(rows: str, user: str, ids: list[str]) -> F32:
    """The row of a user, float32[d].

    Args:
        rows: a .npy file, an array of an .npz file or a tensor of a .pt file (``FILE:NAME``), or
            a .pt file of LightGCN, whose first nodes are users.
        user: the id of the user.
        ids: an id per row.

    Raises:
        ModelError: the rows cannot be read, or that of this user is not finite.
        OptionError: there is no such array or user, or not an id per row.
    """
    found, nodes = _floats(rows)
    if len(found) != len(ids) and not (nodes and len(found) > len(ids)):
        raise OptionError(
            f"--ids: expected {len(found):,} ids, one per row of {rows}, got {len(ids):,}"
        )
    if user not in ids:
        raise OptionError(
            f"{user!r}: no such user; the ids of {rows} are {len(ids):,}, such as "
            f"{', '.join(map(repr, ids[:3])) or 'none'}"
        )
    row: F32 = np.asarray(found[ids.index(user)], np.float32)
    if not np.isfinite(row).all():
        raise ModelError(
            f"{rows}: the row of user {user!r} has a number that is NaN, infinite, or beyond "
            "float32; nothing was written"
        )
    return row


def _floats(rows: str) -> tuple[NDArray[Any], bool]:
    """The matrix of a file, and whether its rows are those of all nodes, users first.

    Raises:
        ModelError: it is no matrix of floats.
    """
    path, name = _split(rows)
    found = _matrix(path, name)
    if found.ndim != 2 or found.dtype.kind != "f":
        raise ModelError(
            f"{rows}: expected a matrix of floats, a row per user, got {found.dtype} "
            f"{[*found.shape]}"
        )
    return found, path.suffix in (".pt", ".pth") and name in ("", _NODES)


def _split(rows: str) -> tuple[Path, str]:
    """A path and the name after it, if there is one."""
    path, colon, name = rows.rpartition(":")
    return (Path(path), name) if colon and not Path(rows).exists() else (Path(rows), "")


def _matrix(path: Path, name: str) -> NDArray[Any]:
    """An array of a file.

    Raises:
        ModelError: the file cannot be read.
        OptionError: it has no such array, or several and no name was given.
    """
    arrays: dict[str, Any]
    if path.suffix in (".pt", ".pth"):
        arrays, name = dict(read_state(path)), name or _NODES
    elif path.suffix in (".npy", ".npz"):
        try:
            if path.suffix == ".npy":
                arrays, name = {"": np.load(path, mmap_mode="r", allow_pickle=False)}, ""
            else:
                with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                    arrays = dict.fromkeys(archive.files)
                    arrays |= {name: archive[name]} if name in arrays else {}
        except FileNotFoundError:
            raise ModelError(f"{path}: no such file") from None
        except Exception as error:  # a damaged file raises anything
            raise ModelError(f"{path}: is no file of arrays: {error}") from error
    else:
        raise OptionError(f"{path}: expected rows of users in a .npy, .npz, .pt or .pth file")
    if name not in arrays:
        which = f"has no array {name!r}" if name else "has several arrays"
        known = ", ".join(arrays) or "none"
        raise OptionError(f"{path}: {which}; name the rows of users, {path}:NAME, among {known}")
    one = arrays[name]
    return one if isinstance(one, np.ndarray) else one.float().numpy()
