"""Run a chain of compressors, and report what each step did."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgerec.contracts.compressor import Compressor, Context, Progress, no_progress
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.errors import CompressError
from edgerec.model.attribution import attribute_errors
from edgerec.model.device_model import DeviceModel
from edgerec.model.options import parse_spec, plain

__all__ = ["Step", "compress", "options_of", "run_chain", "same_content"]


@dataclass(frozen=True)
class Step:
    """What one compressor did.

    Args:
        compressor: its name.
        options: its options.
        bytes_before: the size of all tables before it.
        bytes_after: the size of all tables after it.
        seconds: the time that it took.
    """

    compressor: str
    options: dict[str, Any]
    bytes_before: int
    bytes_after: int
    seconds: float


def compress(
    model: DeviceModel,
    *chain: str | Compressor,
    dataset: Dataset | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
    checkpoint: str | Path | None = None,
    host: Host | None = None,
) -> DeviceModel:
    """Apply compressors in order: ``compress(model, "prune:share=0.8", "quantize")``.

    Args:
        model: the model to compress; it is not changed.
        chain: compressors, as objects or as text of the form ``name:option=value,...``.
        dataset: training interactions, for compressors that learn.
        seed: the seed of every random choice.
        progress: called with (done, total, what).
        checkpoint: a folder in which a step that trains saves its state after each epoch. Called
            again after an interruption, it resumes from there. Once the last step has ended, the
            states are removed.
        host: the plugins to choose from; the installed ones by default.

    Raises:
        UnknownNameError, OptionError: a name or an option is wrong.
        CompressError: a step failed or had no effect.
    """
    steps = []
    for entry in chain:
        if isinstance(entry, str):
            name, options = parse_spec(entry)
            entry = (host or Host.installed()).compressor(name, **options)
        steps.append(entry)
    if dataset is not None:
        # No compressor sees what its result is measured on.
        dataset = dataset.without_held_out()
    context = Context(dataset, seed, progress, None if checkpoint is None else Path(checkpoint))
    small, _ = run_chain(model, steps, context)
    context.clear()
    return small


def run_chain(
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
        with attribute_errors(f"step {number} ({compressor.name})", CompressError):
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
        if after.table_bytes > model.table_bytes:
            raise CompressError(
                f"step {number} ({compressor.name}): grew the tables from {model.table_bytes:,} to "
                f"{after.table_bytes:,} bytes; leave it out, or put it before what encoded them"
            )
        steps.append(
            Step(
                compressor.name,
                options_of(compressor),
                model.table_bytes,
                after.table_bytes,
                time.perf_counter() - start,
            )
        )
        model = after
    applied = [{"compressor": s.compressor, "options": s.options} for s in steps]
    before = list(model.metadata.get("steps", []))
    return model.replace(metadata={**model.metadata, "steps": before + applied}), steps


def options_of(compressor: Compressor) -> dict[str, Any]:
    """A compressor's options as JSON values."""
    return {name: plain(value) for name, value in vars(compressor).items()}


def same_content(a: DeviceModel, b: DeviceModel) -> bool:
    """Whether two models hold the same bytes and read histories in the same way."""
    if a is b:
        return True
    if a.tables.keys() != b.tables.keys() or a.constants.keys() != b.constants.keys():
        return False
    if a.encoder != b.encoder or a.head != b.head or len(a.items) != len(b.items):
        return False
    settings = ("history_length", "normalization", "recency", "repeats", "drop_seen")
    if any(getattr(a, name) != getattr(b, name) for name in settings):
        return False
    if any(a.tables[n].codec != b.tables[n].codec for n in a.tables):
        return False
    arrays = [(t.arrays[k], b.tables[n].arrays[k]) for n, t in a.tables.items() for k in t.arrays]
    arrays += [(a.constants[n], b.constants[n]) for n in a.constants]
    arrays += [(a.popular, b.popular)]
    return all(x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in arrays)
