"""Compressor: a function from DeviceModel to DeviceModel, and the Context that it runs in."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from edgerec.data.dataset import Dataset
from edgerec.errors import CompressError
from edgerec.model.device_model import DeviceModel

__all__ = ["Compressor", "Context", "Progress", "no_progress"]

#: Called with (done, total, what) during long work.
Progress = Callable[[int, int, str], None]


def no_progress(done: int, total: int, what: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Context:
    """What a compressor may use besides the model.

    Args:
        dataset: the interactions that the model was trained on, for compressors that learn
            (gradient pruning, distillation).
        seed: the seed of every random choice.
        progress: called with (done, total, what) during long work.
        checkpoint: a folder for the state of training, from which a later run with the same
            input resumes; none keeps no state.
        ended: state files in that folder whose training has ended; the caller removes them once
            it has saved the result.
    """

    dataset: Dataset | None = None
    seed: int = 0
    progress: Progress = field(default=no_progress, repr=False)
    checkpoint: Path | None = None
    ended: list[Path] = field(default_factory=list, repr=False, compare=False)

    def require_dataset(self, who: str) -> Dataset:
        """Return the dataset.

        Raises:
            CompressError: there is none.
        """
        if self.dataset is None:
            raise CompressError(f"{who}: needs training interactions; pass the dataset")
        return self.dataset

    def clear(self) -> None:
        """Remove the state files of trainings that have ended."""
        for path in self.ended:
            path.unlink(missing_ok=True)
        self.ended.clear()
        if self.checkpoint is not None:
            # It may not exist, or may hold the state of another training.
            with contextlib.suppress(OSError):
                self.checkpoint.rmdir()


class Compressor(abc.ABC):
    """A compressor. Subclasses are frozen dataclasses; their fields are options.

    The field metadata ``{"help": "..."}`` documents an option, also in ``edgerec plugins``.
    """

    #: The name by which users select it, unique among installed compressors.
    name: ClassVar[str]

    #: For a compressor that makes a device read fewer rows: the options to try if files are too
    #: slow, those that cost the least quality first. A search puts it in front of the last step.
    quicker: ClassVar[tuple[Mapping[str, Any], ...]] = ()

    @abc.abstractmethod
    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Return a smaller model; the given one is not changed.

        Raises:
            CompressError: the method cannot be applied; the message says why.
        """

    @property
    def trains(self) -> bool:
        """Whether it goes through the interactions to train, which takes far longer than encoding.

        A search runs compressors that do not train first, and may stop a chain before one that
        does.
        """
        return False

    @classmethod
    def search_space(cls) -> Mapping[str, tuple[Any, ...]] | None:
        """Option values that the search may try: plain values, one tuple per option.

        An empty mapping offers the defaults; none excludes the compressor from the search.
        """
        return None

    def outline(self, model: DeviceModel) -> DeviceModel | None:
        """The shape of the result without the work; none if only running it can tell.

        Items, tables, widths and codecs are those of the result; the contents may be anything.
        The search computes a chain's bytes from it and never runs a chain that cannot fit.

        Raises:
            CompressError: the method cannot be applied, which costs a search no trial.
        """
        return None
