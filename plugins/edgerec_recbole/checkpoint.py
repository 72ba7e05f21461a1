"""Read a checkpoint of RecBole without running anything that is in it.

A .pth file is a zip archive of a pickle and of the bytes of its tensors. RecBole pickles its own
Config in protocol 4, which torch's reader of weights refuses. Here, a name in the pickle stands for
an inert class that keeps its arguments. Only the names that RecBole's checkpoints contain are
known, any other is refused, and none is ever imported.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.plugin import F32, ModelError

__all__ = ["Checkpoint"]

#: The libraries whose names all stand for inert classes: RecBole and RecBole-GNN.
_LIBRARIES = ("recbole", "recbole_gnn")

#: The other names in their checkpoints. Those of numpy 2 begin with ``numpy._core``.
_NAMES = {
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("torch", "device"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("yaml.loader", "FullLoader"),
}

#: The types of numbers that are read; others may occur, but not in what is asked for.
_TYPES = {"DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2"}


class _Inert:
    """Stands in for a class or a function: keeps the arguments and the state, and does nothing."""

    args: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *args: Any) -> _Inert:
        made = super().__new__(cls)
        made.args = args
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state


@dataclass(frozen=True)
class Checkpoint:
    """What is in a checkpoint.

    Args:
        path: the file.
        config: RecBole's settings.
        state: the model's parameters by name, as the pickle describes them.
        others: what else the model saved, such as its rows after message passing.
        arrays: the archive's members by the key of a tensor.
    """

    path: Path
    config: Mapping[str, Any]
    state: Mapping[str, Any]
    others: Mapping[str, Any]
    arrays: Mapping[str, str]

    @property
    def model(self) -> str:
        """The name of the model."""
        return str(self.config.get("model"))

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read all of it but the numbers.

        Raises:
            ModelError: it is no checkpoint of RecBole, or its pickle names something else.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                if any(part.compress_type for part in archive.infolist()):
                    raise ValueError("torch does not compress")
                names = {name.split("/", 1)[-1]: name for name in archive.namelist()}
                if "byteorder" in names and archive.read(names["byteorder"]) != b"little":
                    raise ValueError("its numbers are big-endian")
                found = _Unpickler(path, archive.read(names["data.pkl"])).load()
            parts = [found[key] for key in ("config", "state_dict", "other_parameter")]
            config = parts[0].state["final_config_dict"]
            if not all(isinstance(part, dict) for part in (config, *parts[1:])):
                raise TypeError("a part of it is no dictionary")
        except FileNotFoundError:
            raise ModelError(f"{path}: no such file") from None
        except ModelError:
            raise
        except Exception as error:  # a damaged pickle raises anything
            raise ModelError(
                f"{path}: expected a checkpoint that RecBole saved (a .pth file with config, "
                f"state_dict and other_parameter): {type(error).__name__}: {error}"
            ) from error
        return cls(path, config, parts[1], parts[2], names)

    def parameter(self, name: str) -> F32:
        """A parameter of the model, float32[...].

        Raises:
            ModelError: there is none, or it is not stored as expected.
        """
        if name not in self.state:
            raise ModelError(
                f"{self.path}: its {self.model} has no parameter {name!r}; it has "
                f"{', '.join(map(str, self.state))}"
            )
        return self.numbers(self.state[name], name)

    def numbers(self, tensor: Any, name: str) -> F32:
        """The numbers of a tensor, float32[...].

        Raises:
            ModelError: they are not stored as expected.
        """
        try:
            (_, kind, key, *_), offset, size, stride = tensor.args[:4]
            dtype = np.dtype(_TYPES[kind.__name__])
            steps = [math.prod(size[axis + 1 :]) for axis in range(len(size))]
            if any(n > 1 and a != b for n, a, b in zip(size, stride, steps, strict=True)):
                raise ValueError(f"strides {stride} of the shape {size}")
            with zipfile.ZipFile(self.path) as archive:
                stored = archive.read(self.arrays[f"data/{key}"])
            found = np.frombuffer(stored, dtype, math.prod(size), offset * dtype.itemsize)
        except (
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
            OverflowError,
            zipfile.BadZipFile,
        ) as error:
            raise ModelError(
                f"{self.path}: {name}: expected a dense tensor of float16, float32 or float64, row "
                f"by row: {type(error).__name__}: {error}"
            ) from None
        return found.reshape(size).astype(np.float32)


class _Unpickler(pickle.Unpickler):
    """Reads a pickle in which names stand for inert classes."""

    def __init__(self, path: Path, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        """Return an inert class for a known name.

        Raises:
            ModelError: it is none of them.
        """
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        storage = module == "torch" and name.endswith("Storage")
        if not storage and module.split(".")[0] not in _LIBRARIES and (module, name) not in _NAMES:
            raise ModelError(
                f"{self.path}: its pickle names {module}.{name}, which no checkpoint of RecBole "
                "needs; nothing of it was run. Do not open the file with anything else unless you "
                "trust whoever made it"
            )
        return type(name, (_Inert,), {})

    def persistent_load(self, pid: Any) -> Any:
        """Return the description of a stored array as it is."""
        return pid
