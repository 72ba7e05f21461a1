"""Compressors: functions from DeviceModel to DeviceModel, run as a chain with a report."""

from __future__ import annotations

import abc
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgerec.blame import blame
from edgerec.device_model import DeviceModel
from edgerec.errors import CompressError

if TYPE_CHECKING:
    from edgerec.data import Dataset

__all__ = ["Compressor", "Context", "Step", "compress", "no_progress"]


def no_progress(done: int, total: int, what: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Context:
    """What a compressor may use besides the model.

    Args:
        dataset: the interactions that the model was trained on; compressors that learn
            (gradient pruning, distillation) need it.
        seed: for every random choice.
        progress: called with (done, total, what) during long work.
        checkpoint: a folder for the state of training, which a later run with the same input
            goes on from; none to keep nothing.
        ended: files there of trainings that have ended; whoever has kept what they led to
            clears them away.
    """

    dataset: Dataset | None = None
    seed: int = 0
    progress: Callable[[int, int, str], None] = field(default=no_progress, repr=False)
    checkpoint: Path | None = None
    ended: list[Path] = field(default_factory=list, repr=False, compare=False)

    def require_dataset(self, who: str) -> Dataset:
        """Return the dataset.

        Raises:
            CompressError: there is none.
        """
        if self.dataset is None:
            raise CompressError(f"{who}: needs training interactions; give the dataset")
        return self.dataset

    def clear(self) -> None:
        """Remove the states of trainings that have ended."""
        for path in self.ended:
            path.unlink(missing_ok=True)
        self.ended.clear()
        if self.checkpoint is not None:
            with contextlib.suppress(OSError):  # not there, or another training's state is
                self.checkpoint.rmdir()


class Compressor(abc.ABC):
    """A compressor. Subclasses are frozen dataclasses; their fields are options.

    Field metadata ``{"help": "..."}`` documents an option, in ``edgerec plugins`` too.
    """

    #: What a user calls it, unique among installed compressors.
    name: ClassVar[str]

    @abc.abstractmethod
    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Return a smaller model; the one given stays as it is.

        Raises:
            CompressError: the method cannot be applied; the message says why.
        """

    @classmethod
    def search_space(cls) -> Mapping[str, tuple[Any, ...]] | None:
        """Option values that a planner may try: plain values, a tuple an option.

        An empty mapping tries the defaults; none keeps the compressor out of the search.
        """
        return None

    def outline(self, model: DeviceModel) -> DeviceModel | None:
        """The result's shape without its work; none where only running it can tell.

        Items, tables, widths and codecs as they will be, with any contents: a planner
        computes a chain's bytes from it and never runs one that cannot fit.
        """
        return None

    def bytes_after(self, model: DeviceModel) -> int | None:
        """Table bytes after this step, computed without running it; none if unknown."""
        shape = self.outline(model)
        return None if shape is None else shape.table_bytes


@dataclass(frozen=True)
class Step:
    """What one compressor did."""

    compressor: str
    options: dict[str, Any]
    bytes_before: int
    bytes_after: int
    seconds: float


def compress(
    model: DeviceModel, chain: Sequence[Compressor], context: Context | None = None
) -> tuple[DeviceModel, list[Step]]:
    """Apply compressors in order; return the model and a report of each step.

    Raises:
        CompressError: a step failed, or changed nothing.
    """
    context = context or Context()
    steps: list[Step] = []
    for number, compressor in enumerate(chain, 1):
        start = time.perf_counter()
        with blame(f"step {number} ({compressor.name})", CompressError):
            after: Any = compressor.compress(model, context)
        if not isinstance(after, DeviceModel):
            raise CompressError(
                f"step {number} ({compressor.name}): returned {type(after).__name__}, not a "
                "DeviceModel"
            )
        if same_content(model, after):
            raise CompressError(
                f"step {number} ({compressor.name}): had no effect on the model; "
                "leave it out or change its options"
            )
        steps.append(
            Step(
                compressor.name,
                dict(vars(compressor)),
                model.table_bytes,
                after.table_bytes,
                time.perf_counter() - start,
            )
        )
        model = after
    applied = [{"compressor": s.compressor, "options": s.options} for s in steps]
    before = list(model.metadata.get("steps", []))
    return model.replace(metadata={**model.metadata, "steps": before + applied}), steps


def same_content(a: DeviceModel, b: DeviceModel) -> bool:
    """Whether two models hold the same bytes, and read histories alike."""
    if a is b:
        return True
    if a.tables.keys() != b.tables.keys() or a.constants.keys() != b.constants.keys():
        return False
    if a.encoder != b.encoder or a.head != b.head or len(a.items) != len(b.items):
        return False
    if any(getattr(a, n) != getattr(b, n) for n in ("history_length", "normalization", "recency")):
        return False
    if any(a.tables[n].codec != b.tables[n].codec for n in a.tables):
        return False
    arrays = [(t.arrays[k], b.tables[n].arrays[k]) for n, t in a.tables.items() for k in t.arrays]
    arrays += [(a.constants[n], b.constants[n]) for n in a.constants]
    arrays += [(a.popular, b.popular)]
    return all(x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in arrays)
