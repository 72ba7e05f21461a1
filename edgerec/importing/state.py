"""Read a state dict that torch saved, without running anything that is in the file."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from edgerec.errors import ModelError

__all__ = ["read_state"]

#: What to do with a file that holds more than tensors.
_INSTEAD = (
    "save its parameters alone, torch.save(model.state_dict(), path), or pass the network itself "
    "to edgerec.from_pyg or edgerec.from_torch in Python"
)


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a state dict, by name.

    Raises:
        ModelError: the file is missing, damaged, or holds something else, such as a whole network.
    """
    path = Path(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except Exception as error:  # a damaged file raises anything
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
            raise ModelError(
                f"{path}: holds Python objects, such as a whole network, which could run anything, "
                f"so none of it was run; {_INSTEAD}"
            ) from None
        raise ModelError(
            f"{path}: expected a state dict that torch.save wrote: {type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no reason given'}"
        ) from error
    if not isinstance(found, Mapping) or not all(isinstance(one, Tensor) for one in found.values()):
        parts = ", ".join(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
        raise ModelError(f"{path}: expected a state dict, tensors by name, got {parts}; {_INSTEAD}")
    return {str(name): one for name, one in found.items()}
