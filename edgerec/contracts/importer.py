"""Importer: reads a trained model of another library."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import ClassVar

from edgerec.contracts.compressor import Context
from edgerec.model.device_model import DeviceModel

__all__ = ["Importer"]


class Importer(abc.ABC):
    """Reads models of one library. Subclasses are frozen dataclasses; their fields are options.

    An importer's package keeps heavy imports inside ``read``, so that listing plugins stays fast.
    """

    #: The name, unique among installed importers.
    name: ClassVar[str]

    #: The endings of the files that it reads, such as ``.npz``.
    suffixes: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def read(self, path: Path, context: Context) -> DeviceModel:
        """Read a file.

        Args:
            path: the file.
            context: the interactions that the model was trained on, where they are needed, and
                the progress to report.

        Raises:
            ModelError: the file is not such a model, or a device cannot run it.
            OptionError: what it needs was not given.
        """
