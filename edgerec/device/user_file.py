"""The file in which a device keeps the user's own row: float32[d] as numpy writes it (.npy).

It is small, belongs to one user, and is never part of a bundle.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from edgerec.errors import OptionError
from edgerec.files.atomic import atomic_write
from edgerec.model.integers import F32

__all__ = ["read_user_vector", "write_user_vector"]

#: The most bytes before the numbers.
_HEADER = 1024


def read_user_vector(path: str | os.PathLike[str], width: int) -> F32:
    """Read the row of a user, float32[width].

    Raises:
        OptionError: the file is missing, or holds something else.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(_HEADER + 4 * width + 1)
    except OSError as error:
        raise OptionError(
            f"user_vector: {path}: {error.strerror}; `edgerec user-vector` writes such a file"
        ) from None
    try:
        stream = io.BytesIO(data)
        # Without np.load, which allocates what a header asks for.
        if np.lib.format.read_magic(stream) != (1, 0):  # type: ignore[no-untyped-call]  # of numpy
            raise ValueError("its version of .npy is not 1.0")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)  # type: ignore[no-untyped-call]  # of numpy
        numbers = data[stream.tell() :]
    except ValueError as error:
        raise OptionError(
            f"user_vector: {path}: expected the row of a user as `edgerec user-vector` writes it: "
            f"{error}"
        ) from None
    if dtype != np.dtype("<f4") or shape != (width,):
        raise OptionError(
            f"user_vector: {path}: expected {width} float32 numbers, as many as the model reads, "
            f"got {dtype} {[*shape]}; write the row of the same model with `edgerec user-vector`"
        )
    if len(numbers) != 4 * width:
        raise OptionError(
            f"user_vector: {path}: is cut off, or goes on behind its {width} numbers; write it "
            "again with `edgerec user-vector`"
        )
    found = np.frombuffer(numbers, np.float32)
    if not np.isfinite(found).all():
        raise OptionError(
            f"user_vector: {path}: number {int(np.flatnonzero(~np.isfinite(found))[0])} is NaN or "
            "infinite; write the file again with `edgerec user-vector`"
        )
    return found


def write_user_vector(path: str | os.PathLike[str], vector: F32) -> int:
    """Write the row of a user atomically.

    Returns:
        The number of bytes.
    """
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(vector, "<f4"))
    with atomic_write(Path(path)) as file:
        file.write(stream.getvalue())
    return len(stream.getvalue())
